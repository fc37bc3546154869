"""Masks scored per second on one core, and peak memory: `python -m benchmarks.scoring [--data TREE]`.

Predicted 640x480 masks with rough outlines (about 670 bytes of run lengths each) from a file of JSON lines, through
all of `deixis evaluate --predictions`: parsing, checking, matching by id, comparing, records on disk, totals. The
targets are polygons drawn for this, or those of any tree in RefCOCO's layout whose images are 640x480. Each number
of masks has a new process; CPU seconds are reported beside wall seconds, because other programs affect the latter.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .measure import called, fresh, peak_megabytes, write

HEIGHT, WIDTH = 480, 640
COUNTS = (10_000, 40_000)
SENTENCES_PER_IMAGE = 7


@dataclass(frozen=True)
class Canvas:
    size: tuple[int, int] = (HEIGHT, WIDTH)
    num_frames: int = 1

    def read(self, frames: Sequence[int] | None = None) -> np.ndarray:
        raise AssertionError("scoring masks reads no pixels")


@dataclass(frozen=True)
class Polygons:
    """A reader whose targets are polygons, rasterised when they are looked at, as RefCOCO's are."""

    count: int

    @cached_property
    def ids(self) -> tuple[Any, ...]:
        from deixis.records import Ids

        return tuple(Ids(str(n // SENTENCES_PER_IMAGE), str(n // 3), str(n)) for n in range(self.count))

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, position: int) -> Any:
        from deixis import masks
        from deixis.records import Sample

        outline = [float(value) for value in blob(position // 3, 30).ravel()]
        return Sample(
            visual=Canvas(),
            expression="the red cup left of the plate",
            mask=masks.from_polygons([outline], HEIGHT, WIDTH),  # type: ignore[arg-type]
            ids=self.ids[position],
            dataset="polygons",
            split="val",
        )


def blob(seed: int, points: int) -> np.ndarray:
    """The outline of a wobbly disc, as points x, y."""
    rng = np.random.default_rng(seed)
    turn = np.linspace(0, 2 * np.pi, points, endpoint=False)
    radius = rng.uniform(40, 140) * (1 + 0.2 * np.sin(5 * turn + rng.uniform(0, 6)) + 0.05 * np.sin(23 * turn))
    centre = rng.uniform((150, 150), (WIDTH - 150, HEIGHT - 150))
    return centre + radius[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1)


def predictions(path: Path, sentences: list[str]) -> None:
    """A rough mask for every sentence, of two hundred different ones."""
    from deixis import masks

    lines = [
        masks.from_polygons([[float(value) for value in blob(seed, 400).ravel()]], HEIGHT, WIDTH) for seed in range(200)
    ]
    with path.open("w") as file:
        for number, sentence in enumerate(sentences):
            file.write(json.dumps({"id": sentence, "rle": lines[number % 200], "score": 0.5}) + "\n")


def measured(count: int, data: str | None) -> dict[str, Any]:
    """One evaluation in this process."""
    from deixis.evaluation.job import Evaluation
    from deixis.evaluation.scoring import limited
    from deixis.metrics.protocols import PROTOCOLS

    if data is None:
        reader: Any = Polygons(count)
    else:
        from deixis.data.readers.formats import open_data

        reader = limited(open_data(data, split="train", dataset="refcoco"), count)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "masks.jsonl"
        predictions(file, [one.sentence for one in reader.ids])
        work = Evaluation(
            reader=reader, rules=PROTOCOLS["full"], dataset="bench", split="val", out=Path(folder) / "r.json"
        )
        resident = peak_megabytes()
        wall, cpu = time.perf_counter(), time.process_time()
        header = work.header("bench", None, None)
        work.score_predictions(file, header)
        scored_wall, scored_cpu = time.perf_counter() - wall, time.process_time() - cpu
        work.finish(header, run=None, started=wall)
        return {
            "masks": len(reader),
            "masks_per_second": len(reader) / scored_wall,
            "masks_per_cpu_second": len(reader) / scored_cpu,
            "with_totals_and_10000_draws_cpu_seconds": time.process_time() - cpu,
            "peak_megabytes_before": resident,
            "peak_megabytes": peak_megabytes(),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="a tree in RefCOCO's layout with 640x480 images; without it polygons are made")
    parser.add_argument("--count", type=int, help="one run in this process, printed as JSON")
    options = parser.parse_args()
    if options.count is not None:
        print(json.dumps(measured(options.count, options.data)))
        return
    more = ["--data", options.data] if options.data else []
    rows = [fresh("benchmarks.scoring", "--count", str(count), *more) for count in COUNTS]
    result = {"command": called("benchmarks.scoring"), "rows": rows}
    print(json.dumps(result, indent=1))
    print(write("scoring_tree" if options.data else "scoring", result))


if __name__ == "__main__":
    main()
