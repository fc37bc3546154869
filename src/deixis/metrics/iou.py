"""Intersection over union of one expression, and which of a system's answers is scored."""

from collections.abc import Sequence

import numpy as np


def iou(intersection: int, union: int, *, both_empty: float = 1.0, smoothing: float = 0.0) -> float:
    """I/U; `both_empty`, which the protocol chooses, where prediction and target are both empty.

    With `smoothing` it is (I + s) / (U + s) in single precision, as the A2D-Sentences code of MTTR and ReferFormer
    computes it; it is then 1 where both are empty.
    """
    if smoothing:
        small = np.float32(smoothing)
        return float((np.float32(intersection) + small) / (np.float32(union) + small))
    return intersection / union if union else both_empty


def reaches(value: float, threshold: float, *, strict: bool = False) -> bool:
    """Whether an IoU counts at a threshold: equal values count in most published code, and not in A2D's (`strict`).

    >>> reaches(0.5, 0.5), reaches(0.5, 0.5, strict=True)
    (True, False)
    """
    return value > threshold if strict else value >= threshold


def best_answer(scores: Sequence[float]) -> int:
    """The position of the highest score; among equal scores the last, as after a stable ascending sort."""
    return max(range(len(scores)), key=lambda position: (scores[position], position))
