"""What is wrong with a data set: one clear sentence at once, or a counted report at the end; never a silent drop."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from ..errors import DeixisError, InputError
from ..records import Ids, Reader, Sample


@dataclass
class Report:
    """Collects what is broken when `skip` is asked for, and raises it otherwise."""

    skip: bool = False
    broken: list[str] = field(default_factory=list)

    def refuse(self, sentence: str) -> None:
        """Raise the sentence, or write it down so that the record may be left out."""
        if not self.skip:
            raise InputError(sentence)
        self.broken.append(sentence)

    def __len__(self) -> int:
        return len(self.broken)

    def summary(self, most: int = 10) -> str:
        """How much was left out, and why, one line each for the first few."""
        if not self.broken:
            return "Nothing is broken; nothing was left out."
        lines = [f"{len(self.broken):,} broken {'record was' if len(self.broken) == 1 else 'records were'} left out:"]
        lines += [f"  {sentence}" for sentence in self.broken[:most]]
        if len(self.broken) > most:
            lines.append(f"  … and {len(self.broken) - most:,} more")
        return "\n".join(lines)


class Part:
    """Some positions of a reader, as a reader."""

    def __init__(self, reader: Reader, positions: Sequence[int]) -> None:
        self.reader = reader
        self.positions = tuple(positions)
        self.ids: tuple[Ids, ...] = tuple(reader.ids[position] for position in self.positions)

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, position: int) -> Sample:
        return self.reader[self.positions[position]]

    def __iter__(self) -> Iterator[Sample]:
        return (self[position] for position in range(len(self)))


def whole(
    reader: Reader,
    report: Report,
    advance: Callable[[], None] = lambda: None,
    *,
    look_at_images: bool = True,
    need_masks: bool = False,
) -> Part:
    """The samples that can be read to the last pixel; each image is decoded once, or none without `look_at_images`.

    The first broken one raises, unless `report.skip`, and so does one without a mask where masks are needed;
    `advance` is called after every sample.
    """
    images: dict[tuple[str, tuple[int, int]], str] = {}  # image and the size it should have -> what is wrong, if any
    kept = []
    for position in range(len(reader)):
        try:
            sample = reader[position]
            image = (sample.ids.image, sample.visual.size)
            if look_at_images and image not in images:
                images[image] = _wrong_with_image(sample)
            if images.get(image):
                report.refuse(images[image])
            elif sample.mask is None and need_masks:
                report.refuse(f"Sentence {sample.ids.sentence!r} of {sample.dataset} has no mask, and needs one here.")
            elif sample.mask is not None and tuple(sample.mask["size"]) != sample.visual.size:
                report.refuse(f"The mask of {sample.ids} is not of its image's size, {sample.visual.size}.")
            else:
                kept.append(position)
        except DeixisError as error:
            report.refuse(str(error))
        advance()
    return Part(reader, kept)


def _wrong_with_image(sample: Sample) -> str:
    try:
        sample.visual.read()
    except DeixisError as error:
        return str(error)
    return ""
