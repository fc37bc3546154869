"""The place of each cell of a grid as eight numbers, which CMSA and CMPC read beside a cell's features."""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

NUM_COORDINATES = 8
SMALLEST = 1e-6  # length of a vector before it is divided by; the published code adds it to the squared length, 1e-12


def coordinates(like: Float[Tensor, "b c y x"]) -> Float[Tensor, "n 8"]:
    """Left, top, right, bottom and centre of each cell, from -1 to 1, and the width and height of a cell.

    In the order xmin, ymin, xmax, ymax, xcentre, ycentre, 1 / columns, 1 / rows.
    """
    height, width = like.shape[-2:]
    precise = torch.promote_types(like.dtype, torch.float32)
    rows, columns = (torch.arange(size, device=like.device, dtype=precise) for size in (height, width))
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    left, top = 2 * x / width - 1, 2 * y / height - 1
    right, bottom = 2 * (x + 1) / width - 1, 2 * (y + 1) / height - 1
    sizes = (torch.full_like(left, 1 / width), torch.full_like(top, 1 / height))
    stacked = torch.stack([left, top, right, bottom, (left + right) / 2, (top + bottom) / 2, *sizes], dim=-1)
    return rearrange(stacked, "y x place -> (y x) place").to(like.dtype)


def unit(features: Float[Tensor, "..."], dim: int) -> Float[Tensor, "..."]:
    """Vectors of length 1; the gradient of a vector of nearly length 0 is bounded."""
    return F.normalize(features, dim=dim, eps=SMALLEST)
