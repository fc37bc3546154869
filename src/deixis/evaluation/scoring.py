"""A Segmenter over a reader's split: in batches, workers and processes, and each expression once."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8

from .. import masks
from ..batch import Batch, Output
from ..data.batches import load_samples
from ..data.collate import Tokenizer, collate
from ..data.subsets import Subset
from ..data.transforms import Preprocess
from ..errors import InputError, ModelError
from ..metrics.accumulators import Totals
from ..metrics.protocols import PROTOCOLS, ScoringProtocol
from ..metrics.scored import Scored, score_expression
from ..predict.outputs import is_finite, mask_probabilities, presence_probabilities
from ..predict.presence import Presence, check_threshold, decide
from ..predict.refine import resized
from ..predict.segmenter import Segmenter
from ..records import Ids, MaskRule, Reader, Sample
from . import ref_davis


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How a split is scored; of these fields only the thresholds change a score.

    `threshold` replaces the threshold of the checkpoint's mask rule. `presence_threshold` is for systems with a
    presence head, by default the checkpoint's.
    """

    batch_size: int = 8
    workers: int = 0
    threshold: float | None = None
    presence_threshold: float | None = None
    rank: int = 0
    ranks: int = 1

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.workers < 0:
            raise InputError(
                f"The batch size is {self.batch_size} and the number of workers {self.workers}; expected 1 or more and "
                "0 or more."
            )
        for name, value in (("threshold", self.threshold), ("presence threshold", self.presence_threshold)):
            if value is not None:
                check_threshold(name, value)
        if not 0 <= self.rank < self.ranks:
            raise ValueError(f"There is no process {self.rank} among {self.ranks}.")


def limited(reader: Reader, limit: int | None) -> Reader:
    """At most `limit` expressions, evenly spread over the split."""
    if limit is None or limit >= len(reader):
        return reader
    if limit < 1:
        raise InputError(f"The limit is {limit}; expected 1 or more expressions.")
    return Subset(reader, tuple(np.linspace(0, len(reader) - 1, limit).round().astype(int).tolist()))


def score_system(
    segmenter: Segmenter, reader: Reader, rules: ScoringProtocol, scoring: Scoring, done: frozenset[str] = frozenset()
) -> Iterator[list[Scored]]:
    """This process's part of the split, one batch at a time, without the sentences in `done`.

    Where the objects of a clip compete for its pixels, `reader` is the whole split, and a clip is one batch.
    """
    if rules.davis is not None:
        yield from _score_clips(segmenter, reader, rules, scoring, done)
        return
    for samples, batch, output in _predicted(segmenter, reader, scoring, done):
        yield _score(segmenter, batch, samples, output, rules, scoring)


def _score_clips(
    segmenter: Segmenter, reader: Reader, rules: ScoringProtocol, scoring: Scoring, done: frozenset[str]
) -> Iterator[list[Scored]]:
    """Each video and annotator at a time, by the label maps that its objects compete for."""
    assert rules.davis is not None
    alone = replace(scoring, rank=0, ranks=1)
    for group in ref_davis.groups(reader, rules.davis)[scoring.rank :: scoring.ranks]:
        places = [at for name in group.frames for at in group.frames[name]]
        if all(reader.ids[at].sentence in done for name in group.counted for at in group.frames[name]):
            continue
        frames: dict[str, list[Sample]] = {name: [] for name in group.frames}
        labels: dict[str, UInt8[np.ndarray, "_ _"]] = {}
        each = predicted_masks(segmenter, Subset(reader, places), alone)
        for name, of_frame in groupby(each, key=lambda one: str(one.sample.traits["frame_name"])):
            labels[name] = label_map(found := list(of_frame))
            frames[name] = [one.sample for one in found]
        records = ref_davis.score_group(frames, labels, group.counted, rules.davis)
        yield [one for one in records if one.ids.sentence not in done]


def label_map(found: Sequence["PredictedMask"]) -> UInt8[np.ndarray, "h w"]:
    """The numbers of the objects of one frame, which compete for its pixels."""
    numbers = [int(one.sample.ids.object) for one in found]
    return ref_davis.label_map(numbers, [one.probability for one in found], [one.mask for one in found])


@dataclass(frozen=True)
class PredictedMap:
    """One sample with its map at the compared size, and how the map becomes a mask."""

    sample: Sample
    probability: Float32[np.ndarray, "h w"]
    rule: MaskRule
    presence: Presence | None
    highest: float

    def decide(self, rule: MaskRule | None = None) -> tuple[Bool[np.ndarray, "h w"], float]:
        """The mask and the score, as a user gets them; `rule` replaces the checkpoint's."""
        return decide(self.probability, rule or self.rule, self.presence, self.highest)

    def scored(self, rules: ScoringProtocol, rule: MaskRule | None = None) -> Scored:
        mask, score = self.decide(rule)
        return score_expression(self.sample, [(masks.encode(mask), score)], rules)  # type: ignore[list-item]


@dataclass(frozen=True)
class PredictedMask:
    """One sample with its probability map and its mask, at the image's own size."""

    sample: Sample
    probability: Float32[np.ndarray, "h w"]
    mask: Bool[np.ndarray, "h w"]


def predicted_masks(segmenter: Segmenter, reader: Reader, scoring: Scoring) -> Iterator[PredictedMask]:
    """The masks of a split, which needs no labels; images stay together, otherwise in the reader's order."""
    for samples, batch, output in _predicted(segmenter, reader, scoring):
        for one in _maps(segmenter, batch, samples, output, PROTOCOLS["full"], scoring):
            yield PredictedMask(one.sample, one.probability, one.decide()[0])


def score_thresholds(
    segmenter: Segmenter,
    reader: Reader,
    rules: ScoringProtocol,
    scoring: Scoring,
    thresholds: Sequence[float],
    advance: Callable[[int], None] = lambda count: None,
) -> dict[float, Totals]:
    """The totals of the split with each threshold of the mask rule; every map is computed once."""
    mask_rules = {threshold: segmenter.mask_rule(threshold) for threshold in thresholds}
    totals = {threshold: Totals(rules) for threshold in thresholds}
    for samples, batch, output in _predicted(segmenter, reader, scoring):
        for one in _maps(segmenter, batch, samples, output, rules, scoring):
            for threshold, rule in mask_rules.items():
                totals[threshold].add(one.scored(rules, rule))
        advance(len(samples))
    return totals


@dataclass(frozen=True, kw_only=True)
class HeadAnswers:
    """Of each expression the presence head's probability before any calibration, and whether its target has pixels.

    `iou` is that of the mask whatever the head says, under the protocol `full`.
    """

    probability: Float[np.ndarray, " b"]
    present: Bool[np.ndarray, " b"]
    iou: Float[np.ndarray, " b"]


def score_presence(
    segmenter: Segmenter, reader: Reader, scoring: Scoring, advance: Callable[[int], None] = lambda count: None
) -> HeadAnswers:
    """What the presence head says of every expression of a split."""
    probabilities: list[float] = []
    scored: list[Scored] = []
    rules = PROTOCOLS["full"]
    for samples, batch, output in _predicted(segmenter, reader, scoring):
        raw = presence_probabilities(output)
        if raw is None:
            raise InputError(
                f"The model {segmenter.name!r} has no presence head, and its score is not a probability that could be "
                "calibrated; give a model with a presence head."
            )
        probabilities += raw.tolist()
        maps = _maps(segmenter, batch, samples, output, rules, scoring)
        scored += [replace(one, presence=None).scored(rules) for one in maps]
        advance(len(samples))
    return HeadAnswers(
        probability=np.array(probabilities, dtype=np.float64),
        present=np.array([one.target > 0 for one in scored], dtype=bool),
        iou=np.array([one.iou(rules) for one in scored], dtype=np.float64),
    )


def _predicted(
    segmenter: Segmenter, reader: Reader, scoring: Scoring, done: frozenset[str] = frozenset()
) -> Iterator[tuple[list[Sample], Batch, Output]]:
    plan = [
        [position for position in positions if reader.ids[position].sentence not in done]
        for positions in grouped_batches(reader.ids, scoring.batch_size)[scoring.rank :: scoring.ranks]
    ]
    make = _Unlabelled(segmenter.tokenizer, segmenter.preprocess)
    for batch, samples in load_samples(reader, [each for each in plan if each], make, scoring.workers):
        yield samples, batch, _output(segmenter, batch, samples)


def grouped_batches(ids: Sequence[Ids], batch_size: int) -> list[list[int]]:
    """Positions in batches, with the sentences of one image together, so that it is read and encoded once."""
    by_image: dict[str, list[int]] = {}
    for position, one in enumerate(ids):
        by_image.setdefault(one.image, []).append(position)
    batches: list[list[int]] = [[]]
    for positions in by_image.values():
        for start in range(0, len(positions), batch_size):
            chunk = positions[start : start + batch_size]
            if len(batches[-1]) + len(chunk) > batch_size:
                batches.append([])
            batches[-1] += chunk
    return [batch for batch in batches if batch]


@dataclass(frozen=True)
class _Unlabelled:
    """A Batch without masks, and its samples: targets are compared at their own size."""

    tokenizer: Tokenizer
    preprocess: Preprocess

    def __call__(self, samples: list[Sample]) -> tuple[Batch, list[Sample]]:
        return collate(samples, self.tokenizer, self.preprocess, labels="none"), samples


def _output(segmenter: Segmenter, batch: Batch, samples: list[Sample]) -> Output:
    output = segmenter.predict(batch)
    if not is_finite(output):
        raise ModelError(
            f"The model {segmenter.name!r} computes numbers that are not finite in the batch of sentence "
            f"{samples[0].ids.sentence!r}; its weights are broken or its dtype is too narrow."
        )
    return output


@torch.inference_mode()
def _score(
    segmenter: Segmenter,
    batch: Batch,
    samples: list[Sample],
    output: Output,
    rules: ScoringProtocol,
    scoring: Scoring,
) -> list[Scored]:
    return [one.scored(rules) for one in _maps(segmenter, batch, samples, output, rules, scoring)]


def _maps(
    segmenter: Segmenter,
    batch: Batch,
    samples: list[Sample],
    output: Output,
    rules: ScoringProtocol,
    scoring: Scoring,
) -> Iterator[PredictedMap]:
    """Each sample with its map and the rule for it: the map, not the mask, is resized."""
    rule = segmenter.mask_rule(scoring.threshold)
    presences = segmenter.presences(presence_probabilities(output), len(samples), scoring.presence_threshold)
    to = None if rules.size is None else (rules.size, rules.size)
    outside = _outside(segmenter, batch)
    for number, (sample, probability, size) in enumerate(
        zip(samples, mask_probabilities(output), batch.sizes, strict=True)
    ):
        presence = None if outside[number] else presences[number]
        highest = segmenter.highest_score(segmenter.known(sample.expression), outside[number])
        if segmenter.refine is None:
            values = segmenter.preprocess.restore(probability, size, to=to)
            yield PredictedMap(sample, values, rule, presence, highest)
        else:
            photo = sample.visual.read([sample.frame])[0]
            values, refined = segmenter.refine.refine(photo, segmenter.preprocess.restore(probability, size), rule)
            yield PredictedMap(sample, resized(values, to), refined, presence, highest)


def _outside(segmenter: Segmenter, batch: Batch) -> list[bool]:
    """Whether each expression's image is outside the model's domain."""
    outside = segmenter.is_outside(batch.images)
    return outside if batch.image_index is None else [outside[number] for number in batch.image_index.tolist()]
