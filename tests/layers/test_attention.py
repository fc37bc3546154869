"""Attention: three orders of the same sums, the counts that choose among them, and what masks promise."""

import pytest
import torch
from torch import Tensor

from deixis.layers.attention import Attention, CrossAttention, SelfAttention

ORDERS = ("project", "fold-queries", "fold-context")


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


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("heads", [1, 3])
def test_every_order_gives_what_loops_give(order: str, heads: int) -> None:
    torch.manual_seed(heads)
    layer, (queries, context) = Attention(12, heads, context_width=8), tensors()
    mask = torch.rand(2, 1, 7) > 0.4
    mask[:, :, 0] = True
    expected, weights = loops(layer, queries, context, mask)
    torch.testing.assert_close(layer(queries, context, mask, order=order), expected, rtol=0, atol=2e-6)
    if order != "fold-queries":
        output, shares = layer.with_shares(queries, context, mask, order=order)
        torch.testing.assert_close(output, expected, rtol=0, atol=2e-6)
        torch.testing.assert_close(shares, weights.mean((1, 2)), rtol=0, atol=1e-6)
        torch.testing.assert_close(shares.sum(1), torch.ones(2))


@pytest.mark.parametrize("order", ["project", "fold-queries"])
def test_each_query_may_have_its_own_mask(order: str) -> None:
    layer, (queries, context) = Attention(12, 2, context_width=8), tensors()
    mask = torch.rand(2, 5, 7) > 0.5
    mask[:, :, 2] = True
    expected, _ = loops(layer, queries, context, mask)
    torch.testing.assert_close(layer(queries, context, mask, order=order), expected, rtol=0, atol=2e-6)


def test_the_orders_have_the_same_gradients() -> None:
    layer = Attention(12, 3, context_width=8).double()
    found = []
    for order in ORDERS:
        queries, context = (tensor.double().requires_grad_() for tensor in tensors())
        layer.zero_grad()
        layer(queries, context, order=order).square().sum().backward()
        found.append([queries.grad, context.grad, *(weight.grad.clone() for weight in layer.parameters())])
    for other in found[1:]:
        for expected, gradient in zip(found[0], other, strict=True):
            torch.testing.assert_close(gradient, expected)


def test_the_cheapest_order_folds_into_the_smaller_side() -> None:
    layer = Attention(512, 8)
    assert layer.cheapest(21, 3600) == "fold-queries"
    assert layer.cheapest(14400, 42) == "fold-context"
    assert layer.cheapest(1000, 1000) == "project"
    assert layer.cheapest(14400, 42, one_mask=False) == "project"
    with_few_channels = Attention(32, 8)
    assert with_few_channels.cheapest(21, 3600) == "project"  # 8·21 rows are more than 32 channels


def test_what_is_masked_does_not_matter_and_a_query_that_may_see_nothing_stays_finite() -> None:
    layer, (queries, context) = Attention(12, 2, context_width=8), tensors()
    mask = torch.tensor([True, True, False, True, False, False, True]).expand(2, 1, 7)
    changed = torch.where(mask.mT, context, torch.randn_like(context))
    for order in ORDERS:
        torch.testing.assert_close(
            layer(queries, changed, mask, order=order), layer(queries, context, mask, order=order)
        )
        nothing = layer(queries, context, torch.zeros_like(mask), order=order)
        assert nothing.isfinite().all()


def test_heads_must_share_the_width() -> None:
    with pytest.raises(ValueError, match="multiple"):
        Attention(10, 3)


def test_the_blocks_add_what_is_found_to_the_normalised_tokens() -> None:
    queries, context = tensors()
    cross = CrossAttention(12, 2, context_width=8)
    normal = (queries - queries.mean(-1, keepdim=True)) / queries.var(-1, correction=0, keepdim=True).sqrt()
    mask = torch.ones(2, 1, 7, dtype=torch.bool)
    expected = normal + loops(cross.attention, normal, context, mask)[0]
    torch.testing.assert_close(cross(queries, context), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(cross(queries * 1e-3, context), expected, rtol=0, atol=1e-5)  # scale is no matter
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


def test_how_small_the_tokens_are_does_not_matter() -> None:
    torch.manual_seed(0)
    queries, _ = tensors()
    block = SelfAttention(12, 3)
    torch.testing.assert_close(block(queries * 1e-3), block(queries), atol=1e-4, rtol=0)
