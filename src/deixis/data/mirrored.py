"""Samples seen in a mirror: frames and masks from right to left, and left and right exchanged in the sentences.

Who is on the left of a photo is on the right of its mirror image, so places are learned from twice as many samples.
Writing in a photo is mirrored as well, and "right" in the sense of "directly" becomes "left".
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import cast

import numpy as np
from jaxtyping import UInt8

from .. import masks
from ..masks import RLE
from ..records import Ids, Reader, Sample, Visual

SIDES = re.compile(r"\b(left|right)(?=(?:-?(?:most|hand|side)|wards?|y|ie)?\b)", re.IGNORECASE)
OTHER = {"left": "right", "right": "left"}


@dataclass(frozen=True)
class MirroredVisual:
    """An image or a clip whose columns are read from right to left."""

    visual: Visual

    @property
    def size(self) -> tuple[int, int]:
        return self.visual.size

    @property
    def num_frames(self) -> int:
        return self.visual.num_frames

    def read(self, frames: Sequence[int] | None = None) -> UInt8[np.ndarray, "t h w 3"]:
        return np.ascontiguousarray(self.visual.read(frames)[:, :, ::-1])


@dataclass(frozen=True)
class Mirrored:
    """A reader's samples in a mirror; their ids say so, since another image with another referent is another sample.

    Traits and labels for pre-training stay as they were.
    """

    reader: Reader

    @cached_property
    def ids(self) -> tuple[Ids, ...]:
        return tuple(map(_mirrored_ids, self.reader.ids))

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, position: int) -> Sample:
        sample = self.reader[position]
        return replace(
            sample,
            visual=MirroredVisual(sample.visual),
            expression=exchange_sides(sample.expression),
            mask=None if sample.mask is None else _mirrored_mask(sample.mask),
            ids=_mirrored_ids(sample.ids),
        )


def exchange_sides(sentence: str) -> str:
    """`Left dog, rightmost cat` as `Right dog, leftmost cat`."""
    return SIDES.sub(_other_side, sentence)


def _other_side(found: re.Match[str]) -> str:
    word = found[1]
    other = OTHER[word.lower()]
    return other.upper() if word.isupper() else other.capitalize() if word[0].isupper() else other


def _mirrored_mask(mask: RLE) -> RLE:
    return cast(RLE, masks.encode(masks.decode(mask)[:, ::-1]))


def _mirrored_ids(ids: Ids) -> Ids:
    return Ids(*(f"{part}-mirrored" for part in (ids.image, ids.object, ids.sentence)))
