"""Multi-head attention with a residual, between two sets of tokens and within one."""

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..errors import InputError
from ..kernels.attention import MASKED as MASKED
from ..kernels.attention import additive, cheapest_order, fold_context, fold_queries


class Attention(nn.Module):
    """Multi-head attention of queries to a context; `mask` is True where a query may attend.

    Keys and values have no bias. A key's bias shifts all scores of a query alike, which softmax ignores; a value's bias
    equals a bias of the output, because the weights sum to one.
    """

    def __init__(self, width: int, heads: int, *, context_width: int | None = None) -> None:
        super().__init__()
        if width % heads:
            raise InputError(
                f"Attention has {heads} heads for {width} channels; choose a width that is a multiple of the heads."
            )
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(context_width or width, width, bias=False)
        self.value = nn.Linear(context_width or width, width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        queries: Float[Tensor, "b q d"],
        context: Float[Tensor, "b n e"],
        mask: Bool[Tensor, "b #q n"] | None = None,
    ) -> Float[Tensor, "b q d"]:
        """softmax(q kᵀ / √c) v for each head; with few queries or few context tokens by `kernels/attention.py`."""
        one_mask = mask is None or mask.shape[1] == 1
        order = cheapest_order(self, queries.shape[1], context.shape[1], one_mask=one_mask)
        if order == "fold-queries":
            return fold_queries(self, queries, context, mask)
        if order == "fold-context":
            return fold_context(self, queries, context, mask)[0]
        return self.textbook(queries, context, mask)

    def textbook(
        self,
        queries: Float[Tensor, "b q d"],
        context: Float[Tensor, "b n e"],
        mask: Bool[Tensor, "b #q n"] | None = None,
    ) -> Float[Tensor, "b q d"]:
        """All tokens projected; what the kernels are compared with."""
        query, key, value = self._project(queries, context)
        bias = None if mask is None else additive(mask, query.dtype)[:, None]
        mixed = F.scaled_dot_product_attention(query, key, value, bias)
        return self.out(rearrange(mixed, "b h q c -> b q (h c)"))

    def with_shares(
        self,
        queries: Float[Tensor, "b q d"],
        context: Float[Tensor, "b n e"],
        mask: Bool[Tensor, "b 1 n"] | None = None,
    ) -> tuple[Float[Tensor, "b q d"], Float[Tensor, "b n"]]:
        """The output, and the weight of each context token as a mean over heads and queries, without gradients."""
        if cheapest_order(self, queries.shape[1], context.shape[1]) == "fold-context":
            output, weights = fold_context(self, queries, context, mask)
            return output, weights.detach().float().mean((1, 2))
        query, key, value = self._project(queries, context)
        scores = (query * self.scale) @ key.mT
        weights = (scores if mask is None else scores + additive(mask, scores.dtype)[:, None]).softmax(-1)
        mixed = weights.to(value.dtype) @ value
        return self.out(rearrange(mixed, "b h q c -> b q (h c)")), weights.detach().float().mean((1, 2))

    def _project(self, queries: Tensor, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = self.query(queries), self.key(context), self.value(context)
        query, key, value = (rearrange(each, "b n (h c) -> b h n c", h=self.heads) for each in (query, key, value))
        return query, key, value


class CrossAttention(nn.Module):
    """The normalised queries plus their attention to the context."""

    def __init__(self, width: int, heads: int, *, context_width: int | None = None) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.attention = Attention(width, heads, context_width=context_width)

    def forward(
        self,
        queries: Float[Tensor, "b q d"],
        context: Float[Tensor, "b n e"],
        mask: Bool[Tensor, "b #q n"] | None = None,
    ) -> Float[Tensor, "b q d"]:
        queries = self.norm(queries)
        return queries + self.attention(queries, context, mask)

    def with_shares(
        self, queries: Float[Tensor, "b q d"], context: Float[Tensor, "b n e"], mask: Bool[Tensor, "b 1 n"]
    ) -> tuple[Float[Tensor, "b q d"], Float[Tensor, "b n"]]:
        """As `Attention.with_shares`."""
        queries = self.norm(queries)
        mixed, shares = self.attention.with_shares(queries, context, mask)
        return queries + mixed, shares


class SelfAttention(nn.Module):
    """The normalised tokens plus their attention to each other."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        # The tokens of a visual expression are divided by the number of their pixels; a larger epsilon would dominate.
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.attention = Attention(width, heads)

    def forward(
        self, tokens: Float[Tensor, "b l d"], mask: Bool[Tensor, "b l"] | None = None
    ) -> Float[Tensor, "b l d"]:
        tokens = self.norm(tokens)
        return tokens + self.attention(tokens, tokens, None if mask is None else mask[:, None])
