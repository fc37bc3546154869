"""Deformable attention against its plain definition, point by point."""

import math

import pytest
import torch
from torch import Tensor

from deixis.layers.deformable import DeformableAttention, by_bags, by_grids, by_images, centres

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


@pytest.mark.parametrize("sample", [by_bags, by_grids, by_images])
def test_all_ways_are_the_plain_definition(sample: object) -> None:
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


def test_gradients_written_out_are_those_of_all_images_at_once_at_the_very_middle_of_cells_too() -> None:
    torch.manual_seed(0)
    values, weights = torch.randn(3, 26, 2, 5, requires_grad=True), torch.rand(3, 26, 2, 2, 3, requires_grad=True)
    places = torch.rand(3, 26, 2, 2, 3, 2) * 1.6 - 0.3
    places[:, :, 0] = centres(SIZES, torch.device("cpu"))[:, None, None]  # where bilinear sampling has a kink
    inputs = (values, places.requires_grad_(), weights)
    one, all_at_once = by_images(*inputs, SIZES), by_grids(*inputs, SIZES)
    torch.testing.assert_close(one, all_at_once)
    pull = torch.randn_like(one)
    for own, other in zip(
        torch.autograd.grad(one, inputs, pull), torch.autograd.grad(all_at_once, inputs, pull), strict=True
    ):
        torch.testing.assert_close(own, other)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_values_of_half_precision_are_sampled_at_places_of_full_precision(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    wide = [(120, 120)]
    values, weights = torch.randn(1, 120 * 120, 1, 4).to(dtype), torch.ones(1, 7, 1, 1, 1).to(dtype)
    places = torch.rand(1, 7, 1, 1, 1, 2)
    for sample in (by_bags, by_grids, by_images):
        found = sample(values, places, weights, wide)
        assert found.dtype == dtype
        expected = sample(values.float(), places, weights.float(), wide)
        torch.testing.assert_close(found.float(), expected, atol=0, rtol=0.004)
