"""Cosine similarity of words and pixels in a joint space (VEGA, Eq. 1)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..kernels.cosine import SMALLEST, cosine_pays, projected_cosine


class Similarity(nn.Module):
    """Cosine similarity of words and pixels, each after a linear projection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pixels = nn.Linear(width, width)
        self.words = nn.Linear(width, width)

    def forward(self, pixels: Float[Tensor, "b n d"], words: Float[Tensor, "b l d"]) -> Float[Tensor, "b l n"]:
        unit_words = F.normalize(self.words(words), dim=-1)
        if cosine_pays(pixels, unit_words):
            return projected_cosine(pixels, unit_words, self.pixels.weight, self.pixels.bias)
        projected = self.pixels(pixels)
        precise = torch.promote_types(projected.dtype, torch.float32)
        norms = torch.linalg.vector_norm(projected, dim=-1, dtype=precise).clamp_min(SMALLEST)
        return (unit_words @ projected.mT).to(precise) / norms[:, None]

    def embed(
        self, pixels: Float[Tensor, "b n d"], words: Float[Tensor, "b l d"]
    ) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b l d"]]:
        """Pixels and words as unit vectors of the joint space."""
        return F.normalize(self.pixels(pixels), dim=-1), F.normalize(self.words(words), dim=-1)
