"""The sum of an encoder's stages, for networks that need one map without words."""

from collections.abc import Sequence

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor


def sum_stages(stages: Sequence[Float[Tensor, "b _ _ d"]]) -> Float[Tensor, "b y x d"]:
    """Maps of one width, from fine to coarse, summed from the coarsest on; at the size of the finest."""
    *finer_maps, summed = (rearrange(stage, "b y x d -> b d y x") for stage in stages)
    for finer in reversed(finer_maps):
        summed = finer + F.interpolate(summed, size=finer.shape[-2:], mode="bilinear", align_corners=False)
    return rearrange(summed, "b d y x -> b y x d")
