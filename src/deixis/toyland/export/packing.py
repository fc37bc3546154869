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
from jaxtyping import UInt8

from ...errors import InputError
from ..motion.clip import DrawnClip
from ..packed import DESCRIPTION
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
        for name in ("expression_options", "sentences_per_object", "labelled_frames"):
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


def _ends(world: Toyland) -> tuple[DrawnScene | DrawnClip, DrawnScene | DrawnClip]:
    return world.visual(0), world.visual(world.num_scenes - 1)


def _remove_abandoned(path: Path) -> None:
    """Remove what killed processes left, but not what other processes are still writing."""
    for scenes in path.parent.glob(f".{path.name}.*.part/scenes.jsonl"):
        with suppress(FileNotFoundError):  # its process has just completed the folder
            if time.time() - scenes.stat().st_mtime > ABANDONED:
                shutil.rmtree(scenes.parent, ignore_errors=True)


def _write(folder: Path, worlds: Sequence[Toyland], workers: int, progress: Callable[[int], None] | None) -> None:
    """Every file of a packed folder. On return no array is open: some systems do not rename folders of open files."""
    first = worlds[0]
    frames = (first.num_frames,) if first.num_frames > 1 else ()
    shape = (first.num_scenes, *frames, first.size, first.size)
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
        **({"labelled_frames": first.labelled_frames} if frames else {}),
    }
    (folder / DESCRIPTION).write_text(json.dumps(description), encoding="utf-8")


@dataclass(frozen=True)
class _Scene:
    """What the folder stores of one scene; of a clip, for each frame."""

    pixels: UInt8[np.ndarray, "*t h w 3"]
    instances: UInt8[np.ndarray, "*t h w"]
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
    drawn = worlds[0].visual(position)
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
    pixels = drawn.read()
    instances = np.stack([drawn.instances(frame) for frame in range(drawn.num_frames)])
    if isinstance(drawn, DrawnScene):
        pixels, instances = pixels[0], instances[0]
    return _Scene(pixels, instances, line.encode(), tuple(map(len, samples)))
