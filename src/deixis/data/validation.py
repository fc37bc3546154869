"""Broken records: the first one raises, or all are counted and listed; none is dropped silently."""

from collections.abc import Callable
from dataclasses import dataclass, field

from ..errors import DeixisError, InputError
from ..records import Reader, Sample
from .subsets import Subset


@dataclass
class Issues:
    """Collects what is broken when `skip` is asked for, and raises it otherwise."""

    skip: bool = False
    broken: list[str] = field(default_factory=list)

    def add(self, sentence: str) -> None:
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


def validate(
    reader: Reader,
    issues: Issues,
    advance: Callable[[], None] = lambda: None,
    *,
    look_at_images: bool = True,
    need_masks: bool = False,
) -> Subset:
    """The samples that can be read to the last pixel; each image is decoded once, or none without `look_at_images`.

    The first broken one raises, unless `issues.skip`, and so does one without a mask where masks are needed;
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
                issues.add(images[image])
            elif sample.mask is None and need_masks:
                issues.add(f"Sentence {sample.ids.sentence!r} of {sample.dataset} has no mask, and needs one here.")
            elif sample.mask is not None and tuple(sample.mask["size"]) != sample.visual.size:
                issues.add(f"The mask of {sample.ids} is not of its image's size, {sample.visual.size}.")
            else:
                kept.append(position)
        except DeixisError as error:
            issues.add(str(error))
        advance()
    return Subset(reader, kept)


def _wrong_with_image(sample: Sample) -> str:
    try:
        sample.visual.read()
    except DeixisError as error:
        return str(error)
    return ""
