"""How long a user waits: `python -m benchmarks.startup` times `deixis --help` and the second `make demo`."""

import json
import subprocess
import sys
from pathlib import Path

from .measure import called, seconds, write

ROOT = Path(__file__).parents[1]


def main() -> None:
    deixis = str(Path(sys.executable).with_name("deixis"))

    def run(*command: str) -> None:
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)

    rows = {
        "deixis --help": seconds(lambda: run(deixis, "--help"), repeats=9),
        "make demo": seconds(lambda: run("make", "demo"), repeats=5, warm_ups=1),
    }
    write("startup", {"command": called("benchmarks.startup"), "rows": rows})
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
