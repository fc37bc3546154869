"""Cutting a map into windows and joining it again: padding, rolling and partition as one gather each way."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

BLOCKED = -100.0  # added to the scores of cells that only the roll made neighbours, as published


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where the cells of a batch of maps go: kind of window after kind, within it window, then map, then cell."""

    cut: Int[Tensor, " places"]  # the cell that each place of the windows holds; the row after the last is padding
    join: Int[Tensor, " cells"]  # the place where each cell lies
    padded: Int[Tensor, " padding"]  # the places that hold padding
    counts: list[int]  # windows of each kind
    masks: list[Tensor | None]  # what is added to the scores of each kind, or nothing

    @property
    def num_padded(self) -> int:
        return self.padded.shape[0]


# Sizes repeat from step to step; what is kept is small beside the maps themselves.
@lru_cache(maxsize=128)
@torch.inference_mode(False)
def layout(batch: int, height: int, width: int, window: int, shifted: bool, device: str) -> Layout:
    """The layout of `batch` maps, with the published shift (half a window) and its three-slice mask."""
    rows, columns = -(-height // window), -(-width // window)
    cells = torch.full((rows * window, columns * window), -1)
    cells[:height, :width] = torch.arange(height * width).view(height, width)
    shift = window // 2 if shifted else 0
    cells = rearrange(cells.roll((-shift, -shift), (0, 1)), "(r y) (c x) -> (r c) (y x)", y=window, x=window)
    order, counts, masks = [], [], []
    for last_row, last_column in product((False, True), repeat=2):
        kind = [
            row * columns + column
            for row, column in product(range(rows), range(columns))
            if (shifted and row == rows - 1, shifted and column == columns - 1) == (last_row, last_column)
        ]
        if kind:
            order += kind
            counts.append(len(kind) * batch)
            masks.append(_shift_mask(window, shift, last_row, last_column, device))
    cells = rearrange(cells[order], "w n -> w 1 n")
    first = torch.arange(batch)[:, None] * (height * width)
    place = torch.where(cells < 0, batch * height * width, cells + first).flatten()
    real = place < batch * height * width
    back = torch.empty(batch * height * width, dtype=torch.long)
    back[place[real]] = real.nonzero().flatten()
    padded = (~real).nonzero().flatten()
    return Layout(cut=place.to(device), join=back.to(device), padded=padded.to(device), counts=counts, masks=masks)


def _shift_mask(window: int, shift: int, last_row: bool, last_column: bool, device: str) -> Tensor | None:
    """Only the last row and column of windows hold cells that the roll brought from the other side."""
    if not (last_row or last_column):
        return None
    side = torch.arange(window) >= window - shift
    region = (side[:, None] & last_row) * 2 + (side[None, :] & last_column) * 1
    apart = region.flatten()[:, None] != region.flatten()[None, :]
    return (apart * BLOCKED).to(device)


@lru_cache(maxsize=32)
@torch.inference_mode(False)
def relative_positions(window: int, device: str) -> Int[Tensor, "q k"]:
    """For each pair of cells of a window, the row of the bias table that belongs to their offset."""
    y, x = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    y, x = y.flatten(), x.flatten()
    rows = y[:, None] - y[None, :] + window - 1
    columns = x[:, None] - x[None, :] + window - 1
    return (rows * (2 * window - 1) + columns).to(device)


def cut(rows: Float[Tensor, "cells d"], windows: Layout) -> Float[Tensor, "places d"]:
    """Cells to windows; `rows` ends with the row of the padding, where the layout has any."""
    if rows.requires_grad and torch.is_grad_enabled():
        return _Cut.apply(rows, windows.cut, windows.join, windows.padded)
    return rows.index_select(0, windows.cut)


def join(places: Float[Tensor, "windows n d"], windows: Layout) -> Float[Tensor, "cells d"]:
    """Windows to cells, padding left out."""
    flat = places.flatten(0, 1)
    if flat.requires_grad and torch.is_grad_enabled():
        return _Join.apply(flat, windows.cut, windows.join, windows.num_padded > 0)
    return flat.index_select(0, windows.join)


class _Cut(torch.autograd.Function):
    """A gather whose gradient is a gather too; index_select's own would add row by row."""

    @staticmethod
    def forward(context: Any, rows: Tensor, there: Tensor, back: Tensor, padded: Tensor) -> Tensor:
        context.save_for_backward(back, padded)
        return rows.index_select(0, there)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        back, padded = context.saved_tensors
        rows = gradient.index_select(0, back)
        if padded.shape[0]:
            rows = torch.cat([rows, gradient.index_select(0, padded).sum(0, keepdim=True)])
        return rows, None, None, None


class _Join(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, places: Tensor, there: Tensor, back: Tensor, has_padding: bool) -> Tensor:
        context.save_for_backward(there)
        context.has_padding = has_padding
        return places.index_select(0, back)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (there,) = context.saved_tensors
        if context.has_padding:
            gradient = torch.cat([gradient, gradient.new_zeros(1, gradient.shape[1])])
        return gradient.index_select(0, there), None, None, None
