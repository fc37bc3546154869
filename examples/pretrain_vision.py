"""Pre-train Toyland's Swin to parse drawn scenes: `python examples/pretrain_vision.py PACKED OUT [--steps 3000 …]`."""

import sys
import time
from pathlib import Path

import tyro

from deixis.recipes.parsing import Pretraining, pretrain


def main() -> None:
    packed, out, *options = sys.argv[1:]
    start = time.monotonic()

    def report(step: int, numbers: dict[str, float]) -> None:
        line = "  ".join(f"{name} {value:.3f}" for name, value in numbers.items())
        print(f"{time.monotonic() - start:7.0f} s  step {step}  {line}", flush=True)

    pretrain(tyro.cli(Pretraining, args=options), Path(packed), Path(out), report)


if __name__ == "__main__":
    main()
