"""Deformable attention against its plain definition, point by point."""

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from deixis.layers import deformable
from deixis.layers.deformable import (
    DeformableAttention,
    by_bags,
    by_grids,
    by_grids_again,
    by_images,
    by_opaque_bags,
    centres,
)

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


@pytest.mark.parametrize("sample", [by_bags, by_grids, by_images, by_opaque_bags])
def test_all_ways_are_the_plain_definition(sample: object) -> None:
    torch.manual_seed(0)
    values = torch.randn(2, 26, 2, 3)
    places, weights = torch.rand(2, 4, 2, 2, 3, 2) * 1.6 - 0.3, torch.rand(2, 4, 2, 2, 3)
    expected = plain(values, places, weights)
    torch.testing.assert_close(sample(values, places, weights, SIZES), expected, atol=1e-5, rtol=1e-5)


def test_answers_are_the_same_with_and_without_gradients_which_reach_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    module = DeformableAttention(8, 2, levels=2, points=3)
    features, references = torch.randn(2, 26, 8), centres(SIZES, torch.device("cpu"))
    torch.nn.init.normal_(module.offsets.weight, std=0.1)
    torch.nn.init.normal_(module.weights.weight, std=0.1)
    answer = module(features, references, features, SIZES)
    monkeypatch.setattr(deformable, "QUERIES", 11)  # answers are found so many queries at a time, the last 4 here
    with torch.no_grad():
        torch.testing.assert_close(module(features, references, features, SIZES), answer, atol=1e-5, rtol=1e-5)
    answer.square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in module.parameters())


def test_offsets_learn_where_nothing_else_does() -> None:
    module = DeformableAttention(8, 2, levels=2, points=3).requires_grad_(False)
    module.offsets.requires_grad_(True)
    features = torch.randn(1, 26, 8)
    module(features, centres(SIZES, features.device), features, SIZES).square().sum().backward()
    assert module.offsets.bias.grad is not None
    assert module.offsets.bias.grad.any()


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


def test_what_is_sampled_again_keeps_its_arguments_alone_and_gives_the_same_gradients() -> None:
    torch.manual_seed(0)
    values, weights = torch.randn(2, 26, 2, 32, requires_grad=True), torch.rand(2, 90, 2, 2, 3, requires_grad=True)
    inputs = (values, torch.rand(2, 90, 2, 2, 3, 2, requires_grad=True), weights)
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    found = []
    for sample in (by_grids, by_grids_again):
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            answer = sample(*inputs, SIZES)
        found.append((answer, *torch.autograd.grad(answer.square().sum(), inputs), sum(kept.values())))
    for once, again in zip(found[0][:-1], found[1][:-1], strict=True):
        torch.testing.assert_close(again, once)
    assert found[1][-1] < found[0][-1] / 3


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


def test_the_compiler_takes_answers_for_one_step_and_leaves_gradients_to_grid_sampling() -> None:
    # In a process of its own, where functions do not check their arguments: the compiler cannot look through that.
    command = [sys.executable, "-c", "import test_deformable; test_deformable.compare_compiled()"]
    run = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]


def compare_compiled() -> None:
    torch.manual_seed(0)
    module = DeformableAttention(8, 2, levels=2, points=3)
    features, references = torch.randn(2, 26, 8), centres(SIZES, torch.device("cpu"))
    asked = (features, references, features, SIZES)
    steps: list[str] = []

    def noted(graph: torch.fx.GraphModule, _: list[Tensor]) -> torch.fx.GraphModule:
        steps.extend(str(node.target) for node in graph.graph.nodes)
        return graph

    compiled = torch.compile(module, backend=noted, fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(*asked), module(*asked))
    assert any("deformable_attention" in step for step in steps), steps
    steps.clear()
    torch.testing.assert_close(compiled(*asked), module(*asked))
    assert any("grid_sample" in step for step in steps), steps
    assert not any("deformable_attention" in step for step in steps), steps


def test_what_the_compiler_is_told_of_the_step_is_so() -> None:
    values = torch.randn(1, 26, 2, 3)
    places, weights = torch.rand(1, 4, 2, 2, 3, 2), torch.rand(1, 4, 2, 2, 3)
    heights, widths = [height for height, _ in SIZES], [width for _, width in SIZES]
    told = ("test_schema", "test_faketensor", "test_aot_dispatch_dynamic")
    step = torch.ops.deixis.deformable_attention.default
    found = torch.library.opcheck(step, (values, places, weights, heights, widths), test_utils=told)
    assert set(found.values()) == {"SUCCESS"}
