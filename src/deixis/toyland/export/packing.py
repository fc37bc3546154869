"""Draws scenes into a packed folder, which `PackedToyland` reads."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from secrets import token_hex

import numpy as np
from jaxtyping import Bool, UInt8

from ...errors import InputError
from ..packed import BACKGROUND, DESCRIPTION
from ..world import DrawnScene, Toyland

ABANDONED = 24 * 3600  # seconds without a new scene, after which an unfinished folder is removed
THING_FACTS = ("kind", "colour", "size", "pattern", "state", "facing", "carried")


def pack(
    path: Path, worlds: Sequence[Toyland], *, workers: int = 1, progress: Callable[[int], None] | None = None
) -> None:
    """Draw the scenes of the worlds, which differ in subset and paraphrases only, into a new folder.

    The folder appears when it is complete. If another process completes the same folder first, that one stays.
    `progress` is called with the number of scenes drawn so far.
    """
    first = worlds[0]
    for world in worlds[1:]:
        if _ends(world) != _ends(first):
            raise InputError(
                "The worlds have different scenes; only worlds of one split and style are packed together."
            )
        for name in ("expression_options", "sentences_per_object"):
            if getattr(world, name) != getattr(first, name):
                raise InputError(f"The worlds differ in {name}; expected the same in all worlds of a packed folder.")
    if path.exists():
        raise InputError(f"{path} exists already; choose a new folder, or remove it first.")
    _remove_abandoned(path)
    unfinished = path.with_name(f".{path.name}.{token_hex(8)}.part")
    unfinished.mkdir(parents=True)
    try:
        _write(unfinished, worlds, workers, progress)
        os.replace(unfinished, path)
    except OSError:
        if not path.exists():
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def instance_map(masks: Bool[np.ndarray, "k h w"]) -> UInt8[np.ndarray, "h w"]:
    """The index of the mask that covers each pixel, 255 for none; masks do not overlap."""
    covered = masks.any(axis=0) if len(masks) else np.zeros(masks.shape[1:], dtype=bool)
    index = masks.argmax(axis=0) if len(masks) else covered
    return np.where(covered, index, BACKGROUND).astype(np.uint8)


def _ends(world: Toyland) -> tuple[DrawnScene, DrawnScene]:
    return world.drawn(0), world.drawn(world.num_scenes - 1)


def _remove_abandoned(path: Path) -> None:
    """Remove what killed processes left, but not what other processes are still writing."""
    for scenes in path.parent.glob(f".{path.name}.*.part/scenes.jsonl"):
        with suppress(FileNotFoundError):  # its process has just completed the folder
            if time.time() - scenes.stat().st_mtime > ABANDONED:
                shutil.rmtree(scenes.parent, ignore_errors=True)


def _write(folder: Path, worlds: Sequence[Toyland], workers: int, progress: Callable[[int], None] | None) -> None:
    """Every file of a packed folder. On return no array is open: some systems do not rename folders of open files."""
    first = worlds[0]
    shape = (first.num_scenes, first.size, first.size)
    pixels = np.lib.format.open_memmap(folder / "pixels.npy", mode="w+", dtype=np.uint8, shape=(*shape, 3))
    instances = np.lib.format.open_memmap(folder / "instances.npy", mode="w+", dtype=np.uint8, shape=shape)
    lines, counts = [0], []
    with (folder / "scenes.jsonl").open("wb") as file:
        for position, scene in enumerate(_scenes(worlds, workers)):
            pixels[position], instances[position] = scene.pixels, scene.instances
            lines.append(lines[-1] + file.write(scene.line))
            counts.append(scene.counts)
            if progress is not None:
                progress(position + 1)
    pixels.flush()
    instances.flush()
    np.save(folder / "lines.npy", np.asarray(lines, dtype=np.int64))
    np.save(folder / "counts.npy", np.asarray(counts, dtype=np.int64))
    description = {
        "subsets": [world.subset for world in worlds],
        "split": first.split,
        "style": first.style,
        "content": first.content,
        "sentences_per_object": first.sentences_per_object,
        "expression_options": asdict(first.expression_options),
    }
    (folder / DESCRIPTION).write_text(json.dumps(description), encoding="utf-8")


@dataclass(frozen=True)
class _Scene:
    """What the folder stores of one scene."""

    pixels: UInt8[np.ndarray, "h w 3"]
    instances: UInt8[np.ndarray, "h w"]
    line: bytes
    counts: tuple[int, ...]


def _scenes(worlds: Sequence[Toyland], workers: int) -> Iterator[_Scene]:
    tasks = [(tuple(worlds), position) for position in range(worlds[0].num_scenes)]
    if workers < 2:
        yield from map(_scene, tasks)
        return
    with ProcessPoolExecutor(workers) as pool:
        # In windows, which bound the results that wait in memory.
        for start in range(0, len(tasks), 64 * workers):
            yield from pool.map(_scene, tasks[start : start + 64 * workers], chunksize=8)


def _scene(task: tuple[tuple[Toyland, ...], int]) -> _Scene:
    worlds, position = task
    drawn = worlds[0].drawn(position)
    image = drawn.image()
    samples = [world.scene(position) for world in worlds]
    expressions = [
        {
            "text": sample.expression,
            "ids": [sample.ids.image, sample.ids.object, sample.ids.sentence],
            "traits": dict(sample.traits),
        }
        for one in samples
        for sample in one
    ]
    things = [{name: getattr(thing, name) for name in THING_FACTS} for thing in drawn.scene().things]
    line = json.dumps({"seed": drawn.seed, "things": things, "expressions": expressions}) + "\n"
    return _Scene(image.pixels, instance_map(image.masks), line.encode(), tuple(map(len, samples)))
