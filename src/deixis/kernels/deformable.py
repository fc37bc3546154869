"""The sampling of multi-scale deformable attention on a CPU: the sums of `sample_grids` of `layers/deformable.py`.

- `sample_rows`, without gradients: each point is a weighted sum of four rows of a table, found by a fused
  embedding lookup. To the compiler it is one opaque operator, because its own loops for grid sampling are slow.
- `sample_with_gradients`: grid sampling of one image at a time, so that the samples stay in the cache; the backward
  pass samples again
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, cast

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

Sizes = Sequence[tuple[int, int]]  # height and width of each level
QUERIES = 1024  # sampled at a time, so that their indices and weights stay in the cache
SAMPLING = (0, 0, False)  # bilinear, zeros outside, corners not aligned: PyTorch's codes


def sample_rows(
    values: Float[Tensor, "b n heads c"],
    locations: Float[Tensor, "b q heads levels points 2"],
    weights: Float[Tensor, "b q heads levels points"],
    sizes: Sizes,
) -> Float[Tensor, "b q d"]:
    """For each query and head, the weighted sum of the levels' bilinear samples, without gradients."""
    heights, widths = [height for height, _ in sizes], [width for _, width in sizes]
    return cast(Tensor, _sample_rows(values, locations, weights, heights, widths))


def sample_with_gradients(
    values: Float[Tensor, "b n heads c"],
    locations: Float[Tensor, "b q heads levels points 2"],
    weights: Float[Tensor, "b q heads levels points"],
    sizes: Sizes,
) -> Float[Tensor, "b q d"]:
    """For each query and head, the weighted sum of the levels' bilinear samples."""
    return _SampleImages.apply(values.float(), locations, weights.float(), sizes).to(values.dtype)


def _rows(values: Tensor, locations: Tensor, weights: Tensor, heights: list[int], widths: list[int]) -> Tensor:
    table = _Table(values, list(zip(heights, widths, strict=True)), locations.shape[4])
    slices = zip(locations.split(QUERIES, dim=1), weights.split(QUERIES, dim=1), strict=True)
    return torch.cat([table.sample(*some) for some in slices], dim=1)


def _shape(values: Tensor, locations: Tensor, weights: Tensor, heights: list[int], widths: list[int]) -> Tensor:
    """The shape of the result, for the compiler."""
    return values.new_empty(*locations.shape[:2], values.shape[2] * values.shape[3])


_sample_rows = torch.library.custom_op(
    "deixis::deformable_attention",
    _rows,
    mutates_args=(),
    schema="(Tensor values, Tensor locations, Tensor weights, SymInt[] heights, SymInt[] widths) -> Tensor",
)
_sample_rows.register_fake(_shape)


class _Table:
    """The cells of all levels as rows, one for each head, and one table for each image.

    Each level has a frame of zeros, so that the four cells around any point are rows at fixed distances.
    """

    def __init__(self, values: Float[Tensor, "b n heads c"], sizes: Sizes, points: int) -> None:
        self.heads, self.dtype = values.shape[2], values.dtype
        self.tables, starts = _frame(values, sizes)
        self.height, self.width, start = (
            torch.tensor(each, dtype=torch.int32).repeat_interleave(points).repeat(self.heads)
            for each in ([height for height, _ in sizes], [width for _, width in sizes], starts)
        )
        head = torch.arange(self.heads, dtype=torch.int32).repeat_interleave(len(sizes) * points)
        self.down = (self.width + 2) * self.heads  # from a row of a level to the one below
        self.start = start + head + self.down + self.heads  # of the level's first cell inside the frame

    def sample(
        self, locations: Float[Tensor, "b q heads levels points 2"], weights: Float[Tensor, "b q heads levels points"]
    ) -> Float[Tensor, "b q d"]:
        images = []
        for table, location, weight in zip(self.tables, locations, weights, strict=True):
            column, right = _cell(location[..., 0].flatten(1), self.width)
            row, below = _cell(location[..., 1].flatten(1), self.height)
            index = row.mul_(self.down).add_(column, alpha=self.heads).add_(self.start)
            sums = _sum_corners(table, index, weight.flatten(1), below, right, self.down, self.heads)
            images.append(sums.view(len(index), -1))
        return torch.stack(images).to(self.dtype)


def _sum_corners(
    table: Tensor, index: Tensor, weight: Tensor, below: Tensor, right: Tensor, down: Tensor, heads: int
) -> Float[Tensor, "rows c"]:
    """The weighted sums, head by head, of the four cells around each point; the upper left one is at `index`."""
    lower = weight * below
    upper = weight - lower
    lower_right, upper_right = lower * right, upper * right
    corners: list[tuple[Tensor, Tensor | int]] = [(upper - upper_right, 0), (upper_right, heads)]
    corners += [(lower - lower_right, down), (lower_right, down + heads)]
    total: Tensor | None = None
    for share, distance in corners:
        # A location that is not finite has no valid index; clamped, it gives a value that later checks reject.
        cells = (index + distance).clamp_(0, len(table) - 1).view(len(index) * heads, -1)
        corner = F.embedding_bag(cells, table, mode="sum", per_sample_weights=share.view_as(cells))
        total = corner if total is None else total.add_(corner)
    assert total is not None
    return total


def _frame(values: Float[Tensor, "b n heads c"], sizes: Sizes) -> tuple[Float[Tensor, "b rows c"], list[int]]:
    """Each level's cells within a frame of zeros, as rows; and the row at which each level starts."""
    batch, _, heads, channels = values.shape
    ends = list(accumulate((height + 2) * (width + 2) * heads for height, width in sizes))
    starts = [0, *ends[:-1]]
    table = torch.zeros(batch, ends[-1] + heads, channels)
    levels = values.split([height * width for height, width in sizes], dim=1)
    for start, end, level, (height, width) in zip(starts, ends, levels, sizes, strict=True):
        framed = table[:, start:end].view(batch, height + 2, width + 2, heads, channels)
        framed[:, 1:-1, 1:-1] = level.unflatten(1, (height, width))
    return table, starts


def _cell(location: Float[Tensor, "q k"], side: Int[Tensor, " k"]) -> tuple[Int[Tensor, "q k"], Float[Tensor, "q k"]]:
    """Along one axis, the cell before each location (-1 is the frame), and the fraction of the cell after it."""
    position = (location * side).sub_(0.5).clamp_(min=-1)
    position = torch.minimum(position, side.to(position.dtype), out=position)
    before = position.floor()
    return before.int(), position.sub_(before)


class _SampleImages(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, locations: Tensor, weights: Tensor, sizes: Sizes) -> Tensor:
        ctx.save_for_backward(values, locations, weights)
        ctx.sizes = sizes
        batch, _, heads, channels = values.shape
        sums = values.new_zeros(batch, heads, channels, locations.shape[1])
        for total, value, location, weight in zip(sums, values, locations, weights, strict=True):
            for level, grid, share in zip(*_levels(value, location, weight, sizes), strict=True):
                for point, its_share in zip(_sample(level, grid).unbind(2), share.unbind(1), strict=True):
                    total.addcmul_(point, its_share[:, None])
        return rearrange(sums, "b g c q -> b q (g c)")

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        values, locations, weights = ctx.saved_tensors
        for_values, for_locations, for_weights = map(torch.empty_like, (values, locations, weights))
        gradients = rearrange(gradient, "b q (g c) -> b g c 1 q", g=values.shape[2]).contiguous()
        for image, of_sums in enumerate(gradients):
            for_levels = []
            levels = _levels(values[image], locations[image], weights[image], ctx.sizes)
            for number, (level, grid, share) in enumerate(zip(*levels, strict=True)):
                samples = _sample(level, grid)
                for_weights[image, :, :, number] = rearrange(samples.mul_(of_sums).sum(1), "g p q -> q g p")
                torch.mul(of_sums, share[:, None], out=samples)
                for_level, for_grid = torch.ops.aten.grid_sampler_2d_backward(
                    samples, level, grid, *SAMPLING, [True, True]
                )
                for_levels.append(for_level.flatten(2))
                for_locations[image, :, :, number] = rearrange(for_grid, "g p q xy -> q g p xy").mul_(2)
            for_values[image] = rearrange(torch.cat(for_levels, -1), "g c n -> n g c")
        return for_values, for_locations, for_weights, None


def _sample(level: Tensor, grid: Tensor) -> Float[Tensor, "heads c points q"]:
    return torch.grid_sampler(level, grid, *SAMPLING)


def _levels(values: Tensor, locations: Tensor, weights: Tensor, sizes: Sizes) -> tuple[list[Tensor], Tensor, Tensor]:
    """One image's levels `[heads c y x]`, its locations as grids `[levels heads points q 2]`, and their weights."""
    maps = rearrange(values, "n g c -> g c n").contiguous()
    levels = maps.split([height * width for height, width in sizes], dim=-1)
    grids = (2 * rearrange(locations, "q g s p xy -> s g p q xy").contiguous()).sub_(1)
    shares = rearrange(weights, "q g s p -> s g p q").contiguous()
    return [level.unflatten(-1, size) for level, size in zip(levels, sizes, strict=True)], grids, shares
