"""Draw the image that the other examples use: `python examples/0_draw_scene.py [POSITION [FILE]]`."""

import sys
from pathlib import Path

from PIL import Image

from deixis.toyland.world import Toyland


def main(position: str = "6", file: str = str(Path(__file__).parent / "toyland.png")) -> None:
    world = Toyland(split="val", num_scenes=int(position) + 1, size=384)
    samples = world.scene(int(position))
    Image.fromarray(samples[0].visual.read()[0]).save(file, optimize=True)
    print(f"{file}; its expressions: {', '.join(repr(sample.expression) for sample in samples)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
