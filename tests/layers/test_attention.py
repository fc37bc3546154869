"""Attention in all orders of its products against loops, masks, and the two blocks."""

import pytest
import torch
from torch import Tensor

from deixis.errors import InputError
from deixis.kernels.attention import cheapest_order
from deixis.layers.attention import Attention, CrossAttention, SelfAttention


def tensors(queries: int = 5, context: int = 7, width: int = 12, context_width: int = 8) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    return torch.randn(2, queries, width, generator=draw), torch.randn(2, context, context_width, generator=draw)


def loops(layer: Attention, queries: Tensor, context: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """One batch, head and query at a time; output and attention `[b h q k]`."""
    query, key, value = layer.query(queries), layer.key(context), layer.value(context)
    size = query.shape[-1] // layer.heads
    output = torch.zeros_like(query)
    weights = torch.zeros(len(queries), layer.heads, queries.shape[1], context.shape[1])
    for b in range(len(queries)):
        for h in range(layer.heads):
            part = slice(h * size, (h + 1) * size)
            for q in range(queries.shape[1]):
                scores = torch.stack([query[b, q, part] @ vector[part] for vector in key[b]]) / size**0.5
                scores[~mask[b, q if mask.shape[1] > 1 else 0]] = -torch.inf
                weights[b, h, q] = scores.softmax(0)
                output[b, q, part] = weights[b, h, q] @ value[b, :, part]
    return layer.out(output), weights


# Tokens of the queries and of the context, and the order of the products that is the cheapest for them.
CASES = [(7, 7, "project"), (1, 40, "fold-queries"), (40, 1, "fold-context")]


@pytest.mark.parametrize(("queries", "context", "order"), CASES)
@pytest.mark.parametrize("heads", [2, 3])
def test_every_order_gives_what_loops_give(queries: int, context: int, order: str, heads: int) -> None:
    torch.manual_seed(heads)
    layer, (query, key) = Attention(12, heads, context_width=8), tensors(queries, context)
    assert cheapest_order(layer, queries, context) == order
    mask = torch.rand(2, 1, context) > 0.4
    mask[:, :, 0] = True
    expected, weights = loops(layer, query, key, mask)
    torch.testing.assert_close(layer(query, key, mask), expected, rtol=0, atol=2e-6)
    torch.testing.assert_close(layer.textbook(query, key, mask), expected, rtol=0, atol=2e-6)
    output, shares = layer.with_shares(query, key, mask)
    torch.testing.assert_close(output, expected, rtol=0, atol=2e-6)
    torch.testing.assert_close(shares, weights.mean((1, 2)), rtol=0, atol=1e-6)
    torch.testing.assert_close(shares.sum(1), torch.ones(2))


@pytest.mark.parametrize(("queries", "context", "order"), CASES)
def test_each_query_may_have_its_own_mask(queries: int, context: int, order: str) -> None:
    layer, (query, key) = Attention(12, 2, context_width=8), tensors(queries, context)
    mask = torch.rand(2, queries, context) > 0.5
    mask[:, :, 0] = True
    expected, _ = loops(layer, query, key, mask)
    torch.testing.assert_close(layer(query, key, mask), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(("queries", "context", "order"), CASES)
def test_masked_tokens_change_nothing_and_a_query_without_any_token_stays_finite(
    queries: int, context: int, order: str
) -> None:
    layer, (query, key) = Attention(12, 2, context_width=8), tensors(queries, context)
    mask = (torch.arange(context) % 3 == 0).expand(2, 1, context)
    changed = torch.where(mask.mT, key, torch.randn_like(key))
    torch.testing.assert_close(layer(query, changed, mask), layer(query, key, mask))
    assert layer(query, key, torch.zeros_like(mask)).isfinite().all()


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(InputError, match="3 heads for 10 channels"):
        Attention(10, 3)


def test_the_blocks_add_the_attention_to_the_normalised_tokens() -> None:
    queries, context = tensors()
    cross = CrossAttention(12, 2, context_width=8)
    normal = (queries - queries.mean(-1, keepdim=True)) / queries.var(-1, correction=0, keepdim=True).sqrt()
    mask = torch.ones(2, 1, 7, dtype=torch.bool)
    expected = normal + loops(cross.attention, normal, context, mask)[0]
    torch.testing.assert_close(cross(queries, context), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(
        cross(queries * 1e-3, context), expected, rtol=0, atol=1e-5
    )  # the norm removes the scale
    torch.testing.assert_close(cross.with_shares(queries, context, mask)[0], expected, rtol=0, atol=1e-5)
    alone = SelfAttention(12, 2)
    expected = normal + loops(alone.attention, normal, normal, torch.ones(2, 1, 5, dtype=torch.bool))[0]
    torch.testing.assert_close(alone(queries), expected, rtol=0, atol=1e-4)


def test_padding_tokens_change_nothing_for_the_real_ones() -> None:
    layer, (tokens, _) = SelfAttention(12, 2), tensors()
    mask = torch.tensor([[True, True, True, False, False], [True, True, True, True, False]])
    longer = torch.cat((tokens, torch.randn(2, 3, 12)), 1)
    longer_mask = torch.cat((mask, torch.zeros(2, 3, dtype=torch.bool)), 1)
    torch.testing.assert_close(layer(longer, longer_mask)[:, :5][mask], layer(tokens, mask)[mask])


def test_the_scale_of_the_tokens_does_not_matter() -> None:
    torch.manual_seed(0)
    queries, _ = tensors()
    block = SelfAttention(12, 3)
    torch.testing.assert_close(block(queries * 1e-3), block(queries), atol=1e-4, rtol=0)
