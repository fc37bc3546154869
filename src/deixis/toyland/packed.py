"""A Reader over a packed folder: Toyland's scenes drawn once and stored as arrays, so that training need not draw.

A folder holds `pixels.npy [s h w 3]`, `instances.npy [s h w]` (the thing visible at a pixel, 255 for none),
`scenes.jsonl` (one line per scene: its things and expressions), `lines.npy` (where each line begins), `packed.json`
(how the expressions were generated) and `counts.npy [s r]` (the number of expressions of each scene in each subset).
Of clips the arrays are `pixels.npy [s t h w 3]` and `instances.npy [s t h w]`, and traits hold the `frame`.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import UInt8

from .. import masks
from ..errors import InputError
from ..masks import RLE
from ..records import Ids, Sample, still
from .language.expressions import ExpressionOptions
from .render.drawing import BACKGROUND

DESCRIPTION = "packed.json"
ARRAYS = ("pixels.npy", "instances.npy", "scenes.jsonl", "lines.npy", "counts.npy")
# Names in folders of earlier versions, and what they are called now.
OLD_DESCRIPTION = "registers.json"
OLD_NAMES = {"registers": "subsets", "extras": "expression_options", "register": "subset", "is_rough": "is_noisy"}


@dataclass(frozen=True)
class PackedScene:
    """The image, or the clip, of a scene in a packed folder."""

    path: Path
    position: int

    @property
    def size(self) -> tuple[int, int]:
        *_, height, width, _ = _array(self.path / "pixels.npy").shape
        return height, width

    @property
    def num_frames(self) -> int:
        return _num_frames(self.path)

    def read(self, frames: Sequence[int] | None = None) -> UInt8[np.ndarray, "t h w 3"]:
        stored = _array(self.path / "pixels.npy")[self.position]
        if stored.ndim == 3:
            return still(np.array(stored), frames)
        return np.array(stored if frames is None else stored[list(frames)])


class PackedToyland:
    """A Reader over the expressions of a packed folder; `subsets` chooses among its subsets, all by default."""

    def __init__(self, path: Path | str, subsets: Sequence[str] | None = None) -> None:
        self.path = Path(path)
        old = self.path / OLD_DESCRIPTION
        description = old if old.exists() else self.path / DESCRIPTION
        missing = [file.name for file in (*(self.path / name for name in ARRAYS), description) if not file.exists()]
        if missing:
            raise InputError(
                f"{self.path} is not a packed Toyland folder: it lacks {', '.join(missing)}; `pack` writes one."
            )
        self.description = _with_new_names(json.loads(description.read_text(encoding="utf-8")))
        known = self.description["subsets"]
        self.subsets = tuple(known if subsets is None else subsets)
        if unknown := set(self.subsets) - set(known):
            raise InputError(f"{self.path} has no subset {sorted(unknown)[0]!r}; it has {', '.join(known)}.")
        counts = np.load(self.path / "counts.npy")
        columns = [column for column, subset in enumerate(known) if subset in self.subsets]
        self._ends = np.cumsum(counts[:, columns].sum(axis=1))
        self._lines = np.load(self.path / "lines.npy")

    @property
    def num_scenes(self) -> int:
        return len(self._ends)

    @property
    def split(self) -> str:
        return cast(str, self.description["split"])

    @property
    def expression_options(self) -> ExpressionOptions:
        """The options that the expressions were generated with; the oldest folders do not store any."""
        return ExpressionOptions(**self.description.get("expression_options", {}))

    @property
    def sentences_per_object(self) -> int | None:
        """The number of expressions requested for each object; None in the oldest folders, which do not store it."""
        return cast(int | None, self.description.get("sentences_per_object"))

    @property
    def style(self) -> str:
        return cast(str, self.description.get("style", "painted"))

    @property
    def content(self) -> str:
        return cast(str, self.description.get("content", "everything"))

    @property
    def size(self) -> int:
        """The side of the images in pixels."""
        return int(np.load(self.path / "pixels.npy", mmap_mode="r").shape[-2])

    @property
    def num_frames(self) -> int:
        """Frames of each clip; 1 for images."""
        return _num_frames(self.path)

    @property
    def labelled_frames(self) -> int:
        return cast(int, self.description.get("labelled_frames", 1))

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, position: int) -> Sample:
        if not 0 <= position < len(self):
            raise IndexError(f"Sample {position} does not exist; the folder has {len(self)} samples.")
        scene = int(np.searchsorted(self._ends, position, side="right"))
        place = position - (int(self._ends[scene - 1]) if scene else 0)
        expression = self._expressions(scene)[place]
        return self._sample(scene, expression, self.instances(scene, expression["traits"].get("frame", 0)))

    @cached_property
    def ids(self) -> tuple[Ids, ...]:
        found = []
        for scene in range(self.num_scenes):
            # Most of the time would be spent on the other traits.
            for one in json.loads(self._text(scene))["expressions"]:
                traits = one["traits"]
                if traits.get("subset", traits.get("register")) in self.subsets:
                    found.append(Ids(*one["ids"]))
        return tuple(found)

    def scene(self, position: int) -> tuple[Sample, ...]:
        """All expressions about one scene."""
        found = self._expressions(position)
        frames = {one["traits"].get("frame", 0) for one in found}
        instances = {frame: self.instances(position, frame) for frame in frames}
        return tuple(self._sample(position, one, instances[one["traits"].get("frame", 0)]) for one in found)

    def scenes(self) -> Iterator[tuple[Sample, ...]]:
        return (self.scene(position) for position in range(self.num_scenes))

    def pixels(self, position: int) -> UInt8[np.ndarray, "h w 3"]:
        return PackedScene(self.path, position).read()[0]

    def instances(self, position: int, frame: int = 0) -> UInt8[np.ndarray, "h w"]:
        """The index of the thing visible at each pixel of a frame, 255 for none."""
        stored = _array(self.path / "instances.npy")[position]
        return np.array(stored if stored.ndim == 2 else stored[frame])

    def seed(self, position: int) -> int:
        """The seed that a scene was drawn from."""
        return cast(int, self._line(position)["seed"])

    def things(self, position: int) -> list[dict[str, Any]]:
        """Kind, colour, size, pattern and state of each thing of a scene; `instances` holds positions in this list."""
        return cast(list[dict[str, Any]], self._line(position)["things"])

    def _expressions(self, scene: int) -> list[dict[str, Any]]:
        found = self._line(scene)["expressions"]
        return [one for one in found if one["traits"]["subset"] in self.subsets]

    def _line(self, scene: int) -> dict[str, Any]:
        return _parsed(self.path, int(self._lines[scene]), int(self._lines[scene + 1]))

    def _text(self, scene: int) -> bytes:
        return _line_of(self.path, int(self._lines[scene]), int(self._lines[scene + 1]))

    def _sample(self, scene: int, expression: dict[str, Any], instances: UInt8[np.ndarray, "h w"]) -> Sample:
        traits = expression["traits"]
        is_target = np.zeros(BACKGROUND + 1, dtype=bool)
        is_target[traits["targets"]] = True
        return Sample(
            visual=PackedScene(self.path, scene),
            expression=expression["text"],
            mask=cast(RLE, masks.encode(is_target[instances])),
            ids=Ids(*expression["ids"]),
            dataset=traits["subset"],
            split=self.split,
            frame=traits.get("frame", 0),
            traits=traits,
        )


def _with_new_names(facts: dict[str, Any]) -> dict[str, Any]:
    return {OLD_NAMES.get(name, name): value for name, value in facts.items()}


def _line_of(folder: Path, start: int, end: int) -> bytes:
    return _array(folder / "scenes.jsonl")[start:end].tobytes()


@lru_cache(maxsize=64)
def _parsed(folder: Path, start: int, end: int) -> dict[str, Any]:
    """A scene's line; the sentences of one scene are often read one after another."""
    line = cast(dict[str, Any], json.loads(_line_of(folder, start, end)))
    line["expressions"] = [one | {"traits": _with_new_names(one["traits"])} for one in line["expressions"]]
    return line


def _num_frames(path: Path) -> int:
    pixels = _array(path / "pixels.npy")
    return int(pixels.shape[1]) if pixels.ndim == 5 else 1


@lru_cache(maxsize=16)
def _array(path: Path) -> np.ndarray:
    """One open memory map per file and process."""
    return np.load(path, mmap_mode="r") if path.suffix == ".npy" else np.memmap(path, dtype=np.uint8, mode="r")
