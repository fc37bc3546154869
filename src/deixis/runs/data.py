"""Where a run's Samples come from: configs that are names and paths only, and the readers they stand for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from ..data.batches import check_limit
from ..data.subsets import Concat
from ..data.validation import Issues, validate
from ..data.readers.captions import CaptionedInstances
from ..data.readers.jsonl import JsonlDataset
from ..data.readers.formats import choose, open_splits
from ..data.segmentation import Overlaps
from ..errors import DeixisError, InputError
from ..records import Reader
from ..toyland.packed import PackedToyland, pack
from ..toyland.phrases import Register
from ..toyland.telling import Extras
from ..toyland.world import Toyland
from ..training.processes import processes


@dataclass(frozen=True, kw_only=True)
class StoredData:
    """A data set with masks under `root`: one that is published, as its authors publish it, or your own.

    `dataset` says which it is: refcoco, refcoco+, refcocog, grefcoco, phrasecut, folder (JSONL), coco (JSON with
    captions), or None for whatever lies there. Your own records are looked through before the first step, so that
    none is found broken at night; with `skip_broken` all photos are too, and what is broken is told and left out.
    """

    root: str = "data"
    dataset: str | None = None
    split_by: str | None = None  # unc; for refcocog umd or google
    train_split: str = "train"
    validation_split: str = "val"
    sentences_per_image: int = 1
    overlaps: Overlaps = "published"  # RefCOCO's family loses pixels where parts of one object overlap, as published
    every_sentence: bool = False  # published: each epoch draws one sentence of every object
    validation_limit: int | None = None
    skip_broken: bool = False

    def __post_init__(self) -> None:
        check_limit(self.validation_limit)

    def readers(self) -> tuple[Reader, Reader]:
        """Training and validation."""
        report = Issues(skip=self.skip_broken)
        splits = open_splits(self.root, self.dataset, self.split_by, report, self.overlaps)
        if len(splits) == 1 and {self.train_split, self.validation_split} - {*splits}:
            raise InputError(
                f"{self.root} has one split only, {next(iter(splits))!r}; training wants one to learn from and another "
                "to be scored on: write train.jsonl and val.jsonl (or .json), or give each record a 'split'."
            )
        chosen = [choose(splits, split, self.root) for split in (self.train_split, self.validation_split)]
        if self.skip_broken or isinstance(chosen[0], JsonlDataset | CaptionedInstances):
            done = count(1)
            with _bar("checking", sum(map(len, chosen))) as tell:
                chosen = [
                    validate(reader, report, lambda: tell(next(done)), look_at_images=self.skip_broken, need_masks=True)
                    for reader in chosen
                ]
        if not all(map(len, chosen)):
            why = f"all of it is broken: {report.broken[0]}" if report else "choose other splits."
            raise InputError(f"{self.root} has nothing to learn from, or nothing to be scored on; {why}")
        if report and processes().is_main_process:
            Console(stderr=True).print(report.summary(), highlight=False, soft_wrap=True, markup=False)
        training, held = chosen
        return training, held


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
            raise InputError("Toyland needs a register; give toyland, toyland+ or toyland-g.")
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
            return worlds[0] if len(worlds) == 1 else Concat(worlds)
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
        raise InputError(
            f"{place} was drawn with {came}, but {asked} is wanted; give another --data.packed, or remove that folder."
        )


def _draw(place: Path, worlds: tuple[Toyland, ...], workers: int) -> None:
    with _bar(f"drawing {place}", worlds[0].num_scenes) as tell:
        pack(place, worlds, workers=workers, progress=tell)


@contextmanager
def _bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar for who waits at a terminal, on the main process; it is told how much is done."""
    console = Console(stderr=True)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    unseen = not (console.is_terminal and processes().is_main_process)
    with Progress(*columns, console=console, disable=unseen) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)


Data = ToylandData | StoredData
