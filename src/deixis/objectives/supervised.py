"""Supervised training: a system's own loss, as its paper defines it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..batch import Batch
from ..errors import InputError
from ..records import Config


@dataclass(frozen=True, kw_only=True)
class SupervisedConfig(Config):
    """The loss has no options beside those of the system."""

    def build(self, system: nn.Module, vocabulary: tuple[str, ...]) -> "Supervised":
        return Supervised(system)


class Supervised(nn.Module):
    """The terms of `system.loss`, in single precision. Raises `InputError` for a system without a loss."""

    needs_whole_batch = False
    takes_unlabelled = False

    def __init__(self, system: nn.Module) -> None:
        super().__init__()
        if not hasattr(system, "loss"):
            raise InputError(f"{type(system).__name__} has no loss of its own; choose another objective.")
        self.system: Any = system
        self.requires: tuple[str, ...] = tuple(cast(Any, system).loss_features)

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        return self.terms(batch, step)

    def terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        output = self.system(batch, features=self.requires)
        with torch.autocast(batch.images.device.type, enabled=False):
            return self.system.loss(batch, output.float())

    def after_step(self, step: int) -> None:
        """Nothing follows a step."""

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Nothing precedes the first step."""
