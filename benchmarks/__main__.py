"""`python -m benchmarks`: every measurement in turn, on an idle machine, each into `results/`; then the tables.

`python -m benchmarks --table` prints the tables from existing results.
"""

import argparse
import subprocess
import sys

from .table import table

MODULES = ("startup", "visual_expression", "models", "encode_once", "training", "toyland_speed", "scoring")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", action="store_true", help="print the tables from existing results")
    if not parser.parse_args().table:
        for name in MODULES:
            print(f"benchmarks.{name}", file=sys.stderr, flush=True)
            subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True, stdout=subprocess.DEVNULL)
    print(table())


if __name__ == "__main__":
    main()
