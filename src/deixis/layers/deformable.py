"""Multi-scale deformable attention (Deformable DETR, Zhu et al., ICLR 2021), without a compiled extension.

- each query samples a few points around its reference point on every level, bilinearly; a level is zero outside
- the output is the sum of the samples, weighted by the query
"""

import math
from collections.abc import Sequence
from functools import reduce

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ..errors import InputError
from ..kernels.deformable import sample_rows, sample_with_gradients

Sizes = Sequence[tuple[int, int]]  # height and width of each level
KERNELS_ON = "cpu"  # the device that the kernels are for


class DeformableAttention(nn.Module):
    """Attention of queries to sampled points of all levels."""

    def __init__(self, width: int, heads: int, levels: int, points: int = 4) -> None:
        super().__init__()
        if width % heads:
            raise InputError(
                f"Attention has {heads} heads for {width} channels; choose a width that is a multiple of the heads."
            )
        self.heads, self.levels, self.points = heads, levels, points
        self.offsets = nn.Linear(width, heads * levels * points * 2)
        self.weights = nn.Linear(width, heads * levels * points)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self._initialise()

    def _initialise(self) -> None:
        """Each head starts in a direction of its own, with its points 1, 2, … cells away and nearly equal weights.

        The published initialisation sets the weights' layer to zero, which gives the offsets no gradient in the first
        step.
        """
        nn.init.zeros_(self.offsets.weight)
        angles = torch.arange(self.heads) * (2 * math.pi / self.heads)
        directions = torch.stack([angles.cos(), angles.sin()], dim=-1)
        directions = directions / directions.abs().amax(dim=-1, keepdim=True)
        distances = torch.arange(1.0, self.points + 1)
        offsets = directions[:, None, None] * distances[:, None] * torch.ones(self.levels, 1, 1)
        with torch.no_grad():
            self.offsets.bias.copy_(offsets.flatten())
        nn.init.trunc_normal_(self.weights.weight, std=0.01)
        nn.init.zeros_(self.weights.bias)
        for layer in (self.value, self.output):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        queries: Float[Tensor, "b q d"],
        references: Float[Tensor, "q 2"],
        features: Float[Tensor, "b n d"],
        sizes: Sizes,
    ) -> Float[Tensor, "b q d"]:
        """`references` are x and y from 0 to 1, the same on every level; `features` are the cells of all levels."""
        values = rearrange(self.value(features), "b n (g c) -> b n g c", g=self.heads)
        weights = rearrange(self.weights(queries), "b q (g sp) -> b q g sp", g=self.heads)
        weights = weights.softmax(-1, dtype=torch.float32)
        weights = rearrange(weights, "b q g (s p) -> b q g s p", s=self.levels)
        locations = self._locations(self.offsets(queries), references, sizes)
        return self.output(sample(values, locations, weights, sizes))

    def _locations(self, offsets: Float[Tensor, "b q k"], references: Float[Tensor, "q 2"], sizes: Sizes) -> Tensor:
        """`[b q heads levels points 2]`: x and y from 0 to 1 in single precision; offsets are in cells of a level."""
        each = {"g": self.heads, "p": self.points}
        cell = repeat(1 / extent(sizes, offsets.device), "s 1 xy -> (g s p xy)", **each)
        start = repeat(references.float(), "q xy -> q (g s p xy)", s=self.levels, **each)
        locations = torch.addcmul(start, offsets.float(), cell)
        return rearrange(locations, "b q (g s p xy) -> b q g s p xy", s=self.levels, xy=2, **each)


def sample(
    values: Float[Tensor, "b n heads c"],
    locations: Float[Tensor, "b q heads levels points 2"],
    weights: Float[Tensor, "b q heads levels points"],
    sizes: Sizes,
) -> Float[Tensor, "b q d"]:
    """`sample_grids` in its fastest form: on a CPU by `kernels/deformable.py`."""
    needs_gradients = any(each.requires_grad for each in (values, locations, weights))
    if values.device.type == KERNELS_ON and not needs_gradients and not torch.compiler.is_exporting():
        return sample_rows(values, locations, weights, sizes)
    if torch.compiler.is_compiling() or not needs_gradients:
        return sample_grids(values, locations, weights, sizes)
    if values.device.type == KERNELS_ON:
        return sample_with_gradients(values, locations, weights, sizes)
    # The samples are many times as large as the arguments, so the backward pass computes them again.
    return checkpoint(sample_grids, values, locations, weights, sizes, use_reentrant=False)


def sample_grids(
    values: Float[Tensor, "b n heads c"],
    locations: Float[Tensor, "b q heads levels points 2"],
    weights: Float[Tensor, "b q heads levels points"],
    sizes: Sizes,
) -> Float[Tensor, "b q d"]:
    """For each query and head, the weighted sum of the levels' bilinear samples: one grid sampling for each level."""
    batch, _, heads, _ = values.shape
    maps = rearrange(values.float(), "b n g c -> (b g) c n").contiguous()
    grids = rearrange(2 * locations - 1, "b q g s p xy -> s (b g) q p xy")
    shares = rearrange(weights.float(), "b q g s p -> s (b g) 1 q p")
    levels = maps.split([height * width for height, width in sizes], dim=-1)
    sums = (
        (F.grid_sample(level.unflatten(-1, size), grid, padding_mode="zeros", align_corners=False) * share).sum(-1)
        for level, size, grid, share in zip(levels, sizes, grids, shares, strict=True)
    )
    return rearrange(reduce(torch.add, sums), "(b g) c q -> b q (g c)", b=batch, g=heads).to(values.dtype)


def centres(sizes: Sizes, device: torch.device) -> Float[Tensor, "n 2"]:
    """x and y of every cell's centre, level after level, each level from 0 to 1."""
    levels = []
    for height, width in sizes:
        y = (torch.arange(height, device=device) + 0.5) / height
        x = (torch.arange(width, device=device) + 0.5) / width
        levels.append(torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=-1).flatten(0, 1))
    return torch.cat(levels)


def extent(sizes: Sizes, device: torch.device) -> Float[Tensor, "levels 1 2"]:
    """Width and height of each level, in cells."""
    return torch.tensor([[[width, height]] for height, width in sizes], dtype=torch.float32, device=device)
