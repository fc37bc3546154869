"""Mask2Former's masked-attention decoder (Cheng et al., CVPR 2022) with one query, which stands for the referent.

- the query attends to one level after another, from coarse to fine and again, only inside its last mask
- with one query, self-attention has the weight one: two projections remain
- the cells are never projected to keys and values: with one query it is cheaper to project the query (same sums)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import einsum, rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import InputError
from .pixel_decoder import sines

HIDDEN = -1e4  # the score of a cell outside the mask; float16 can represent it


@dataclass(frozen=True)
class Decoded:
    """The query's state and its mask's logits, before the first layer and after each."""

    queries: Float[Tensor, "b k d"]
    masks: Float[Tensor, "b k y x"]


class QueryDecoder(nn.Module):
    """Maps from coarse to fine, and mask features, to a mask before the first layer and after each."""

    def __init__(
        self,
        width: int = 256,
        mask_width: int = 256,
        *,
        heads: int = 8,
        layers: int = 9,
        feed_forward: int = 2048,
        levels: int = 3,
    ) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(width))
        self.position = nn.Parameter(torch.randn(width))
        self.level = nn.Parameter(torch.randn(levels, width))
        self.layers = nn.ModuleList(QueryLayer(width, heads, feed_forward) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.mask = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, mask_width)
        )

    def forward(self, maps: Sequence[Tensor], mask_features: Float[Tensor, "b y x e"]) -> Decoded:
        """`maps` `[b y x d]` are the levels that the layers attend to in turn."""
        levels, positions = [], []
        for features, level in zip(maps, self.level, strict=True):
            height, width = features.shape[1:3]
            levels.append(rearrange(features, "b y x d -> b (y x) d") + level)
            positions.append(sines(height, width, features.shape[-1], str(features.device)).to(level.dtype))
        query = self.query.expand(mask_features.shape[0], -1)
        states, masks = [self.norm(query)], [self._mask(self.norm(query), mask_features)]
        for number, layer in enumerate(self.layers):
            at = number % len(maps)
            visible = inside(masks[-1], (maps[at].shape[1], maps[at].shape[2]))
            query = layer(query, self.position, levels[at], positions[at], visible)
            states.append(self.norm(query))
            masks.append(self._mask(states[-1], mask_features))
        return Decoded(torch.stack(states, dim=1), torch.stack(masks, dim=1))

    def _mask(self, state: Float[Tensor, "b d"], mask_features: Float[Tensor, "b y x e"]) -> Float[Tensor, "b y x"]:
        cells = rearrange(mask_features, "b y x e -> b e (y x)")
        return (self.mask(state)[:, None] @ cells).view(mask_features.shape[:-1])


@torch.no_grad()
def inside(masks: Float[Tensor, "b y x"], size: tuple[int, int]) -> Bool[Tensor, "b n"]:
    """The cells of a level that are inside the mask; all of them if none is."""
    resized = F.interpolate(masks[:, None].float(), size=size, mode="bilinear", align_corners=False)
    found = ~(resized.flatten(1).sigmoid() < 0.5)
    return found | ~found.any(dim=1, keepdim=True)


class QueryLayer(nn.Module):
    """Masked attention to the cells, self-attention, a feed-forward network; each with a residual, then a norm."""

    def __init__(self, width: int, heads: int, feed_forward: int) -> None:
        super().__init__()
        self.attention = MaskedAttention(width, heads)
        self.attention_norm = nn.LayerNorm(width)
        self.self_value = nn.Linear(width, width)
        self.self_output = nn.Linear(width, width)
        self.self_norm = nn.LayerNorm(width)
        self.hidden = nn.Linear(width, feed_forward)
        self.output = nn.Linear(feed_forward, width)
        self.output_norm = nn.LayerNorm(width)
        for module in (self.self_value, self.self_output, self.hidden, self.output):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)

    def forward(
        self,
        query: Float[Tensor, "b d"],
        position: Float[Tensor, " d"],
        cells: Float[Tensor, "b n d"],
        positions: Float[Tensor, "n d"],
        visible: Bool[Tensor, "b n"],
    ) -> Float[Tensor, "b d"]:
        query = self.attention_norm(query + self.attention(query + position, cells, positions, visible))
        query = self.self_norm(query + self.self_output(self.self_value(query)))
        return self.output_norm(query + self.output(F.relu(self.hidden(query))))


class MaskedAttention(nn.Module):
    """Attention of one query to the visible cells; keys contain the cells' positions, values do not.

    Keys have no bias: it would add the same to all scores.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise InputError(f"Attention of width {width} cannot be shared by {heads} heads; make it a multiple.")
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        for layer in (self.query, self.key, self.value, self.output):
            nn.init.xavier_uniform_(layer.weight)
        for layer in (self.query, self.value, self.output):
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        query: Float[Tensor, "b d"],
        cells: Float[Tensor, "b n d"],
        positions: Float[Tensor, "n d"],
        visible: Bool[Tensor, "b n"],
    ) -> Float[Tensor, "b d"]:
        query = rearrange(self.query(query) * self.scale, "b (g c) -> b g c", g=self.heads)
        key = rearrange(self.key.weight, "(g c) d -> g c d", g=self.heads)
        folded = einsum(query, key, "b g c, g c d -> b g d")
        scores = folded @ cells.mT + folded @ positions.T.to(folded.dtype)
        weights = scores.masked_fill(~visible[:, None], HIDDEN).softmax(-1)
        pooled = weights.to(cells.dtype) @ cells
        value = rearrange(self.value.weight, "(g c) d -> g c d", g=self.heads)
        mixed = rearrange(einsum(pooled, value.to(pooled.dtype), "b g d, g c d -> b g c"), "b g c -> b (g c)")
        return self.output(mixed + self.value.bias)
