"""Deformable attention against its plain definition, point by point."""

import math

import pytest
import torch
from torch import Tensor

from deixis.layers.deformable import DeformableAttention, by_bags, by_grids, centres

SIZES = [(2, 3), (4, 5)]


def plain(values: Tensor, places: Tensor, weights: Tensor) -> Tensor:
    """Bilinear interpolation between cell centres; there is nothing beyond the border."""
    batch, queries, heads, levels, points, _ = places.shape
    answer = torch.zeros(batch, queries, heads, values.shape[-1])
    starts = [0, SIZES[0][0] * SIZES[0][1]]
    for b, q, g, s, p in torch.cartesian_prod(*map(torch.arange, (batch, queries, heads, levels, points))).tolist():
        height, width = SIZES[s]
        x, y = (places[b, q, g, s, p] * torch.tensor([width, height]) - 0.5).tolist()
        for row in (math.floor(y), math.floor(y) + 1):
            for column in (math.floor(x), math.floor(x) + 1):
                if 0 <= row < height and 0 <= column < width:
                    share = (1 - abs(y - row)) * (1 - abs(x - column)) * weights[b, q, g, s, p]
                    answer[b, q, g] += share * values[b, starts[s] + row * width + column, g]
    return answer.flatten(2)


@pytest.mark.parametrize("sample", [by_bags, by_grids])
def test_both_ways_are_the_plain_definition(sample: object) -> None:
    torch.manual_seed(0)
    values = torch.randn(2, 26, 2, 3)
    places, weights = torch.rand(2, 4, 2, 2, 3, 2) * 1.6 - 0.3, torch.rand(2, 4, 2, 2, 3)
    expected = plain(values, places, weights)
    torch.testing.assert_close(sample(values, places, weights, SIZES), expected, atol=1e-5, rtol=1e-5)


def test_answers_are_the_same_with_and_without_gradients_which_reach_everything() -> None:
    torch.manual_seed(0)
    module = DeformableAttention(8, 2, levels=2, points=3)
    features, references = torch.randn(2, 26, 8), centres(SIZES, torch.device("cpu"))
    torch.nn.init.normal_(module.offsets.weight, std=0.1)
    torch.nn.init.normal_(module.weights.weight, std=0.1)
    answer = module(features, references, features, SIZES)
    with torch.no_grad():
        torch.testing.assert_close(module(features, references, features, SIZES), answer, atol=1e-5, rtol=1e-5)
    answer.square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in module.parameters())
