"""Cosine similarity of projected pixels with unit vectors, without keeping the projected pixels for the gradients.

The products of W x + b with a word y are those of x with Wᵀ y, as many as there are words. The squared norm is a
quadratic form: |W x + b|² = xᵀ (WᵀW) x + 2 bᵀW x + bᵀb. So the pixels are multiplied by one matrix in the forward pass
and by one in the backward pass, where projected pixels need one and two.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

SMALLEST = 1e-12  # the least norm to divide by, as in torch's `normalize`
ROWS = 4096  # pixels at a time, so that the intermediate rows stay in the cache


def cosine_pays(pixels: Float[Tensor, "b n d"], unit_words: Float[Tensor, "b l d"]) -> bool:
    """Whether `projected_cosine` is faster and precise enough: in training, in single precision, with many pixels."""
    is_single = pixels.dtype == torch.float32 and not torch.is_autocast_enabled(pixels.device.type)
    return is_single and unit_words.requires_grad and pixels.shape[:-1].numel() >= 4 * pixels.shape[-1]


def projected_cosine(
    pixels: Float[Tensor, "b n d"],
    unit_words: Float[Tensor, "b l e"],
    weight: Float[Tensor, "e d"],
    bias: Float[Tensor, " e"],
) -> Float[Tensor, "b l n"]:
    """`unit_words` times the normalised `weight @ pixel + bias` of every pixel."""
    return _ProjectedCosine.apply(pixels, unit_words, weight, bias)


class _ProjectedCosine(torch.autograd.Function):
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
        moments = weight.new_zeros(weight.shape[1], weight.shape[1])  # Σ lengths · x xᵀ
        for cell, length in zip(pixels.flatten(0, 1).split(ROWS), lengths.view(-1).split(ROWS), strict=True):
            moments.addmm_(cell.mT, cell * length[:, None])
        mean = torch.einsum("bn,bnd->d", lengths, pixels)
        to_words = to_folded @ weight.mT + to_shift[..., None] * bias
        to_weight = words.flatten(0, 1).mT @ to_folded.flatten(0, 1) + weight @ moments + torch.outer(bias, mean)
        to_bias = torch.einsum("bl,bld->d", to_shift, words) + weight @ mean + bias * lengths.sum()
        return to_pixels, to_words, to_weight, to_bias
