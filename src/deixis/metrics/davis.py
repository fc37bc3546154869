"""The DAVIS challenge's program over label maps: J and F of the objects of videos, under its two tasks.

- `unsupervised`: all frames; void pixels count for nothing; predicted objects are assigned to the true ones by the
  Hungarian method, so an answer that exchanges two objects has a perfect score. Published numbers on Ref-DAVIS17 are
  computed so.
- `semi-supervised`: object numbers are fixed; the first and last frames are left out; void pixels are background.

Both take the number of objects from the truth's first frame: an object that appears later is never scored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8

from ..errors import InputError, ModelError
from .boundaries import Statistics, frame_score, statistics

Task = Literal["unsupervised", "semi-supervised"]
Labels = UInt8[np.ndarray, "_ _"]  # of one frame: 0 background, 1, 2 … objects, 255 void
VOID = 255
MOST_PREDICTED = 20  # objects of one video under `unsupervised`


@dataclass(frozen=True, slots=True)
class ObjectScore:
    j: Statistics
    f: Statistics


@dataclass(frozen=True, slots=True)
class DavisScore:
    """The means over all objects of all videos, and each object's means; fractions."""

    j: Statistics
    f: Statistics
    objects: Mapping[str, ObjectScore]  # by `video_number`

    @property
    def j_and_f(self) -> float:
        return (self.j.mean + self.f.mean) / 2


def score_video(frames: Sequence[tuple[Labels, Labels]], task: Task) -> list[ObjectScore]:
    """The scores of the objects 1, 2 … of one video, from its pairs of true and predicted label maps in order.

    Raises `InputError` for a prediction of another size than its frame and for more predicted objects than the task
    allows.
    """
    j, f = _tables(frames, task)
    chosen = _matched(j, f, task)
    if task == "semi-supervised":
        j, f = j[1:-1], f[1:-1]
    return [
        ObjectScore(statistics(j[:, true, predicted]), statistics(f[:, true, predicted]))
        for true, predicted in enumerate(chosen)
    ]


def match(frames: Sequence[tuple[Labels, Labels]], task: Task) -> dict[int, int]:
    """For each true object the number of the predicted one that it is compared with; it may not exist.

    Raises `InputError` for a prediction of another size than its frame and for too many predicted objects.
    """
    if task == "semi-supervised":
        return {number: number for number in range(1, largest(frames[0][0]) + 1)}
    chosen = _matched(*_tables(frames, task), task)
    return dict(enumerate((each + 1 for each in chosen), start=1))


def average(videos: Mapping[str, list[ObjectScore]]) -> DavisScore:
    """The score of all videos: each object counts alike, whatever the length of its video."""
    objects = {f"{video}_{number}": each for video, of in videos.items() for number, each in enumerate(of, start=1)}
    if not objects:
        raise InputError("There is no object to score: no first frame of the truth shows one.")
    return DavisScore(
        _mean([each.j for each in objects.values()]), _mean([each.f for each in objects.values()]), objects
    )


def _tables(
    frames: Sequence[tuple[Labels, Labels]], task: Task
) -> tuple[Float[np.ndarray, "t k p"], Float[np.ndarray, "t k p"]]:
    """J and F of every true object against the predicted ones: all of them, or under fixed numbers its own alone."""
    rows: list[dict[tuple[int, int], tuple[float, float]]] = []
    num_true, num_predicted = 0, 0
    for number, (truth, predicted) in enumerate(frames):
        if truth.shape != predicted.shape:
            raise InputError(
                f"The prediction of frame {number} has {predicted.shape[0]}x{predicted.shape[1]} pixels; expected "
                f"{truth.shape[0]}x{truth.shape[1]}, as its truth."
            )
        if number == 0:
            num_true = num_predicted = largest(truth)
        num_predicted = max(num_predicted, largest(predicted))
        _check(num_predicted, num_true, number, task)
        rows.append(_frame(truth, predicted, num_true, task))
    j, f = np.zeros((2, len(rows), num_true, num_predicted))
    absent = _absent(rows, num_true)
    for number, row in enumerate(rows):
        j[number], f[number] = absent[number][0][:, None], absent[number][1][:, None]
        for (true, predicted_number), (own_j, own_f) in row.items():
            if predicted_number:
                j[number, true - 1, predicted_number - 1], f[number, true - 1, predicted_number - 1] = own_j, own_f
    return j, f


def _frame(truth: Labels, predicted: Labels, num_true: int, task: Task) -> dict[tuple[int, int], tuple[float, float]]:
    """J and F by (true, predicted) object of this frame; predicted object 0 stands for an empty mask."""
    void = truth == VOID if task == "unsupervised" else None
    labels = [0, *(int(each) for each in np.unique(predicted) if each)]
    scores: dict[tuple[int, int], tuple[float, float]] = {}
    for true in range(1, num_true + 1):
        for label in labels if task == "unsupervised" else {0, *({true} & set(labels))}:
            mask = predicted == label if label else np.zeros(predicted.shape, dtype=bool)
            score = frame_score(truth == true, mask, void)
            scores[true, label] = score.j, score.f
    return scores


def _absent(
    rows: list[dict[tuple[int, int], tuple[float, float]]], num_true: int
) -> list[tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]]:
    """J and F of each true object in each frame where nothing is predicted for it."""
    pairs = [[row[true, 0] for true in range(1, num_true + 1)] for row in rows]
    return [(np.array([one[0] for one in each]), np.array([one[1] for one in each])) for each in pairs]


def _matched(j: Float[np.ndarray, "t k p"], f: Float[np.ndarray, "t k p"], task: Task) -> list[int]:
    """The place of each true object's prediction: its own, or by which the sum of mean J and mean F is largest."""
    if task == "semi-supervised":
        return list(range(j.shape[1]))
    try:
        from scipy.optimize import linear_sum_assignment
    except ModuleNotFoundError:
        raise ModelError("Assigning objects needs SciPy; install it by: pip install 'deixis[video]'.") from None
    _, predicted = linear_sum_assignment(-(j.mean(axis=0) + f.mean(axis=0)) / 2)
    return [int(each) for each in predicted]


def largest(labels: Labels) -> int:
    """The largest number of an object in a label map."""
    return int(np.where(labels == VOID, 0, labels).max(initial=0))


def _check(num_predicted: int, num_true: int, frame: int, task: Task) -> None:
    most = MOST_PREDICTED if task == "unsupervised" else num_true
    if num_predicted > max(most, num_true):
        raise InputError(
            f"The prediction of frame {frame} has an object {num_predicted}; expected at most {max(most, num_true)}. "
            "Store objects as the numbers 1, 2 … of a palette image, not as grey values such as 255."
        )


def _mean(parts: list[Statistics]) -> Statistics:
    values = np.array([(each.mean, each.recall, each.decay) for each in parts]).mean(axis=0)
    return Statistics(*(float(value) for value in values))
