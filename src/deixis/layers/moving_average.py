"""An exponential moving average of a network's weights: what is published of a run, or the teacher of a student."""

from copy import deepcopy
from typing import Any

import torch
from torch import nn


class MovingAverage(nn.Module):
    """A copy of a network whose weights follow it; it runs without gradients.

    It stays in eval mode when a parent module is set to train, unlike PyTorch's `AveragedModel`, which also fixes the
    decay. Buffers, for example of batch norms, are copied from the network.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = deepcopy(network).requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> "MovingAverage":
        super().train(False)
        return self

    @torch.no_grad()
    def forward(self, *arguments: Any, **options: Any) -> Any:
        return self.network(*arguments, **options)

    @torch.no_grad()
    def update(self, network: nn.Module, decay: float) -> None:
        """average ← decay · average + (1 - decay) · weight."""
        weights = [parameter.detach() for parameter in network.parameters()]
        torch._foreach_lerp_([parameter.detach() for parameter in self.network.parameters()], weights, 1 - decay)
        for average, buffer in zip(self.network.buffers(), network.buffers(), strict=True):
            average.copy_(buffer)


def warmed_decay(decay: float, step: int) -> float:
    """The decay after step 1, 2, …: it grows from 2/11 to `decay`, so that the first weights are soon forgotten."""
    return min(decay, (1 + step) / (10 + step))
