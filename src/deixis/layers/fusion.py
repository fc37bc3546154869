"""Pixel-word fusion: each pixel gathers the words that matter to it, and a gate says how much of it is let on."""

from collections.abc import Callable, Sequence

import torch
from einops import einsum, rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import InputError

BLOCKED = -1e4  # added to the scores of padding words, as published


class PixelWordAttention(nn.Module):
    """LAVT's pixel-word attention module (PWAM, Sec. 3.2).

    The published biases of query and output are taken away by the instance norms after them, and that of the key
    adds the same to the score of every word: they have no effect, so we have none.
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
    ) -> Float[Tensor, "b y x d"]:
        return self.attend(features, words, token_mask)[0]

    def attend(
        self, features: Float[Tensor, "b y x d"], words: Float[Tensor, "b l dw"], token_mask: Bool[Tensor, "b l"]
    ) -> tuple[Float[Tensor, "b y x d"], Float[Tensor, "b l y x"]]:
        """The fused map, and how much each pixel looked at each word (the mean over heads)."""
        height, width = features.shape[1:3]
        query = rearrange(instance_norm(self.query(features)), "b y x (h d) -> b h (y x) d", h=self.heads)
        key = rearrange(self.key(words), "b l (h d) -> b h d l", h=self.heads)
        blocked = rearrange((~token_mask).to(query.dtype) * BLOCKED, "b l -> b 1 1 l")
        weights = torch.softmax(query @ (key * self.scale) + blocked, dim=-1)
        gathered = rearrange(weights, "b h n l -> b n (h l)") @ self._answers(words, token_mask)
        gathered = instance_norm(rearrange(gathered, "b (y x) d -> b y x d", y=height))
        fused = F.gelu(self.fuse(F.gelu(self.vision(features)) * gathered))
        return fused, rearrange(weights.mean(1), "b (y x) l -> b l y x", y=height, x=width)

    def _answers(self, words: Tensor, token_mask: Tensor) -> Float[Tensor, "b hl d"]:
        """What each word says to a pixel that looks at it with one head.

        Values go through the output layer before the pixels gather them: there are far fewer words than pixels.
        """
        value = self.value(words) * token_mask[..., None]
        value = rearrange(value, "b l (h d) -> b h l d", h=self.heads)
        output = rearrange(self.output.weight, "out (h d) -> h out d", h=self.heads).to(value.dtype)
        return rearrange(einsum(value, output, "b h l d, h out d -> b h l out"), "b h l out -> b (h l) out")


class Gate(nn.Module):
    """How much of what was fused is let on (LAVT's language gate, Sec. 3.3): features to their gated selves."""

    def __init__(self, width: int, activation: Callable[[Tensor], Tensor] = F.relu) -> None:
        super().__init__()
        self.activation = activation
        self.hidden = nn.Linear(width, width, bias=False)
        self.gate = nn.Linear(width, width, bias=False)
        # Nearly shut at first, so that a pre-trained encoder sees what it knows; at zero neither layer would learn.
        nn.init.trunc_normal_(self.gate.weight, std=0.02)

    def forward(self, fused: Float[Tensor, "*size d"]) -> Float[Tensor, "*size d"]:
        return torch.tanh(self.gate(self.activation(self.hidden(fused)))) * fused


def check_heads(system: str, embed_dim: int, fusion_heads: Sequence[int]) -> None:
    """Raises DeixisError where the heads of a system's four fusions cannot share its encoder's channels."""
    if len(fusion_heads) != 4:
        raise InputError(f"{system} fuses after 4 stages, but fusion_heads={tuple(fusion_heads)}; give 4 numbers.")
    for stage, heads in enumerate(fusion_heads):
        width = embed_dim * 2**stage
        if heads < 1 or width % heads:
            raise InputError(f"Fusion {stage + 1}'s {heads} heads cannot share {width} channels; choose a divisor.")


def instance_norm(features: Float[Tensor, "b y x d"], epsilon: float = 1e-5) -> Float[Tensor, "b y x d"]:
    """Each channel of each map to zero mean and unit variance over its cells, in training and after."""
    wide = features.float()
    # Centred first, by hand: PyTorch's own variance goes down the columns of cells and takes six times as long.
    centred = wide - wide.mean(dim=(1, 2), keepdim=True)
    variance = centred.square().mean(dim=(1, 2), keepdim=True)
    return (centred * torch.rsqrt(variance + epsilon)).to(features.dtype)
