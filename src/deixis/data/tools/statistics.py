"""Statistics of a data set: counts, the lengths of the sentences, the sizes of masks and images."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ... import masks
from ...errors import DeixisError
from ...records import Reader
from ..readers.clip_splits import ClipSplit
from ..readers.loose_clips import LooseClips
from ..readers.refcoco import PUBLISHED, RefCOCO
from ..validation import Issues

SAMPLED = 1000  # samples of a split that are read, spread evenly


@dataclass(frozen=True)
class Spread:
    """The distribution of some values."""

    smallest: float
    quarter: float
    median: float
    three_quarters: float
    largest: float
    mean: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread | None":
        if not values:
            return None
        smallest, quarter, median, three_quarters, largest = np.percentile(values, [0, 25, 50, 75, 100]).tolist()
        return cls(smallest, quarter, median, three_quarters, largest, float(np.mean(values)))


@dataclass(frozen=True, kw_only=True)
class SplitFacts:
    """One split. Sentences and masks are those of `looked_at` samples."""

    images: int  # of videos, the videos
    objects: int
    expressions: int
    looked_at: int
    without_mask: int
    with_empty_mask: int
    words: Spread | None  # words of an expression, by spaces
    mask_shares: Spread | None  # masks that are not empty, as fractions of their images
    heights: Spread | None
    widths: Spread | None
    broken: int
    of_videos: bool = False


def describe(
    readers: Mapping[str, Reader], issues: Issues | None = None, advance: Callable[[], None] = lambda: None
) -> dict[str, SplitFacts]:
    """The facts of every split; `advance` is called after every sample that is read."""
    issues = Issues() if issues is None else issues
    return {split: _facts(reader, issues, advance) for split, reader in readers.items()}


def num_sampled(reader: Reader) -> int:
    return min(len(reader), SAMPLED)


def as_json(facts: Mapping[str, SplitFacts]) -> dict[str, Any]:
    return {split: asdict(one) for split, one in facts.items()}


def completeness(readers: Mapping[str, Reader]) -> str:
    """A sentence that compares the counts with the published ones, or the notes of a data set of videos; or nothing."""
    reader = next(iter(readers.values()), None)
    if not isinstance(reader, RefCOCO):
        notes = [note for each in readers.values() if isinstance(each, ClipSplit) for note in each.notes]
        return " ".join(dict.fromkeys(notes))
    published = PUBLISHED.get((reader.tree.dataset, reader.tree.split_by))
    counts = reader.tree.counts()
    if published is None:
        return ""
    if counts == published:
        return "complete: as many sentences, objects and images as published"
    names = ("sentences", "objects", "images")
    parts = [f"{count:,} of {whole:,} {name}" for count, whole, name in zip(counts, published, names, strict=True)]
    return f"a part of the published set: {', '.join(parts)}"


def _facts(reader: Reader, issues: Issues, advance: Callable[[], None]) -> SplitFacts:
    words, shares, heights, widths = [], [], [], []
    without = empty = broken = 0
    positions = np.linspace(0, len(reader) - 1, num_sampled(reader)).round().astype(int).tolist()
    for position in positions:
        try:
            sample = reader[position]
            height, width = sample.visual.size
            area = None if sample.mask is None else masks.area(sample.mask)
        except DeixisError as error:
            issues.add(str(error))
            broken += 1
            continue
        finally:
            advance()
        words.append(float(len(sample.expression.split())))
        heights.append(float(height))
        widths.append(float(width))
        without += area is None
        empty += area == 0
        if area:
            shares.append(area / (height * width))
    return SplitFacts(
        images=len({ids.image for ids in reader.ids}),
        objects=len({(ids.image, ids.object) for ids in reader.ids}),
        expressions=len(reader.ids),
        looked_at=len(positions),
        without_mask=without,
        with_empty_mask=empty,
        words=Spread.of(words),
        mask_shares=Spread.of(shares),
        heights=Spread.of(heights),
        widths=Spread.of(widths),
        broken=broken,
        of_videos=isinstance(getattr(reader, "reader", reader), ClipSplit | LooseClips),
    )
