"""Training on (image, sentence) pairs without masks: a system's own loss of all pairs of a batch.

The compared methods are fine-tuned with it: the system names the features of an image and of a sentence
(`pair_features`), and computes the loss of all images against all sentences (`pair_loss`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from ..batch import Batch
from ..errors import InputError
from ..layers.gather import gather
from ..records import Config

FACTOR = 1_000_003  # of the polynomial that numbers sentences


@dataclass(frozen=True, kw_only=True)
class ImageTextConfig(Config):
    """The loss has no options beside those of the system."""

    def build(self, system: nn.Module, vocabulary: tuple[str, ...]) -> "ImageText":
        return ImageText(system)


class ImageText(nn.Module):
    """The terms of `system.pair_loss` over the whole batch of all processes, in single precision."""

    needs_whole_batch = True
    takes_unlabelled = True
    smallest_batch = 2

    def __init__(self, system: nn.Module) -> None:
        super().__init__()
        if not hasattr(system, "pair_loss"):
            raise InputError(
                f"{type(system).__name__} has no loss of images and sentences without masks; choose another objective."
            )
        self.system: Any = system
        self.requires: tuple[str, ...] = tuple(cast(Any, system).pair_features)

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        return self.terms(batch, step)

    def terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        batch = batch.with_own_images()  # as published: a pair has an image of its own
        output = self.system(batch, features=self.requires).float()
        images, sentences = (output.features[name] for name in self.requires)
        keys = sentence_keys(batch.token_ids, batch.token_mask)
        if self.training:
            images, sentences, keys = gather(images), gather(sentences), gather(keys)
            if len(images) < 2:
                raise InputError("The batch has one pair, and this loss compares pairs; use a batch size of 2 or more.")
        same: Bool[Tensor, "b b"] = keys[:, None] == keys[None]
        with torch.autocast(batch.images.device.type, enabled=False):
            return self.system.pair_loss(images, sentences, same)

    def after_step(self, step: int) -> None:
        """Nothing follows a step."""

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Nothing precedes the first step."""


def sentence_keys(token_ids: Int[Tensor, "b l"], token_mask: Bool[Tensor, "b l"]) -> Int[Tensor, " b"]:
    """A number for each sentence, equal for equal tokens whatever the padding: a polynomial in 64 bits."""
    keys = torch.zeros_like(token_ids[:, 0])
    for tokens, is_real in zip(token_ids.T, token_mask.T, strict=True):
        keys = torch.where(is_real, keys * FACTOR + tokens + 1, keys)
    return keys
