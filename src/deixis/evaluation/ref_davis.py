"""Ref-DAVIS17: the objects of a video compete for its pixels, and label maps are compared, for each annotator.

Source: the evaluation of ReferFormer and its followers; `metrics/davis.py` describes the two tasks. The scores of
single frames become records like those of every other data set, so that intervals and comparisons are the same. A video
and annotator is scored as a whole, because predicted objects may be assigned to the true ones.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from .. import masks
from ..data.subsets import Subset
from ..errors import InputError
from ..metrics.boundaries import frame_score
from ..metrics.breakdowns import groups_of
from ..metrics.davis import VOID, Task, match
from ..metrics.scored import Answer, Scored, label_of
from ..records import Reader, Sample
from .submissions import NUM_ANNOTATORS

Frames = Mapping[str, Sequence[Sample]]  # a frame's samples, one for each object, by the frame's name


@dataclass(frozen=True)
class Group:
    """One video as one annotator describes it: the positions of its samples, and the frames that count."""

    frames: Mapping[str, tuple[int, ...]]
    counted: tuple[str, ...]


def groups(reader: Reader, task: Task) -> list[Group]:
    """Every video and annotator, in the reader's order."""
    found: dict[tuple[str, int], dict[str, list[int]]] = {}
    for position, ids in enumerate(reader.ids):
        video, expression, frame = ids.sentence.rsplit("/", 2)
        found.setdefault((video, int(expression) % NUM_ANNOTATORS), {}).setdefault(frame, []).append(position)
    return [_group(frames, task) for frames in found.values()]


def counted(reader: Reader, task: Task) -> Reader:
    """The samples that the program counts: of the objects up to the largest one in the first frame, without the first
    and last frames where the task leaves them out."""
    kept: list[int] = []
    for group in groups(reader, task):
        first = [reader[position] for position in group.frames[next(iter(group.frames))]]
        most = max((_number(sample) for sample in first if masks.area(label_of(sample))), default=0)
        kept += [at for name in group.counted for at in group.frames[name] if int(reader.ids[at].object) <= most]
    if not kept:
        raise InputError("No first frame shows an object, or no video has three frames; there is nothing to score.")
    return Subset(reader, sorted(kept))


def label_map(
    numbers: Sequence[int], maps: Sequence[Float32[np.ndarray, "h w"]], found: Sequence[Bool[np.ndarray, "h w"]]
) -> UInt8[np.ndarray, "h w"]:
    """For each pixel the object with the largest probability among those whose mask holds it, 0 without any."""
    values = np.stack([np.where(mask, probability, 0.0) for probability, mask in zip(maps, found, strict=True)])
    best = np.array(numbers, dtype=np.uint8)[values.argmax(axis=0)]
    return np.where(values.max(axis=0) > 0, best, np.uint8(0))


def score_group(
    frames: Frames, labels: Mapping[str, UInt8[np.ndarray, "_ _"]], names: Sequence[str], task: Task
) -> Iterator[Scored]:
    """The records of the frames `names` of one video and annotator, from the predicted label maps of all its frames."""
    if task == "semi-supervised":
        _check_numbers(frames, labels)
    truths = {name: _truth(samples, with_void=task == "unsupervised") for name, samples in frames.items()}
    chosen = match([(truths[name], labels[name]) for name in frames], task)
    for name in names:
        for sample in frames[name]:
            if (predicted := chosen.get(_number(sample))) is not None:
                yield _record(sample, labels[name] == predicted, truths[name] == VOID, len(names))


def _group(frames: Mapping[str, list[int]], task: Task) -> Group:
    names = sorted(frames)
    return Group(
        frames={name: tuple(frames[name]) for name in names},
        counted=tuple(names if task == "unsupervised" else names[1:-1]),
    )


def _truth(samples: Sequence[Sample], *, with_void: bool) -> UInt8[np.ndarray, "h w"]:
    """The label map of a frame, from the masks of its objects."""
    truth = np.zeros(label_of(samples[0])["size"], dtype=np.uint8)
    for sample in samples:
        truth[masks.decode(label_of(sample))] = _number(sample)
    if with_void and "void" in samples[0].traits:
        truth[masks.decode(samples[0].traits["void"])] = VOID
    return truth


def _check_numbers(frames: Frames, labels: Mapping[str, UInt8[np.ndarray, "_ _"]]) -> None:
    """Raises `InputError` for an object that no expression is about: its pixels would count as background."""
    for name, samples in frames.items():
        known = {0, *map(_number, samples)}
        if unknown := sorted({int(each) for each in np.unique(labels[name])} - known):
            raise InputError(
                f"The prediction of frame {name} of {samples[0].ids.image} has an object {unknown[0]}; expected "
                f"numbers from 0 to {max(known)}. Store objects as the numbers 1, 2 … of a palette image, not as grey "
                "values."
            )


def _number(sample: Sample) -> int:
    return int(sample.ids.object)


def _record(
    sample: Sample, predicted: Bool[np.ndarray, "h w"], void: Bool[np.ndarray, "h w"], num_frames: int
) -> Scored:
    label = label_of(sample)
    target, predicted = masks.decode(label) & ~void, predicted & ~void
    answer = Answer(
        score=1.0,
        area=int(np.count_nonzero(predicted)),
        intersection=int(np.count_nonzero(target & predicted)),
        union=int(np.count_nonzero(target | predicted)),
        boundary=frame_score(target, predicted).f,
    )
    groups = groups_of(sample.expression, masks.area(label), sample.traits)
    area = int(np.count_nonzero(target))
    return Scored(ids=sample.ids, target=area, answers=(answer,), groups=groups, num_frames=num_frames)
