"""What a sample is about: its attended words (SDA, Section 3.2 and Appendix B.1), and categories in pixel features.

Where the paper's text and its formulas differ, the default is the text and the literal formula is an option.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

Average = Literal["foreground", "area"]


def guided_attention(
    attention: Float[Tensor, "b n l"], foreground: Bool[Tensor, "b n"], average: Average = "foreground"
) -> Float[Tensor, "b l"]:
    """ᾱ before Eq. 1: the attention to each word, averaged over the foreground's cells; zero without a foreground.

    The text averages over "all foreground pixels", so that ᾱ sums to 1. The formula divides by all H·W cells, which
    `area` does: ᾱ then sums to the foreground's fraction of the image, and after a temperature of 0.2 the words of a
    small object all have nearly the same weight.
    """
    count = foreground.sum(1).clamp(min=1) if average == "foreground" else foreground.shape[1]
    summed = einsum(attention, foreground.to(attention.dtype), "b n l, b n -> b l")
    return summed / torch.as_tensor(count, device=summed.device).reshape(-1, 1)


def contents(
    guided: Float[Tensor, "b l"],
    embeddings: Float[Tensor, "b l e"],
    token_mask: Bool[Tensor, "b l"],
    temperature: float = 0.2,
) -> Float[Tensor, "b e"]:
    """Eq. 1: H = 1/N Σ α̃ₙ wₙ, α̃ the softmax of ᾱ/τ over the N real words."""
    sharpened = (guided / temperature).masked_fill(~token_mask, float("-inf")).softmax(dim=-1)
    return einsum(sharpened, embeddings, "b l, b l e -> b e") / token_mask.sum(1, keepdim=True)


class WordPredictor(nn.Module):
    """Appendix B.1: the weight of each word from its embedding alone, by a two-layer MLP and a softmax over the words.

    The width of the hidden layer, that of the embeddings, is ours.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, embeddings: Float[Tensor, "b l e"], token_mask: Bool[Tensor, "b l"]) -> Float[Tensor, "b l"]:
        scores = rearrange(self.layers(embeddings), "b l 1 -> b l")
        return scores.masked_fill(~token_mask, torch.finfo(scores.dtype).min).softmax(dim=-1)


def distillation(
    predicted: Float[Tensor, "b l"], guided: Float[Tensor, "b l"], token_mask: Bool[Tensor, "b l"]
) -> Float[Tensor, ""]:
    """Eq. 11: KL(prediction ‖ ᾱ), the mean over the samples. (The text calls it an L1 loss.)"""
    smallest = torch.finfo(predicted.dtype).tiny
    ratio = predicted.clamp(min=smallest).log() - guided.clamp(min=smallest).log()
    return (predicted * ratio * token_mask).sum(1).mean()


def semantic_initialisation(
    pixels: Float[Tensor, "n d"],
    categories: Int[Tensor, " n"],
    prototypes: Float[Tensor, "k d"],
    temperature: float = 0.1,
) -> Float[Tensor, ""]:
    """Eq. 3, L_si: cross-entropy of foreground pixels against the categories' visual prototypes; 0 without a pixel.

    The paper prints neither a norm nor a temperature; the exponentials of products of unnormalised features of 1,024
    channels overflow, so both sides have unit length here.
    """
    if not len(pixels):
        return pixels.sum() * 0.0
    similarity = F.normalize(pixels, dim=-1) @ F.normalize(prototypes, dim=-1).mT
    return F.cross_entropy(similarity / temperature, categories)
