"""VEGA's guidance sets (Sec. 3.2, Tables 2 and 3a): the tokens that the decoder attends to.

`VisualGuidance` is the published one. The others are the paper's comparisons: words alone, enhanced words alone, and
pixels in place of the visual expression.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .attention import CrossAttention
from .similarity import Similarity
from .visual_expression import VisualExpression


@dataclass(frozen=True)
class GuidanceSet:
    """Tokens for the decoder: the words first, visual tokens after them.

    `maps` are `similarity` and `selected`, `[b l n]`, where words select pixels.
    """

    tokens: Float[Tensor, "b g d"]
    mask: Bool[Tensor, "b g"]
    num_words: int
    maps: Mapping[str, Tensor] = field(default_factory=dict)


class VisualGuidance(nn.Module):
    """Words enhanced by the pixels, and the visual expression that they select."""

    def __init__(self, enhance: CrossAttention, expression: VisualExpression) -> None:
        super().__init__()
        self.enhance = enhance
        self.expression = expression

    def forward(
        self, pixels: Float[Tensor, "b n d"], words: Float[Tensor, "b l d"], token_mask: Bool[Tensor, "b l"]
    ) -> GuidanceSet:
        words = self.enhance(words, pixels)
        visual = self.expression(pixels, words, token_mask)
        maps = {"similarity": visual.similarity, "selected": visual.selected}
        return _joined(words, token_mask, visual.tokens, visual.mask, maps)


class EnhancedWordGuidance(nn.Module):
    """Words enhanced by the pixels."""

    def __init__(self, enhance: CrossAttention) -> None:
        super().__init__()
        self.enhance = enhance

    def forward(
        self, pixels: Float[Tensor, "b n d"], words: Float[Tensor, "b l d"], token_mask: Bool[Tensor, "b l"]
    ) -> GuidanceSet:
        return GuidanceSet(self.enhance(words, pixels), token_mask, words.shape[1])


class WordGuidance(nn.Module):
    """Words as they are."""

    def forward(
        self, pixels: Float[Tensor, "b n d"], words: Float[Tensor, "b l d"], token_mask: Bool[Tensor, "b l"]
    ) -> GuidanceSet:
        return GuidanceSet(words, token_mask, words.shape[1])


class PixelGuidance(nn.Module):
    """Enhanced words, and all pixels in place of the visual expression."""

    def __init__(self, enhance: CrossAttention) -> None:
        super().__init__()
        self.enhance = enhance

    def forward(
        self, pixels: Float[Tensor, "b n d"], words: Float[Tensor, "b l d"], token_mask: Bool[Tensor, "b l"]
    ) -> GuidanceSet:
        return _joined(self.enhance(words, pixels), token_mask, pixels, token_mask.new_ones(pixels.shape[:2]), {})


class TopPixelGuidance(nn.Module):
    """Enhanced words, and the pixels that the global word selects in place of the visual expression."""

    def __init__(self, enhance: CrossAttention, similarity: Similarity, select: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.enhance = enhance
        self.similarity = similarity
        self.select = select

    def forward(
        self, pixels: Float[Tensor, "b n d"], words: Float[Tensor, "b l d"], token_mask: Bool[Tensor, "b l"]
    ) -> GuidanceSet:
        words = self.enhance(words, pixels)
        similarity = self.similarity(pixels, words)
        selected = self.select(similarity.detach())
        maps = {"similarity": similarity, "selected": selected}
        return _joined(words, token_mask, pixels, selected[:, 0], maps)


def _joined(
    words: Tensor, token_mask: Tensor, visual: Tensor, visual_mask: Tensor, maps: Mapping[str, Tensor]
) -> GuidanceSet:
    tokens, mask = torch.cat((words, visual), 1), torch.cat((token_mask, visual_mask), 1)
    return GuidanceSet(tokens, mask, words.shape[1], maps)
