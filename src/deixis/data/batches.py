"""Samples to Batches: sentences of one image share it, and any step's batch is a pure function of seed and step."""

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, cast, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Int, Int64
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .. import masks
from ..batch import Batch
from ..errors import DeixisError, InputError
from ..records import Ids, Reader, Sample
from .transforms import Preprocess

_ERROR = f"{DeixisError.__module__}.{DeixisError.__qualname__}"  # as tracebacks name it


@runtime_checkable
class Tokenizer(Protocol):
    """Sentences to token numbers, padded to the longest; True in the mask is a real word."""

    def encode(
        self, expressions: Sequence[str], max_tokens: int
    ) -> tuple[Int64[np.ndarray, "b l"], Bool[np.ndarray, "b l"]]: ...


def collate(samples: Sequence[Sample], tokenizer: Tokenizer, preprocess: Preprocess) -> Batch:
    """One Batch; samples with the same `ids.image` share one image, in order of first appearance."""
    first: dict[str, int] = {}
    index = [first.setdefault(sample.ids.image, len(first)) for sample in samples]
    owners = [samples[index.index(position)] for position in range(len(first))]
    frames = [sample.visual.read() for sample in owners]
    clips = [torch.stack([torch.as_tensor(preprocess.image(frame)) for frame in clip]) for clip in frames]
    sizes = [(clip.shape[1], clip.shape[2]) for clip in frames]
    token_ids, token_mask = tokenizer.encode([sample.expression for sample in samples], preprocess.max_tokens)
    labels = [_label(sample, sizes[image], preprocess) for sample, image in zip(samples, index, strict=True)]
    return Batch(
        images=torch.stack(clips),
        token_ids=torch.as_tensor(token_ids),
        token_mask=torch.as_tensor(token_mask),
        masks=torch.stack([label for label in labels if label is not None]) if None not in labels else None,
        image_index=torch.tensor(index) if len(first) < len(samples) else None,
        sizes=tuple(sizes[image] for image in index),
        ids=tuple(sample.ids for sample in samples),
        expressions=tuple(sample.expression for sample in samples),
    )


@dataclass(frozen=True, kw_only=True)
class Batches:
    """A reader's Samples as an endless, shuffled stream of Batches that can be entered at any step.

    `batch_size` counts the expressions of one optimiser step over all processes and accumulated parts, so one process
    and many see the same batches. An epoch draws one sentence of every object, as
    published, or all of them; up to `sentences_per_image` of one image follow each other. Expressions that
    fill no whole batch at an epoch's end are left to other epochs.
    """

    reader: Reader
    tokenizer: Tokenizer
    preprocess: Preprocess
    batch_size: int
    sentences_per_image: int = 1
    every_sentence: bool = False
    seed: int = 0
    workers: int = 0

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.sentences_per_image < 1 or self.workers < 0:
            raise InputError(
                f"Batches of {self.batch_size} with {self.sentences_per_image} sentences an image and {self.workers} "
                "workers cannot be made; the first two must be positive, the last not negative."
            )
        if self.steps_per_epoch < 1:
            count = _epoch_length(self.reader.ids, self.every_sentence)
            raise InputError(f"An epoch has {count} expressions, too few for one batch of {self.batch_size}.")

    @cached_property
    def steps_per_epoch(self) -> int:
        return _epoch_length(self.reader.ids, self.every_sentence) // self.batch_size

    def stream(self, start: int, stop: int, *, rank: int = 0, ranks: int = 1, parts: int = 1) -> Iterator[Batch]:
        """The batches of steps `start` to `stop`, this rank's share of each, cut into `parts` for accumulation."""
        if self.batch_size % (ranks * parts):
            raise InputError(
                f"A batch of {self.batch_size} cannot be shared equally by {ranks} processes with {parts} parts each; "
                f"choose a multiple of {ranks * parts}."
            )
        plan = _Plan(self, start, stop, rank, ranks, parts)
        return _read(_loader(self, plan))


@dataclass(frozen=True, kw_only=True)
class InOrder:
    """Every expression of a reader (or `limit` of them, evenly spread) once, in order, for scoring."""

    reader: Reader
    tokenizer: Tokenizer
    preprocess: Preprocess
    batch_size: int
    limit: int | None = None
    workers: int = 0

    def __post_init__(self) -> None:
        check_limit(self.limit)

    def share(self, rank: int = 0, ranks: int = 1) -> Iterator[Batch]:
        """Every `ranks`-th batch."""
        positions = np.arange(len(self.reader))
        if self.limit is not None and self.limit < len(positions):
            positions = positions[np.linspace(0, len(positions) - 1, self.limit).round().astype(int)]
        cuts = [positions[at : at + self.batch_size].tolist() for at in range(0, len(positions), self.batch_size)]
        return _read(_loader(self, cuts[rank::ranks]))


def check_limit(limit: int | None) -> None:
    """Raises DeixisError where fewer than one expression would be scored."""
    if limit is not None and limit < 1:
        raise InputError(f"A limit of {limit} expressions leaves none to score; give 1 or more, or None for all.")


@dataclass(frozen=True)
class _Plan:
    """The positions of every part of every step; a batch sampler that holds no state."""

    batches: Batches
    start: int
    stop: int
    rank: int
    ranks: int
    parts: int

    def __len__(self) -> int:
        return (self.stop - self.start) * self.parts

    def __iter__(self) -> Iterator[list[int]]:
        size, per_epoch = self.batches.batch_size, self.batches.steps_per_epoch
        image, thing = _numbered([ids.image for ids in self.batches.reader.ids]), _objects(self.batches.reader.ids)
        epoch, order = -1, np.empty(0, dtype=np.int64)
        for step in range(self.start, self.stop):
            if step // per_epoch != epoch:
                epoch = step // per_epoch
                order = _epoch_order(self.batches, image, thing, epoch)
            at = (step % per_epoch) * size
            shares = order[at : at + size].reshape(self.parts, self.ranks, -1)
            yield from (share.tolist() for share in shares[:, self.rank])


def _epoch_order(batches: Batches, image: np.ndarray, thing: np.ndarray, epoch: int) -> Int[np.ndarray, " positions"]:
    """Positions in the order of one epoch: chunks of one image's sentences, chunks shuffled."""
    generator = np.random.default_rng([batches.seed, epoch])
    luck = generator.random(len(image))
    drawn = np.arange(len(image)) if batches.every_sentence else _one_of_each(thing, luck)
    by_image = drawn[np.lexsort((luck[drawn], image[drawn]))]
    starts = np.flatnonzero(np.diff(image[by_image], prepend=-1))
    rank = np.arange(len(by_image)) - np.repeat(starts, np.diff(starts, append=len(by_image)))
    chunk = np.cumsum(rank % batches.sentences_per_image == 0) - 1
    turn = generator.permutation(chunk[-1] + 1)
    return by_image[np.argsort(turn[chunk], kind="stable")]


def _one_of_each(thing: np.ndarray, luck: np.ndarray) -> np.ndarray:
    order = np.lexsort((luck, thing))
    return order[np.flatnonzero(np.diff(thing[order], prepend=-1))]


def _numbered(names: Sequence[object]) -> np.ndarray:
    known: dict[object, int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names], dtype=np.int64)


def _objects(ids: Sequence[Ids]) -> np.ndarray:
    return _numbered([(each.image, each.object) for each in ids])


def _epoch_length(ids: Sequence[Ids], every_sentence: bool) -> int:
    return len(ids) if every_sentence else len({(each.image, each.object) for each in ids})


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

    def __call__(self, samples: list[Sample]) -> Batch:
        return collate(samples, self.tokenizer, self.preprocess)


def _loader(source: Batches | InOrder, plan: _Plan | list[list[int]]) -> DataLoader[Sample]:
    return DataLoader(
        _Positions(source.reader),
        batch_sampler=plan,
        num_workers=source.workers,
        collate_fn=_Collate(source.tokenizer, source.preprocess),
        worker_init_fn=leave_interrupts_to_the_main_process,
    )


def _read(loader: DataLoader[Sample]) -> Iterator[Batch]:
    try:
        yield from cast(Iterator[Batch], iter(loader))
    except DeixisError as error:
        raise one_sentence(error) from error


def one_sentence(error: DeixisError) -> InputError:
    """A worker's error arrives with the worker's traceback before it; the sentence is its last line."""
    return InputError(str(error).strip().splitlines()[-1].removeprefix(f"{_ERROR}: "))


def leave_interrupts_to_the_main_process(_: int) -> None:
    """Ctrl-C reaches every process of the terminal; the main one still needs its workers to finish the step."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _label(sample: Sample, size: tuple[int, int], preprocess: Preprocess) -> Bool[Tensor, "height width"] | None:
    if sample.mask is None:
        return None
    if tuple(sample.mask["size"]) != size:
        raise InputError(
            f"The mask of {sample.ids} in {sample.dataset} is {'x'.join(map(str, sample.mask['size']))}, but its image "
            f"is {size[0]}x{size[1]}; they must be of one size."
        )
    return torch.as_tensor(preprocess.mask(masks.decode(sample.mask)))
