"""How well a system knows what is not there: right answers of both kinds, and whether its score keeps its word."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .bootstrap import DRAWS, interval, ratio, resampled_sums
from .calibration import Bin, expected_calibration_error, reliability
from .scored import Scored


@dataclass(frozen=True, kw_only=True)
class PresenceScores:
    """Of a split in which some expressions mean nothing.

    `score` says what was taken for the chance that the referent is there: what a `presence head` says, the mean
    probability of the `mask`, or what stands in a predictions `file`. N-acc and T-acc are percent with 95% intervals
    over images, None where there are no such expressions; `ece`, confidences and frequencies lie between 0 and 1.
    """

    score: str
    calibrated: bool
    threshold: float | None  # what the head's chance had to exceed for an answer
    num_present: int
    num_absent: int
    n_acc: float | None  # of the expressions without a target, those answered with nothing
    t_acc: float | None  # of those with a target, the ones answered with something
    ece: float
    bins: tuple[Bin, ...]
    n_acc_interval: tuple[float, float] | None = None  # results of before there were intervals have none
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
    """From the records of a split; None where every expression means something, for then there is nothing to tell."""
    rows = [(one.best.score, one.target > 0, one.best.area > 0, one.ids.image) for one in scored]
    chances = np.array([row[0] for row in rows], dtype=np.float64)
    present, answered = (np.array([row[place] for row in rows], dtype=bool) for place in (1, 2))
    if present.all():
        return None
    _, image = np.unique([row[3] for row in rows], return_inverse=True)  # sorted, as for the measures: the same draws
    counted = [~present & ~answered, ~present, present & answered, present]
    table = np.stack([np.bincount(image, weights=each) for each in counted], axis=1)
    sums = resampled_sums(table, draws=draws, seed=seed)
    bins = reliability(np.clip(chances, 0.0, 1.0), present)
    return PresenceScores(
        score=score,
        calibrated=calibrated,
        threshold=threshold,
        num_present=int(present.sum()),
        num_absent=int((~present).sum()),
        n_acc=100 * float((~answered[~present]).mean()),
        t_acc=100 * float(answered[present].mean()) if present.any() else None,
        ece=expected_calibration_error(bins),
        bins=bins,
        n_acc_interval=interval(100 * ratio(sums[:, 0], sums[:, 1])),
        t_acc_interval=interval(100 * ratio(sums[:, 2], sums[:, 3])),
    )


def from_fields(fields: Mapping[str, Any]) -> PresenceScores:
    """What a result's JSON holds of it."""
    spans = {name: tuple(span) for name, span in fields.items() if name.endswith("_interval") and span is not None}
    return PresenceScores(**{**fields, **spans, "bins": tuple(Bin(**one) for one in fields["bins"])})
