"""Mask encoders (MagNet): one token for a mask, from its centre, its box or its shape."""

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

MaskDescription = Literal["centre", "box", "shape"]
SIDE = 32  # a shape is resized to SIDE x SIDE


def mask_encoder(description: MaskDescription, width: int) -> nn.Module:
    """Masks `[b h w]` to tokens `[b d]`."""
    if description == "shape":
        return ShapeEncoder(width)
    return MeasureEncoder(centres, 2, width) if description == "centre" else MeasureEncoder(boxes, 4, width)


class MeasureEncoder(nn.Module):
    """A two-layer perceptron on a few numbers measured on the mask."""

    def __init__(self, measure: Callable[[Tensor], Tensor], count: int, width: int) -> None:
        super().__init__()
        self.measure = measure
        self.hidden = nn.Linear(count, width)
        self.output = nn.Linear(width, width)

    def forward(self, masks: Bool[Tensor, "b h w"]) -> Float[Tensor, "b d"]:
        return self.output(F.gelu(self.hidden(self.measure(masks))))


class ShapeEncoder(nn.Module):
    """Three convolutions that halve the mask's map, and a linear layer over all its cells."""

    def __init__(self, width: int, channels: int = 16) -> None:
        super().__init__()
        widths = (1, channels, 2 * channels, 4 * channels)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(narrow, wide, 3, stride=2, padding=1) for narrow, wide in pairwise(widths)
        )
        self.output = nn.Linear(widths[-1] * (SIDE // 8) ** 2, width)

    def forward(self, masks: Bool[Tensor, "b h w"]) -> Float[Tensor, "b d"]:
        features = F.interpolate(masks[:, None].float(), size=(SIDE, SIDE), mode="area")
        for convolution in self.convolutions:
            features = F.gelu(convolution(features))
        return self.output(features.flatten(1))


def centres(masks: Bool[Tensor, "b h w"]) -> Float[Tensor, "b 2"]:
    """x and y of each mask's centre of mass, from 0 to 1; zeros for an empty mask."""
    inside = masks.float()
    area = inside.sum(dim=(1, 2)).clamp(min=1)
    # Not a matrix product: autocast would run it in float16, which ends at 65,504.
    moments = [(inside.sum(dim=axis) * _middles(masks.shape[3 - axis], masks)).sum(1) / area for axis in (1, 2)]
    return torch.stack(moments, dim=-1)


def boxes(masks: Bool[Tensor, "b h w"]) -> Float[Tensor, "b 4"]:
    """Left, top, right and bottom edge of each mask, from 0 to 1; zeros for an empty mask."""
    edges = []
    for axis in (1, 2):
        occupied = masks.any(dim=axis)
        side = occupied.shape[1]
        first = occupied.float().argmax(dim=1)
        last = side - occupied.flip(1).float().argmax(dim=1)
        edges.append(torch.stack([first, last], dim=-1) / side)
    corners = rearrange(torch.stack(edges), "side b edge -> b (edge side)")
    return corners * masks.flatten(1).any(dim=1, keepdim=True)


def _middles(count: int, like: Tensor) -> Float[Tensor, " n"]:
    return (torch.arange(count, device=like.device) + 0.5) / count
