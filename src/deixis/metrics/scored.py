"""The score of one expression as pixel counts, from which every total is computed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import masks
from ..errors import InputError
from ..masks import RLE
from ..records import Ids, Sample
from .boundaries import frame_score
from .breakdowns import groups_of
from .iou import best_answer, iou
from .protocols import ScoringProtocol


@dataclass(frozen=True, slots=True)
class Answer:
    """One predicted mask against the target, in pixels; with the agreement F of their boundaries where it counts."""

    score: float
    area: int
    intersection: int
    union: int
    boundary: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """One expression: the target's area, each answer of the system, and its groups in the breakdowns.

    Of an expression about a clip it is one frame of `num_frames`.
    """

    ids: Ids
    target: int
    answers: tuple[Answer, ...]
    groups: Mapping[str, str] = field(default_factory=dict)
    num_frames: int = 1

    @property
    def best(self) -> Answer:
        if len(self.answers) == 1:
            return self.answers[0]
        return self.answers[best_answer([answer.score for answer in self.answers])]

    def iou(self, rules: ScoringProtocol) -> float:
        best = self.best
        return iou(best.intersection, best.union, both_empty=rules.both_empty, smoothing=rules.smoothing)


def score_expression(sample: Sample, answers: Sequence[tuple[RLE, float]], rules: ScoringProtocol) -> Scored:
    """Compare a system's masks with the sample's target by run-length arithmetic; no answer counts as an empty mask.

    Raises `DeixisError` where the sample has no target mask or a mask is of another size than the image.
    """
    label = label_of(sample)
    groups = groups_of(sample.expression, masks.area(label), sample.traits)
    target = at_protocol_size(label, rules)
    area, size = masks.area(target), list(label["size"])
    answers = answers or [(_empty(label), 0.0)]
    given = tuple(compare(mask, score, target, area, rules, sample.ids, size) for mask, score in answers)
    num_frames = int(sample.traits.get("num_frames", 1))
    return Scored(ids=sample.ids, target=area, answers=given, groups=groups, num_frames=num_frames)


def label_of(sample: Sample) -> RLE:
    """The target mask; raises `InputError` where the sample has none."""
    if sample.mask is None:
        raise InputError(
            f"Sentence {sample.ids.sentence!r} of {sample.dataset} {sample.split} has no mask to score against; "
            "evaluate on a split with labels."
        )
    return sample.mask


def compare(
    mask: RLE, score: float, target: RLE, target_area: int, rules: ScoringProtocol, ids: Ids, size: list[int]
) -> Answer:
    """One mask against `target`, which has the protocol's size; `size` is the sample's own."""
    try:
        allowed = [size] if rules.size is None else [size, [rules.size, rules.size]]
        if list(mask["size"]) not in allowed:  # a file could claim a size that takes all memory
            raise ValueError(f"its size is {list(mask['size'])}; expected {' or '.join(map(str, allowed))}.")
        mask = at_protocol_size(mask, rules)
        intersection, union = masks.intersection_and_union(mask, target)
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"The mask of sentence {ids.sentence!r} (image {ids.image!r}) is wrong: {error}") from None
    agreement = frame_score(masks.decode(target), masks.decode(mask)).f if rules.boundaries else None
    return Answer(score, union + intersection - target_area, intersection, union, agreement)


def _empty(label: RLE) -> RLE:
    return masks.encode(np.zeros(label["size"], dtype=bool))  # type: ignore[return-value]


def at_protocol_size(mask: RLE, rules: ScoringProtocol) -> RLE:
    """The mask as the protocol compares it: itself, or resized by nearest neighbour to the protocol's square."""
    if rules.size is None or list(mask["size"]) == [rules.size, rules.size]:
        return mask
    return masks.encode(masks.resize(masks.decode(mask), rules.size, rules.size))  # type: ignore[return-value]


def to_line(scored: Scored, rules: ScoringProtocol) -> str:
    """One line of JSON: the counts that totals are computed from, and the IoU for people."""
    fields = {
        "image": scored.ids.image,
        "object": scored.ids.object,
        "sentence": scored.ids.sentence,
        "iou": scored.iou(rules),
        "target": scored.target,
        "answers": [_counts(answer) for answer in scored.answers],
        "groups": dict(scored.groups),
    }
    if scored.num_frames > 1:
        fields["num_frames"] = scored.num_frames
    return json.dumps(fields, separators=(",", ":"))


def from_fields(fields: Mapping[str, Any]) -> Scored:
    """The record that `to_line` wrote; raises `KeyError` or `TypeError` for anything else."""
    return Scored(
        ids=Ids(fields["image"], fields["object"], fields["sentence"]),
        target=fields["target"],
        answers=tuple(Answer(*counts) for counts in fields["answers"]),
        groups=fields["groups"],
        num_frames=fields.get("num_frames", 1),
    )


def _counts(answer: Answer) -> list[int | float]:
    counts: list[int | float] = [answer.score, answer.area, answer.intersection, answer.union]
    return counts if answer.boundary is None else [*counts, answer.boundary]
