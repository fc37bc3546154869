"""Scenes drawn once and kept as arrays, for training that must not wait for a brush.

A folder holds `pixels.npy [s h w 3]`, `instances.npy [s h w]` (which thing is seen at a pixel, 255 for none),
`scenes.jsonl` (a line a scene: its things and what is said about them), `lines.npy` (where each line begins) and
`registers.json` (how it was spoken) with `counts.npy [s r]` (how many expressions each scene has in each register).
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from secrets import token_hex
from typing import Any, cast

import numpy as np
from jaxtyping import Bool, UInt8

from .. import masks
from ..errors import InputError
from ..masks import RLE
from ..records import Ids, Sample, still
from .telling import Extras
from .world import DrawnScene, Toyland

NOTHING = 255
FILES = ("pixels.npy", "instances.npy", "scenes.jsonl", "lines.npy", "counts.npy", "registers.json")
ABANDONED = 24 * 3600  # seconds without a scene written, after which a folder's painter is taken for dead


def pack(
    path: Path, worlds: Sequence[Toyland], *, workers: int = 1, progress: Callable[[int], None] | None = None
) -> None:
    """Draw the scenes of the worlds, which differ in how they speak and in nothing else, into a new folder.

    The folder appears only when it is complete; where another process was faster, its folder stays. `progress` hears
    the number of scenes drawn so far.
    """
    first = worlds[0]
    for world in worlds[1:]:
        if _ends(world) != _ends(first):
            raise InputError("Only worlds with the same scenes can be packed together; their splits or styles differ.")
        if (world.extras, world.sentences_per_object) != (first.extras, first.sentences_per_object):
            raise InputError(
                "Only worlds with the same extras and sentences_per_object can be packed together; theirs differ."
            )
    if path.exists():
        raise InputError(f"{path} exists already; choose a new folder, or remove it first.")
    _remove_abandoned(path)
    beside = path.with_name(f".{path.name}.{token_hex(8)}.part")
    beside.mkdir(parents=True)
    try:
        _write(beside, worlds, workers, progress)
        os.replace(beside, path)
    except OSError:
        if not path.exists():
            raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _remove_abandoned(path: Path) -> None:
    """What runs left that were killed; others may be drawing the same folder just now."""
    for scenes in path.parent.glob(f".{path.name}.*.part/scenes.jsonl"):
        with suppress(FileNotFoundError):  # it has just been given its name
            if time.time() - scenes.stat().st_mtime > ABANDONED:
                shutil.rmtree(scenes.parent, ignore_errors=True)


def _write(folder: Path, worlds: Sequence[Toyland], workers: int, progress: Callable[[int], None] | None) -> None:
    """Every file of a packed folder; no array is open afterwards, or some systems would not rename it."""
    first = worlds[0]
    shape = (first.num_scenes, first.size, first.size)
    pixels = np.lib.format.open_memmap(folder / "pixels.npy", mode="w+", dtype=np.uint8, shape=(*shape, 3))
    instances = np.lib.format.open_memmap(folder / "instances.npy", mode="w+", dtype=np.uint8, shape=shape)
    registers = [world.register for world in worlds]
    lines, counts = [0], []
    with (folder / "scenes.jsonl").open("wb") as file:
        for position, scene in enumerate(_packed(worlds, workers)):
            pixels[position], instances[position] = scene.pixels, scene.instances
            lines.append(lines[-1] + file.write(scene.line))
            counts.append(scene.counts)
            if progress is not None:
                progress(position + 1)
    pixels.flush()
    instances.flush()
    np.save(folder / "lines.npy", np.asarray(lines, dtype=np.int64))
    np.save(folder / "counts.npy", np.asarray(counts, dtype=np.int64))
    described = {
        "registers": registers,
        "split": first.split,
        "style": first.style,
        "content": first.content,
        "sentences_per_object": first.sentences_per_object,
        "extras": asdict(first.extras),
    }
    (folder / "registers.json").write_text(json.dumps(described), encoding="utf-8")


@dataclass(frozen=True)
class PackedScene:
    """A still in a packed folder."""

    path: Path
    position: int

    @property
    def size(self) -> tuple[int, int]:
        _, height, width, _ = _array(self.path / "pixels.npy").shape
        return height, width

    @property
    def num_frames(self) -> int:
        return 1

    def read(self, frames: Sequence[int] | None = None) -> UInt8[np.ndarray, "t h w 3"]:
        return still(np.array(_array(self.path / "pixels.npy")[self.position]), frames)


class PackedToyland:
    """A Reader over a packed folder; `registers` chooses among those packed, all by default."""

    def __init__(self, path: Path | str, registers: Sequence[str] | None = None) -> None:
        self.path = Path(path)
        missing = [name for name in FILES if not (self.path / name).exists()]
        if missing:
            raise InputError(f"{self.path} is no packed Toyland: it lacks {', '.join(missing)}; `pack` writes one.")
        self.described = json.loads((self.path / "registers.json").read_text(encoding="utf-8"))
        known = self.described["registers"]
        self.registers = tuple(known if registers is None else registers)
        if strangers := set(self.registers) - set(known):
            raise InputError(f"{self.path} holds no register {sorted(strangers)[0]!r}; it holds {', '.join(known)}.")
        counts = np.load(self.path / "counts.npy")
        columns = [column for column, register in enumerate(known) if register in self.registers]
        self._ends = np.cumsum(counts[:, columns].sum(axis=1))
        self._lines = np.load(self.path / "lines.npy")

    @property
    def num_scenes(self) -> int:
        return len(self._ends)

    @property
    def extras(self) -> Extras:
        """The extras that the sentences were drawn with; folders from before they were noted down have none."""
        return Extras(**self.described.get("extras", {}))

    @property
    def sentences_per_object(self) -> int | None:
        """How many sentences each object was asked for; None in folders from before it was noted down."""
        return cast(int | None, self.described.get("sentences_per_object"))

    @property
    def split(self) -> str:
        return cast(str, self.described["split"])

    @property
    def size(self) -> int:
        """The side of the pictures."""
        return int(np.load(self.path / "pixels.npy", mmap_mode="r").shape[1])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, position: int) -> Sample:
        if not 0 <= position < len(self):
            raise IndexError(f"Sample {position} was asked for, but there are {len(self)}.")
        scene = int(np.searchsorted(self._ends, position, side="right"))
        place = position - (int(self._ends[scene - 1]) if scene else 0)
        spoken = self._spoken(scene)[place]
        return self._sample(scene, spoken, self.instances(scene))

    @cached_property
    def ids(self) -> tuple[Ids, ...]:
        return tuple(Ids(*one["ids"]) for scene in range(self.num_scenes) for one in self._spoken(scene))

    def scene(self, position: int) -> tuple[Sample, ...]:
        """All expressions about one scene."""
        instances = self.instances(position)
        return tuple(self._sample(position, spoken, instances) for spoken in self._spoken(position))

    def scenes(self) -> Iterator[tuple[Sample, ...]]:
        return (self.scene(position) for position in range(self.num_scenes))

    def pixels(self, position: int) -> UInt8[np.ndarray, "h w 3"]:
        return np.array(_array(self.path / "pixels.npy")[position])

    def instances(self, position: int) -> UInt8[np.ndarray, "h w"]:
        """The index of the thing seen at each pixel, 255 where there is none."""
        return np.array(_array(self.path / "instances.npy")[position])

    def seed(self, position: int) -> int:
        """The seed that a scene was drawn from."""
        return cast(int, self._line(position)["seed"])

    def things(self, position: int) -> list[dict[str, Any]]:
        """Kind, colour, size, pattern and state of each thing of a scene, in the order of `instances`."""
        return cast(list[dict[str, Any]], self._line(position)["things"])

    def _spoken(self, scene: int) -> list[dict[str, Any]]:
        return [one for one in self._line(scene)["expressions"] if one["traits"]["register"] in self.registers]

    def _line(self, scene: int) -> dict[str, Any]:
        start, end = self._lines[scene], self._lines[scene + 1]
        line = _array(self.path / "scenes.jsonl")[start:end].tobytes()
        return cast(dict[str, Any], json.loads(line))

    def _sample(self, scene: int, spoken: dict[str, Any], instances: UInt8[np.ndarray, "h w"]) -> Sample:
        is_target = np.zeros(256, dtype=bool)
        is_target[spoken["traits"]["targets"]] = True
        meant = is_target[instances]
        return Sample(
            visual=PackedScene(self.path, scene),
            expression=spoken["text"],
            mask=cast(RLE, masks.encode(meant)),
            ids=Ids(*spoken["ids"]),
            dataset=spoken["traits"]["register"],
            split=self.split,
            traits=spoken["traits"],
        )


@dataclass(frozen=True)
class _Packed:
    """What is kept of one scene."""

    pixels: UInt8[np.ndarray, "h w 3"]
    instances: UInt8[np.ndarray, "h w"]
    line: bytes
    counts: tuple[int, ...]


def _ends(world: Toyland) -> tuple[DrawnScene, DrawnScene]:
    return world.drawn(0), world.drawn(world.num_scenes - 1)


def _packed(worlds: Sequence[Toyland], workers: int) -> Iterator[_Packed]:
    tasks = [(tuple(worlds), position) for position in range(worlds[0].num_scenes)]
    if workers < 2:
        yield from map(_pack_scene, tasks)
        return
    with ProcessPoolExecutor(workers) as pool:
        # A window at a time: results wait for their turn, and must not fill the memory meanwhile.
        for start in range(0, len(tasks), 64 * workers):
            yield from pool.map(_pack_scene, tasks[start : start + 64 * workers], chunksize=8)


def _pack_scene(task: tuple[tuple[Toyland, ...], int]) -> _Packed:
    worlds, position = task
    drawn = worlds[0].drawn(position)
    picture = drawn.picture()
    samples = [world.scene(position) for world in worlds]
    spoken = [
        {
            "text": sample.expression,
            "ids": [sample.ids.image, sample.ids.object, sample.ids.sentence],
            "traits": dict(sample.traits),
        }
        for one in samples
        for sample in one
    ]
    names = ("kind", "colour", "size", "pattern", "state", "facing", "carried")
    things = [{name: getattr(thing, name) for name in names} for thing in drawn.scene().things]
    line = json.dumps({"seed": drawn.seed, "things": things, "expressions": spoken}) + "\n"
    return _Packed(picture.pixels, instance_map(picture.masks), line.encode(), tuple(map(len, samples)))


def instance_map(pixels: Bool[np.ndarray, "k h w"]) -> UInt8[np.ndarray, "h w"]:
    """Which of the masks, of which no two overlap, covers each pixel; 255 where none does."""
    covered = pixels.any(axis=0) if len(pixels) else np.zeros(pixels.shape[1:], dtype=bool)
    index = pixels.argmax(axis=0) if len(pixels) else covered
    return np.where(covered, index, NOTHING).astype(np.uint8)


@lru_cache(maxsize=16)
def _array(path: Path) -> np.ndarray:
    """One open memory map a file and process."""
    return np.load(path, mmap_mode="r") if path.suffix == ".npy" else np.memmap(path, dtype=np.uint8, mode="r")
