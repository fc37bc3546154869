"""Questions about different images answered in one pass, for devices where a batch costs little more than one."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ..batch import Batch
from .alternatives import RefusedImage
from .encoded import EncodedImage, Question
from .network import Answers
from .prediction import Prediction


def can_share_a_pass(asked: Sequence[tuple[EncodedImage, Question]]) -> bool:
    """Whether the questions fit one batch, and the system reads the pixels anew for each of them."""
    segmenter = asked[0][0].segmenter
    if any(encoded.segmenter is not segmenter or isinstance(encoded, RefusedImage) for encoded, _ in asked):
        return False
    fits = sum(len(question.read) for _, question in asked) <= segmenter.largest_batch
    return fits and all(encoded.features is None for encoded, _ in asked)


def ask_together(asked: Sequence[tuple[EncodedImage, Question]]) -> list[Iterator[Prediction]]:
    """The Predictions of each question, in their order, from one pass of the system.

    Each equals the answer of `EncodedImage.ask` as closely as a batch of n equals n batches of one.
    """
    first, batches = asked[0][0], [encoded.batch(question.read) for encoded, question in asked]
    explain = any(question.explain for _, question in asked)
    network: Any = first.segmenter.network  # a TorchNetwork: exported models run on the CPU
    answers = first.checked(network.answer_batch(_joined(batches), explain=explain))
    predictions, start = [], 0
    for (encoded, question), batch in zip(asked, batches, strict=True):
        part = _rows(answers, start, start + len(batch))
        predictions.append(encoded.read_off(question, part, max(one.token_ids.shape[1] for one in batches)))
        start += len(batch)
    return predictions


def _joined(batches: Sequence[Batch]) -> Batch:
    """All images and expressions as one Batch, tokens padded to the longest expression."""
    longest = max(batch.token_ids.shape[1] for batch in batches)
    padded = [(0, longest - batch.token_ids.shape[1]) for batch in batches]
    return Batch(
        images=torch.cat([batch.images for batch in batches]),
        token_ids=torch.cat(
            [nn.functional.pad(batch.token_ids, pad) for batch, pad in zip(batches, padded, strict=True)]
        ),
        token_mask=torch.cat(
            [nn.functional.pad(batch.token_mask, pad) for batch, pad in zip(batches, padded, strict=True)]
        ),
        image_index=torch.cat([torch.full((len(batch),), number) for number, batch in enumerate(batches)]).to(
            batches[0].token_ids.device
        ),
        sizes=tuple(size for batch in batches for size in batch.sizes),
        expressions=tuple(expression for batch in batches for expression in batch.expressions),
    )


def _rows(answers: Answers, start: int, stop: int) -> Answers:
    presence = None if answers.presence is None else answers.presence[start:stop]
    evidence = {name: maps[start:stop] for name, maps in answers.evidence.items()}
    return replace(answers, probabilities=answers.probabilities[start:stop], presence=presence, evidence=evidence)
