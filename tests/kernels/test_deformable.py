"""The samplers for a CPU against the weighted sum, point by point, and against grid sampling."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from deixis.kernels import deformable
from deixis.kernels.deformable import sample_rows, sample_with_gradients
from deixis.layers.deformable import centres, sample_grids

SIZES = [(2, 3), (4, 5)]
Sampler = Callable[..., Tensor]


def loops(values: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    """Bilinear interpolation between cell centres; a level is zero outside."""
    batch, queries, heads, levels, points, _ = locations.shape
    total = torch.zeros(batch, queries, heads, values.shape[-1])
    starts = [0, SIZES[0][0] * SIZES[0][1]]
    for b, q, g, s, p in torch.cartesian_prod(*map(torch.arange, (batch, queries, heads, levels, points))).tolist():
        height, width = SIZES[s]
        x, y = (locations[b, q, g, s, p] * torch.tensor([width, height]) - 0.5).tolist()
        for row in (math.floor(y), math.floor(y) + 1):
            for column in (math.floor(x), math.floor(x) + 1):
                if 0 <= row < height and 0 <= column < width:
                    share = (1 - abs(y - row)) * (1 - abs(x - column)) * weights[b, q, g, s, p]
                    total[b, q, g] += share * values[b, starts[s] + row * width + column, g]
    return total.flatten(2)


@pytest.mark.parametrize("sample", [sample_rows, sample_grids, sample_with_gradients])
def test_every_sampler_gives_the_sum_of_the_loops(sample: Sampler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deformable, "QUERIES", 3)  # the last portion has one query
    torch.manual_seed(0)
    values = torch.randn(2, 26, 2, 3)
    locations, weights = torch.rand(2, 4, 2, 2, 3, 2) * 1.6 - 0.3, torch.rand(2, 4, 2, 2, 3)
    expected = loops(values, locations, weights)
    torch.testing.assert_close(sample(values, locations, weights, SIZES), expected, atol=1e-5, rtol=1e-5)


def test_gradients_are_those_of_grid_sampling_also_at_the_centres_of_cells() -> None:
    torch.manual_seed(0)
    values, weights = torch.randn(3, 26, 2, 5, requires_grad=True), torch.rand(3, 26, 2, 2, 3, requires_grad=True)
    locations = torch.rand(3, 26, 2, 2, 3, 2) * 1.6 - 0.3
    locations[:, :, 0] = centres(SIZES, torch.device("cpu"))[:, None, None]  # where the slope of the samples jumps
    inputs = (values, locations.requires_grad_(), weights)
    found, expected = sample_with_gradients(*inputs, SIZES), sample_grids(*inputs, SIZES)
    torch.testing.assert_close(found, expected)
    direction = torch.randn_like(found)
    gradients = (torch.autograd.grad(each, inputs, direction) for each in (found, expected))
    for gradient, right in zip(*gradients, strict=True):
        torch.testing.assert_close(gradient, right)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("sample", [sample_rows, sample_grids, sample_with_gradients])
def test_values_in_half_precision_are_sampled_at_locations_in_single_precision(
    sample: Sampler, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    size = [(120, 120)]
    values, weights = torch.randn(1, 120 * 120, 1, 4).to(dtype), torch.ones(1, 7, 1, 1, 1).to(dtype)
    locations = torch.rand(1, 7, 1, 1, 1, 2)
    found = sample(values, locations, weights, size)
    assert found.dtype == dtype
    expected = sample(values.float(), locations, weights.float(), size)
    torch.testing.assert_close(found.float(), expected, atol=0, rtol=0.004)


def test_the_compiler_gets_the_true_shape_of_the_operator_and_no_aliases() -> None:
    values = torch.randn(1, 26, 2, 3)
    locations, weights = torch.rand(1, 4, 2, 2, 3, 2), torch.rand(1, 4, 2, 2, 3)
    heights, widths = [height for height, _ in SIZES], [width for _, width in SIZES]
    checks = ("test_schema", "test_faketensor", "test_aot_dispatch_dynamic")
    operator = torch.ops.deixis.deformable_attention.default
    found = torch.library.opcheck(operator, (values, locations, weights, heights, widths), test_utils=checks)
    assert set(found.values()) == {"SUCCESS"}
