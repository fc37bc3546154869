"""Intersection over union of one expression, and which of a system's answers counts: what every total shares."""

from collections.abc import Sequence

import numpy as np


def iou(intersection: int, union: int, *, both_empty: float = 1.0, smoothing: float = 0.0) -> float:
    """I/U; where prediction and target are both empty, what the protocol gives for it.

    With `smoothing` it is (I + s) / (U + s) in single precision, as the A2D-Sentences code of MTTR and ReferFormer
    computes it; both empty is then 1 by arithmetic.
    """
    if smoothing:
        small = np.float32(smoothing)
        return float((np.float32(intersection) + small) / (np.float32(union) + small))
    return intersection / union if union else both_empty


def reaches(value: float, threshold: float, *, strict: bool = False) -> bool:
    """Whether an IoU counts at a threshold: most published code takes the equal ones in, A2D's leaves them out.

    >>> reaches(0.5, 0.5), reaches(0.5, 0.5, strict=True)
    (True, False)
    """
    return value > threshold if strict else value >= threshold


def best_answer(scores: Sequence[float]) -> int:
    """The position of the highest score; among equal scores the later, as a stable ascending sort leaves it."""
    return max(range(len(scores)), key=lambda position: (scores[position], position))
