"""What is visible of a drawn scene: boxes, areas and occlusions, the facts that programs run on."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool

from .scenes import Scene, Thing

# A thing is clear, and may be a referent, if its visible part has this area (of the image) and this fraction of the
# thing. With less it is faint: it never is a referent, but it makes expressions ambiguous. Below the last area it is
# hidden, and ignored.
CLEAR_AREA, CLEAR_FRACTION = 0.0016, 0.4
HIDDEN_AREA = 0.0002

Visibility = Literal["clear", "faint", "hidden"]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """The visible part of one thing; lengths and areas are fractions of the image's."""

    visibility: Visibility
    fraction: float  # visible pixels over all its pixels
    area: float = 0.0
    left: float = 0.0
    top: float = 0.0
    right: float = 0.0
    bottom: float = 0.0
    covered_by: frozenset[int] = frozenset()  # nearer things that touch the visible part

    @property
    def x(self) -> float:
        return (self.left + self.right) / 2

    @property
    def y(self) -> float:
        return (self.top + self.bottom) / 2


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What happens in a clip: of each event the things that certainly and possibly do it, and of each way of passing
    the pairs (who passes, whom)."""

    events: Mapping[str, tuple[frozenset[int], frozenset[int]]]
    passes: Mapping[str, tuple[frozenset[tuple[int, int]], frozenset[tuple[int, int]]]]


@dataclass(frozen=True, kw_only=True)
class View:
    """A scene and the visible part of each of its things, in the scene's order; of a clip, also what happens."""

    scene: Scene
    seen: tuple[Seen, ...]
    observed: Observed | None = None
    cache: dict[Hashable, Any] = field(default_factory=dict, compare=False, repr=False)  # results of programs

    @property
    def things(self) -> tuple[Thing, ...]:
        return self.scene.things

    @cached_property
    def certain(self) -> frozenset[int]:
        """The things that are clearly visible."""
        return frozenset(index for index, seen in enumerate(self.seen) if seen.visibility == "clear")

    @cached_property
    def possible(self) -> frozenset[int]:
        """The things that are clearly or faintly visible."""
        return frozenset(index for index, seen in enumerate(self.seen) if seen.visibility != "hidden")


def make_view(scene: Scene, masks: Bool[np.ndarray, "k h w"], fractions: tuple[float, ...]) -> View:
    """The view of a scene, given the visible pixels of every thing and which fraction of the thing they are."""
    if not len(masks) == len(fractions) == len(scene.things):
        raise ValueError(f"{len(masks)} masks and {len(fractions)} fractions for {len(scene.things)} things.")
    boxes = [_box(mask) for mask in masks]
    seen = (_seen(masks, boxes, index, fraction) for index, fraction in enumerate(fractions))
    return View(scene=scene, seen=tuple(seen))


def _box(mask: Bool[np.ndarray, "h w"]) -> tuple[int, int, int, int] | None:
    """Left, top, right, bottom in pixels, the last two exclusive; None for an empty mask."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not len(columns):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _seen(
    masks: Bool[np.ndarray, "k h w"], boxes: list[tuple[int, int, int, int] | None], index: int, fraction: float
) -> Seen:
    box = boxes[index]
    height, width = masks.shape[1:]
    if box is None:
        return Seen(visibility="hidden", fraction=fraction)
    left, top, right, bottom = box
    area = float(np.count_nonzero(masks[index, top:bottom, left:right])) / (height * width)
    visibility: Visibility = "faint"
    if area < HIDDEN_AREA:
        visibility = "hidden"
    elif area >= CLEAR_AREA and fraction >= CLEAR_FRACTION:
        visibility = "clear"
    nearer = (other for other in range(index + 1, len(masks)) if _touch(masks, boxes, index, other))
    return Seen(
        visibility=visibility,
        fraction=fraction,
        area=area,
        left=left / width,
        top=top / height,
        right=right / width,
        bottom=bottom / height,
        covered_by=frozenset(nearer) if fraction < 1 else frozenset(),
    )


def _touch(
    masks: Bool[np.ndarray, "k h w"], boxes: list[tuple[int, int, int, int] | None], first: int, second: int
) -> bool:
    """Whether the visible parts of two things are neighbours along at least six pixels."""
    one, two = boxes[first], boxes[second]
    if one is None or two is None:
        return False
    left, top = max(one[0], two[0]) - 2, max(one[1], two[1]) - 2
    right, bottom = min(one[2], two[2]) + 2, min(one[3], two[3]) + 2
    if right <= left or bottom <= top:
        return False
    window = (slice(max(top, 0), bottom), slice(max(left, 0), right))
    a, b = masks[first][window], masks[second][window]
    beside = np.count_nonzero(a[:, 1:] & b[:, :-1]) + np.count_nonzero(a[:, :-1] & b[:, 1:])
    over = np.count_nonzero(a[1:] & b[:-1]) + np.count_nonzero(a[:-1] & b[1:])
    return bool(beside + over >= 6)
