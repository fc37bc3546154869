"""Toyland as a data set: splits by scene seed, Samples that are drawn when they are read."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from random import Random
from typing import cast

import numpy as np
from jaxtyping import UInt8

from .. import masks
from ..errors import InputError, did_you_mean
from ..masks import RLE
from ..records import Ids, Sample, still
from .clip_samples import clip_samples
from .language.candidates import Wording
from .language.expressions import Expression, ExpressionOptions, generate, traits
from .language.phrases import PARAPHRASES, Paraphrases
from .motion.clip import DrawnClip
from .motion.moving import MAX_FRAMES, MIN_FRAMES
from .render.drawing import DrawnImage, draw, instance_map
from .scene.domains import CONTENTS, STYLES, SUBSETS, SubsetName, is_held_out
from .scene.kinds import FAMILY_OF
from .scene.sampling import Combinations, sample_scene
from .scene.scenes import Scene, Thing
from .scene.view import View, make_view

# The seed of each split's first scene, far enough apart that splits never share a scene.
FIRST_SEEDS: dict[str, int] = {
    "train": 0,
    "val": 1_000_000_000,
    "testA": 1_200_000_000,
    "testB": 1_400_000_000,
    "held-out": 1_600_000_000,
}
NO_OBJECT = "none"  # the object of a scene's first expression without a referent; the next ones are none-2, none-3 …


@dataclass(frozen=True, kw_only=True)
class DrawnScene:
    """An image that is drawn when it is read, and cached for the next expressions about it."""

    seed: int
    combinations: Combinations = "seen"
    content: str = "everything"  # a name in `CONTENTS`
    style: str = "painted"  # a name in `STYLES`
    side: int = 256

    @property
    def size(self) -> tuple[int, int]:
        return self.side, self.side

    def scene(self) -> Scene:
        return sample_scene(self.seed, CONTENTS[self.content], self.combinations)

    def image(self) -> DrawnImage:
        return _drawn(self)

    def view(self) -> View:
        image = self.image()
        return make_view(self.scene(), image.masks, image.visible)

    @property
    def num_frames(self) -> int:
        return 1

    def read(self, frames: Sequence[int] | None = None) -> UInt8[np.ndarray, "t h w 3"]:
        return still(self.image().pixels, frames)

    def instances(self, frame: int = 0) -> UInt8[np.ndarray, "h w"]:
        """The index of the thing visible at each pixel, 255 for none."""
        return instance_map(self.image().masks)


@dataclass(frozen=True, kw_only=True)
class Toyland:
    """A Reader of `num_scenes` scenes; `scene(position)` returns all Samples of one scene and draws it once.

    With `num_frames` from 8 to 36 the scenes are clips, with labels on `labelled_frames` frames of each.
    `ids`, `len` and access by position draw every scene once; `scene` draws only its own.
    """

    split: str = "train"
    subset: str = "toyland"
    num_scenes: int = 1000
    style: str = "painted"
    content: str = "everything"
    size: int = 256
    sentences_per_object: int = 3
    objects_per_scene: int | None = None  # None: every clearly visible thing
    paraphrases: str = "training"  # or "held-out"
    expression_options: ExpressionOptions = field(default_factory=ExpressionOptions)
    first_seed: int | None = None
    num_frames: int = 1
    labelled_frames: int = 1

    def __post_init__(self) -> None:
        for name, value, known in (
            ("split", self.split, tuple(FIRST_SEEDS)),
            ("subset", self.subset, SUBSETS),
            ("paraphrases", self.paraphrases, PARAPHRASES),
            ("style", self.style, tuple(STYLES)),
            ("content", self.content, tuple(CONTENTS)),
        ):
            if value not in known:
                raise InputError(f"Toyland has no {name} {value!r}. {did_you_mean(value, known)}")
        for name in ("num_scenes", "sentences_per_object", "size"):
            if getattr(self, name) < 1:
                raise InputError(f"Toyland's {name} is {getattr(self, name)}; expected 1 or more.")
        check_frames(self.num_frames, self.labelled_frames)
        if self.num_frames > 1 and self.expression_options != ExpressionOptions():
            raise InputError("Toyland's clips have no typos, no slang, and one referent each; omit these options.")

    @property
    def wording(self) -> Wording:
        return Wording(
            subset=cast(SubsetName, self.subset),
            paraphrases=cast(Paraphrases, self.paraphrases),
            colours=STYLES[self.style].paper != "blue",
        )

    @cached_property
    def ids(self) -> tuple[Ids, ...]:
        return tuple(sample.ids for samples in self.scenes() for sample in samples)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, position: int) -> Sample:
        scene, place = self._places[position]
        return self.scene(scene)[place]

    def scenes(self) -> Iterator[tuple[Sample, ...]]:
        return (self.scene(position) for position in range(self.num_scenes))

    def scene(self, position: int) -> tuple[Sample, ...]:
        """All expressions about one scene, with their masks."""
        if self.num_frames > 1:
            return _clip_samples(self, self.clip(position))
        return _samples(self, self.drawn(position))

    def drawn(self, position: int) -> DrawnScene:
        """The image of the scene at this position."""
        return DrawnScene(seed=self.seed(position), combinations=self._combinations, side=self.size, **self._looks)

    def clip(self, position: int) -> DrawnClip:
        """The clip of the scene at this position, in a world of clips."""
        seed, frames = self.seed(position), self.num_frames
        looks = self._looks
        return DrawnClip(seed=seed, num_frames=frames, combinations=self._combinations, side=self.size, **looks)

    def visual(self, position: int) -> DrawnScene | DrawnClip:
        """The image, or the clip, at this position."""
        return self.clip(position) if self.num_frames > 1 else self.drawn(position)

    def seed(self, position: int) -> int:
        """The seed of the scene at this position."""
        if not 0 <= position < self.num_scenes:
            raise IndexError(f"Scene {position} does not exist; Toyland has {self.num_scenes} scenes.")
        if self.split not in ("testA", "held-out"):
            return self._first_seed + position
        # Most scenes have no people, or no held-out pair: these seeds are skipped.
        while len(self._accepted) <= position:
            seed = self._accepted[-1] + 1 if self._accepted else self._first_seed
            while not any(map(self.describes, self._scene(seed).things)):
                seed += 1
            self._accepted.append(seed)
        return self._accepted[position]

    def describes(self, thing: Thing) -> bool:
        """Whether a thing may be a referent: people in testA, other things in testB, held-out pairs in held-out."""
        if self.split == "held-out":
            return is_held_out(thing.kind, thing.colour)
        is_person = FAMILY_OF[thing.kind] == "people"
        return {"testA": is_person, "testB": not is_person}.get(self.split, True)

    @property
    def _first_seed(self) -> int:
        return FIRST_SEEDS[self.split] if self.first_seed is None else self.first_seed

    @cached_property
    def _accepted(self) -> list[int]:
        return []

    @cached_property
    def _places(self) -> tuple[tuple[int, int], ...]:
        """Scene and place within the scene of every sample."""
        counts = Counter(ids.image for ids in self.ids)
        images = (str(self.seed(position)) for position in range(self.num_scenes))
        return tuple((position, place) for position, image in enumerate(images) for place in range(counts[image]))

    @property
    def _combinations(self) -> Combinations:
        return "held-out" if self.split == "held-out" else "seen"

    @property
    def _looks(self) -> dict[str, str]:
        return {"content": self.content, "style": self.style}

    def _scene(self, seed: int) -> Scene:
        return sample_scene(seed, CONTENTS[self.content], self._combinations)


@lru_cache(maxsize=8)
def _drawn(scene: DrawnScene) -> DrawnImage:
    return draw(scene.scene(), STYLES[scene.style], scene.side)


@lru_cache(maxsize=32)
def _view(scene: DrawnScene) -> View:
    return scene.view()


def check_frames(num_frames: int, labelled_frames: int) -> None:
    """Raises `InputError` where clips cannot have so many frames."""
    if num_frames != 1 and not MIN_FRAMES <= num_frames <= MAX_FRAMES:
        raise InputError(
            f"Toyland's num_frames is {num_frames}; expected 1 for images, or {MIN_FRAMES} to {MAX_FRAMES} for clips."
        )
    if not 1 <= labelled_frames <= num_frames:
        raise InputError(f"Toyland's labelled_frames is {labelled_frames}; expected 1 to num_frames ({num_frames}).")


_clip_samples = lru_cache(maxsize=16)(clip_samples)


@lru_cache(maxsize=16)
def _samples(world: Toyland, drawn: DrawnScene) -> tuple[Sample, ...]:
    view = _view(drawn)
    # Each subset has its own seed, so that its expressions do not depend on the other subsets.
    rng = Random(f"{drawn.seed} {world.subset} {world.paraphrases}")
    referents = [index for index in sorted(view.certain) if world.describes(view.things[index])]
    if world.objects_per_scene is not None and world.objects_per_scene < len(referents):
        referents = sorted(rng.sample(referents, k=world.objects_per_scene))
    options, per_object = world.expression_options, world.sentences_per_object
    expressions = tuple(generate(view, referents, world.wording, options, per_object, rng))
    objects = _objects(drawn.seed, expressions)
    return tuple(
        _sample(world, drawn, view, number, expression, object_name)
        for number, (expression, object_name) in enumerate(zip(expressions, objects, strict=True))
    )


def _objects(seed: int, expressions: tuple[Expression, ...]) -> list[str]:
    """The object of each expression. Each one without a referent has its own, so that an epoch that draws one
    expression per object draws them all."""
    names, num_without = [], 0
    for expression in expressions:
        num_without += not expression.targets
        without = NO_OBJECT if num_without < 2 else f"{NO_OBJECT}-{num_without}"
        names.append(f"{seed}-{'+'.join(map(str, expression.targets))}" if expression.targets else without)
    return names


def _sample(
    world: Toyland, drawn: DrawnScene, view: View, number: int, expression: Expression, object_name: str
) -> Sample:
    mask = np.asarray(drawn.image().masks[list(expression.targets)].any(axis=0))
    return Sample(
        visual=drawn,
        expression=expression.text,
        mask=cast(RLE, masks.encode(mask)),
        ids=Ids(image=str(drawn.seed), object=object_name, sentence=f"{drawn.seed}-{world.subset}-{number}"),
        dataset=world.subset,
        split=world.split,
        traits=traits(expression, view, world.wording),
    )
