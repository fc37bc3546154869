"""LAVT's convolutional decoder: from the deepest map upward, each level joins the map of the next finer stage."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class ConvolutionalDecoder(nn.Module):
    """Four fused maps `[b y x d]`, fine to coarse strides 4 to 32, to class scores at stride 4."""

    def __init__(self, widths: Sequence[int], width: int, num_classes: int = 2) -> None:
        super().__init__()
        deeper = [widths[3], width, width]
        self.levels = nn.ModuleList(
            DecoderLevel(deep, skip, width) for deep, skip in zip(deeper, reversed(widths[:3]), strict=True)
        )
        self.classes = nn.Linear(width, num_classes)

    def forward(self, maps: Sequence[Tensor]) -> Float[Tensor, "b y x classes"]:
        features = maps[3]
        for level, skip in zip(self.levels, reversed(maps[:3]), strict=True):
            features = level(features, skip)
        return self.classes(features)


class DecoderLevel(nn.Module):
    """The deeper map at the finer one's size, both side by side, twice convolved, normalised and rectified.

    The first convolution is linear in its two halves, so the deeper half need never be seen at the finer size by all
    its weights: see `convolve_upsampled`.
    """

    def __init__(self, deep: int, skip: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(deep + skip, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, deep: Float[Tensor, "b y x d"], skip: Float[Tensor, "b y2 x2 d2"]) -> Tensor:
        size = (skip.shape[1], skip.shape[2])
        weight1, shift1 = _fold(self.conv1, self.bn1)
        weight2, shift2 = _fold(self.conv2, self.bn2)
        split = deep.shape[-1]
        # A channels-last map `[b y x d]` is a channels-first one in channels-last memory: nothing is copied.
        joined = F.conv2d(rearrange(skip, "b y x d -> b d y x"), weight1[:, split:], shift1, padding=1)
        joined = joined + rearrange(convolve_upsampled(deep, weight1[:, :split], size), "b y x d -> b d y x")
        joined = F.relu(self.bn1(joined) if shift1 is None else joined)
        convolved = F.conv2d(joined, weight2, shift2, padding=1)
        convolved = F.relu(self.bn2(convolved) if shift2 is None else convolved)
        return rearrange(convolved, "b d y x -> b y x d")


def convolve_upsampled(
    features: Float[Tensor, "b y x d"], weight: Float[Tensor, "out d 3 3"], size: tuple[int, int]
) -> Float[Tensor, "b height width out"]:
    """A padded 3x3 convolution of the map's bilinear enlargement (aligned corners), without enlarging the map.

    Interpolation mixes cells and the convolution's nine matrices mix channels, so they commute: the matrices work on
    the few cells of the small map, then rows and columns are interpolated and shifted by one matrix each. At twice
    the side that is a third of the multiplications.
    """
    height, width = features.shape[1:3]
    rows = _interpolation(height, size[0], str(features.device)).to(features.dtype)
    columns = _interpolation(width, size[1], str(features.device)).to(features.dtype)
    out = weight.shape[0]
    matrices = rearrange(weight, "out d ky kx -> (kx ky) d out")
    answers = []
    for cells in features:
        small = torch.matmul(cells.flatten(0, 1), matrices)  # [(kx ky) (y x) out]
        tall = rows @ rearrange(small, "(kx ky) (y x) out -> kx (ky y) (x out)", kx=3, y=height)
        tall = rearrange(tall, "kx y (x out) -> y (kx x) out", x=width, out=out)
        answers.append(columns @ tall)
    return torch.stack(answers)


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def _interpolation(length: int, to: int, device: str) -> Float[Tensor, "to taps"]:
    """For each cell of the enlarged row, what each of 3 taps takes of each cell of the row; outside there is zero."""
    identity = torch.eye(length, dtype=torch.float64)[None]
    enlarged = F.interpolate(identity, size=to, mode="linear", align_corners=True)[0].T  # [to, length]
    padded = F.pad(enlarged, (0, 0, 1, 1))
    return torch.cat([padded[tap : tap + to] for tap in range(3)], dim=1).float().to(device)


def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor | None]:
    """The convolution's weight, and, outside training, the norm folded into it and a shift."""
    if norm.training or norm.running_var is None or norm.running_mean is None:
        return convolution.weight, None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return convolution.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale
