"""Folded attention against the textbook form, head by head in loops and in PyTorch's own operators."""

import pytest
import torch
from torch import Tensor

from deixis.kernels.attention import cheapest_order, fold_context, fold_queries
from deixis.layers.attention import Attention

SIZES = [(5, 7, 12, 8, 3), (1, 9, 6, 6, 2), (11, 1, 8, 4, 1)]  # queries, context, width, context's width, heads


def draw(queries: int, context: int, width: int, context_width: int, heads: int) -> tuple[Attention, Tensor, Tensor]:
    torch.manual_seed(1)
    layer = Attention(width, heads, context_width=context_width).double()
    return layer, torch.randn(2, queries, width).double(), torch.randn(2, context, context_width).double()


def folded(order: str, layer: Attention, queries: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
    if order == "fold-queries":
        return fold_queries(layer, queries, context, mask)
    return fold_context(layer, queries, context, mask)[0]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("order", ["fold-queries", "fold-context"])
def test_values_and_gradients_are_those_of_the_textbook(
    order: str, size: tuple[int, int, int, int, int], masked: bool
) -> None:
    layer, queries, context = draw(*size)
    mask = torch.rand(2, 1, size[1]) > 0.4
    mask[:, :, 0] = True
    found = []
    for attend in (lambda *given: folded(order, layer, *given), layer.textbook):
        inputs = [queries.clone().requires_grad_(), context.clone().requires_grad_(), *layer.parameters()]
        output = attend(*inputs[:2], mask if masked else None)
        gradients = torch.autograd.grad(output.square().sum(), inputs, allow_unused=True)
        found.append([output, *(gradient for gradient in gradients if gradient is not None)])
    for value, expected in zip(*found, strict=True):
        torch.testing.assert_close(value, expected)


def test_folded_queries_may_have_a_mask_each() -> None:
    layer, queries, context = draw(*SIZES[0])
    mask = torch.rand(2, 5, 7) > 0.5
    mask[:, :, 2] = True
    torch.testing.assert_close(fold_queries(layer, queries, context, mask), layer.textbook(queries, context, mask))


def test_the_weights_of_the_folded_context_are_the_textbook_softmax() -> None:
    layer, queries, context = draw(*SIZES[0])
    query, key = (part.unflatten(-1, (3, 4)) for part in (layer.query(queries), layer.key(context)))
    expected = torch.einsum("bqhc,bnhc->bqhn", query / 2, key).softmax(-1)
    torch.testing.assert_close(fold_context(layer, queries, context)[1], expected)


def test_the_cheapest_order_folds_into_the_smaller_side() -> None:
    layer = Attention(512, 8)
    assert cheapest_order(layer, 21, 3600) == "fold-queries"
    assert cheapest_order(layer, 14400, 42) == "fold-context"
    assert cheapest_order(layer, 1000, 1000) == "project"
    assert cheapest_order(layer, 14400, 42, one_mask=False) == "project"
    with_few_channels = Attention(32, 8)
    assert cheapest_order(with_few_channels, 21, 3600) == "project"  # 8·21 rows are more than 32 channels
