"""MagNet's cross-modal alignment module: pixels, and what lies around them at four scales, each look at the words."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from einops import einsum, rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from .fusion import BLOCKED


class NormalisedPixelWordAttention(nn.Module):
    """LAVT's pixel-word attention with layer norms over channels where LAVT's has instance norms over pixels.

    The key's bias adds the same to the score of every word and is left out.
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

    def attend(
        self, features: Float[Tensor, "b n d"], words: Float[Tensor, "b l dw"], token_mask: Bool[Tensor, "b l"]
    ) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b n l"]]:
        """The fused cells, and how much each cell looked at each word (the mean over heads)."""
        query = rearrange(self.query_norm(self.query(features)), "b n (g c) -> b g n c", g=self.heads)
        key = rearrange(self.key(words), "b l (g c) -> b g c l", g=self.heads)
        blocked = rearrange((~token_mask).to(query.dtype) * BLOCKED, "b l -> b 1 1 l")
        weights = torch.softmax(query @ (key * self.scale) + blocked, dim=-1)
        gathered = rearrange(weights, "b g n l -> b n (g l)") @ self._answers(words, token_mask)
        gathered = self.output_norm(gathered + self.output.bias)
        return F.gelu(self.fuse(F.gelu(self.vision(features)) * gathered)), weights.mean(1)

    def _answers(self, words: Tensor, token_mask: Tensor) -> Float[Tensor, "b gl d"]:
        """What each word says to a cell that looks at it with one head, already through the output layer."""
        value = rearrange(self.value(words) * token_mask[..., None], "b l (g c) -> b g l c", g=self.heads)
        output = rearrange(self.output.weight, "out (g c) -> g out c", g=self.heads).to(value.dtype)
        return rearrange(einsum(value, output, "b g l c, g out c -> b g l out"), "b g l out -> b (g l) out")


class PooledScale(nn.Module):
    """A map averaged to a few cells, thought over, and answered by the words at a quarter of its width."""

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
        return self.fusion.attend(pooled, words, token_mask)[0]


class CrossModalAlignment(nn.Module):
    """A stage's map and words to the aligned map, and the full-resolution answer of the words alone.

    `sides` are those of the pooled maps; without any the full-resolution answer is mixed alone.
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
    ) -> tuple[Float[Tensor, "b y x d"], Float[Tensor, "b y x d"], Float[Tensor, "b l y x"]]:
        """The aligned map, the words' answer at full resolution, how much each pixel looked at each word."""
        height, width = features.shape[1:3]
        cells = rearrange(features, "b y x d -> b (y x) d")
        answer, looked = self.fusion.attend(cells, words, token_mask)
        mixed = F.linear(answer, self.mix.weight[:, -answer.shape[-1] :], self.mix.bias)
        if len(self.scales):
            channels_first = rearrange(features, "b y x d -> b d y x")
            pooled = [scale(channels_first, words, token_mask) for scale in self.scales]
            mixed = mixed + self._spread(pooled, height, width)
        aligned = F.gelu(self.output(self.norm(mixed)))
        maps = (rearrange(each, "b (y x) d -> b y x d", y=height) for each in (aligned, answer))
        return *maps, rearrange(looked, "b (y x) l -> b l y x", y=height)  # type: ignore[return-value]

    def _spread(self, pooled: Sequence[Tensor], height: int, width: int) -> Float[Tensor, "b n d"]:
        """The pooled scales' part of the mixture, at full size.

        Enlarging and mixing are both linear, so the few pooled cells are mixed first and enlarged after, all scales
        in one product with the weights of bilinear interpolation.
        """
        weights = self.mix.weight.split([*(each.shape[-1] for each in pooled), self.mix.out_features], dim=1)
        few = torch.cat([cells @ weight.T for cells, weight in zip(pooled, weights, strict=False)], dim=1)
        sides = tuple(int(scale.side) for scale in self.scales)  # type: ignore[arg-type]
        return enlargement(sides, height, width, str(few.device)).to(few.dtype) @ few


class WordsAlone(nn.Module):
    """What is left of a stage without the alignment module: LAVT's way, the norm of the words' answer."""

    def __init__(self, width: int, word_width: int, heads: int = 1) -> None:
        super().__init__()
        self.fusion = NormalisedPixelWordAttention(width, word_width, heads)
        self.norm = nn.LayerNorm(width)

    def forward(
        self, features: Float[Tensor, "b y x d"], words: Float[Tensor, "b l dw"], token_mask: Bool[Tensor, "b l"]
    ) -> tuple[Float[Tensor, "b y x d"], Float[Tensor, "b y x d"], Float[Tensor, "b l y x"]]:
        """As `CrossModalAlignment` answers."""
        height = features.shape[1]
        answer, looked = self.fusion.attend(rearrange(features, "b y x d -> b (y x) d"), words, token_mask)
        answer = rearrange(answer, "b (y x) d -> b y x d", y=height)
        return self.norm(answer), answer, rearrange(looked, "b (y x) l -> b l y x", y=height)


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def enlargement(sides: tuple[int, ...], height: int, width: int, device: str) -> Float[Tensor, "n k"]:
    """The share of every pooled cell (scale after scale) in every cell of the full map: bilinear, corners aligned."""
    shares = []
    for side in sides:
        one_each = torch.eye(side * side, device=device).unflatten(1, (1, side, side))
        spread = F.interpolate(one_each, size=(height, width), mode="bilinear", align_corners=True)
        shares.append(rearrange(spread, "k 1 y x -> (y x) k"))
    return torch.cat(shares, dim=1)
