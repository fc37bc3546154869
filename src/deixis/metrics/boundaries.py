"""J and F of the DAVIS challenge: the overlap of two masks and the agreement of their boundaries.

All values are fractions. Source: Perazzi et al., CVPR 2016, as the challenge's own evaluation computes them.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import ceil, hypot, isqrt

import numpy as np
from jaxtyping import Bool, Float

BOUND = 0.008  # of the frame's diagonal: how far apart two boundary pixels may be


@dataclass(frozen=True, slots=True)
class FrameScore:
    """J and F of one object in one frame."""

    j: float
    f: float


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of the values of one object over its frames.

    `recall` is the fraction of frames above 0.5. `decay` is the mean of the first quarter minus that of the last.
    """

    mean: float
    recall: float
    decay: float


def frame_score(
    target: Bool[np.ndarray, "h w"],
    prediction: Bool[np.ndarray, "h w"],
    void: Bool[np.ndarray, "h w"] | None = None,
    *,
    bound: float = BOUND,
) -> FrameScore:
    """J and F of one frame; pixels of `void` count for nothing.

    J is the IoU, 1 where both masks are empty. F is the harmonic mean of the fractions of boundary pixels that have one
    of the other mask within `bound`: pixels from 1 on, else a fraction of the diagonal. A mask that fills the frame has
    no boundary, and two masks without a boundary have F = 1.
    """
    if void is not None:
        target, prediction = target & ~void, prediction & ~void
    union = np.count_nonzero(target | prediction)
    j = np.count_nonzero(target & prediction) / union if union else 1.0
    return FrameScore(j, _boundary_score(boundary(target), boundary(prediction), radius(target.shape, bound)))


def radius(size: tuple[int, ...], bound: float = BOUND) -> int:
    """The distance in pixels within which two boundary pixels match: 8 at 480x854, 1 or more everywhere."""
    return int(bound) if bound >= 1 else ceil(bound * hypot(*size))


def boundary(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """The pixels that differ from their right, lower or lower-right neighbour within the frame."""
    edges = np.zeros_like(mask)
    edges[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    edges[:-1] |= mask[:-1] != mask[1:]
    edges[:-1, :-1] |= mask[:-1, :-1] != mask[1:, 1:]
    return edges


def statistics(values: Float[np.ndarray, " t"]) -> Statistics:
    """Of one object's values, NaN where a frame has none; quarters share their first and last frames."""
    known = values[~np.isnan(values)]
    if not len(known):
        return Statistics(float("nan"), float("nan"), float("nan"))
    ends = np.round(np.linspace(1, len(values), 5) + 1e-10).astype(int) - 1
    quarters = [values[start : stop + 1] for start, stop in pairwise(ends)]
    with np.errstate(invalid="ignore"):
        recall = float(np.mean(values > 0.5))
    return Statistics(float(known.mean()), recall, float(_mean(quarters[0]) - _mean(quarters[-1])))


def _mean(values: Float[np.ndarray, " t"]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _boundary_score(target: Bool[np.ndarray, "h w"], prediction: Bool[np.ndarray, "h w"], reach: int) -> float:
    num_target, num_prediction = np.count_nonzero(target), np.count_nonzero(prediction)
    if not num_target or not num_prediction:
        return float(num_target == num_prediction)
    precision = _num_near(prediction, target, reach) / int(num_prediction)
    recall = _num_near(target, prediction, reach) / int(num_target)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _num_near(points: Bool[np.ndarray, "h w"], others: Bool[np.ndarray, "h w"], reach: int) -> int:
    """How many of the points have one of the others within a filled disk.

    A row of the disk holds one of the others where their running count differs between its two ends, so only the
    points themselves are looked at.
    """
    height, width = others.shape
    counts = np.zeros((height, width + 1), dtype=np.int32)
    np.cumsum(others, axis=1, out=counts[:, 1:])
    rows, columns = np.nonzero(points)
    near = np.zeros(len(rows), dtype=bool)
    for step in range(-reach, reach + 1):
        half = isqrt(reach**2 - step**2)
        row = rows + step
        inside = (row >= 0) & (row < height)
        row = np.where(inside, row, 0)
        found = counts[row, np.minimum(columns + half + 1, width)] > counts[row, np.maximum(columns - half, 0)]
        near |= inside & found
    return int(np.count_nonzero(near))
