"""Swin's window attention by the published steps: what `kernels/windows.py` must equal."""

import torch
from einops import rearrange
from torch import Tensor


def window_attention(qkv: Tensor, padding: Tensor, bias: Tensor, window: int, *, shifted: bool) -> Tensor:
    """As the kernel's: `qkv` `[b y x 3d]`, `padding` `[3d]`, `bias` `[n n h]`; the result is `[b y x d]`."""
    height, width = qkv.shape[1:3]
    whole = padding.repeat(len(qkv), -(-height // window) * window, -(-width // window) * window, 1)
    whole[:, :height, :width] = qkv
    return attend_whole(whole, bias, window, window // 2 if shifted else 0)[:, :height, :width]


def attend_whole(qkv: Tensor, bias: Tensor, window: int, shift: int) -> Tensor:
    """Of a padded map: roll, cut, attend with bias and mask, join, roll back."""
    regions = torch.zeros(qkv.shape[1:3])
    if shift:
        slices = (slice(0, -window), slice(-window, -shift), slice(-shift, None))
        for number, (rows, columns) in enumerate((rows, columns) for rows in slices for columns in slices):
            regions[rows, columns] = number
        qkv = qkv.roll((-shift, -shift), (1, 2))
    cells = rearrange(qkv, "b (r y) (c x) d -> b (r c) (y x) d", y=window, x=window)
    query, key, value = rearrange(cells, "b w n (s h d) -> s b w h n d", s=3, h=bias.shape[-1])
    scores = query @ key.mT * query.shape[-1] ** -0.5 + rearrange(bias, "q k h -> h q k")
    if shift:
        regions = rearrange(regions, "(r y) (c x) -> (r c) (y x)", y=window, x=window)
        scores = scores + (regions[:, None, :, None] != regions[:, None, None]).to(scores.dtype) * -100
    mixed = rearrange(scores.softmax(-1) @ value, "b w h n d -> b w n (h d)")
    joined = rearrange(mixed, "b (r c) (y x) d -> b (r y) (c x) d", r=qkv.shape[1] // window, y=window)
    return joined.roll((shift, shift), (1, 2))


def position_bias(table: Tensor, window: int) -> Tensor:
    """`[n n h]`: for each query and key of a window, the row of the table that belongs to their offset."""
    bias = table.new_empty(window**2, window**2, table.shape[1])
    for query in range(window**2):
        for key in range(window**2):
            row = query // window - key // window + window - 1
            column = query % window - key % window + window - 1
            bias[query, key] = table[row * (2 * window - 1) + column]
    return bias
