"""Whether probabilities keep their word: reliability, the error of it, and two numbers that mend a classifier's."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from ..errors import InputError

BINS = 10
LEAST = 1e-6  # probabilities nearer to 0 or 1 are moved there: single precision knows no finite logit for 1
STEPS = 100


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Probabilities made true: σ(scale · logit + bias), fitted on `data`.

    Both errors are on that same data, before and after, from 0 to 1.
    """

    scale: float
    bias: float
    data: str
    expressions: int
    ece_before: float
    ece_after: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.scale) and np.isfinite(self.bias) and self.scale > 0):
            raise InputError(
                f"A calibration of scale {self.scale} and bias {self.bias} cannot be; it wants finite numbers and a "
                "positive scale, so fit it again."
            )

    def __call__(self, probabilities: Float[np.ndarray, " b"]) -> Float[np.ndarray, " b"]:
        return apply(probabilities, self.scale, self.bias)


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Probabilities from `low` to `high`: their mean, and how often it was so; both None where there are none."""

    low: float
    high: float
    count: int
    confidence: float | None
    frequency: float | None


def apply(probabilities: Float[np.ndarray, " b"], scale: float, bias: float) -> Float[np.ndarray, " b"]:
    """σ(scale · logit + bias)."""
    return _sigmoid(scale * logit(probabilities) + bias)


def logit(probabilities: Float[np.ndarray, " b"]) -> Float[np.ndarray, " b"]:
    clipped = np.clip(probabilities.astype(np.float64), LEAST, 1 - LEAST)
    return np.log(clipped) - np.log1p(-clipped)


def fit(probabilities: Float[np.ndarray, " b"], happened: Bool[np.ndarray, " b"]) -> tuple[float, float]:
    """Scale and bias of the least cross-entropy, by Newton's method with halved steps where a whole one is too long.

    The targets are Platt's (1999): a little less than 1 and more than 0, so that even probabilities which separate
    what happened from what did not have a finite answer.
    """
    yes, no = int(happened.sum()), int((~happened).sum())
    if not yes or not no:
        raise InputError(f"{yes} of {yes + no} things happened; to calibrate, some must and some must not.")
    targets = np.where(happened, (yes + 1) / (yes + 2), 1 / (no + 2))
    inputs = np.stack([logit(probabilities), np.ones(len(happened))], axis=1)
    weights = np.array([1.0, 0.0])
    surprise = _surprise(inputs @ weights, targets)
    for _ in range(STEPS):
        chances = _sigmoid(inputs @ weights)
        gradient = inputs.T @ (chances - targets) / len(targets)
        curvature = (inputs * (chances * (1 - chances))[:, None]).T @ inputs / len(targets)
        step = np.linalg.lstsq(curvature, gradient, rcond=None)[0]  # of least length where all logits are equal
        while (lower := _surprise(inputs @ (weights - step), targets)) > surprise and np.abs(step).max() > 1e-12:
            step = step / 2
        weights, surprise = weights - step, lower
        if np.abs(step).max() <= 1e-12:
            break
    return float(weights[0]), float(weights[1])


def calibrate(probabilities: Float[np.ndarray, " b"], happened: Bool[np.ndarray, " b"], data: str) -> Calibration:
    """Fit on a split and say what it changed there."""
    scale, bias = fit(probabilities, happened)
    if scale <= 0:
        raise InputError(
            f"The probabilities on {data} are no higher where it was so (scale {scale:.3f}); there is nothing to "
            "calibrate, train on sentences of both kinds first."
        )
    before = reliability(probabilities, happened)
    after = reliability(apply(probabilities, scale, bias), happened)
    return Calibration(
        scale=scale,
        bias=bias,
        data=data,
        expressions=len(happened),
        ece_before=expected_calibration_error(before),
        ece_after=expected_calibration_error(after),
    )


def reliability(
    probabilities: Float[np.ndarray, " b"], happened: Bool[np.ndarray, " b"], bins: int = BINS
) -> tuple[Bin, ...]:
    """Equally wide bins; a probability on a border belongs to the upper one, 1 to the last."""
    place = np.minimum((probabilities * bins).astype(int), bins - 1)
    counts = np.bincount(place, minlength=bins)
    sums = np.bincount(place, weights=probabilities, minlength=bins)
    hits = np.bincount(place, weights=happened, minlength=bins)
    return tuple(
        Bin(
            low=number / bins,
            high=(number + 1) / bins,
            count=int(count),
            confidence=float(sums[number] / count) if count else None,
            frequency=float(hits[number] / count) if count else None,
        )
        for number, count in enumerate(counts)
    )


def expected_calibration_error(bins: Sequence[Bin]) -> float:
    """How far confidence and frequency are apart, the mean over all that was counted; from 0 to 1."""
    total = sum(one.count for one in bins)
    if not total:
        raise ValueError("There is no calibration error of nothing.")
    apart = (
        one.count * abs(one.confidence - one.frequency)
        for one in bins
        if one.confidence is not None and one.frequency is not None
    )
    return sum(apart) / total


def _sigmoid(logits: Float[np.ndarray, " b"]) -> Float[np.ndarray, " b"]:
    return np.exp(-np.logaddexp(0.0, -logits))


def _surprise(logits: Float[np.ndarray, " b"], targets: Float[np.ndarray, " b"]) -> float:
    """The mean cross-entropy in nats."""
    return float((np.logaddexp(0.0, logits) - targets * logits).mean())
