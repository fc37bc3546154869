"""Cosine similarity of words and pixels in a joint space (VEGA, Eq. 1), without keeping the pixels' joint features.

A pixel's joint features W x + b are needed for two things. Their products with a word are those of x with Wᵀ y, as
many as there are words. Their norm is a quadratic form: |W x + b|² = xᵀ (WᵀW) x + 2 bᵀW x + bᵀb. Computed like that,
it costs one product of all pixels with a matrix in the forward pass and one in the backward pass, where features that
are projected cost one and two.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

SMALLEST = 1e-12  # least norm to divide by
ROWS = 4096  # pixels at a time, so that what is between two products stays in the cache


class Similarity(nn.Module):
    """Cosine similarity of words and pixels, each after a linear projection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pixels = nn.Linear(width, width)
        self.words = nn.Linear(width, width)

    def forward(
        self, pixels: Float[Tensor, "b n d"], words: Float[Tensor, "b l d"], *, by_squares: bool | None = None
    ) -> Float[Tensor, "b l n"]:
        """`by_squares` says whether norms come from the quadratic form; None leaves it to the sizes."""
        joint_words = F.normalize(self.words(words), dim=-1)
        if self._pays(pixels) if by_squares is None else by_squares:
            return _Cosine.apply(pixels, joint_words, self.pixels.weight, self.pixels.bias)
        joint = self.pixels(pixels)
        precise = torch.promote_types(joint.dtype, torch.float32)
        norms = torch.linalg.vector_norm(joint, dim=-1, dtype=precise).clamp_min(SMALLEST)
        # Dividing the products by the pixels' norms saves the normalised copy of the pixels.
        return (joint_words @ joint.mT).to(precise) / norms[:, None]

    def embed(
        self, pixels: Float[Tensor, "b n d"], words: Float[Tensor, "b l d"]
    ) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b l d"]]:
        """The joint space itself: unit vectors of pixels and of words."""
        return F.normalize(self.pixels(pixels), dim=-1), F.normalize(self.words(words), dim=-1)

    def _pays(self, pixels: Tensor) -> bool:
        """The quadratic form cancels too much for half precision, and its own products want many pixels to pay."""
        full = pixels.dtype == torch.float32 and not torch.is_autocast_enabled(pixels.device.type)
        return full and torch.is_grad_enabled() and pixels.shape[:-1].numel() >= 4 * pixels.shape[-1]


class _Cosine(torch.autograd.Function):
    """Products of unit words with W x + b over the norms of the latter, and their gradients."""

    @staticmethod
    def forward(ctx: Any, pixels: Tensor, words: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        folded = words @ weight
        products = torch.baddbmm((words @ bias)[..., None], folded, pixels.mT)
        square, shift = weight.mT @ weight, bias @ weight
        halves = torch.empty_like(pixels, memory_format=torch.contiguous_format)  # half the squared norm's gradient
        squares = pixels.new_empty(pixels.shape[:-1])
        portions = (tensor.view(-1, *tensor.shape[2:]).split(ROWS) for tensor in (pixels.contiguous(), halves, squares))
        for cell, half, out in zip(*portions, strict=True):
            torch.addmm(shift, cell, square, out=half)
            torch.linalg.vecdot(cell, half, out=out)
            out.add_(cell @ shift)
        norms = squares.add_(bias @ bias).clamp_min_(SMALLEST**2).sqrt_()
        similarity = products.div_(norms[:, None])
        ctx.save_for_backward(pixels, words, weight, bias, folded, halves, norms, similarity)
        return similarity

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        pixels, words, weight, bias, folded, halves, norms, similarity = ctx.saved_tensors
        products = gradient / norms[:, None]
        lengths = -(gradient * similarity).sum(1) / norms**2  # twice the gradient of the squared norms
        to_pixels = torch.baddbmm(halves * lengths[..., None], products.mT, folded)
        to_folded, to_shift = products @ pixels, products.sum(-1)
        moments = torch.zeros_like(weight)  # Σ lengths · x xᵀ
        for cell, length in zip(pixels.flatten(0, 1).split(ROWS), lengths.view(-1).split(ROWS), strict=True):
            moments.addmm_(cell.mT, cell * length[:, None])
        mean = torch.einsum("bn,bnd->d", lengths, pixels)
        to_words = to_folded @ weight.mT + to_shift[..., None] * bias
        to_weight = words.flatten(0, 1).mT @ to_folded.flatten(0, 1) + weight @ moments + torch.outer(bias, mean)
        to_bias = torch.einsum("bl,bld->d", to_shift, words) + weight @ mean + bias * lengths.sum()
        return to_pixels, to_words, to_weight, to_bias
