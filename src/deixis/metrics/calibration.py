"""Calibration of probabilities: reliability bins, the expected calibration error, and Platt scaling."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from ..errors import InputError

BINS = 10
LEAST = 1e-6  # probabilities nearer to 0 or 1 are moved there, since the logit of 1 is infinite
STEPS = 100


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Calibrated probabilities are σ(scale · logit + bias), fitted on `data`.

    Both expected calibration errors, before and after, are from 0 to 1 and on the same data.
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
                f"The calibration has scale {self.scale} and bias {self.bias}; expected finite numbers and a positive "
                "scale, so fit it again."
            )

    def __call__(self, probabilities: Float[np.ndarray, " b"]) -> Float[np.ndarray, " b"]:
        return apply(probabilities, self.scale, self.bias)


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Probabilities from `low` to `high`: their mean and the fraction of positives; both None in an empty bin."""

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


def fit(probabilities: Float[np.ndarray, " b"], positive: Bool[np.ndarray, " b"]) -> tuple[float, float]:
    """Scale and bias of the smallest cross-entropy, by Newton's method; a step that increases it is halved.

    The targets are Platt's (1999), slightly below 1 and above 0, so that the solution is finite even where the
    probabilities separate positives from negatives.
    """
    yes, no = int(positive.sum()), int((~positive).sum())
    if not yes or not no:
        raise InputError(f"{yes} of {yes + no} expressions are positive; a calibration needs both kinds.")
    targets = np.where(positive, (yes + 1) / (yes + 2), 1 / (no + 2))
    inputs = np.stack([logit(probabilities), np.ones(len(positive))], axis=1)
    weights = np.array([1.0, 0.0])
    nll = _nll(inputs @ weights, targets)
    for _ in range(STEPS):
        predicted = _sigmoid(inputs @ weights)
        gradient = inputs.T @ (predicted - targets) / len(targets)
        curvature = (inputs * (predicted * (1 - predicted))[:, None]).T @ inputs / len(targets)
        step = np.linalg.lstsq(curvature, gradient, rcond=None)[0]  # the shortest one where all logits are equal
        while (lower := _nll(inputs @ (weights - step), targets)) > nll and np.abs(step).max() > 1e-12:
            step = step / 2
        weights, nll = weights - step, lower
        if np.abs(step).max() <= 1e-12:
            break
    return float(weights[0]), float(weights[1])


def calibrate(probabilities: Float[np.ndarray, " b"], positive: Bool[np.ndarray, " b"], data: str) -> Calibration:
    """The calibration fitted on a split, with its errors there before and after."""
    scale, bias = fit(probabilities, positive)
    if scale <= 0:
        raise InputError(
            f"The probabilities on {data} are not higher for positives (the fitted scale is {scale:.3f}); train the "
            "presence head on expressions with and without a referent first."
        )
    before = reliability(probabilities, positive)
    after = reliability(apply(probabilities, scale, bias), positive)
    return Calibration(
        scale=scale,
        bias=bias,
        data=data,
        expressions=len(positive),
        ece_before=expected_calibration_error(before),
        ece_after=expected_calibration_error(after),
    )


def choose_threshold(probabilities: Float[np.ndarray, " b"], ious: Float[np.ndarray, " b"], max_loss: float) -> float:
    """The largest threshold of presence at which the mean IoU falls by at most `max_loss` points.

    The expressions all have a referent; an expression whose probability does not exceed the threshold gets an empty
    mask. The threshold lies in the middle between the last probability that is given up and the next one.
    """
    levels, level = np.unique(probabilities, return_inverse=True)
    lost = 100 * np.cumsum(np.bincount(level, weights=ious)) / len(ious)
    borders = np.concatenate([[0.0], levels, [1.0]])
    given_up, kept = borders[(number := int((lost <= max_loss).sum())) : number + 2]
    middle = (given_up + kept) / 2  # of two neighbouring floats it is one of them
    return float(np.clip(middle if middle < kept else given_up, LEAST, 1 - LEAST))


def reliability(
    probabilities: Float[np.ndarray, " b"], positive: Bool[np.ndarray, " b"], bins: int = BINS
) -> tuple[Bin, ...]:
    """Bins of equal width; a probability on a border belongs to the upper one, 1 to the last."""
    place = np.minimum((probabilities * bins).astype(int), bins - 1)
    counts = np.bincount(place, minlength=bins)
    sums = np.bincount(place, weights=probabilities, minlength=bins)
    hits = np.bincount(place, weights=positive, minlength=bins)
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
    """The mean distance between confidence and frequency, weighted by the bins' counts; from 0 to 1."""
    total = sum(one.count for one in bins)
    if not total:
        raise ValueError("All bins are empty; expected at least one probability.")
    apart = (
        one.count * abs(one.confidence - one.frequency)
        for one in bins
        if one.confidence is not None and one.frequency is not None
    )
    return sum(apart) / total


def _sigmoid(logits: Float[np.ndarray, " b"]) -> Float[np.ndarray, " b"]:
    return np.exp(-np.logaddexp(0.0, -logits))


def _nll(logits: Float[np.ndarray, " b"], targets: Float[np.ndarray, " b"]) -> float:
    """The mean cross-entropy in nats."""
    return float((np.logaddexp(0.0, logits) - targets * logits).mean())
