"""Visual information selection against its pseudocode: `python -m benchmarks.visual_expression`.

Four sentences of 21 words, 512 channels, 8 heads, fp32; forward, and forward with backward to weights and both inputs.
The literal version, `tests/layers/literal_vis.py`, repeats the pixels for every word. Both versions run in turns in one
process, so that their ratio refers to the same load of the machine; processor time is less sensitive to other programs
than wall time. Peak memory is the increase over what was resident before the call, each in a process of its own.
"""

import argparse
import itertools
import json
import runpy
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .measure import called, fresh, peak_megabytes, write

WORDS, WIDTH, HEADS, BATCH = 21, 512, 8, 4
PIXELS = (225, 900, 3600, 14400)
MODES = ("forward", "forward+backward")
VERSIONS = ("ours", "literal")
LITERAL = Path(__file__).parents[1] / "tests" / "layers" / "literal_vis.py"


def prepare(version: str, mode: str, pixels: int) -> Callable[[], None]:
    """A function that calls a version once on inputs made before."""
    import torch

    from deixis.layers.visual_expression import VisualExpression

    torch.manual_seed(0)
    layer = VisualExpression(WIDTH, HEADS)
    features = torch.randn(BATCH, pixels, WIDTH)
    words, mask = torch.randn(BATCH, WORDS, WIDTH), torch.ones(BATCH, WORDS, dtype=torch.bool)
    literal = runpy.run_path(str(LITERAL))["literal"]

    def forward() -> Any:
        return layer(features, words, mask).tokens if version == "ours" else literal(layer, features, words, mask)

    def run() -> None:
        if mode == "forward":
            with torch.inference_mode():
                forward()
            return
        for tensor in (features, words, *layer.parameters()):
            tensor.requires_grad_(True).grad = None
        forward().sum().backward()

    return run


def times(mode: str, pixels: int, repeats: int) -> dict[str, Any]:
    """Wall seconds, and processor seconds of all threads, of both versions, called in turns."""
    runs = {version: prepare(version, mode, pixels) for version in VERSIONS}
    clocks = {"seconds": time.perf_counter, "cpu_seconds": time.process_time}
    taken: dict[str, dict[str, list[float]]] = {clock: {version: [] for version in VERSIONS} for clock in clocks}
    for turn in range(repeats + 1):
        for version, run in runs.items():
            start = {clock: now() for clock, now in clocks.items()}
            run()
            for clock, now in clocks.items():
                if turn:  # the first turn warms up
                    taken[clock][version].append(now() - start[clock])
    return {
        clock: {version: _spread(durations) for version, durations in versions.items()}
        for clock, versions in taken.items()
    }


def _spread(durations: list[float]) -> dict[str, float]:
    return {
        "median": statistics.median(durations),
        "min": min(durations),
        "max": max(durations),
        "runs": len(durations),
    }


def memory(version: str, mode: str, pixels: int) -> float:
    """Megabytes by which one call raises the peak of a fresh process."""
    run = prepare(version, mode, pixels)
    before = peak_megabytes()
    run()
    return peak_megabytes() - before


def cell(mode: str, pixels: int, repeats: int) -> dict[str, Any]:
    """Both versions' times and memory, and the ratios of the literal version to ours."""
    name = ("benchmarks.visual_expression", "--mode", mode, "--pixels", str(pixels))
    row: dict[str, Any] = {"mode": mode, "pixels": pixels}
    row |= fresh(*name, "--what", "times", "--repeats", str(repeats))
    for clock, ratio in (("seconds", "times_faster"), ("cpu_seconds", "times_less_processor_time")):
        if clock in row:
            row[ratio] = row[clock]["literal"]["median"] / row[clock]["ours"]["median"]
    extra: dict[str, Any] = {version: fresh(*name, "--what", version).get("megabytes") for version in VERSIONS}
    row["extra_megabytes"] = extra
    if all(extra.values()):
        row["times_less_memory"] = extra["literal"] / extra["ours"]
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--what", choices=("table", "times", *VERSIONS), default="table")
    parser.add_argument("--mode", choices=MODES)
    parser.add_argument("--pixels", type=int)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(PIXELS))
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.what == "times":
        print(json.dumps(times(arguments.mode, arguments.pixels, arguments.repeats)))
    elif arguments.what in VERSIONS:
        print(json.dumps({"megabytes": memory(arguments.what, arguments.mode, arguments.pixels)}))
    else:
        rows = []
        sizes = {"batch": BATCH, "words": WORDS, "width": WIDTH, "heads": HEADS, "ratio": 0.3}
        for pixels, mode in itertools.product(arguments.sizes, MODES):
            rows.append(cell(mode, pixels, arguments.repeats))
            print(json.dumps(rows[-1]), flush=True)
            write("visual_expression", {"command": called("benchmarks.visual_expression"), **sizes, "rows": rows})


if __name__ == "__main__":
    main()
