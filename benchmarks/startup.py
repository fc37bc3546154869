"""The time until the first result: `python -m benchmarks.startup`.

Measures `deixis --help`, the second `make demo`, what `deixis segment` on the example costs beside `import torch`, and
what it costs in all with an export that ONNX Runtime runs. Goals: 0.8 and 1.0 CPU seconds. `--only-segment` leaves out
the first two, whose wall times are those of an idle machine alone; `--export` names an export of the bundled model,
which otherwise is made first.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .measure import called, result, seconds, write

ROOT = Path(__file__).parents[1]
DEIXIS = str(Path(sys.executable).with_name("deixis"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only-segment", action="store_true")
    parser.add_argument("--export", type=Path)
    arguments = parser.parse_args()
    rows: dict[str, Any] = {}
    if not arguments.only_segment:
        rows["deixis --help"] = seconds(lambda: _run(DEIXIS, "--help"), repeats=9)
        rows["make demo"] = seconds(lambda: _run("make", "demo"), repeats=5, warm_ups=1)
    with TemporaryDirectory() as folder:
        export = arguments.export or Path(folder) / "export"
        if arguments.export is None:
            _run(DEIXIS, "export", "bundled", str(export))
        rows |= segmenting(export, Path(folder))
    before = result("startup") or {"rows": {}}
    write("startup", {"command": called("benchmarks.startup"), "rows": before["rows"] | rows})
    print(json.dumps(rows, indent=1))


def segmenting(export: Path, out: Path, repeats: int = 7) -> dict[str, Any]:
    """CPU seconds of `deixis segment` on the example, with the bundled checkpoint and with an export of it.

    From interleaved runs of both and of `import torch`. Beside it is the difference of the medians; its `min` and `max`
    are of the differences of neighbouring runs.
    """
    segment = (DEIXIS, "segment", "examples/toyland.png", "the person in green")
    torch = (sys.executable, "-c", "import torch")
    checkpoint = (*segment, "--out", str(out / "checkpoint"), "--overwrite")
    exported = (*segment, "--out", str(out / "exported"), "--overwrite", "--model", str(export))
    load = os.getloadavg()
    times = [tuple(_cpu_seconds(*each) for each in (checkpoint, torch, exported)) for _ in range(repeats + 1)][1:]
    command, imported, alone = (statistics.median(column) for column in zip(*times, strict=True))
    pairs = [whole - part for whole, part, _ in times]
    shared = {"runs": repeats, "load": load}
    return {
        "deixis segment beside import torch, CPU": {
            "median": command - imported,
            "min": min(pairs),
            "max": max(pairs),
            "deixis segment": command,
            "import torch": imported,
            **shared,
        },
        "deixis segment with ONNX Runtime, CPU": {
            "median": alone,
            "min": min(each for *_, each in times),
            "max": max(each for *_, each in times),
            **shared,
        },
    }


def _cpu_seconds(*command: str) -> float:
    """User and system seconds of one run of the command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _run(*command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)


def _run(*command: str) -> None:
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)


if __name__ == "__main__":
    main()
