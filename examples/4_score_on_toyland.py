"""Score a model on generated scenes that no training used: `python examples/4_score_on_toyland.py [SCENES [MODEL]]`."""

import sys

import deixis
from deixis import masks
from deixis.toyland.world import Toyland


def main(scenes: str = "20", model: str = "bundled") -> None:
    segmenter, world = deixis.load(model), Toyland(split="val", num_scenes=int(scenes))
    ious = []
    for samples in world.scenes():
        if not samples:
            continue
        predictions = segmenter(samples[0].visual.read()[0], [sample.expression for sample in samples])
        for sample, prediction in zip(samples, predictions, strict=True):
            intersection, union = masks.intersection_and_union(prediction.rle(), sample.mask)
            ious.append(intersection / max(union, 1))
            print(f"{ious[-1]:.2f}  {sample.expression}")
    print(f"mean IoU of {len(ious)} sentences: {sum(ious) / max(len(ious), 1):.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
