"""LAVT's convolutional decoder: from the coarsest map on, each level joins the map of the next finer stage."""

from collections.abc import Sequence

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ..kernels.upsampled_convolution import upsampled_convolution, upsampled_convolution_pays


class ConvolutionalDecoder(nn.Module):
    """Four fused maps `[b y x d]`, from stride 4 to stride 32, to class scores at stride 4."""

    def __init__(self, widths: Sequence[int], width: int, num_classes: int = 2) -> None:
        super().__init__()
        coarser = [widths[3], width, width]
        self.levels = nn.ModuleList(
            DecoderLevel(coarse, fine, width) for coarse, fine in zip(coarser, reversed(widths[:3]), strict=True)
        )
        self.classes = nn.Linear(width, num_classes)

    def forward(self, maps: Sequence[Tensor]) -> Float[Tensor, "b y x classes"]:
        features = maps[3]
        for level, fine in zip(self.levels, reversed(maps[:3]), strict=True):
            features = level(features, fine)
        return self.classes(features)


class DecoderLevel(nn.Module):
    """The coarse map enlarged to the size of the fine one, both concatenated, and two 3x3 convolutions of them."""

    def __init__(self, coarse: int, fine: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(coarse + fine, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, coarse: Float[Tensor, "b y x d"], fine: Float[Tensor, "b y2 x2 d2"]) -> Tensor:
        # As views of channels-last memory; nothing is copied.
        coarse, fine = (rearrange(each, "b y x d -> b d y x") for each in (coarse, fine))
        features = F.relu(self.bn1(self._convolve(coarse, fine)))
        features = F.relu(self.bn2(self.conv2(features)))
        return rearrange(features, "b d y x -> b y x d")

    def _convolve(self, coarse: Float[Tensor, "b d y x"], fine: Float[Tensor, "b d2 y2 x2"]) -> Tensor:
        if upsampled_convolution_pays(coarse):
            return upsampled_convolution(coarse, fine, self.conv1.weight)
        enlarged = F.interpolate(coarse, size=fine.shape[2:], mode="bilinear", align_corners=True)
        return self.conv1(torch.cat([enlarged, fine], dim=1))
