"""A clip that is drawn when it is read: only the frames that are asked for, with their masks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from jaxtyping import UInt8

from ..render.backgrounds import background
from ..render.drawing import BACKGROUND, draw
from ..scene.domains import CONTENTS, STYLES
from ..scene.sampling import Combinations, sample_scene
from ..scene.scenes import HORIZON, Scene
from ..scene.view import Seen, View, make_view
from .moving import MOST_DRIFT, UNIT, MovingScene, sample_motions

RATE = 10  # frames a second of a clip that is written as a video


@dataclass(frozen=True, kw_only=True)
class DrawnFrame:
    """One frame: its pixels, the thing that each pixel shows (255 for none), and what is visible of each thing."""

    pixels: UInt8[np.ndarray, "h w 3"]
    instances: UInt8[np.ndarray, "h w"]
    view: View


@dataclass(frozen=True, kw_only=True)
class DrawnClip:
    """A Visual over the frames of a moving scene; the last ones drawn are cached."""

    seed: int
    num_frames: int
    combinations: Combinations = "seen"
    content: str = "everything"  # a name in `CONTENTS`
    style: str = "painted"  # a name in `STYLES`
    side: int = 256

    @property
    def size(self) -> tuple[int, int]:
        return self.side, self.side

    def moving(self) -> MovingScene:
        return _moving(self)

    def scene(self) -> Scene:
        """The scene as the clip begins; every frame has its things in the same order."""
        return self.moving().scene

    def frame(self, number: int) -> DrawnFrame:
        return _frame(self, number)

    def instances(self, frame: int = 0) -> UInt8[np.ndarray, "h w"]:
        """The index of the thing visible at each pixel, 255 for none."""
        return self.frame(frame).instances

    def read(self, frames: Sequence[int] | None = None) -> UInt8[np.ndarray, "t h w 3"]:
        chosen = range(self.num_frames) if frames is None else frames
        return np.stack([self.frame(range(self.num_frames)[number]).pixels for number in chosen])


@lru_cache(maxsize=16)
def _moving(clip: DrawnClip) -> MovingScene:
    scene = sample_scene(clip.seed, CONTENTS[clip.content], clip.combinations)
    return sample_motions(scene, clip.num_frames)


@lru_cache(maxsize=2)
def _wide_background(scene: Scene, side: int) -> UInt8[np.ndarray, "h w 3"]:
    return background(scene, side)


@lru_cache(maxsize=80)
def _frame(clip: DrawnClip, number: int) -> DrawnFrame:
    moving = clip.moving()
    things = moving.things(number)
    order = sorted(range(len(things)), key=lambda index: things[index].depth)
    scene = replace(moving.scene, things=tuple(things[index] for index in order))
    drawn = draw(
        scene,
        STYLES[clip.style],
        clip.side,
        ground=_ground(moving, number, clip.side),
        noise_seed=scene.seed * 64 + number,
    )
    instances = np.full(clip.size, BACKGROUND, dtype=np.uint8)
    for place, index in enumerate(order):
        instances[drawn.masks[place]] = index
    seen = _in_clip_order(make_view(scene, drawn.masks, drawn.visible).seen, order)
    return DrawnFrame(
        pixels=drawn.pixels,
        instances=instances,
        view=View(scene=replace(scene, things=things), seen=seen),
    )


def _ground(moving: MovingScene, number: int, side: int) -> UInt8[np.ndarray, "h w 3"]:
    """A window of a background that is larger than the picture; its horizon stays at the height of the things'."""
    margin = -(-side * (MOST_DRIFT + UNIT // 100) // UNIT)
    wide = _wide_background(replace(moving.scene, things=()), side + 2 * margin)
    across, down = (part * side // UNIT for part in moving.camera(number))
    horizon = HORIZON[moving.scene.setting]
    top = round(horizon * (side + 2 * margin)) - round(horizon * side) - down
    top, left = (min(max(edge, 0), 2 * margin) for edge in (top, margin - across))
    return wide[top : top + side, left : left + side].copy()


def _in_clip_order(seen: Sequence[Seen], order: Sequence[int]) -> tuple[Seen, ...]:
    """The visible parts, given from far to near, in the order of the clip's things."""
    by_index = {
        index: replace(one, covered_by=frozenset(order[other] for other in one.covered_by))
        for index, one in zip(order, seen, strict=True)
    }
    return tuple(by_index[index] for index in range(len(order)))
