"""A Segmenter over a reader's split: batched, in several workers and processes, and never the same expression twice."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch.utils.data import DataLoader, Dataset

from .. import masks
from ..batch import Batch, Output
from ..data.batches import Tokenizer, collate, leave_interrupts_to_the_main_process, one_sentence
from ..data.subsets import Subset
from ..data.transforms import Preprocess
from ..errors import DeixisError, InputError
from ..metrics.protocols import ScoringProtocol
from ..metrics.scored import Scored, label_of, score_expression
from ..predict.presence import chances, check_threshold, decide, is_finite
from ..predict.segmenter import Segmenter, resize_probability
from ..records import Ids, Reader, Sample


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How a split is gone through; none of it but the thresholds changes a score."""

    batch_size: int = 8
    workers: int = 0
    threshold: float = 0.5
    presence_threshold: float | None = None  # for systems with a presence head: 0.5
    rank: int = 0
    ranks: int = 1

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.workers < 0:
            raise InputError(
                f"Batches of {self.batch_size} in {self.workers} workers cannot be made; give a batch size of 1 or "
                "more and 0 or more workers."
            )
        check_threshold("threshold", self.threshold)
        if self.presence_threshold is not None:
            check_threshold("presence threshold", self.presence_threshold)
        if not 0 <= self.rank < self.ranks:
            raise ValueError(f"There is no process {self.rank} among {self.ranks}.")


def limited(reader: Reader, limit: int | None) -> Reader:
    """At most `limit` expressions, evenly spread over the split."""
    if limit is None or limit >= len(reader):
        return reader
    if limit < 1:
        raise InputError(f"The limit is {limit}; at least one expression is wanted.")
    return Subset(reader, tuple(np.linspace(0, len(reader) - 1, limit).round().astype(int).tolist()))


def score_system(
    segmenter: Segmenter, reader: Reader, rules: ScoringProtocol, scoring: Scoring, done: frozenset[str] = frozenset()
) -> Iterator[list[Scored]]:
    """This process's share of the split, a batch at a time, without the sentences that are `done`."""
    for samples, batch, output in _answered(segmenter, reader, scoring, done):
        yield _score(segmenter, batch, samples, output, rules, scoring)


def score_presence(
    segmenter: Segmenter, reader: Reader, scoring: Scoring, advance: Callable[[int], None] = lambda count: None
) -> tuple[Float[np.ndarray, " b"], Bool[np.ndarray, " b"]]:
    """What the presence head says of each expression, before any calibration, and whether its target has pixels."""
    said: list[float] = []
    there: list[bool] = []
    for samples, _, output in _answered(segmenter, reader, scoring):
        raw = chances(output)
        if raw is None:
            raise InputError(
                f"The model {segmenter.name!r} does not say whether the referent is there; its score is no chance "
                "that could be calibrated, so give a model with a presence head."
            )
        said += raw.tolist()
        there += [masks.area(label_of(sample)) > 0 for sample in samples]
        advance(len(samples))
    return np.array(said, dtype=np.float64), np.array(there, dtype=bool)


def _answered(
    segmenter: Segmenter, reader: Reader, scoring: Scoring, done: frozenset[str] = frozenset()
) -> Iterator[tuple[list[Sample], Batch, Output]]:
    plan = [
        [position for position in positions if reader.ids[position].sentence not in done]
        for positions in shares(reader.ids, scoring.batch_size)[scoring.rank :: scoring.ranks]
    ]
    work = _Batches(reader, [positions for positions in plan if positions], segmenter.tokenizer, segmenter.preprocess)
    loader: DataLoader[tuple[Batch, list[Sample]]] = DataLoader(
        work,
        batch_size=None,
        num_workers=scoring.workers,
        worker_init_fn=leave_interrupts_to_the_main_process,
    )
    try:
        for batch, samples in loader:
            yield samples, batch, _output(segmenter, batch, samples)
    except DeixisError as error:
        raise one_sentence(error) from error


def shares(ids: Sequence[Ids], batch_size: int) -> list[list[int]]:
    """Positions in batches, the sentences of one image together: what is said of a picture alone is computed once."""
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
class _Batches(Dataset[tuple[Batch, list[Sample]]]):
    """Reading, resizing and spelling, which workers do."""

    reader: Reader
    plan: list[list[int]]
    tokenizer: Tokenizer
    preprocess: Preprocess

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, number: int) -> tuple[Batch, list[Sample]]:
        samples = [self.reader[position] for position in self.plan[number]]
        unlabelled = [replace(sample, mask=None) for sample in samples]  # targets are compared at their own size
        return collate(unlabelled, self.tokenizer, self.preprocess), samples


def _output(segmenter: Segmenter, batch: Batch, samples: list[Sample]) -> Output:
    placed = replace(batch, images=batch.images.to(segmenter.dtype)).to(segmenter.device)
    output = segmenter.ask(placed)
    if not is_finite(output):
        raise InputError(
            f"The model {segmenter.name!r} answers sentence {samples[0].ids.sentence!r} or one beside it with numbers "
            "that are not finite; its weights are broken or its dtype is too small."
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
    scored = []
    present = segmenter.presences(output, scoring.presence_threshold)
    answers = output.logits.float().sigmoid()
    for sample, answer, size, presence in zip(samples, answers, batch.sizes, present, strict=True):
        height, width = (rules.size, rules.size) if rules.size else size
        # The map, not the mask, is brought to the compared size, and the threshold comes last.
        mask, score = decide(resize_probability(answer, height, width), scoring.threshold, presence)
        scored.append(score_expression(sample, [(masks.encode(mask), score)], rules))  # type: ignore[list-item]
    return scored
