"""Visual information selection (VEGA, Sec. 3.2 and Algorithm 1): for each word, features of the pixels it refers to.

The printed algorithm repeats the pixels for every word, `[b l n d]`. No such tensor exists here: the weighted sums over
pixels are one matrix product, and memory grows with l·n + n·d.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .attention import MASKED, CrossAttention, SelfAttention
from .similarity import Similarity

# Which words select pixels (Table 3b): the first token, [CLS], is global, the others are local. With none, one learned
# token replaces the words.
Cues = Literal["none", "local", "global", "both"]
# How a word selects its pixels (Table 4a): a fraction of them, or those of σ(similarity) > 0.5, at least the best one.
Selection = Literal["top-k", "threshold"]
# Over which pixels a softmax turns similarities into weights (Table 4d).
Normalise = Literal["none", "all", "selected"]


@dataclass(frozen=True)
class VisualTokens:
    """A visual token for each cue, and the pixels that it was made from."""

    tokens: Float[Tensor, "b l d"]
    mask: Bool[Tensor, "b l"]  # True where the token belongs to a cue in use
    similarity: Float[Tensor, "b l n"]
    selected: Bool[Tensor, "b l n"]


class VisualExpression(nn.Module):
    """Pixels and words to visual tokens: select, pool, attend to the selected pixels, attend to one another."""

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
        self.similarity = Similarity(width)
        self.cue = nn.Parameter(torch.randn(1, width)) if cues == "none" else None
        self.choose_cues = CUES[cues]
        self.select = selector(selection, ratio)
        self.weigh = WEIGHTS[normalise] if weigh_by_similarity else equally
        self.cross = CrossAttention(width, heads) if attend_to_selected else NoCrossAttention()
        self.context = SelfAttention(width, heads)

    def forward(
        self, pixels: Float[Tensor, "b n d"], words: Float[Tensor, "b l d"], token_mask: Bool[Tensor, "b l"]
    ) -> VisualTokens:
        words, mask = self.choose_cues(words, token_mask, self.cue)
        similarity = self.similarity(pixels, words)
        selected = self.select(similarity.detach())
        # Eq. 4 divides by K although the weights already sum to one; as printed. The next layer norm cancels it.
        weights = self.weigh(similarity, selected) / selected.sum(-1, keepdim=True)
        tokens = self.cross(weights.to(pixels.dtype) @ pixels, pixels, selected)
        return VisualTokens(self.context(tokens, mask), mask, similarity, selected)


class NoCrossAttention(nn.Module):
    """The tokens as they are, where they do not attend to the selected pixels."""

    def forward(self, tokens: Tensor, pixels: Tensor, selected: Tensor) -> Tensor:
        return tokens


ChooseCues = Callable[[Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor]]


def every_word(words: Tensor, token_mask: Tensor, cue: Tensor | None) -> tuple[Tensor, Tensor]:
    return words, token_mask


def global_word(words: Tensor, token_mask: Tensor, cue: Tensor | None) -> tuple[Tensor, Tensor]:
    return words, token_mask & _is_first(token_mask)


def local_words(words: Tensor, token_mask: Tensor, cue: Tensor | None) -> tuple[Tensor, Tensor]:
    return words, token_mask & ~_is_first(token_mask)


def learned_token(words: Tensor, token_mask: Tensor, cue: Tensor | None) -> tuple[Tensor, Tensor]:
    assert cue is not None
    return cue.expand(words.shape[0], -1, -1), token_mask.new_ones(words.shape[0], 1)


def _is_first(token_mask: Tensor) -> Bool[Tensor, " l"]:
    return torch.arange(token_mask.shape[1], device=token_mask.device) == 0


CUES: dict[Cues, ChooseCues] = {
    "both": every_word,
    "global": global_word,
    "local": local_words,
    "none": learned_token,
}


def selector(selection: Selection, ratio: float) -> Callable[[Tensor], Tensor]:
    return above_half if selection == "threshold" else partial(top_k, ratio=ratio)


def top_k(similarity: Float[Tensor, "b l n"], ratio: float) -> Bool[Tensor, "b l n"]:
    """For each word the most similar pixels, this fraction of all; at least one."""
    best = similarity.topk(max(1, int(similarity.shape[-1] * ratio)), sorted=False).indices
    return torch.zeros_like(similarity, dtype=torch.bool).scatter_(-1, best, True)


def above_half(similarity: Float[Tensor, "b l n"]) -> Bool[Tensor, "b l n"]:
    """For each word the pixels of σ(similarity) > 0.5, hence similarity > 0; at least the most similar one."""
    return (similarity > 0).scatter_(-1, similarity.argmax(-1, keepdim=True), True)


Weigh = Callable[[Tensor, Tensor], Tensor]


def softmax_over_selected(
    similarity: Float[Tensor, "b l n"], selected: Bool[Tensor, "b l n"]
) -> Float[Tensor, "b l n"]:
    """M · S_norm of Algorithm 1."""
    return similarity.masked_fill(~selected, MASKED).softmax(-1)


def softmax_over_all(similarity: Float[Tensor, "b l n"], selected: Bool[Tensor, "b l n"]) -> Float[Tensor, "b l n"]:
    return similarity.softmax(-1).masked_fill(~selected, 0)


def similarity_itself(similarity: Float[Tensor, "b l n"], selected: Bool[Tensor, "b l n"]) -> Float[Tensor, "b l n"]:
    return similarity.masked_fill(~selected, 0)


def equally(similarity: Float[Tensor, "b l n"], selected: Bool[Tensor, "b l n"]) -> Float[Tensor, "b l n"]:
    return selected.to(similarity.dtype)


WEIGHTS: dict[Normalise, Weigh] = {
    "selected": softmax_over_selected,
    "all": softmax_over_all,
    "none": similarity_itself,
}
