"""Expressions without a referent: accuracy with and without one, and the calibration of the score."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .bootstrap import DRAWS, interval, ratio, resampled_sums
from .calibration import Bin, expected_calibration_error, reliability
from .scored import Scored


@dataclass(frozen=True, kw_only=True)
class PresenceScores:
    """The scores of a split in which some expressions refer to nothing.

    `score` names what was taken as the probability of presence: the output of the `presence head`, the mean
    probability of the `mask`, or the score in a predictions `file`. N-acc and T-acc are percentages with 95% intervals
    over images, None where there are no such expressions; `ece`, confidences and frequencies are between 0 and 1.
    """

    score: str
    calibrated: bool
    threshold: float | None  # that the head's probability had to exceed
    num_present: int
    num_absent: int
    n_acc: float | None  # expressions without a target: the percentage with an empty mask
    t_acc: float | None  # expressions with a target: the percentage with a mask that is not empty
    ece: float
    bins: tuple[Bin, ...]
    n_acc_interval: tuple[float, float] | None = None  # older results have no intervals
    t_acc_interval: tuple[float, float] | None = None


def presence_scores(
    scored: Iterable[Scored],
    score: str,
    *,
    calibrated: bool = False,
    threshold: float | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> PresenceScores | None:
    """The scores from the records of a split; None where every expression has a target."""
    rows = [(one.best.score, one.target > 0, one.best.area > 0, one.ids.image) for one in scored]
    probabilities = np.array([row[0] for row in rows], dtype=np.float64)
    present, found = (np.array([row[place] for row in rows], dtype=bool) for place in (1, 2))
    if present.all():
        return None
    _, image = np.unique([row[3] for row in rows], return_inverse=True)  # sorted, as for the measures: the same draws
    counted = [~present & ~found, ~present, present & found, present]
    table = np.stack([np.bincount(image, weights=each) for each in counted], axis=1)
    sums = resampled_sums(table, draws=draws, seed=seed)
    bins = reliability(np.clip(probabilities, 0.0, 1.0), present)
    return PresenceScores(
        score=score,
        calibrated=calibrated,
        threshold=threshold,
        num_present=int(present.sum()),
        num_absent=int((~present).sum()),
        n_acc=100 * float((~found[~present]).mean()),
        t_acc=100 * float(found[present].mean()) if present.any() else None,
        ece=expected_calibration_error(bins),
        bins=bins,
        n_acc_interval=interval(100 * ratio(sums[:, 0], sums[:, 1])),
        t_acc_interval=interval(100 * ratio(sums[:, 2], sums[:, 3])),
    )


def from_fields(fields: Mapping[str, Any]) -> PresenceScores:
    """The scores from their fields in a result's JSON."""
    spans = {name: tuple(span) for name, span in fields.items() if name.endswith("_interval") and span is not None}
    return PresenceScores(**{**fields, **spans, "bins": tuple(Bin(**one) for one in fields["bins"])})
