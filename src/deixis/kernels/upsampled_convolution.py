"""A 3x3 convolution of two maps, the coarser one enlarged bilinearly, without enlarging it.

Interpolation mixes cells and each of the convolution's nine matrices mixes channels, so they commute: the matrices are
applied to the small map, then one matrix each interpolates and shifts the rows and the columns. At twice the side that
needs a third of the multiplications of a direct convolution.
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ..compiling import cached_constant


def upsampled_convolution_pays(coarse: Float[Tensor, "b d y x"]) -> bool:
    """Whether it is faster: on a CPU without gradients, above all in bfloat16, which has no Winograd convolution."""
    return coarse.device.type == "cpu" and not coarse.requires_grad


def upsampled_convolution(
    coarse: Float[Tensor, "b d1 y x"], fine: Float[Tensor, "b d2 h w"], weight: Float[Tensor, "out d1+d2 3 3"]
) -> Float[Tensor, "b out h w"]:
    """The padded convolution of both maps, `coarse` first, enlarged (aligned corners) to the size of `fine`."""
    split = coarse.shape[1]
    skipped = F.conv2d(fine, weight[:, split:], padding=1)
    return skipped + convolve_upsampled(coarse, weight[:, :split], (fine.shape[2], fine.shape[3]))


def convolve_upsampled(
    coarse: Float[Tensor, "b d y x"], weight: Float[Tensor, "out d 3 3"], size: tuple[int, int]
) -> Float[Tensor, "b out h w"]:
    """The padded convolution of the map's bilinear enlargement (aligned corners) to `size`."""
    height, width = coarse.shape[2:]
    rows = _interpolation(height, size[0], str(coarse.device)).to(coarse.dtype)
    columns = _interpolation(width, size[1], str(coarse.device)).to(coarse.dtype)
    matrices = rearrange(weight, "out d ky kx -> (kx ky) d out")

    def convolve(cells: Float[Tensor, "*b n d"]) -> Float[Tensor, "*b y x out"]:
        small = torch.matmul(cells[..., None, :, :], matrices)  # [(kx ky) (y x) out]
        tall = rows @ rearrange(small, "... (kx ky) (y x) out -> ... kx (ky y) (x out)", kx=3, y=height)
        tall = rearrange(tall, "... kx y (x out) -> ... y (kx x) out", x=width)
        return columns @ tall

    images = rearrange(coarse, "b d y x -> b (y x) d")
    # One by one they stay in the cache; an exported graph is for any number of them.
    convolved = convolve(images) if torch.compiler.is_exporting() else torch.stack([convolve(each) for each in images])
    return rearrange(convolved, "b y x out -> b out y x")


@cached_constant(64)
def _interpolation(length: int, to: int, device: str) -> Float[Tensor, "to taps"]:
    """For each cell of the enlarged row, the weights of the row's cells under each of the 3 taps; zero outside."""
    identity = torch.eye(length, dtype=torch.float64)[None]
    enlarged = F.interpolate(identity, size=to, mode="linear", align_corners=True)[0].T  # [to, length]
    padded = F.pad(enlarged, (0, 0, 1, 1))
    return torch.cat([padded[tap : tap + to] for tap in range(3)], dim=1).float().to(device)
