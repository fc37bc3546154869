"""The three measures of the paper on the target's validation split, with intervals from a bootstrap over images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deixis.data.subsets import Subset
from deixis.evaluation.evaluator import evaluate
from deixis.evaluation.record_files import read_records
from deixis.metrics.average_precision import IOU_THRESHOLDS
from deixis.metrics.bootstrap import interval, ratio, resampled_sums
from deixis.metrics.protocols import protocol_named
from deixis.metrics.scored import Scored
from deixis.records import Reader
from deixis.zoo.loading import load

PROTOCOL = "a2d-best"
MEAN_PRECISION = "mean-precision"
MEASURES = ("oIoU", "mIoU", MEAN_PRECISION, "mAP[.5:.95]")
DRAWS = 2_000
EQUAL = 1e-6  # an IoU in single precision that equals a threshold counts


def score(checkpoint: Path, reader: Reader, sentences: int, out: Path) -> dict[str, dict[str, float | None]]:
    """Each measure in percent with its interval, on `sentences` of the reader, evenly spread."""
    result = evaluate(
        lambda: load(checkpoint, device="cpu"),
        _some(reader, sentences),
        protocol=PROTOCOL,
        out=out,
        batch_size=32,
        resume=True,
        draws=DRAWS,
        quiet=False,
    )
    found = {
        name: {"value": one.value, "low": one.low, "high": one.high}
        for name, one in result.measures.items()
        if name in MEASURES
    }
    found[MEAN_PRECISION] = mean_precision([*read_records(out.with_name(result.records))])
    return {name: found[name] for name in MEASURES}


def mean_precision(records: Sequence[Scored], draws: int = DRAWS) -> dict[str, float | None]:
    """What the paper's "mAP" is read as: the mean of ten fractions of expressions, those with an IoU of .5, .55 … .95.

    In percent. COCO's average precision, which "a2d-best" computes, is another number.
    """
    rules = protocol_named(PROTOCOL)
    images = {image: place for place, image in enumerate(dict.fromkeys(one.ids.image for one in records))}
    table = np.zeros((len(images), 2))
    for one in records:
        table[images[one.ids.image]] += (one.iou(rules) + EQUAL >= IOU_THRESHOLDS).mean(), 1
    sums = resampled_sums(table, draws=draws)
    low, high = interval(100 * ratio(sums[:, 0], sums[:, 1])) or (None, None)
    return {"value": float(100 * table[:, 0].sum() / table[:, 1].sum()), "low": low, "high": high}


def _some(reader: Reader, count: int) -> Reader:
    if count >= len(reader):
        return reader
    return Subset(reader, np.linspace(0, len(reader) - 1, count).round().astype(int).tolist())
