"""The two tasks of the DAVIS challenge's program: which predicted object a true one is compared with.

- `unsupervised`: predicted objects are assigned to the true ones by the Hungarian method, so an answer that exchanges
  two objects has a perfect score; all frames count, void pixels do not. Published numbers on Ref-DAVIS17 are computed
  so.
- `semi-supervised`: object numbers are fixed; the first and last frames are left out; void pixels are background.

Both take the number of objects from the truth's first frame: an object that appears later is never scored.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8

from ..errors import InputError, ModelError
from .boundaries import frame_score

Task = Literal["unsupervised", "semi-supervised"]
Labels = UInt8[np.ndarray, "_ _"]  # of one frame: 0 background, 1, 2 … objects, 255 void
VOID = 255
MOST_PREDICTED = 20  # objects of one video under `unsupervised`


def match(frames: Sequence[tuple[Labels, Labels]], task: Task) -> dict[int, int]:
    """For each true object the number of the predicted one that it is compared with; it may not exist.

    `frames` are the pairs of true and predicted label maps of one video, in order. Raises `InputError` for a prediction
    of another size than its frame and for too many predicted objects.
    """
    if task == "semi-supervised":
        return {number: number for number in range(1, largest(frames[0][0]) + 1)}
    try:
        from scipy.optimize import linear_sum_assignment
    except ModuleNotFoundError:
        raise ModelError("Assigning objects needs SciPy; install it by: pip install 'deixis[video]'.") from None
    _, predicted = linear_sum_assignment(-_agreement(frames))
    return dict(enumerate((int(each) + 1 for each in predicted), start=1))


def largest(labels: Labels) -> int:
    """The largest number of an object in a label map."""
    return int(np.where(labels == VOID, 0, labels).max(initial=0))


def _agreement(frames: Sequence[tuple[Labels, Labels]]) -> Float[np.ndarray, "k p"]:
    """J + F of every true and predicted object, summed over the frames."""
    num_true = largest(frames[0][0])
    for number, (truth, predicted) in enumerate(frames):
        _check(truth, predicted, number, max(MOST_PREDICTED, num_true))
    sums = np.zeros((num_true, max(num_true, *(largest(predicted) for _, predicted in frames))))
    for truth, predicted in frames:
        shown = set(np.unique(predicted).tolist())
        for true in range(1, num_true + 1):
            mask, void = truth == true, truth == VOID
            absent = _j_plus_f(mask, np.zeros_like(mask), void)
            for number in range(1, sums.shape[1] + 1):
                sums[true - 1, number - 1] += _j_plus_f(mask, predicted == number, void) if number in shown else absent
    return sums


def _j_plus_f(target: np.ndarray, prediction: np.ndarray, void: np.ndarray) -> float:
    score = frame_score(target, prediction, void)
    return score.j + score.f


def _check(truth: Labels, predicted: Labels, frame: int, most: int) -> None:
    if truth.shape != predicted.shape:
        raise InputError(
            f"The prediction of frame {frame} has {predicted.shape[0]}x{predicted.shape[1]} pixels; expected "
            f"{truth.shape[0]}x{truth.shape[1]}, as its truth."
        )
    if (number := largest(predicted)) > most:
        raise InputError(
            f"The prediction of frame {frame} has an object {number}; expected at most {most}. Store objects as the "
            "numbers 1, 2 … of a palette image, not as grey values such as 255."
        )
