"""Multi-head attention that multiplies its matrices in the cheapest order, and the two blocks made of it.

Attention between a few words and many pixels projects every pixel to a key and a value, or every pixel to a query
and an output. The projections are linear, so they can as well be applied to the words' side of the same products:

- `project`: the textbook order, on PyTorch's fused kernel
- `fold-queries` (few queries): scores = (q_h W_k,h) cᵀ, output = W_v,h (attention c): the context is never projected
- `fold-context` (few context tokens): scores = x (k_h W_q,h)ᵀ, output = attention (v_h W_o,h): the queries never are

All three are the same sums; which one needs fewest multiplications is counted from the sizes at hand. The last two
write their scores out, and so does `with_shares`.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

MASKED = -1e4  # far below any score, and still finite in float16


Order = Literal["project", "fold-queries", "fold-context"]


class Attention(nn.Module):
    """Multi-head attention of queries to a context; `mask` is True where a query may look.

    Keys and values have no bias: a key's shifts all scores of a query alike, which softmax does not see, and a
    value's is the output's bias under another name, since attention sums to one.
    """

    def __init__(self, width: int, heads: int, *, context_width: int | None = None) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"Attention of width {width} cannot be shared by {heads} heads; make it a multiple.")
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(context_width or width, width, bias=False)
        self.value = nn.Linear(context_width or width, width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        queries: Float[Tensor, "b q d"],
        context: Float[Tensor, "b k e"],
        mask: Bool[Tensor, "b #q k"] | None = None,
        *,
        order: Order | None = None,
    ) -> Float[Tensor, "b q d"]:
        one_mask = mask is None or mask.shape[1] == 1
        order = order or self.cheapest(queries.shape[1], context.shape[1], one_mask=one_mask)
        if order == "fold-queries":
            return self._fold_queries(queries, context, mask)
        if order == "fold-context":
            return self._fold_context(queries, context, mask)[0]
        query, key, value = self._project(queries, context)
        bias = None if mask is None else additive(mask, query.dtype)[:, None]
        mixed = F.scaled_dot_product_attention(query, key, value, bias)
        return self.out(rearrange(mixed, "b h q c -> b q (h c)"))

    def with_shares(
        self,
        queries: Float[Tensor, "b q d"],
        context: Float[Tensor, "b k e"],
        mask: Bool[Tensor, "b 1 k"] | None = None,
        *,
        order: Order | None = None,
    ) -> tuple[Float[Tensor, "b q d"], Float[Tensor, "b k"]]:
        """The same output, and the attention each context token got, averaged over heads and queries (sums to 1).

        Queries are never folded here; where that were cheapest, everything is projected.
        """
        order = order or self.cheapest(queries.shape[1], context.shape[1])
        if order == "fold-context":
            output, weights = self._fold_context(queries, context, mask)
            return output, weights.detach().float().mean((1, 2))
        query, key, value = self._project(queries, context)
        scores = (query * self.scale) @ key.mT
        weights = (scores if mask is None else scores + additive(mask, scores.dtype)[:, None]).softmax(-1)
        mixed = weights.to(value.dtype) @ value
        return self.out(rearrange(mixed, "b h q c -> b q (h c)")), weights.detach().float().mean((1, 2))

    def cheapest(self, queries: int, context: int, *, one_mask: bool = True) -> Order:
        """The order with the fewest multiplications, for these numbers of tokens.

        Folding the queries' projection into the context needs `one_mask` for all queries.
        """
        width, context_width = self.key.weight.shape
        counts: dict[Order, int] = {
            "project": 2 * (queries * width**2 + context * context_width * width + queries * context * width),
            "fold-queries": 2
            * (queries * width**2 + queries * width * context_width + self.heads * queries * context * context_width),
            "fold-context": 2
            * (context * context_width * width + context * width**2 + self.heads * queries * context * width),
        }
        if not one_mask:
            del counts["fold-context"]
        fewest = min(*counts.values())  # the compiler follows no `key` of `min`
        return next(order for order, count in counts.items() if count == fewest)

    def _project(self, queries: Tensor, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = self.query(queries), self.key(context), self.value(context)
        query, key, value = (rearrange(each, "b n (h c) -> b h n c", h=self.heads) for each in (query, key, value))
        return query, key, value

    def _fold_queries(self, queries: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
        key, value = (rearrange(linear.weight, "(h c) e -> h c e", h=self.heads) for linear in (self.key, self.value))
        query = rearrange(self.query(queries) * self.scale, "b q (h c) -> b q h c", h=self.heads)
        folded = rearrange(einsum(query, key, "b q h c, h c e -> b h q e"), "b h q e -> b (h q) e")
        scores = rearrange(folded @ context.mT, "b (h q) k -> b h q k", h=self.heads)
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None], MASKED)
        weights = rearrange(scores.softmax(-1), "b h q k -> b (h q) k").to(context.dtype)
        pooled = rearrange(weights @ context, "b (h q) e -> b h q e", h=self.heads)
        return self.out(rearrange(einsum(pooled, value, "b h q e, h c e -> b q h c"), "b q h c -> b q (h c)"))

    def _fold_context(self, queries: Tensor, context: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        key = rearrange(self.key(context) * self.scale, "b k (h c) -> b k h c", h=self.heads)
        value = rearrange(self.value(context), "b k (h c) -> b k h c", h=self.heads)
        weight = rearrange(self.query.weight, "(h c) d -> h c d", h=self.heads)
        out = rearrange(self.out.weight, "d (h c) -> h c d", h=self.heads)
        folded = rearrange(einsum(key, weight, "b k h c, h c d -> b h k d"), "b h k d -> b d (h k)")
        bias = einsum(key, rearrange(self.query.bias, "(h c) -> h c", h=self.heads), "b k h c, h c -> b h k")
        if mask is not None:
            bias = bias + additive(mask, bias.dtype)
        scores = torch.baddbmm(rearrange(bias, "b h k -> b 1 (h k)"), queries.to(folded.dtype), folded)
        weights = rearrange(scores, "b q (h k) -> b q h k", h=self.heads).softmax(-1)
        told = rearrange(einsum(value, out, "b k h c, h c d -> b h k d"), "b h k d -> b (h k) d")
        mixed = rearrange(weights, "b q h k -> b q (h k)").to(told.dtype) @ told
        return mixed + self.out.bias, weights


class CrossAttention(nn.Module):
    """Normalised queries, plus what they find in the context."""

    def __init__(self, width: int, heads: int, *, context_width: int | None = None) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.attention = Attention(width, heads, context_width=context_width)

    def forward(
        self,
        queries: Float[Tensor, "b q d"],
        context: Float[Tensor, "b k e"],
        mask: Bool[Tensor, "b #q k"] | None = None,
    ) -> Float[Tensor, "b q d"]:
        queries = self.norm(queries)
        return queries + self.attention(queries, context, mask)

    def with_shares(
        self, queries: Float[Tensor, "b q d"], context: Float[Tensor, "b k e"], mask: Bool[Tensor, "b 1 k"]
    ) -> tuple[Float[Tensor, "b q d"], Float[Tensor, "b k"]]:
        queries = self.norm(queries)
        mixed, shares = self.attention.with_shares(queries, context, mask)
        return queries + mixed, shares


class SelfAttention(nn.Module):
    """Normalised tokens, plus what they find in one another."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-12)  # tokens that were divided by their number are small
        self.attention = Attention(width, heads)

    def forward(
        self, tokens: Float[Tensor, "b l d"], mask: Bool[Tensor, "b l"] | None = None
    ) -> Float[Tensor, "b l d"]:
        tokens = self.norm(tokens)
        return tokens + self.attention(tokens, tokens, None if mask is None else mask[:, None])


def additive(mask: Bool[Tensor, "*size"], dtype: torch.dtype) -> Float[Tensor, "*size"]:
    """Zero where the mask is True, `MASKED` elsewhere."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, MASKED)
