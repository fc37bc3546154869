"""Pre-train Toyland's Swin to parse drawn scenes: `python examples/pretrain_vision.py PACKED OUT [--steps 3000 …]`.

PACKED is the `train` folder of packed scenes, such as runs/packed/train; where it is missing, it is drawn first. Killed
and called again, it goes on.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import tyro

from deixis.errors import DeixisError
from deixis.recipes.scene_parsing import Pretraining, pretrain
from deixis.runs.data import ToylandData


@dataclass(frozen=True, kw_only=True)
class Settings(Pretraining):
    """How the Swin is trained, and of how many scenes where they are yet to be drawn."""

    num_scenes: int = 20_000


def main(packed: str, out: str, *options: str) -> None:
    settings = tyro.cli(Settings, args=options)
    if not Path(packed).exists():
        if Path(packed).name != "train":
            raise DeixisError(f"There are no packed scenes at {packed}; give a folder named `train` for new ones.")
        ToylandData(packed=str(Path(packed).parent), num_scenes=settings.num_scenes).readers()
    start = time.monotonic()

    def report(step: int, numbers: dict[str, float]) -> None:
        line = "  ".join(f"{name} {value:.3f}" for name, value in numbers.items())
        print(f"{time.monotonic() - start:7.0f} s  step {step}  {line}", flush=True)

    pretrain(settings, Path(packed), Path(out), report)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except DeixisError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
