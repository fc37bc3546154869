"""Packed scenes with the class of every pixel, the labels that pre-training learns from; of clips on one frame."""

from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ..records import Ids, Sample
from .clip_samples import target_frames
from .packed import BACKGROUND, PackedScene, PackedToyland
from .scene.kinds import KINDS
from .scene.scenes import COLOURS, PATTERNS, SIZES

ATTRIBUTES: dict[str, tuple[str, ...]] = {"kind": KINDS, "colour": COLOURS, "size": SIZES, "pattern": PATTERNS}


class SceneClasses:
    """A Reader over a packed folder with one Sample per scene: no expression, no mask, four dense targets.

    `targets[name][y, x]` is 0 where the background is seen, otherwise 1 + the position of the visible thing's value in
    `ATTRIBUTES[name]`. A clip has targets on its middle frame.
    """

    def __init__(self, folder: Path | str) -> None:
        self.packed = PackedToyland(folder)
        (self.frame,) = target_frames(self.packed.num_frames, 1)

    @cached_property
    def ids(self) -> tuple[Ids, ...]:
        return tuple(self._ids(position) for position in range(len(self)))

    def __len__(self) -> int:
        return self.packed.num_scenes

    def __getitem__(self, position: int) -> Sample:
        if not 0 <= position < len(self):
            raise IndexError(f"Scene {position} does not exist; the folder holds {len(self)} scenes.")
        return Sample(
            visual=PackedScene(self.packed.path, position),
            expression="",
            mask=None,
            ids=self._ids(position),
            dataset="toyland",
            split=self.packed.split,
            frame=self.frame,
            targets=self._classes(position),
        )

    def _ids(self, position: int) -> Ids:
        seed = str(self.packed.seed(position))
        return Ids(image=seed, object=seed, sentence=seed)

    def _classes(self, position: int) -> dict[str, UInt8[np.ndarray, "h w"]]:
        instances, things = self.packed.instances(position, self.frame), self.packed.things(position)
        classes = {}
        for name, values in ATTRIBUTES.items():
            class_of = np.zeros(BACKGROUND + 1, dtype=np.uint8)
            class_of[: len(things)] = [1 + values.index(thing[name]) for thing in things]
            classes[name] = class_of[instances]
        return classes
