"""Where a run's Samples come from: configs that are names and paths only, and the readers they stand for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from ..data.batches import Joined, check_limit
from ..data.refcoco import RefCOCO
from ..data.segmentation import Overlaps
from ..errors import DeixisError
from ..records import Reader
from ..toyland.packed import PackedToyland, pack
from ..toyland.phrases import Register
from ..toyland.telling import Extras
from ..toyland.world import Toyland
from ..train.processes import processes


@dataclass(frozen=True, kw_only=True)
class RefCOCOData:
    """One of the RefCOCO family, as its authors publish it, under `root`."""

    root: str = "data"
    dataset: str = "refcoco"  # refcoco, refcoco+, refcocog
    split_by: str = "unc"  # unc; for refcocog umd or google
    train_split: str = "train"
    validation_split: str = "val"
    sentences_per_image: int = 1
    overlaps: Overlaps = "published"  # pixels where parts of one object overlap are dropped, as the published code does
    every_sentence: bool = False  # published: each epoch draws one sentence of every object
    validation_limit: int | None = None

    def __post_init__(self) -> None:
        check_limit(self.validation_limit)

    def readers(self) -> tuple[Reader, Reader]:
        """Training and validation."""
        root = Path(self.root)
        train, held = (
            RefCOCO(root, self.dataset, self.split_by, split, overlaps=self.overlaps)
            for split in (self.train_split, self.validation_split)
        )
        return train, held


@dataclass(frozen=True, kw_only=True)
class ToylandData:
    """Our own world: drawn once into the folder `packed`, as `train/` and `val/`, and read from there ever after.

    What is packed rules over the numbers of scenes. Without `packed` scenes are drawn whenever they are looked at.
    `no_target` is how many training sentences a scene and register mean nothing in it, on average: 1.5 makes 18 % of an
    epoch that draws one sentence of each object, 1 makes 11 %. Validation has none: the loop's IoU counts them 0.
    """

    registers: tuple[Register, ...] = ("toyland", "toyland+", "toyland-g")
    num_scenes: int = 20_000
    validation_scenes: int = 200
    validation_limit: int | None = 600
    size: int = 256
    sentences_per_object: int = 3
    no_target: float = 0.0
    sentences_per_image: int = 4
    every_sentence: bool = False
    packed: str | None = "runs/packed"
    packers: int = 2  # processes that draw

    def __post_init__(self) -> None:
        if not self.registers:
            raise DeixisError("Toyland needs a register; give toyland, toyland+ or toyland-g.")
        Extras(no_target=self.no_target)  # raises where it is impossible
        check_limit(self.validation_limit)

    def readers(self) -> tuple[Reader, Reader]:
        """Training and validation, each over all registers."""
        training = self._split("train", self.num_scenes, Extras(no_target=self.no_target))
        return training, self._split("val", self.validation_scenes, Extras())

    def _split(self, split: Literal["train", "val"], num_scenes: int, extras: Extras) -> Reader:
        worlds = tuple(
            Toyland(
                split=split,
                register=register,
                num_scenes=num_scenes,
                size=self.size,
                sentences_per_object=self.sentences_per_object,
                extras=extras,
            )
            for register in self.registers
        )
        if self.packed is None:
            return worlds[0] if len(worlds) == 1 else Joined(worlds)
        place = Path(self.packed) / split
        with processes().main_process_first():
            if not place.exists():
                _draw(place, worlds, self.packers)
        packed = PackedToyland(place, self.registers)
        _check_drawn(place, packed, worlds[0])
        return packed


def _check_drawn(place: Path, packed: PackedToyland, world: Toyland) -> None:
    """Raises DeixisError where the scenes of the folder are not drawn, or not spoken about, as the world's."""
    sentences = packed.sentences_per_object or world.sentences_per_object  # older folders do not tell
    drawn = {"size": packed.size, "sentences_per_object": sentences, **vars(packed.extras)}
    wanted = {"size": world.size, "sentences_per_object": world.sentences_per_object, **vars(world.extras)}
    if differing := [name for name in wanted if drawn[name] != wanted[name]]:
        came, asked = (", ".join(f"{name}={facts[name]:g}" for name in differing) for facts in (drawn, wanted))
        raise DeixisError(
            f"{place} was drawn with {came}, but {asked} is wanted; give another --data.packed, or remove that folder."
        )


def _draw(place: Path, worlds: tuple[Toyland, ...], workers: int) -> None:
    """Pack the worlds, with a bar for who waits."""
    console = Console(stderr=True)
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=console) as progress:
        task = progress.add_task(f"drawing {place}", total=worlds[0].num_scenes)
        pack(place, worlds, workers=workers, progress=lambda done: progress.update(task, completed=done))


Data = ToylandData | RefCOCOData
