"""What can be seen of a drawn scene: boxes, visible areas and contacts, the facts that programs run on."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool

from .scenes import Scene, Thing

# A thing must show this much of the picture, and of itself, before anyone would speak of it …
PLAIN_AREA, PLAIN_SHARE = 0.0016, 0.4
# … and below this nobody would notice it. Between the two it may disturb, but it is never meant.
HIDDEN_AREA = 0.0002

Clarity = Literal["plain", "faint", "hidden"]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What shows of one thing; lengths are fractions of the picture's sides, the area of the whole picture."""

    clarity: Clarity
    share: float  # visible pixels over all its pixels
    area: float = 0.0
    left: float = 0.0
    top: float = 0.0
    right: float = 0.0
    bottom: float = 0.0
    covered_by: frozenset[int] = frozenset()  # nearer things whose visible pixels touch this one's

    @property
    def x(self) -> float:
        return (self.left + self.right) / 2

    @property
    def y(self) -> float:
        return (self.top + self.bottom) / 2


@dataclass(frozen=True, kw_only=True)
class View:
    """A scene and what is seen of each of its things, in the scene's order."""

    scene: Scene
    seen: tuple[Seen, ...]
    memory: dict[Hashable, Any] = field(default_factory=dict, compare=False, repr=False)  # answers already found

    @property
    def things(self) -> tuple[Thing, ...]:
        return self.scene.things

    @cached_property
    def sure(self) -> frozenset[int]:
        """The things that anyone would see at once."""
        return frozenset(index for index, seen in enumerate(self.seen) if seen.clarity == "plain")

    @cached_property
    def maybe(self) -> frozenset[int]:
        """The same and those that a second look may find."""
        return frozenset(index for index, seen in enumerate(self.seen) if seen.clarity != "hidden")


def look(scene: Scene, masks: Bool[np.ndarray, "k h w"], shares: tuple[float, ...]) -> View:
    """The view of a scene given the visible pixels of every thing and their shares."""
    if len(masks) != len(scene.things) or len(shares) != len(scene.things):
        raise ValueError(f"{len(scene.things)} things came with {len(masks)} masks and {len(shares)} visible shares.")
    boxes = [_box(mask) for mask in masks]
    return View(scene=scene, seen=tuple(_seen(masks, boxes, index, float(share)) for index, share in enumerate(shares)))


def _box(mask: Bool[np.ndarray, "h w"]) -> tuple[int, int, int, int] | None:
    """Left, top, right, bottom in pixels, the last two exclusive; None for an empty mask."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not len(columns):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _seen(
    masks: Bool[np.ndarray, "k h w"], boxes: list[tuple[int, int, int, int] | None], index: int, share: float
) -> Seen:
    box = boxes[index]
    height, width = masks.shape[1:]
    if box is None:
        return Seen(clarity="hidden", share=share)
    left, top, right, bottom = box
    area = float(np.count_nonzero(masks[index, top:bottom, left:right])) / (height * width)
    clarity: Clarity = "faint"
    if area < HIDDEN_AREA:
        clarity = "hidden"
    elif area >= PLAIN_AREA and share >= PLAIN_SHARE:
        clarity = "plain"
    nearer = (other for other in range(index + 1, len(masks)) if _touch(masks, boxes, index, other))
    return Seen(
        clarity=clarity,
        share=share,
        area=area,
        left=left / width,
        top=top / height,
        right=right / width,
        bottom=bottom / height,
        covered_by=frozenset(nearer) if share < 1 else frozenset(),
    )


def _touch(
    masks: Bool[np.ndarray, "k h w"], boxes: list[tuple[int, int, int, int] | None], first: int, second: int
) -> bool:
    """Whether the visible pixels of two things are neighbours along more than a few pixels."""
    one, two = boxes[first], boxes[second]
    if one is None or two is None:
        return False
    left, top = max(one[0], two[0]) - 2, max(one[1], two[1]) - 2
    right, bottom = min(one[2], two[2]) + 2, min(one[3], two[3]) + 2
    if right <= left or bottom <= top:
        return False
    window = (slice(max(top, 0), bottom), slice(max(left, 0), right))
    mine, theirs = masks[first][window], masks[second][window]
    beside = np.count_nonzero(mine[:, 1:] & theirs[:, :-1]) + np.count_nonzero(mine[:, :-1] & theirs[:, 1:])
    over = np.count_nonzero(mine[1:] & theirs[:-1]) + np.count_nonzero(mine[:-1] & theirs[1:])
    return bool(beside + over >= 6)
