"""Scenes nobody has seen, and how well their things are found: `python examples/4_score_on_toyland.py [SCENES]`."""

import sys

import deixis
from deixis import masks
from deixis.toyland.world import Toyland


def main(scenes: str = "20", model: str = "embedded") -> None:
    segmenter, world = deixis.load(model), Toyland(split="val", num_scenes=int(scenes))
    overlaps = []
    for position in range(world.num_scenes):
        samples = world.scene(position)
        if not samples:
            continue
        answers = segmenter(samples[0].visual.read()[0], [sample.expression for sample in samples])
        for sample, answer in zip(samples, answers, strict=True):
            both, either = masks.intersection_and_union(answer.rle(), sample.mask)
            overlaps.append(both / max(either, 1))
            print(f"{overlaps[-1]:.2f}  {sample.expression}")
    print(f"mean IoU of {len(overlaps)} sentences: {sum(overlaps) / max(len(overlaps), 1):.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
