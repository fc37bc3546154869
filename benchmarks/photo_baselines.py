"""What a model for photographs must beat on RefCOCO: a disc in the centre, the largest object, all of the right class.

python -m benchmarks.photo_baselines --data DATA [--splits val testA testB]
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from deixis import masks
from deixis.data.readers.refcoco import RefCOCO
from deixis.data.segmentation import as_rle
from deixis.evaluation.report import measure
from deixis.masks import RLE
from deixis.metrics.accumulators import Totals
from deixis.metrics.protocols import protocol_named
from deixis.metrics.scored import score_expression
from deixis.records import Sample

MEASURES = ("mIoU", "P@0.5")
Answer = Callable[[RefCOCO, Sample], RLE]


def centre(reader: RefCOCO, sample: Sample) -> RLE:
    """An ellipse in the middle that covers a fifth of the photo."""
    height, width = sample.visual.size
    rows = ((np.arange(height) + 0.5) / height - 0.5)[:, None]
    columns = (np.arange(width) + 0.5) / width - 0.5
    return masks.encode(rows**2 + columns**2 < 0.2 / np.pi)  # type: ignore[return-value]


def largest(reader: RefCOCO, sample: Sample) -> RLE:
    """The largest true mask of any object in the photo."""
    return max((mask for _, mask in annotated(reader, sample)), key=masks.area)


def class_oracle(reader: RefCOCO, sample: Sample) -> RLE:
    """All true masks of the referent's class."""
    instances = reader.tree.instances
    referent = next(each for each in reader.tree.referents if str(each.id) == sample.ids.object)
    wanted = {instances.category_of(annotation) for annotation in referent.annotations}
    return masks.union(mask for category, mask in annotated(reader, sample) if category in wanted)  # type: ignore[return-value]


ANSWERS: dict[str, Answer] = {"centre": centre, "largest object": largest, "all of the class": class_oracle}


def annotated(reader: RefCOCO, sample: Sample) -> Iterator[tuple[object, RLE]]:
    """The class and the mask of every object in the sample's photo."""
    instances = reader.tree.instances
    for annotation in instances:
        if str(instances.image_of(annotation)) == sample.ids.image:
            record = instances.annotation(annotation)
            mask = as_rle(record["segmentation"], *sample.visual.size, f"annotation {annotation}", as_published=True)
            yield instances.category_of(annotation), mask


def score(reader: RefCOCO, answer: Answer) -> Totals:
    rules = protocol_named("full")
    totals = Totals(rules)
    for sample in reader:
        totals.add(score_expression(sample, [(answer(reader, sample), 1.0)], rules))
    return totals


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--splits", nargs="+", default=["val", "testA", "testB"])
    options = parser.parse_args()
    print("| baseline | expressions | mIoU | P@0.5 |\n|---|---|---|---|")
    for name, answer in ANSWERS.items():
        totals = Totals(protocol_named("full"))
        for split in options.splits:
            totals.merge(score(RefCOCO(options.data, split=split), answer))
        found = measure(totals)[0]
        cells = [f"{found[name].value:.1f} ({found[name].low:.1f} to {found[name].high:.1f})" for name in MEASURES]
        print(f"| {name} | {totals.overall.totals()['expressions']} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
