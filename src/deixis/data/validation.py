"""Broken records: the first one raises, or all are counted and listed; none is dropped silently."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..errors import DeixisError, InputError
from ..records import Reader, Sample
from .frame_streams import each_frame
from .subsets import Subset


@dataclass
class Issues:
    """Collects what is broken if `skip` is set, and raises it otherwise."""

    skip: bool = False
    broken: list[str] = field(default_factory=list)
    dropped: dict[str, None] = field(default_factory=dict)  # parts of records that are kept, in order
    num_images: int = 0  # read by `validate`, as the two numbers below
    num_masks: int = 0
    num_cut: int = 0  # masks whose blurred edges were cut at half of the largest value

    def add(self, sentence: str) -> None:
        """Raise the sentence, or note it: the record is left out."""
        if not self.skip:
            raise InputError(sentence)
        self.broken.append(sentence)

    def drop(self, sentence: str) -> None:
        """Raise the sentence, or note it once: a part of the record is left out."""
        if not self.skip:
            raise InputError(sentence)
        self.dropped[sentence] = None

    def __len__(self) -> int:
        return len(self.broken)

    def summary(self, most: int = 10) -> str:
        """How much was left out, and why, one line each for the first few."""
        if not self.broken and not self.dropped:
            return "Nothing is broken; nothing was left out."
        parts = counted(len(self.dropped), "part of a record was", "parts of records were")
        listed = [
            *_listed(
                f"{counted(len(self.broken), 'broken record was', 'broken records were')} left out", self.broken, most
            ),
            *_listed(f"{parts} left out, and the rest kept", list(self.dropped), most),
        ]
        return "\n".join(listed)

    def check_summary(self) -> str:
        """What `validate` has read, and whether it is broken."""
        what = counted(self.num_images + self.num_masks, "photo or mask", "photos and masks")
        wrong = counted(len(self.broken), "record", "records") if self.broken else "none"
        facts = [f"{what} read", f"{wrong} broken"]
        if self.dropped:
            facts.append(f"{counted(len(self.dropped), 'part', 'parts')} of records left out")
        if self.num_cut:
            cut = counted(self.num_cut, "mask", "masks")
            facts.append(f"{cut} with blurred edges (lossy or resampled) cut at half of the largest value")
        return f"{', '.join(facts)}."


def counted(number: int, one: str, several: str) -> str:
    """`1 sample`, `2 samples`."""
    return f"{number:,} {one if number == 1 else several}"


def _listed(heading: str, sentences: Sequence[str], most: int) -> list[str]:
    if not sentences:
        return []
    more = [f"  … and {len(sentences) - most:,} more"] if len(sentences) > most else []
    return [f"{heading}:", *(f"  {sentence}" for sentence in sentences[:most]), *more]


def validate(
    reader: Reader,
    issues: Issues,
    advance: Callable[[], None] = lambda: None,
    *,
    look_at_images: bool = True,
    need_masks: bool = False,
) -> Subset:
    """The samples that can be read to the last pixel; each image is decoded once, or none without `look_at_images`.

    The first broken one raises, unless `issues.skip`, and so does one without a mask if `need_masks`. `advance` is
    called after every sample. What was read is counted in the issues.
    """
    seen_masks: set[tuple[str, str]] = set()
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
                _count_mask(sample, seen_masks, issues)
        except DeixisError as error:
            issues.add(str(error))
        advance()
    issues.num_images += sum(not wrong for wrong in images.values())
    return Subset(reader, kept)


def _count_mask(sample: Sample, seen: set[tuple[str, str]], issues: Issues) -> None:
    """Sentences about one object share its mask."""
    key = (sample.ids.image, sample.mask["counts"] if sample.mask else "")
    if sample.mask is not None and key not in seen:
        seen.add(key)
        issues.num_masks += 1
        issues.num_cut += bool(sample.traits.get("mask_was_cut"))


def _wrong_with_image(sample: Sample) -> str:
    try:
        deque(each_frame(sample.visual), maxlen=0)
    except DeixisError as error:
        return str(error)
    return ""
