"""Where a run's Samples come from: configs that are names and paths only, and the readers they stand for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..data.batches import Joined
from ..errors import DeixisError
from ..records import Reader
from ..toyland.phrases import Register


@dataclass(frozen=True, kw_only=True)
class RefCOCOData:
    """One of the RefCOCO family, as its authors publish it, under `root`."""

    root: str = "data"
    dataset: str = "refcoco"  # refcoco, refcoco+, refcocog
    split_by: str = "unc"  # unc; for refcocog umd or google
    train_split: str = "train"
    validation_split: str = "val"
    sentences_per_image: int = 1
    every_sentence: bool = False  # published: each epoch draws one sentence of every object
    validation_limit: int | None = None

    def readers(self) -> tuple[Reader, Reader]:
        """Training and validation."""
        from ..data.refcoco import RefCOCO

        root = Path(self.root)
        train, held = (
            RefCOCO(root, dataset=self.dataset, split_by=self.split_by, split=split)
            for split in (self.train_split, self.validation_split)
        )
        return train, held


@dataclass(frozen=True, kw_only=True)
class ToylandData:
    """Our own world; scenes are drawn as they are needed, or read from where they were packed.

    `packed` is a folder with the packed splits `train/` and `val/`; what is in them rules over the numbers of scenes.
    """

    registers: tuple[Register, ...] = ("toyland", "toyland+", "toyland-g")
    num_scenes: int = 20_000
    validation_scenes: int = 200
    validation_limit: int | None = 600
    size: int = 256
    sentences_per_object: int = 3
    sentences_per_image: int = 4
    every_sentence: bool = False
    packed: str | None = None

    def __post_init__(self) -> None:
        if not self.registers:
            raise DeixisError("Toyland needs a register; give toyland, toyland+ or toyland-g.")

    def readers(self) -> tuple[Reader, Reader]:
        """Training and validation, each over all registers."""
        return self._split("train", self.num_scenes), self._split("val", self.validation_scenes)

    def _split(self, split: Literal["train", "val"], num_scenes: int) -> Reader:
        from ..toyland.packed import PackedToyland
        from ..toyland.world import Toyland

        if self.packed is not None:
            return PackedToyland(Path(self.packed) / split, self.registers)
        worlds = tuple(
            Toyland(
                split=split,
                register=register,
                num_scenes=num_scenes,
                size=self.size,
                sentences_per_object=self.sentences_per_object,
            )
            for register in self.registers
        )
        return worlds[0] if len(worlds) == 1 else Joined(worlds)


Data = ToylandData | RefCOCOData
