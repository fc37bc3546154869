"""Cutting a map into windows and joining it again: padding, shifting and partition as one gather each way.

A shifted window at the border of the map holds cells that only the roll made neighbours, and the published code adds
-100 to their scores, which leaves them a weight of e^-100. Here they lie in windows of their own, cut off where the
map ends: the same sums with fewer cells and without masks. A padded cell is seen, as published, but sees nothing,
since nobody asks what it would have seen.
"""

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, product
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ..compiling import constant_when_compiled

PARTS = 3  # a cell's row holds its query, its key and its value
SCORES = 2**22  # written out at a time, where they are

Sides = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Windows of one size: how many there are, and the height and width of what asks and of what is seen."""

    windows: int
    asks: Sides
    seen: Sides


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where the cells of a batch of maps go: kind of window after kind, within it window, then map, then cell."""

    cut: Int[Tensor, " places"]  # the query, key or value of each place: all queries, then all keys, then all values
    back: Int[Tensor, " parts"]  # the place where each of them lies
    join: Int[Tensor, " cells"]  # the place of each cell's query among queries
    padded: Int[Tensor, "2 padding"]  # the places of keys and of values that hold padding
    kinds: tuple[Kind, ...]
    counts: list[int]  # the queries of each kind, then the keys of each, then the values of each


@dataclass(frozen=True, kw_only=True)
class _Run:
    """Neighbouring rows (or columns) of a padded map that share a window, and how many of them are real."""

    start: int
    length: int
    real: int


@constant_when_compiled  # the compiler looks past a cache, and would work it all out in every call
def layout(batch: int, height: int, width: int, window: int, shifted: bool, device: str) -> Layout:
    """The layout of `batch` maps, with the published shift (half a window)."""
    return _layout(batch, height, width, window, shifted, device)


@constant_when_compiled
def relative_positions(window: int, device: str) -> Int[Tensor, "q k"]:
    """For each pair of cells of a window, the row of the bias table that belongs to their offset."""
    return _relative_positions(window, device)


# Sizes repeat from step to step; what is kept is small beside the maps themselves.
@lru_cache(maxsize=128)
@torch.inference_mode(False)
def _layout(batch: int, height: int, width: int, window: int, shifted: bool, device: str) -> Layout:
    cells = torch.arange(height * width).view(height, width)
    boxes: dict[tuple[Sides, Sides], list[tuple[_Run, _Run]]] = defaultdict(list)
    for rows, columns in product(_runs(height, window, shifted), _runs(width, window, shifted)):
        boxes[(rows.real, columns.real), (rows.length, columns.length)].append((rows, columns))
    kinds, asks, seen = [], [], []
    first = torch.arange(batch)[:, None] * (height * width)
    for (real, whole), places in boxes.items():
        kinds.append(Kind(windows=len(places) * batch, asks=real, seen=whole))
        for rows, columns in places:
            box = torch.full(whole, -1)
            box[: real[0], : real[1]] = cells[rows.start :, columns.start :][: real[0], : real[1]]
            asks.append((box[: real[0], : real[1]].flatten() + first).flatten())
            seen.append(torch.where(box.flatten() < 0, -1, box.flatten() + first).flatten())
    return _indices(torch.cat(asks), torch.cat(seen), tuple(kinds), device)


def _runs(length: int, window: int, shifted: bool) -> list[_Run]:
    """An axis cut into windows; the shift moves all borders but the map's own."""
    end = -(-length // window) * window
    borders = sorted({0, *range(window // 2 if shifted else window, end, window), end})
    runs = [_Run(start=start, length=stop - start, real=min(stop, length) - start) for start, stop in pairwise(borders)]
    return [run for run in runs if run.real > 0]


def _indices(asks: Tensor, seen: Tensor, kinds: tuple[Kind, ...], device: str) -> Layout:
    """`asks` and `seen` name the cell of each place, -1 for padding."""
    count, real = len(asks), (seen >= 0).nonzero().flatten()
    join, keys = torch.empty(count, dtype=torch.long), torch.empty(count, dtype=torch.long)
    join[asks] = torch.arange(count)
    keys[seen[real]] = real + count
    rows = seen.clamp(min=0) * PARTS
    queries = [kind.windows * kind.asks[0] * kind.asks[1] for kind in kinds]
    others = [kind.windows * kind.seen[0] * kind.seen[1] for kind in kinds]
    padded = (seen < 0).nonzero().flatten() + count
    return Layout(
        cut=torch.cat([asks * PARTS, rows + 1, rows + 2]).to(device),
        back=torch.stack([join, keys, keys + len(seen)], dim=1).flatten().to(device),
        join=join.to(device),
        padded=torch.stack([padded, padded + len(seen)]).to(device),
        kinds=kinds,
        counts=queries + others + others,
    )


@lru_cache(maxsize=32)
@torch.inference_mode(False)
def _relative_positions(window: int, device: str) -> Int[Tensor, "q k"]:
    y, x = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    y, x = y.flatten(), x.flatten()
    rows = y[:, None] - y[None, :] + window - 1
    columns = x[:, None] - x[None, :] + window - 1
    return (rows * (2 * window - 1) + columns).to(device)


def cut(
    rows: Float[Tensor, "cells three_d"], padding: Float[Tensor, " three_d"], windows: Layout
) -> Float[Tensor, "places d"]:
    """Rows of queries, keys and values to windows; `padding` is the row of a padded cell."""
    parts, fill = rearrange(rows, "n (s d) -> (n s) d", s=PARTS), rearrange(padding, "(s d) -> s d", s=PARTS)[1:]
    if rows.requires_grad and torch.is_grad_enabled():
        return _Cut.apply(parts, fill.to(rows.dtype), windows.cut, windows.back, windows.padded)
    return _cut(parts, fill.to(rows.dtype), windows.cut, windows.padded)


def join(places: Float[Tensor, "queries d"], windows: Layout) -> Float[Tensor, "cells d"]:
    """What each query found, back to the cell that asked."""
    if places.requires_grad and torch.is_grad_enabled():
        return _Join.apply(places, windows.cut, windows.join)
    return places.index_select(0, windows.join)


def attend(
    query: Float[Tensor, "w h q d"],
    key: Float[Tensor, "w h k d"],
    value: Float[Tensor, "w h k d"],
    bias: Float[Tensor, "h q k"],
) -> Float[Tensor, "w h q d"]:
    """What each query finds in its window; `bias` is added to the scores.

    On a CPU PyTorch's fused attention takes half as long again in bfloat16 as the same sums written out, whose scores
    are bfloat16 then; some windows at a time, since all of their scores would be large.
    """
    if query.dtype != torch.bfloat16 or query.device.type != "cpu" or torch.is_grad_enabled():
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias[None])
    query = query * query.shape[-1] ** -0.5
    if torch.compiler.is_compiling():  # it would write a softmax's exponentials down in single precision
        scores = query @ key.mT + bias
        weights = (scores - scores.amax(-1, keepdim=True)).exp()
        return (weights @ value) / weights.sum(-1, keepdim=True)
    windows = max(1, SCORES // bias.numel())
    pieces = zip(*(each.split(windows) for each in (query, key, value)), strict=True)
    found = [((query @ key.mT).add_(bias)).softmax(-1) @ value for query, key, value in pieces]
    return found[0] if len(found) == 1 else torch.cat(found)


def _cut(parts: Tensor, fill: Tensor, there: Tensor, padded: Tensor) -> Tensor:
    places = parts.index_select(0, there)
    if padded.shape[1]:
        places[padded] = fill[:, None]
    return places


class _Cut(torch.autograd.Function):
    """A gather whose gradient is a gather too; index_select's own would add row by row."""

    @staticmethod
    def forward(context: Any, parts: Tensor, fill: Tensor, there: Tensor, back: Tensor, padded: Tensor) -> Tensor:
        context.save_for_backward(back, padded)
        return _cut(parts, fill, there, padded)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        back, padded = context.saved_tensors
        return gradient.index_select(0, back), gradient[padded].sum(1), None, None, None


class _Join(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, places: Tensor, there: Tensor, back: Tensor) -> Tensor:
        context.save_for_backward(there)
        return places.index_select(0, back)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (there,) = context.saved_tensors
        return gradient.index_select(0, there[: len(gradient)] // PARTS), None, None
