"""MagNet's cross-modal alignment module: pixels, and their surroundings at four scales, attend to the words."""

from collections.abc import Sequence

import torch
from einops import einsum, rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from ..compiling import cached_constant
from .fusion import BLOCKED


class NormalisedPixelWordAttention(nn.Module):
    """LAVT's pixel-word attention with layer norms over channels instead of instance norms over pixels.

    The key's bias adds the same to the score of every word and is absent.
    """

    def __init__(self, vision_width: int, word_width: int, heads: int = 1) -> None:
        super().__init__()
        self.heads = heads
        self.scale = vision_width**-0.5  # the channels of all heads together, as published
        self.vision = nn.Linear(vision_width, vision_width)
        self.query = nn.Linear(vision_width, vision_width)
        self.query_norm = nn.LayerNorm(vision_width)
        self.key = nn.Linear(word_width, vision_width, bias=False)
        self.value = nn.Linear(word_width, vision_width)
        self.output = nn.Linear(vision_width, vision_width)
        self.output_norm = nn.LayerNorm(vision_width)
        self.fuse = nn.Linear(vision_width, vision_width)

    def forward(
        self, features: Float[Tensor, "b n d"], words: Float[Tensor, "b l dw"], token_mask: Bool[Tensor, "b l"]
    ) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b heads n l"]]:
        """The fused cells, and the attention of each cell to each word."""
        query = rearrange(self.query_norm(self.query(features)), "b n (g c) -> b g n c", g=self.heads)
        key = rearrange(self.key(words), "b l (g c) -> b g c l", g=self.heads)
        blocked = rearrange((~token_mask).to(query.dtype) * BLOCKED, "b l -> b 1 1 l")
        attention = torch.softmax(query @ (key * self.scale) + blocked, dim=-1)
        gathered = rearrange(attention, "b g n l -> b n (g l)") @ self._values(words, token_mask)
        gathered = self.output_norm(gathered + self.output.bias)
        return F.gelu(self.fuse(F.gelu(self.vision(features)) * gathered)), attention

    def _values(self, words: Tensor, token_mask: Tensor) -> Float[Tensor, "b gl d"]:
        """Each word's value for each head, after the output layer."""
        value = rearrange(self.value(words) * token_mask[..., None], "b l (g c) -> b g l c", g=self.heads)
        output = rearrange(self.output.weight, "out (g c) -> g out c", g=self.heads).to(value.dtype)
        return rearrange(einsum(value, output, "b g l c, g out c -> b g l out"), "b g l out -> b (g l) out")


class PooledScale(nn.Module):
    """A map pooled to a few cells, passed through a bottleneck, and fused with the words at a quarter of its width."""

    def __init__(self, width: int, word_width: int, heads: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.widen = nn.Linear(width, 4 * width, bias=False)
        self.norm = nn.LayerNorm(4 * width, eps=1e-6)
        self.narrow = nn.Linear(4 * width, width, bias=False)
        self.quarter = nn.Linear(width, width // 4, bias=False)
        self.fusion = NormalisedPixelWordAttention(width // 4, word_width, heads)

    def forward(
        self, features: Float[Tensor, "b d y x"], words: Float[Tensor, "b l dw"], token_mask: Bool[Tensor, "b l"]
    ) -> Float[Tensor, "b k c"]:
        pooled = rearrange(F.adaptive_avg_pool2d(features, self.side), "b d y x -> b (y x) d")
        pooled = self.quarter(F.gelu(self.narrow(self.norm(self.widen(pooled)))))
        return self.fusion(pooled, words, token_mask)[0]


class CrossModalAlignment(nn.Module):
    """A stage's map and words to the aligned map, and the fused map at full resolution.

    `sides` are those of the pooled maps; without any, the aligned map is made from the fused map alone.
    """

    def __init__(self, width: int, word_width: int, heads: int = 1, sides: Sequence[int] = (1, 2, 3, 6)) -> None:
        super().__init__()
        self.fusion = NormalisedPixelWordAttention(width, word_width, heads)
        self.scales = nn.ModuleList(PooledScale(width, word_width, heads, side) for side in sides)
        self.mix = nn.Linear(len(sides) * (width // 4) + width, width)
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, width)

    def forward(
        self, features: Float[Tensor, "b y x d"], words: Float[Tensor, "b l dw"], token_mask: Bool[Tensor, "b l"]
    ) -> tuple[Float[Tensor, "b y x d"], Float[Tensor, "b y x d"], Float[Tensor, "b heads n l"]]:
        """The aligned map, the fused map, and the attention of each pixel to each word."""
        height, width = features.shape[1:3]
        cells = rearrange(features, "b y x d -> b (y x) d")
        fused, attention = self.fusion(cells, words, token_mask)
        mixed = F.linear(fused, self.mix.weight[:, -fused.shape[-1] :], self.mix.bias)
        if len(self.scales):
            channels_first = rearrange(features, "b y x d -> b d y x")
            pooled = [scale(channels_first, words, token_mask) for scale in self.scales]
            mixed = mixed + self._spread(pooled, height, width)
        aligned = F.gelu(self.output(self.norm(mixed)))
        aligned, fused = (rearrange(each, "b (y x) d -> b y x d", y=height) for each in (aligned, fused))
        return aligned, fused, attention

    def _spread(self, pooled: Sequence[Tensor], height: int, width: int) -> Float[Tensor, "b n d"]:
        """The pooled scales' part of the mixture, at full size.

        Interpolation and mixing are both linear: the few pooled cells are mixed first and enlarged afterwards, all
        scales in one product with the weights of bilinear interpolation.
        """
        weights = self.mix.weight.split([*(each.shape[-1] for each in pooled), self.mix.out_features], dim=1)
        few = torch.cat([cells @ weight.T for cells, weight in zip(pooled, weights, strict=False)], dim=1)
        sides = tuple(int(scale.side) for scale in self.scales)  # type: ignore[arg-type]
        return enlargement(sides, height, width, str(few.device)).to(few.dtype) @ few


class NoAlignment(nn.Module):
    """A stage without the alignment module: the decoder reads the norm of the fused map, as in LAVT."""

    def __init__(self, width: int, word_width: int, heads: int = 1) -> None:
        super().__init__()
        self.fusion = NormalisedPixelWordAttention(width, word_width, heads)
        self.norm = nn.LayerNorm(width)

    def forward(
        self, features: Float[Tensor, "b y x d"], words: Float[Tensor, "b l dw"], token_mask: Bool[Tensor, "b l"]
    ) -> tuple[Float[Tensor, "b y x d"], Float[Tensor, "b y x d"], Float[Tensor, "b heads n l"]]:
        """As `CrossModalAlignment` returns."""
        fused, attention = self.fusion(rearrange(features, "b y x d -> b (y x) d"), words, token_mask)
        fused = rearrange(fused, "b (y x) d -> b y x d", y=features.shape[1])
        return self.norm(fused), fused, attention


@cached_constant(64)
def enlargement(sides: tuple[int, ...], height: int, width: int, device: str) -> Float[Tensor, "n k"]:
    """The weight of every pooled cell (scale by scale) in every cell of the full map: bilinear, corners aligned."""
    weights = []
    for side in sides:
        one_each = torch.eye(side * side, device=device).unflatten(1, (1, side, side))
        enlarged = F.interpolate(one_each, size=(height, width), mode="bilinear", align_corners=True)
        weights.append(rearrange(enlarged, "k 1 y x -> (y x) k"))
    return torch.cat(weights, dim=1)
