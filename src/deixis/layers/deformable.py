"""Multi-scale deformable attention (Deformable DETR, Zhu et al., ICLR 2021), without a compiled extension.

Each query looks at a few points of every level, bilinearly; beyond a level's border there is nothing. The same sum is
made in several ways, which a test holds against each other:

- `by_bags`: four rows of a table for each point, weighted and summed by a fused kernel, some queries at a time, so that
  what is between stays in the cache; for answers on a CPU
- `by_images`: PyTorch's grid sampling, one image after another, so that what is found stays in the cache and is found
  again for the gradients; for training on a CPU
- `by_grids`: grid sampling of all images at once; for other devices, and for training what is compiled
- `by_grids_again`: the same, done once more for the gradients instead of kept for them; for training on other devices

To the compiler `by_bags` is one opaque step: left to itself, it writes grid sampling out as loops, slow ones on a CPU.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from typing import Any, cast

import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

Sizes = Sequence[tuple[int, int]]  # height and width of each level
QUERIES = 1024  # sampled at a time
SAMPLING = (0, 0, False)  # bilinear, zeros beyond the border, corners not aligned: as PyTorch numbers them


class DeformableAttention(nn.Module):
    """Queries to what they find around their reference points on every level."""

    def __init__(self, width: int, heads: int, levels: int, points: int = 4) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"Attention of width {width} cannot be shared by {heads} heads; make it a multiple.")
        self.heads, self.levels, self.points = heads, levels, points
        self.offsets = nn.Linear(width, heads * levels * points * 2)
        self.weights = nn.Linear(width, heads * levels * points)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self._start()

    def _start(self) -> None:
        """At first each head looks one way, each point a cell further, and all weigh nearly alike.

        Were the weights' layer zero, as published, nothing would tell the positions how to change in the first step.
        """
        nn.init.zeros_(self.offsets.weight)
        angles = torch.arange(self.heads) * (2 * math.pi / self.heads)
        ways = torch.stack([angles.cos(), angles.sin()], dim=-1)
        ways = ways / ways.abs().amax(dim=-1, keepdim=True)
        steps = torch.arange(1.0, self.points + 1)
        spread = ways[:, None, None] * steps[:, None] * torch.ones(self.levels, 1, 1)
        with torch.no_grad():
            self.offsets.bias.copy_(spread.flatten())
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
        """`references` are x and y from 0 to 1, the same on every level; `features` are the levels' cells in turn."""
        values = rearrange(self.value(features), "b n (g c) -> b n g c", g=self.heads)
        wants_gradient = any(each.requires_grad for each in (values, queries, *self.parameters()))
        way = _way(values, needs_gradient=torch.is_grad_enabled() and wants_gradient)
        if way is not by_bags:
            return self.output(way(values, *self._asked(queries, references, sizes), sizes))
        # All places at once would be written to memory only to be read again.
        table = _Table(values, sizes, self.points)
        slices = zip(queries.split(QUERIES, dim=1), references.split(QUERIES), strict=True)
        gathered = [table.gather(*self._asked(some, their_references, sizes)) for some, their_references in slices]
        return self.output(torch.cat(gathered, dim=1))

    def _asked(
        self, queries: Float[Tensor, "b q d"], references: Float[Tensor, "q 2"], sizes: Sizes
    ) -> tuple[Float[Tensor, "b q heads levels points 2"], Float[Tensor, "b q heads levels points"]]:
        """Where the queries look, and how much each of those places weighs."""
        weights = rearrange(self.weights(queries), "b q (g sp) -> b q g sp", g=self.heads)
        weights = weights.softmax(-1, dtype=torch.float32)  # what samples wants them like that, and it is quicker
        weights = rearrange(weights, "b q g (s p) -> b q g s p", s=self.levels)
        return self._places(self.offsets(queries), references, sizes), weights

    def _places(self, offsets: Float[Tensor, "b q k"], references: Float[Tensor, "q 2"], sizes: Sizes) -> Tensor:
        """`[b q heads levels points 2]` from 0 to 1: offsets are told in cells of each level."""
        each = {"g": self.heads, "p": self.points}
        cell = repeat(1 / extent(sizes, offsets.device), "s 1 xy -> (g s p xy)", **each)
        start = repeat(references.float(), "q xy -> q (g s p xy)", s=self.levels, **each)
        # Places are finer than half precision can tell.
        places = torch.addcmul(start, offsets.float(), cell)
        return rearrange(places, "b q (g s p xy) -> b q g s p xy", s=self.levels, xy=2, **each)


def _way(values: Tensor, *, needs_gradient: bool) -> Callable[[Tensor, Tensor, Tensor, Sizes], Tensor]:
    if torch.compiler.is_compiling():  # it unrolls loops over images
        return by_grids if needs_gradient or values.device.type != "cpu" else by_opaque_bags
    if values.device.type != "cpu":
        return by_grids_again if needs_gradient else by_grids
    return by_images if needs_gradient else by_bags


def by_bags(
    values: Float[Tensor, "b n heads c"],
    places: Float[Tensor, "b q heads levels points 2"],
    weights: Float[Tensor, "b q heads levels points"],
    sizes: Sizes,
) -> Float[Tensor, "b q d"]:
    """A point's value is the weighted sum of four rows of a table."""
    table = _Table(values, sizes, places.shape[4])
    slices = zip(places.split(QUERIES, dim=1), weights.split(QUERIES, dim=1), strict=True)
    return torch.cat([table.gather(*some) for some in slices], dim=1)


class _Table:
    """Framed cells by heads, one table an image.

    A frame of zeros is what lies beyond the border, so that a point's four rows always have the same distances.
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
        self.start = start + head + self.down + self.heads  # the frame comes first

    def gather(
        self, places: Float[Tensor, "b q heads levels points 2"], weights: Float[Tensor, "b q heads levels points"]
    ) -> Float[Tensor, "b q d"]:
        gathered = []
        for table, place, share in zip(self.tables, places, weights, strict=True):
            column, right = _cell(place[..., 0].flatten(1), self.width)
            row, below = _cell(place[..., 1].flatten(1), self.height)
            index = row.mul_(self.down).add_(column, alpha=self.heads).add_(self.start)
            found = _bags(table, index, share.flatten(1), below, right, self.down, self.heads)
            gathered.append(found.view(len(index), -1))
        return torch.stack(gathered).to(self.dtype)


def by_opaque_bags(
    values: Float[Tensor, "b n heads c"],
    places: Float[Tensor, "b q heads levels points 2"],
    weights: Float[Tensor, "b q heads levels points"],
    sizes: Sizes,
) -> Float[Tensor, "b q d"]:
    """`by_bags`, which the compiler does not look into."""
    heights, widths = [height for height, _ in sizes], [width for _, width in sizes]
    return cast(Tensor, _opaque(values, places, weights, heights, widths))


def _of_sides(values: Tensor, places: Tensor, weights: Tensor, heights: list[int], widths: list[int]) -> Tensor:
    return by_bags(values, places, weights, list(zip(heights, widths, strict=True)))


def _shaped(values: Tensor, places: Tensor, weights: Tensor, heights: list[int], widths: list[int]) -> Tensor:
    """What the compiler knows of the answer."""
    return values.new_empty(*places.shape[:2], values.shape[2] * values.shape[3])


_opaque = torch.library.custom_op(
    "deixis::deformable_attention",
    _of_sides,
    mutates_args=(),
    schema="(Tensor values, Tensor places, Tensor weights, SymInt[] heights, SymInt[] widths) -> Tensor",
)
_opaque.register_fake(_shaped)


def _bags(
    table: Tensor, index: Tensor, share: Tensor, below: Tensor, right: Tensor, down: Tensor, heads: int
) -> Float[Tensor, "rows c"]:
    """The four cells around each point, whose first is at `index`, weighted and summed head by head."""
    lower = share * below
    upper = share - lower
    corner, beside = lower * right, upper * right
    bags: list[tuple[Tensor, Tensor | int]] = [(upper - beside, 0), (beside, heads)]
    bags += [(lower - corner, down), (corner, down + heads)]
    found: Tensor | None = None
    for bag, distance in bags:
        # Places that are no numbers name no cell; the answer that they make is refused further on.
        cells = (index + distance).clamp_(0, len(table) - 1).view(len(index) * heads, -1)
        one = F.embedding_bag(cells, table, mode="sum", per_sample_weights=bag.view_as(cells))
        found = one if found is None else found.add_(one)
    assert found is not None
    return found


def _frame(values: Float[Tensor, "b n heads c"], sizes: Sizes) -> tuple[Float[Tensor, "b rows c"], list[int]]:
    """Each level's cells within a frame of zeros, as rows; and where each level starts."""
    batch, _, heads, channels = values.shape
    ends = list(accumulate((height + 2) * (width + 2) * heads for height, width in sizes))
    starts = [0, *ends[:-1]]
    table = torch.zeros(batch, ends[-1] + heads, channels)
    levels = values.split([height * width for height, width in sizes], dim=1)
    for start, end, level, (height, width) in zip(starts, ends, levels, sizes, strict=True):
        framed = table[:, start:end].view(batch, height + 2, width + 2, heads, channels)
        framed[:, 1:-1, 1:-1] = level.unflatten(1, (height, width))
    return table, starts


def _cell(places: Float[Tensor, "q k"], side: Int[Tensor, " k"]) -> tuple[Int[Tensor, "q k"], Float[Tensor, "q k"]]:
    """The cell before each place of one axis, which may be the frame's; and the share of the cell behind it."""
    at = (places * side).sub_(0.5).clamp_(min=-1)
    at = torch.minimum(at, side.to(at.dtype), out=at)
    before = at.floor()
    return before.int(), at.sub_(before)


def by_grids(
    values: Float[Tensor, "b n heads c"],
    places: Float[Tensor, "b q heads levels points 2"],
    weights: Float[Tensor, "b q heads levels points"],
    sizes: Sizes,
) -> Float[Tensor, "b q d"]:
    """One grid sampling a level, heads as samples."""
    batch, _, heads, _ = values.shape
    maps = rearrange(values.float(), "b n g c -> (b g) c n").contiguous()
    grids = rearrange(2 * places - 1, "b q g s p xy -> s (b g) q p xy")
    shares = rearrange(weights.float(), "b q g s p -> s (b g) 1 q p")
    gathered: Tensor | None = None
    for grid, share, level, size in zip(
        grids, shares, maps.split([height * width for height, width in sizes], dim=-1), sizes, strict=True
    ):
        found = F.grid_sample(level.unflatten(-1, size), grid, padding_mode="zeros", align_corners=False)
        found = (found * share).sum(-1)
        gathered = found if gathered is None else gathered + found
    assert gathered is not None
    return rearrange(gathered, "(b g) c q -> b q (g c)", b=batch, g=heads).to(values.dtype)


# Only the arguments are kept for the gradients: what is sampled is many times as large.
by_grids_again = partial(checkpoint, by_grids, use_reentrant=False)


def by_images(
    values: Float[Tensor, "b n heads c"],
    places: Float[Tensor, "b q heads levels points 2"],
    weights: Float[Tensor, "b q heads levels points"],
    sizes: Sizes,
) -> Float[Tensor, "b q d"]:
    """Grid sampling with gradients written out; all images at once write many megabytes only to read them again."""
    return _ByImages.apply(values.float(), places, weights.float(), sizes).to(values.dtype)


class _ByImages(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, values: Tensor, places: Tensor, weights: Tensor, sizes: Sizes) -> Tensor:
        context.save_for_backward(values, places, weights)
        context.sizes = sizes
        batch, _, heads, channels = values.shape
        answer = values.new_zeros(batch, heads, channels, places.shape[1])
        for gathered, value, place, weight in zip(answer, values, places, weights, strict=True):
            for level, grid, share in zip(*_levels(value, place, weight, sizes), strict=True):
                for found, its_share in zip(_sample(level, grid).unbind(2), share.unbind(1), strict=True):
                    gathered.addcmul_(found, its_share[:, None])
        return rearrange(answer, "b g c q -> b q (g c)")

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        values, places, weights = context.saved_tensors
        for_values, for_places, for_weights = map(torch.empty_like, (values, places, weights))
        gradients = rearrange(gradient, "b q (g c) -> b g c 1 q", g=values.shape[2]).contiguous()
        for at, pull in enumerate(gradients):
            of_levels = []
            levels = _levels(values[at], places[at], weights[at], context.sizes)
            for number, (level, grid, share) in enumerate(zip(*levels, strict=True)):
                found = _sample(level, grid)
                for_weights[at, :, :, number] = rearrange(found.mul_(pull).sum(1), "g p q -> q g p")
                torch.mul(pull, share[:, None], out=found)
                of_level, of_grid = torch.ops.aten.grid_sampler_2d_backward(found, level, grid, *SAMPLING, [True, True])
                of_levels.append(of_level.flatten(2))
                for_places[at, :, :, number] = rearrange(of_grid, "g p q xy -> q g p xy").mul_(2)
            for_values[at] = rearrange(torch.cat(of_levels, -1), "g c n -> n g c")
        return for_values, for_places, for_weights, None


def _sample(level: Tensor, grid: Tensor) -> Float[Tensor, "heads c points q"]:
    return torch.grid_sampler(level, grid, *SAMPLING)


def _levels(values: Tensor, places: Tensor, weights: Tensor, sizes: Sizes) -> tuple[list[Tensor], Tensor, Tensor]:
    """One image's levels `[heads c y x]`, its places as grids `[levels heads points q 2]`, and their weights."""
    maps = rearrange(values, "n g c -> g c n").contiguous()
    levels = maps.split([height * width for height, width in sizes], dim=-1)
    grids = (2 * rearrange(places, "q g s p xy -> s g p q xy").contiguous()).sub_(1)
    shares = rearrange(weights, "q g s p -> s g p q").contiguous()
    return [level.unflatten(-1, size) for level, size in zip(levels, sizes, strict=True)], grids, shares


def centres(sizes: Sizes, device: torch.device) -> Float[Tensor, "n 2"]:
    """x and y of every cell's centre, level after level, each level from 0 to 1."""
    places = []
    for height, width in sizes:
        y = (torch.arange(height, device=device) + 0.5) / height
        x = (torch.arange(width, device=device) + 0.5) / width
        places.append(torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=-1).flatten(0, 1))
    return torch.cat(places)


def extent(sizes: Sizes, device: torch.device) -> Float[Tensor, "levels 1 2"]:
    """Width and height of each level, in cells."""
    return torch.tensor([[[width, height]] for height, width in sizes], dtype=torch.float32, device=device)
