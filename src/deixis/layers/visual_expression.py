"""Visual information selection (VEGA, Sec. 3.2 and Algorithm 1): for each word, what the pixels it means look like.

The printed algorithm repeats the pixels for every word, `[b l n d]`. Here no such tensor exists: the weighted sums
over pixels are one matrix product, and memory grows with l·n + n·d.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .attention import MASKED, CrossAttention, SelfAttention
from .similarity import Similarity

# Which words select pixels (Table 3b): the first token, [CLS], is global, the others are local. With none, one learned
# token takes the words' place.
Cues = Literal["none", "local", "global", "both"]
# How a word selects its pixels (Table 4a): a share of them, or those of σ(similarity) > 0.5 (the best one in any case).
Selection = Literal["top-k", "threshold"]
# Over which pixels a softmax makes weights of the similarities (Table 4d).
Normalise = Literal["none", "all", "selected"]


@dataclass(frozen=True)
class VisualTokens:
    """A visual token for each cue, and how it came about."""

    tokens: Float[Tensor, "b l d"]
    mask: Bool[Tensor, "b l"]  # True where the token stands for a cue in use
    similarity: Float[Tensor, "b l n"]
    selected: Bool[Tensor, "b l n"]


class VisualExpression(nn.Module):
    """Pixels and words to visual tokens: select, pool, attend to what was selected, attend to one another."""

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        cues: Cues = "both",
        selection: Selection = "top-k",
        ratio: float = 0.3,
        weigh_by_similarity: bool = True,
        normalise: Normalise = "selected",
        attend_to_selected: bool = True,
    ) -> None:
        super().__init__()
        self.cues, self.selection, self.ratio = cues, selection, ratio
        self.weigh_by_similarity, self.normalise = weigh_by_similarity, normalise
        self.similarity = Similarity(width)
        self.cue = nn.Parameter(torch.randn(1, width)) if cues == "none" else None
        self.cross = CrossAttention(width, heads) if attend_to_selected else None
        self.context = SelfAttention(width, heads)

    def forward(
        self, pixels: Float[Tensor, "b n d"], words: Float[Tensor, "b l d"], token_mask: Bool[Tensor, "b l"]
    ) -> VisualTokens:
        words, mask = self._cues(words, token_mask)
        similarity = self.similarity(pixels, words)
        selected = select(similarity, self.selection, self.ratio)
        if self.weigh_by_similarity:
            weights = weigh(similarity, selected, self.normalise)
        else:
            weights = selected.to(similarity.dtype)
        # Eq. 4 divides by K although the weights sum to one already; as printed. A layer norm takes it away again.
        weights = weights / selected.sum(-1, keepdim=True)
        tokens = weights.to(pixels.dtype) @ pixels
        if self.cross is not None:
            tokens = self.cross(tokens, pixels, selected)
        return VisualTokens(self.context(tokens, mask), mask, similarity, selected)

    def _cues(self, words: Tensor, token_mask: Tensor) -> tuple[Tensor, Tensor]:
        if self.cue is not None:
            return self.cue.expand(len(words), -1, -1), token_mask.new_ones(len(words), 1)
        is_global = torch.arange(token_mask.shape[1], device=token_mask.device) == 0
        used = {"global": is_global, "local": ~is_global}.get(self.cues)
        return words, token_mask if used is None else token_mask & used


def select(similarity: Float[Tensor, "b l n"], selection: Selection, ratio: float) -> Bool[Tensor, "b l n"]:
    """The pixels of each word; at least one, where the ratio of a tiny map or the threshold leaves none."""
    similarity = similarity.detach()
    if selection == "threshold":
        chosen, best = similarity > 0, similarity.argmax(-1, keepdim=True)  # σ(s) > 0.5 says s > 0
    else:
        chosen = torch.zeros_like(similarity, dtype=torch.bool)
        best = similarity.topk(max(1, int(similarity.shape[-1] * ratio)), sorted=False).indices
    return chosen.scatter_(-1, best, True)


def weigh(
    similarity: Float[Tensor, "b l n"], selected: Bool[Tensor, "b l n"], normalise: Normalise
) -> Float[Tensor, "b l n"]:
    """M · S_norm of Algorithm 1: the similarities of the selected pixels, made weights as `normalise` says."""
    if normalise == "selected":
        return similarity.masked_fill(~selected, MASKED).softmax(-1)
    weights = similarity.softmax(-1) if normalise == "all" else similarity
    return weights.masked_fill(~selected, 0)
