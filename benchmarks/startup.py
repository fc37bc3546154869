"""The time until the first result: `python -m benchmarks.startup`.

Measures `deixis --help`, the second `make demo`, and what `deixis segment` on the example costs beside `import torch`.
"""

import json
import resource
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .measure import called, seconds, write

ROOT = Path(__file__).parents[1]
DEIXIS = str(Path(sys.executable).with_name("deixis"))


def main() -> None:
    rows = {
        "deixis --help": seconds(lambda: _run(DEIXIS, "--help"), repeats=9),
        "make demo": seconds(lambda: _run("make", "demo"), repeats=5, warm_ups=1),
        "deixis segment beside import torch, CPU": beside_torch(),
    }
    write("startup", {"command": called("benchmarks.startup"), "rows": rows})
    print(json.dumps(rows, indent=1))


def beside_torch(repeats: int = 7) -> dict[str, Any]:
    """CPU seconds of `deixis segment` on the example minus those of `import torch`, from interleaved runs.

    `median` is the difference of the medians; `min` and `max` are of the differences of neighbouring runs.
    """
    with TemporaryDirectory() as out:
        segment = (DEIXIS, "segment", "examples/toyland.png", "the person in green", "--out", out)
        torch = (sys.executable, "-c", "import torch")
        times = [(_cpu_seconds(*segment), _cpu_seconds(*torch)) for _ in range(repeats + 1)][1:]  # the first warms up
    command, imported = (statistics.median(column) for column in zip(*times, strict=True))
    pairs = [whole - part for whole, part in times]
    return {
        "median": command - imported,
        "min": min(pairs),
        "max": max(pairs),
        "runs": repeats,
        "deixis segment": command,
        "import torch": imported,
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
