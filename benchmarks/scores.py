"""Held-out scores of a toyland model: `python -m benchmarks.scores bundled --name vega`.

Nine splits (val, testA, testB of three subsets) through `deixis evaluate`, as a user would run it. Results go to
`results/scores/`; `python -m benchmarks.scores --table` prints the table of docs/toyland.md from them.
"""

import argparse
import itertools
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from .measure import RESULTS

SUBSETS = ("toyland", "toyland+", "toyland-g")
SPLITS = ("val", "testA", "testB")
SCORES = RESULTS / "scores"
SCENES = 60


def place(name: str, subset: str, split: str) -> Path:
    return SCORES / f"{name}-{subset}-{split}.json"


def score(model: str, name: str, scenes: int) -> None:
    """Evaluate the model on every split; existing results are kept, so an interrupted call continues."""
    from deixis.cli import main as deixis

    SCORES.mkdir(parents=True, exist_ok=True)
    for subset, split in itertools.product(SUBSETS, SPLITS):
        if place(name, subset, split).exists():
            continue
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "result.json"
            code = deixis(
                ["evaluate", model, "--data", f"{subset}:{split}", "--scenes", str(scenes), "--out", str(out)]
            )
            if code:
                sys.exit(code)
            beside = place(name, subset, split).with_suffix(".part")
            shutil.copy(out, beside)  # another file system, perhaps
            os.replace(beside, place(name, subset, split))


def table() -> str:
    """Markdown: a row a subset and split; mean IoU with its interval, overall IoU and precision of every model."""
    names = sorted({path.name.split("-")[0] for path in SCORES.glob("*.json")}, reverse=True)
    heads = [f"{name.upper()} {what}" for name in names for what in ("mIoU", "oIoU", "P@0.5")]
    lines = ["| data, split | expressions | " + " | ".join(heads) + " |", "|---" * (2 + len(heads)) + "|"]
    for subset, split in itertools.product(SUBSETS, SPLITS):
        results = [_read(place(name, subset, split)) for name in names]
        if all(results):
            cells = [cell for result in results for cell in _cells(result)]
            lines.append(f"| `{subset}:{split}` | {results[0]['num_expressions']:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _cells(result: dict[str, Any]) -> list[str]:
    measures = result["measures"]
    mean = measures["mIoU"]
    return [
        f"{mean['value']:.1f} ({mean['low']:.1f}-{mean['high']:.1f})",
        f"{measures['oIoU']['value']:.1f}",
        f"{measures['P@0.5']['value']:.1f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?")
    parser.add_argument("--name", default="vega")
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    if arguments.model:
        score(arguments.model, arguments.name, arguments.scenes)
    if arguments.table:
        print(table())


if __name__ == "__main__":
    main()
