"""Streams of Batches for training and scoring; a step's batch is a function of the seed and the step alone."""

import atexit
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar, cast

import numpy as np
from torch.utils.data import DataLoader, Dataset

from ..batch import Batch, Domains, Pair
from ..errors import DeixisError, InputError
from ..records import Reader, Sample
from .collate import Labels, Tokenizer, collate
from .order import Draw, EpochOrder
from .transforms import Preprocess

Made = TypeVar("Made")
# Ctrl-C, and what a scheduler, a shell or a closing terminal sends to all processes of a group; Windows has no SIGHUP.
STOP_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


@dataclass(frozen=True, kw_only=True)
class TrainBatches:
    """The samples of a reader as an endless, shuffled stream of Batches that can be entered at any step.

    `batch_size` counts the expressions of one optimiser step over all processes and accumulated parts, so that one
    process and many see the same batches. `EpochOrder` describes `draw`, `sentences_per_image` and `distinct_images`;
    with `labels="none"` no masks are read.
    """

    reader: Reader
    tokenizer: Tokenizer
    preprocess: Preprocess
    batch_size: int
    sentences_per_image: int = 1
    draw: Draw = "object"
    distinct_images: bool = False
    labels: Labels = "masks"
    seed: int = 0
    workers: int = 0

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.sentences_per_image < 1 or self.workers < 0:
            raise InputError(
                f"The batch size is {self.batch_size}, sentences_per_image {self.sentences_per_image} and the number "
                f"of workers {self.workers}; expected two positive numbers and 0 or more workers."
            )
        _ = self.order  # raises where not one batch can be filled

    @cached_property
    def order(self) -> EpochOrder:
        return EpochOrder(
            ids=self.reader.ids,
            batch_size=self.batch_size,
            sentences_per_image=self.sentences_per_image,
            draw=self.draw,
            distinct_images=self.distinct_images,
            seed=self.seed,
        )

    @property
    def steps_per_epoch(self) -> int:
        return self.order.steps

    def stream(self, start: int, stop: int, *, rank: int = 0, ranks: int = 1, parts: int = 1) -> Iterator[Batch]:
        """The batches of steps `start` to `stop - 1`, this rank's share of each, cut into `parts` for accumulation."""
        if self.batch_size % (ranks * parts):
            raise InputError(
                f"A batch of {self.batch_size} cannot be shared equally by {ranks} processes with {parts} parts each; "
                f"choose a multiple of {ranks * parts}."
            )
        plan = _Plan(self.order, start, stop, rank, ranks, parts)
        make = _Collate(self.tokenizer, self.preprocess, self.labels)
        return load_samples(self.reader, plan, make, self.workers)

    def in_order(self) -> "EvalBatches":
        """Every sentence once, in the reader's order."""
        return EvalBatches(
            reader=self.reader,
            tokenizer=self.tokenizer,
            preprocess=self.preprocess,
            batch_size=self.batch_size,
            labels=self.labels,
            workers=self.workers,
        )


@dataclass(frozen=True)
class PairedBatches:
    """The batches of a source and a target domain, side by side; each starts a new epoch when its own ends.

    An epoch of the pairs is one of the source.
    """

    source: TrainBatches
    target: TrainBatches

    @property
    def steps_per_epoch(self) -> int:
        return self.source.steps_per_epoch

    def stream(self, start: int, stop: int, *, rank: int = 0, ranks: int = 1, parts: int = 1) -> Iterator[Pair]:
        """As `TrainBatches.stream`, of both."""
        sources = self.source.stream(start, stop, rank=rank, ranks=ranks, parts=parts)
        targets = self.target.stream(start, stop, rank=rank, ranks=ranks, parts=parts)
        return (Pair(source=source, target=target) for source, target in zip(sources, targets, strict=True))

    def domains(self) -> Domains:
        return Domains(source=self.source.in_order(), target=self.target.in_order())


@dataclass(frozen=True, kw_only=True)
class EvalBatches:
    """Each expression of a reader (or `limit` of them, evenly spread) once, in order; iterating reads them all."""

    reader: Reader
    tokenizer: Tokenizer
    preprocess: Preprocess
    batch_size: int
    limit: int | None = None
    labels: Labels = "masks"
    workers: int = 0

    def __post_init__(self) -> None:
        check_limit(self.limit)

    def share(self, rank: int = 0, ranks: int = 1) -> Iterator[Batch]:
        """Every `ranks`-th batch."""
        positions = np.arange(len(self.reader))
        if self.limit is not None and self.limit < len(positions):
            positions = positions[np.linspace(0, len(positions) - 1, self.limit).round().astype(int)]
        cuts = [positions[at : at + self.batch_size].tolist() for at in range(0, len(positions), self.batch_size)]
        make = _Collate(self.tokenizer, self.preprocess, self.labels)
        return load_samples(self.reader, cuts[rank::ranks], make, self.workers)

    def __iter__(self) -> Iterator[Batch]:
        return self.share()


def check_limit(limit: int | None) -> None:
    """Raises `InputError` where fewer than one expression would be scored."""
    if limit is not None and limit < 1:
        raise InputError(f"A limit of {limit} expressions leaves none to score; give 1 or more, or None for all.")


@dataclass(frozen=True)
class _Plan:
    """The positions of each part of each step: a batch sampler without state."""

    order: EpochOrder
    start: int
    stop: int
    rank: int
    ranks: int
    parts: int

    def __len__(self) -> int:
        return (self.stop - self.start) * self.parts

    def __iter__(self) -> Iterator[list[int]]:
        epoch, batches = -1, np.empty((0, 0), dtype=np.int64)
        for step in range(self.start, self.stop):
            if step // self.order.steps != epoch:
                epoch = step // self.order.steps
                batches = self.order.batches(epoch)
            shares = batches[step % self.order.steps].reshape(self.parts, self.ranks, -1)
            yield from (share.tolist() for share in shares[:, self.rank])


class _Positions(Dataset[Sample]):
    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, position: int) -> Sample:
        return self.reader[position]


@dataclass(frozen=True)
class _Collate:
    tokenizer: Tokenizer
    preprocess: Preprocess
    labels: Labels

    def __call__(self, samples: list[Sample]) -> Batch:
        return collate(samples, self.tokenizer, self.preprocess, labels=self.labels)


def load_samples(
    reader: Reader, plan: Iterable[list[int]], make: Callable[[list[Sample]], Made], workers: int
) -> Iterator[Made]:
    """The result of `make` for the samples at each list of positions, read and made in worker processes.

    An error has one sentence, also where a worker raised it.
    """
    loader: DataLoader[Sample] = DataLoader(
        _Positions(reader),
        batch_sampler=plan,
        num_workers=workers,
        collate_fn=make,
        worker_init_fn=_leave_signals_to_the_main_process,
    )
    samples = iter(loader)
    with _workers_of(samples):
        try:
            yield from cast(Iterator[Made], samples)
        except DeixisError as error:
            raise _one_sentence(error) from error


def _one_sentence(error: DeixisError) -> DeixisError:
    """The error without the worker's traceback that a DataLoader puts in front of it: its last line."""
    kind: Any = type(error)
    return kind(str(error).strip().splitlines()[-1].removeprefix(f"{kind.__module__}.{kind.__qualname__}: "))


@contextmanager
def _workers_of(samples: Any) -> Iterator[None]:
    """Stop the workers at the end, whatever happens.

    After an error the garbage collector needs ten seconds for it. At exit Python would send SIGTERM, which the workers
    ignore, and wait for them without end.
    """
    stop = getattr(samples, "_shutdown_workers", int)  # without workers there is nothing to stop
    atexit.register(stop)
    try:
        yield
    finally:
        stop()
        atexit.unregister(stop)


def _leave_signals_to_the_main_process(_: int) -> None:
    """Ctrl-C, SIGTERM and SIGHUP may reach the whole group; the main process still needs its workers for the step."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
