"""The rows of all processes in each of them, for losses that compare the samples of a whole batch."""

from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Shaped
from torch import Tensor


def gather(rows: Shaped[Tensor, "b *size"]) -> Shaped[Tensor, "all *size"]:
    """The rows of all processes in the order of their ranks, with gradients; in one process the rows themselves.

    If each process computes the same loss of all rows, the gradients are those of one process, because data-parallel
    training averages the gradients of the processes. Every process must pass the same number of rows: batches of
    training are shared equally, those of validation are not, so an objective gathers only where `self.training` is set.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return rows
    return _Gather.apply(rows.contiguous())


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.start, ctx.count = dist.get_rank() * len(rows), len(rows)
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)  # each process's loss depends on these rows
        return total[ctx.start : ctx.start + ctx.count]
