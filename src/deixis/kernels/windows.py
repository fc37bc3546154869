"""Attention within Swin's windows: padding, shifting and cutting are one gather, and no window has a mask.

- In the published form, a shifted window at the border of the map contains cells that are neighbours only after the
  roll, and -100 is added to their scores. Here the windows end where the map ends: the same sums with fewer cells.
- A padded cell is attended to, as published, but has no query, because its output is cropped.
- Windows of one shape are a group, and each group is one attention.
"""

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise, product

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ..compiling import cached_constant, constant_when_compiled

PARTS = 3  # query, key and value of a cell
SCORES = 2**22  # the most scores that are written out at a time

Sides = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Windows of one shape: how many, and the height and width of their queries and of their keys."""

    windows: int
    queries: Sides
    keys: Sides


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The order of a batch's cells in windows: group after group, within it window, then map, then cell."""

    gather: Int[Tensor, " rows"]  # row of each query, key and value in `(cell part)`: all queries, all keys, all values
    restore: Int[Tensor, " cells"]  # the position of each cell's query
    padding: Int[Tensor, "2 padded"]  # the positions of padded keys and of padded values
    groups: tuple[Group, ...]
    counts: list[int]  # of the queries of each group, then of its keys, then of its values


def window_attention(
    qkv: Float[Tensor, "b y x three_d"],
    padding: Float[Tensor, " three_d"],
    bias: Float[Tensor, "n n h"],
    window: int,
    *,
    shifted: bool,
) -> Float[Tensor, "b y x d"]:
    """The attention of each cell to the cells of its window; shifted windows start half a window earlier.

    `qkv` holds each cell's query, key and value, `padding` those of a padded cell. `bias` is added to the scores of
    each query (first) and key of a window; it depends on their offset only.
    """
    if torch.compiler.is_exporting():
        return traceable_attention(qkv, padding, bias, window, shifted=shifted)
    batch, height, width, _ = qkv.shape
    windows = layout(batch, height, width, window, shifted, str(qkv.device))
    rows = _gather(qkv.flatten(0, 2), padding.to(qkv.dtype), windows).split(windows.counts)
    bias = rearrange(bias, "(qy qx) (ky kx) h -> h qy qx ky kx", qy=window, ky=window).contiguous()
    count = len(windows.groups)
    mixed = [_attend_group(group, bias, *rows[number::count]) for number, group in enumerate(windows.groups)]
    return _join(mixed).index_select(0, windows.restore).unflatten(0, (batch, height, width))


def traceable_attention(
    qkv: Float[Tensor, "b y x three_d"],
    padding: Float[Tensor, " three_d"],
    bias: Float[Tensor, "n n h"],
    window: int,
    *,
    shifted: bool,
) -> Float[Tensor, "b y x d"]:
    """The same sums as a graph for any number of maps, which has the indices of one map and no fused attention.

    PyTorch's fused attention is exported with other strides than those that the following operators were traced for.
    """
    height, width = qkv.shape[1:3]
    windows = layout(1, height, width, window, shifted, str(qkv.device))
    index = _index_with_padding(height, width, window, shifted, str(qkv.device))
    cells = rearrange(qkv, "b y x (s d) -> b (y x s) d", s=PARTS)
    if windows.padding.shape[1]:
        padded = rearrange(padding, "(s d) -> s d", s=PARTS).expand(cells.shape[0], -1, -1)
        cells = torch.cat([cells, padded.to(cells.dtype)], dim=1)
    rows = cells.index_select(1, index).split(windows.counts, dim=1)
    bias = rearrange(bias, "(qy qx) (ky kx) h -> h qy qx ky kx", qy=window, ky=window)
    count = len(windows.groups)
    mixed = [_write_out(group, bias, *rows[number::count]) for number, group in enumerate(windows.groups)]
    joined = mixed[0] if count == 1 else torch.cat(mixed, dim=1)
    return rearrange(joined.index_select(1, windows.restore), "b (y x) d -> b y x d", y=height)


@constant_when_compiled  # the compiler does not use the cache and would trace the computation
def layout(batch: int, height: int, width: int, window: int, shifted: bool, device: str) -> Layout:
    """The layout of `batch` maps."""
    return _layout(batch, height, width, window, shifted, device)


@constant_when_compiled
def relative_positions(window: int, device: str) -> Int[Tensor, "n n"]:
    """For each query and key of a window, the row of the bias table that belongs to their offset."""
    return _relative_positions(window, device)


@cached_constant(128)
def _layout(batch: int, height: int, width: int, window: int, shifted: bool, device: str) -> Layout:
    cells = torch.arange(height * width).view(height, width)
    boxes: dict[tuple[Sides, Sides], list[tuple[_Run, _Run]]] = defaultdict(list)
    for rows, columns in product(_runs(height, window, shifted), _runs(width, window, shifted)):
        boxes[(rows.real, columns.real), (rows.length, columns.length)].append((rows, columns))
    groups, queries, keys = [], [], []
    first = torch.arange(batch)[:, None] * (height * width)
    for (real, whole), windows in boxes.items():
        groups.append(Group(windows=len(windows) * batch, queries=real, keys=whole))
        for rows, columns in windows:
            box = torch.full(whole, -1)
            box[: real[0], : real[1]] = cells[rows.start :, columns.start :][: real[0], : real[1]]
            queries.append((box[: real[0], : real[1]].flatten() + first).flatten())
            keys.append(torch.where(box.flatten() < 0, -1, box.flatten() + first).flatten())
    return _indices(torch.cat(queries), torch.cat(keys), tuple(groups), device)


@dataclass(frozen=True, kw_only=True)
class _Run:
    """Neighbouring rows (or columns) of a padded map that share a window, and how many of them are not padding."""

    start: int
    length: int
    real: int


def _runs(length: int, window: int, shifted: bool) -> list[_Run]:
    """An axis cut into windows; the shift moves every border but the map's own."""
    end = -(-length // window) * window
    borders = sorted({0, *range(window // 2 if shifted else window, end, window), end})
    runs = [_Run(start=start, length=stop - start, real=min(stop, length) - start) for start, stop in pairwise(borders)]
    return [run for run in runs if run.real > 0]


def _indices(queries: Tensor, keys: Tensor, groups: tuple[Group, ...], device: str) -> Layout:
    """`queries` and `keys` name the cell at each position, -1 for padding."""
    restore = torch.empty_like(queries)
    restore[queries] = torch.arange(len(queries))
    rows = keys.clamp(min=0) * PARTS
    padded = (keys < 0).nonzero().flatten() + len(queries)
    num_queries = [group.windows * group.queries[0] * group.queries[1] for group in groups]
    num_keys = [group.windows * group.keys[0] * group.keys[1] for group in groups]
    return Layout(
        gather=torch.cat([queries * PARTS, rows + 1, rows + 2]).to(device),
        restore=restore.to(device),
        padding=torch.stack([padded, padded + len(keys)]).to(device),
        groups=groups,
        counts=num_queries + num_keys + num_keys,
    )


@cached_constant(128)
def _index_with_padding(height: int, width: int, window: int, shifted: bool, device: str) -> Int[Tensor, " rows"]:
    """`gather` of one map whose padded keys and values are those of a further cell behind the last one."""
    windows = _layout(1, height, width, window, shifted, device)
    index = windows.gather.clone()
    for part, positions in enumerate(windows.padding, start=1):
        index[positions] = height * width * PARTS + part
    return index


@cached_constant(32)
def _relative_positions(window: int, device: str) -> Int[Tensor, "n n"]:
    y, x = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    y, x = y.flatten(), x.flatten()
    rows = y[:, None] - y[None, :] + window - 1
    columns = x[:, None] - x[None, :] + window - 1
    return (rows * (2 * window - 1) + columns).to(device)


def _gather(
    qkv: Float[Tensor, "cells three_d"], padding: Float[Tensor, " three_d"], windows: Layout
) -> Float[Tensor, "rows d"]:
    rows = rearrange(qkv, "n (s d) -> (n s) d", s=PARTS).index_select(0, windows.gather)
    if windows.padding.shape[1]:
        rows[windows.padding] = rearrange(padding, "(s d) -> s 1 d", s=PARTS)[1:]
    return rows


def _attend_group(group: Group, bias: Tensor, query: Tensor, key: Tensor, value: Tensor) -> Float[Tensor, "n d"]:
    """Attention within all windows of a group; a smaller window has the bias of a whole one's corner."""
    query, key, value = (
        rearrange(each, "(w n) (h d) -> w h n d", w=group.windows, h=len(bias)) for each in (query, key, value)
    )
    return rearrange(attend(query, key, value, _bias_of(group, bias)), "w h n d -> (w n) (h d)")


def _write_out(group: Group, bias: Tensor, query: Tensor, key: Tensor, value: Tensor) -> Float[Tensor, "b n d"]:
    """The same of every map, in basic operators."""
    query, key, value = (
        rearrange(each, "b (w n) (h d) -> b w h n d", w=group.windows, h=len(bias)) for each in (query, key, value)
    )
    scores = (query * query.shape[-1] ** -0.5) @ key.mT + _bias_of(group, bias)
    return rearrange(scores.softmax(-1) @ value, "b w h n d -> b (w n) (h d)")


def _bias_of(group: Group, bias: Float[Tensor, "h qy qx ky kx"]) -> Float[Tensor, "h q k"]:
    (rows, columns), (key_rows, key_columns) = group.queries, group.keys
    return rearrange(bias[:, :rows, :columns, :key_rows, :key_columns], "h qy qx ky kx -> h (qy qx) (ky kx)")


def attend(
    query: Float[Tensor, "w h q d"],
    key: Float[Tensor, "w h k d"],
    value: Float[Tensor, "w h k d"],
    bias: Float[Tensor, "h q k"],
) -> Float[Tensor, "w h q d"]:
    """softmax(q kᵀ / √d + bias) v in every window.

    On a CPU in bfloat16 the scores are written out, some windows at a time, which is faster than PyTorch's fused
    attention; without gradients only, because the scores would be kept for them.
    """
    if (
        query.dtype != torch.bfloat16
        or query.device.type != "cpu"
        or query.requires_grad
        or torch.compiler.is_compiling()
    ):
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias[None])
    query = query * query.shape[-1] ** -0.5
    pieces = zip(*(each.split(max(1, SCORES // bias.numel())) for each in (query, key, value)), strict=True)
    return _join([(query @ key.mT).add_(bias).softmax(-1) @ value for query, key, value in pieces])


def _join(parts: list[Tensor]) -> Tensor:
    """The concatenated parts; a single part is not copied."""
    return parts[0] if len(parts) == 1 else torch.cat(parts)
