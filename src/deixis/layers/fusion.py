"""Pixel-word fusion (LAVT): each pixel gathers the words that matter to it, and a gate scales the result."""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from einops import einsum, rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import InputError

BLOCKED = -1e4  # added to the scores of padding words, as published


class StagedVision(Protocol):
    """An encoder whose four stages can be run one by one, on channels-last maps."""

    widths: tuple[int, ...]

    def embed(self, images: Tensor) -> Tensor: ...
    def stage(self, index: int, features: Tensor) -> Tensor: ...
    def merge(self, index: int, features: Tensor) -> Tensor: ...


class PixelWordAttention(nn.Module):
    """LAVT's pixel-word attention module (PWAM, Sec. 3.2).

    The published biases of query and output are cancelled by the instance norms that follow, and the key's bias adds
    the same to the score of every word. They have no effect and are absent.
    """

    def __init__(self, vision_width: int, word_width: int, heads: int = 1) -> None:
        super().__init__()
        self.heads = heads
        self.scale = vision_width**-0.5  # the channels of all heads together, as published
        self.vision = nn.Linear(vision_width, vision_width)
        self.query = nn.Linear(vision_width, vision_width, bias=False)
        self.key = nn.Linear(word_width, vision_width, bias=False)
        self.value = nn.Linear(word_width, vision_width)
        self.output = nn.Linear(vision_width, vision_width, bias=False)
        self.fuse = nn.Linear(vision_width, vision_width)

    def forward(
        self, features: Float[Tensor, "b y x d"], words: Float[Tensor, "b l dw"], token_mask: Bool[Tensor, "b l"]
    ) -> tuple[Float[Tensor, "b y x d"], Float[Tensor, "b heads n l"]]:
        """The fused map, and the attention of each pixel to each word."""
        height = features.shape[1]
        query = rearrange(instance_norm(self.query(features)), "b y x (h d) -> b h (y x) d", h=self.heads)
        key = rearrange(self.key(words), "b l (h d) -> b h d l", h=self.heads)
        blocked = rearrange((~token_mask).to(query.dtype) * BLOCKED, "b l -> b 1 1 l")
        attention = torch.softmax(query @ (key * self.scale) + blocked, dim=-1)
        gathered = rearrange(attention, "b h n l -> b n (h l)") @ self._values(words, token_mask)
        gathered = instance_norm(rearrange(gathered, "b (y x) d -> b y x d", y=height))
        return F.gelu(self.fuse(F.gelu(self.vision(features)) * gathered)), attention

    def _values(self, words: Tensor, token_mask: Tensor) -> Float[Tensor, "b hl d"]:
        """Each word's value for each head, after the output layer.

        The output layer is applied before the pixels gather the values: there are far fewer words than pixels.
        """
        value = self.value(words) * token_mask[..., None]
        value = rearrange(value, "b l (h d) -> b h l d", h=self.heads)
        output = rearrange(self.output.weight, "out (h d) -> h out d", h=self.heads).to(value.dtype)
        return rearrange(einsum(value, output, "b h l d, h out d -> b h l out"), "b h l out -> b (h l) out")


class Gate(nn.Module):
    """LAVT's language gate (Sec. 3.3): fused features, each scaled by a number between -1 and 1."""

    def __init__(self, width: int, activation: Callable[[Tensor], Tensor] = F.relu) -> None:
        super().__init__()
        self.activation = activation
        self.hidden = nn.Linear(width, width, bias=False)
        self.gate = nn.Linear(width, width, bias=False)
        # Nearly closed at first, so that a pre-trained encoder sees familiar maps; at zero neither layer would learn.
        nn.init.trunc_normal_(self.gate.weight, std=0.02)

    def forward(self, fused: Float[Tensor, "*size d"]) -> Float[Tensor, "*size d"]:
        return torch.tanh(self.gate(self.activation(self.hidden(fused)))) * fused


def attention_maps(attention: Sequence[Tensor], heights: Sequence[int]) -> dict[str, Float[Tensor, "b l y x"]]:
    """Evidence: for each stage, a map of the attention that each word receives, averaged over heads."""
    return {
        f"pixel_word_attention_{stage}": rearrange(weights.detach().mean(1), "b (y x) l -> b l y x", y=height)
        for stage, (weights, height) in enumerate(zip(attention, heights, strict=True), start=1)
    }


def attention_to_words(
    attention: Float[Tensor, "b heads n l"], token_mask: Bool[Tensor, "b l"]
) -> Float[Tensor, "b n l"]:
    """The heads' mean, without the first and last token ([CLS] and [SEP]); each pixel's attention then sums to one.

    It is zero for an expression that has no other token.
    """
    inner = F.pad(token_mask[:, 2:], (1, 1))[:, : token_mask.shape[1]]  # a token with a real one on both sides
    weights = attention.mean(1) * inner[:, None]
    return weights / weights.sum(-1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)


def check_heads(system: str, embed_dim: int, fusion_heads: Sequence[int]) -> None:
    """Raises `InputError` where a stage's channels are not divisible by the heads of its fusion."""
    if len(fusion_heads) != 4:
        raise InputError(f"{system} fuses after 4 stages, but fusion_heads={tuple(fusion_heads)}; give 4 numbers.")
    for stage, heads in enumerate(fusion_heads):
        width = embed_dim * 2**stage
        if heads < 1 or width % heads:
            raise InputError(f"Fusion {stage + 1}'s {heads} heads cannot share {width} channels; choose a divisor.")


def instance_norm(features: Float[Tensor, "b y x d"], epsilon: float = 1e-5) -> Float[Tensor, "b y x d"]:
    """Each channel of each map to zero mean and unit variance over its cells, in training and in evaluation."""
    wide = features.float()
    # PyTorch's own variance reduces down the columns of cells and takes six times as long on a CPU.
    centred = wide - wide.mean(dim=(1, 2), keepdim=True)
    variance = centred.square().mean(dim=(1, 2), keepdim=True)
    return (centred * torch.rsqrt(variance + epsilon)).to(features.dtype)
