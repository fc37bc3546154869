"""Toyland as a data set: splits by scene seed, Samples that are drawn when they are looked at."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from random import Random
from typing import Literal, cast, get_args

import numpy as np
from jaxtyping import UInt8

from .. import masks
from ..errors import InputError, did_you_mean
from ..masks import RLE
from ..records import Ids, Sample, still
from .domains import CONTENTS, STYLES, is_held_out
from .drawing import Picture, draw
from .grammar import Speech
from .phrases import Paraphrases, Register
from .sampling import Combinations, sample_scene
from .scenes import FAMILY_OF, Scene, Thing
from .telling import Extras, Told, tell, traits
from .view import View, look

Split = Literal["train", "val", "testA", "testB", "held-out"]
# Where each split's scene seeds begin: so far apart that no number of scenes makes two splits meet.
FIRST_SEEDS: dict[str, int] = {
    "train": 0,
    "val": 1_000_000_000,
    "testA": 1_200_000_000,
    "testB": 1_400_000_000,
    "held-out": 1_600_000_000,
}
REGISTERS: tuple[str, ...] = get_args(Register)
PARAPHRASES: tuple[str, ...] = get_args(Paraphrases)
NO_OBJECT = "none"  # of a scene's first sentence about nothing; further ones are none-2, none-3 …


@dataclass(frozen=True, kw_only=True)
class DrawnScene:
    """A still that is drawn when it is read, and remembered for the next few sentences about it."""

    seed: int
    combinations: Combinations = "seen"
    content: str = "everything"  # names, as those of `domains`: a worker process looks the rest up
    style: str = "painted"
    side: int = 256

    @property
    def size(self) -> tuple[int, int]:
        return self.side, self.side

    def scene(self) -> Scene:
        return sample_scene(self.seed, CONTENTS[self.content], self.combinations)

    def picture(self) -> Picture:
        return _drawn(self)

    def view(self) -> View:
        picture = self.picture()
        return look(self.scene(), picture.masks, picture.visible)

    @property
    def num_frames(self) -> int:
        return 1

    def read(self, frames: Sequence[int] | None = None) -> UInt8[np.ndarray, "t h w 3"]:
        return still(self.picture().pixels, frames)


@dataclass(frozen=True, kw_only=True)
class Toyland:
    """A Reader of `num_scenes` scenes; `scene(position)` gives all Samples of one scene for one drawing.

    `ids`, `len` and access by sample look at every scene, and so draw each once; `scene` draws only its own.
    Domains' names are those of `domains.STYLES` and `domains.CONTENTS`.
    """

    split: str = "train"
    register: str = "toyland"
    num_scenes: int = 1000
    style: str = "painted"
    content: str = "everything"
    size: int = 256
    sentences_per_object: int = 3
    objects_per_scene: int | None = None  # None: every thing that can be seen well
    paraphrases: str = "training"  # or "held-out"
    extras: Extras = field(default_factory=Extras)
    first_seed: int | None = None

    def __post_init__(self) -> None:
        for name, value, known in (
            ("split", self.split, tuple(FIRST_SEEDS)),
            ("register", self.register, REGISTERS),
            ("paraphrases", self.paraphrases, PARAPHRASES),
            ("style", self.style, tuple(STYLES)),
            ("content", self.content, tuple(CONTENTS)),
        ):
            if value not in known:
                raise InputError(f"Toyland knows no {name} {value!r}. {did_you_mean(value, known)}")
        if min(self.num_scenes, self.sentences_per_object, self.size) < 1:
            raise InputError("Toyland needs at least one scene, one sentence an object and one pixel.")

    @property
    def speech(self) -> Speech:
        shows_colours = STYLES[self.style].paper != "blue"
        return Speech(
            register=cast(Register, self.register),
            paraphrases=cast(Paraphrases, self.paraphrases),
            colours=shows_colours,
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
        return _samples(self, self.drawn(position))

    def drawn(self, position: int) -> DrawnScene:
        """The scene in a place, as something to read."""
        if not 0 <= position < self.num_scenes:
            raise IndexError(f"Scene {position} was asked for, but there are {self.num_scenes}.")
        if self.split not in ("testA", "held-out"):
            return self._scene_of(self._first_seed + position)
        # Most scenes hold nobody, or no held-out pair: their seeds are passed over.
        while len(self._accepted) <= position:
            seed = self._accepted[-1] + 1 if self._accepted else self._first_seed
            while not any(map(self.speaks_about, self._scene_of(seed).scene().things)):
                seed += 1
            self._accepted.append(seed)
        return self._scene_of(self._accepted[position])

    def speaks_about(self, thing: Thing) -> bool:
        """testA is about people, testB about everything else, held-out about pairs that training never shows."""
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
        images = (str(self.drawn(position).seed) for position in range(self.num_scenes))
        return tuple((position, place) for position, image in enumerate(images) for place in range(counts[image]))

    def _scene_of(self, seed: int) -> DrawnScene:
        return DrawnScene(
            seed=seed,
            combinations="held-out" if self.split == "held-out" else "seen",
            content=self.content,
            style=self.style,
            side=self.size,
        )


@lru_cache(maxsize=8)
def _drawn(scene: DrawnScene) -> Picture:
    return draw(scene.scene(), STYLES[scene.style], scene.side)


@lru_cache(maxsize=32)
def _view(scene: DrawnScene) -> View:
    return scene.view()


@lru_cache(maxsize=16)
def _samples(world: Toyland, drawn: DrawnScene) -> tuple[Sample, ...]:
    view = _view(drawn)
    # Words are drawn by lot from a seed of their own, so that a register never changes what another one says.
    chance = Random(f"{drawn.seed} {world.register} {world.paraphrases}")
    referents = [index for index in sorted(view.sure) if world.speaks_about(view.things[index])]
    if world.objects_per_scene is not None and world.objects_per_scene < len(referents):
        referents = sorted(chance.sample(referents, k=world.objects_per_scene))
    told = tuple(tell(view, referents, world.speech, world.extras, world.sentences_per_object, chance))
    names = _names_of_objects(drawn.seed, told)
    return tuple(_sample(world, drawn, view, number, one, names[number]) for number, one in enumerate(told))


def _names_of_objects(seed: int, told: tuple[Told, ...]) -> list[str]:
    """Each sentence about nothing has an object of its own: an epoch of one sentence an object then meets them all."""
    names, nothings = [], 0
    for one in told:
        nothings += not one.targets
        nothing = NO_OBJECT if nothings < 2 else f"{NO_OBJECT}-{nothings}"
        names.append(f"{seed}-{'+'.join(map(str, one.targets))}" if one.targets else nothing)
    return names


def _sample(world: Toyland, drawn: DrawnScene, view: View, number: int, told: Told, name: str) -> Sample:
    pixels = drawn.picture().masks
    meant = np.asarray(pixels[list(told.targets)].any(axis=0))
    return Sample(
        visual=drawn,
        expression=told.text,
        mask=cast(RLE, masks.encode(meant)),
        ids=Ids(
            image=str(drawn.seed),
            object=name,
            sentence=f"{drawn.seed}-{world.register}-{number}",
        ),
        dataset=world.register,
        split=world.split,
        traits=traits(told, view, world.speech),
    )
