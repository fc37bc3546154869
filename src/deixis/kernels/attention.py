"""Multi-head attention between a small and a large set of tokens, without projecting the large set.

Scores and outputs are products of linear maps, so a projection of the large set can be applied to the small set instead
(`h` heads of `c` channels):

- `fold_queries`, for few queries: scores = (q_h W_k,h) contextᵀ, output = ((weights context) W_v,hᵀ) W_o
- `fold_context`, for few context tokens: scores = queries (k_h W_q,h)ᵀ, output = weights (v_h W_o,h)

`cheapest_order` counts the multiplications of both and of the textbook order.
"""

from typing import Literal, Protocol, runtime_checkable

import torch
from einops import einsum, rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

MASKED = -1e4  # far below any score, and finite in float16

Order = Literal["project", "fold-queries", "fold-context"]


@runtime_checkable
class Projections(Protocol):
    """The linear layers of an attention; keys and values have no bias. `scale` multiplies the scores."""

    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    out: nn.Linear
    heads: int
    scale: float


def cheapest_order(attention: Projections, num_queries: int, num_context: int, *, one_mask: bool = True) -> Order:
    """The order with the fewest multiplications; `fold-context` only where all queries share `one_mask`."""
    width, context_width = attention.key.weight.shape
    projected = num_queries * width**2 + num_context * context_width * width + num_queries * num_context * width
    folded_queries = num_queries * width * (width + context_width)
    folded_queries += attention.heads * num_queries * num_context * context_width
    folded_context = num_context * width * (width + context_width) + attention.heads * num_queries * num_context * width
    fewest = min(projected, folded_queries, folded_context) if one_mask else min(projected, folded_queries)
    if fewest == projected:
        return "project"
    return "fold-queries" if fewest == folded_queries else "fold-context"


def fold_queries(
    attention: Projections,
    queries: Float[Tensor, "b q d"],
    context: Float[Tensor, "b n e"],
    mask: Bool[Tensor, "b #q n"] | None = None,
) -> Float[Tensor, "b q d"]:
    """The attention's output; keys and values of the context are not computed."""
    heads = attention.heads
    key, value = (rearrange(linear.weight, "(h c) e -> h c e", h=heads) for linear in (attention.key, attention.value))
    query = rearrange(attention.query(queries) * attention.scale, "b q (h c) -> b q h c", h=heads)
    folded = rearrange(einsum(query, key, "b q h c, h c e -> b h q e"), "b h q e -> b (h q) e")
    scores = rearrange(folded @ context.mT, "b (h q) n -> b h q n", h=heads)
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None], MASKED)
    weights = rearrange(scores.softmax(-1), "b h q n -> b (h q) n").to(context.dtype)
    pooled = rearrange(weights @ context, "b (h q) e -> b h q e", h=heads)
    return attention.out(rearrange(einsum(pooled, value, "b h q e, h c e -> b q h c"), "b q h c -> b q (h c)"))


def fold_context(
    attention: Projections,
    queries: Float[Tensor, "b q d"],
    context: Float[Tensor, "b n e"],
    mask: Bool[Tensor, "b 1 n"] | None = None,
) -> tuple[Float[Tensor, "b q d"], Float[Tensor, "b q h n"]]:
    """The attention's output and its weights; the queries and the output are not projected."""
    heads = attention.heads
    key = rearrange(attention.key(context) * attention.scale, "b n (h c) -> b n h c", h=heads)
    value = rearrange(attention.value(context), "b n (h c) -> b n h c", h=heads)
    weight = rearrange(attention.query.weight, "(h c) d -> h c d", h=heads)
    out = rearrange(attention.out.weight, "d (h c) -> h c d", h=heads)
    folded = rearrange(einsum(key, weight, "b n h c, h c d -> b h n d"), "b h n d -> b d (h n)")
    bias = einsum(key, rearrange(attention.query.bias, "(h c) -> h c", h=heads), "b n h c, h c -> b h n")
    if mask is not None:
        bias = bias + additive(mask, bias.dtype)
    scores = torch.baddbmm(rearrange(bias, "b h n -> b 1 (h n)"), queries.to(folded.dtype), folded)
    weights = rearrange(scores, "b q (h n) -> b q h n", h=heads).softmax(-1)
    outputs = rearrange(einsum(value, out, "b n h c, h c d -> b h n d"), "b h n d -> b (h n) d")
    mixed = rearrange(weights, "b q h n -> b q (h n)").to(outputs.dtype) @ outputs
    return mixed + attention.out.bias, weights


def additive(mask: Bool[Tensor, "*size"], dtype: torch.dtype) -> Float[Tensor, "*size"]:
    """Zero where the mask is True, `MASKED` elsewhere."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, MASKED)
