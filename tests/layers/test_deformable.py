"""Deformable attention: the choice of a sampler, gradients, and what the compiler gets."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from deixis.errors import InputError
from deixis.layers import deformable
from deixis.layers.deformable import DeformableAttention, centres, sample, sample_grids

SIZES = [(2, 3), (4, 5)]


def draw() -> tuple[DeformableAttention, Tensor, Tensor]:
    torch.manual_seed(0)
    module = DeformableAttention(8, 2, levels=2, points=3)
    torch.nn.init.normal_(module.offsets.weight, std=0.1)
    torch.nn.init.normal_(module.weights.weight, std=0.1)
    return module, torch.randn(2, 26, 8), centres(SIZES, torch.device("cpu"))


def test_the_output_is_the_same_with_and_without_gradients_which_reach_every_weight() -> None:
    module, features, references = draw()
    output = module(features, references, features, SIZES)
    with torch.no_grad():
        torch.testing.assert_close(module(features, references, features, SIZES), output, atol=1e-5, rtol=1e-5)
    output.square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in module.parameters())


def test_the_output_is_that_of_grid_sampling_in_values_and_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    module, features, references = draw()
    found = []
    for chosen in (sample, sample_grids):
        monkeypatch.setattr(deformable, "sample", chosen)
        output = module(features, references, features, SIZES)
        found.append([output, *torch.autograd.grad(output.square().sum(), list(module.parameters()))])
    for value, expected in zip(*found, strict=True):
        torch.testing.assert_close(value, expected)


def test_offsets_get_gradients_where_everything_else_is_frozen() -> None:
    module = DeformableAttention(8, 2, levels=2, points=3).requires_grad_(False)
    module.offsets.requires_grad_(True)
    features = torch.randn(1, 26, 8)
    module(features, centres(SIZES, features.device), features, SIZES).square().sum().backward()
    assert module.offsets.bias.grad is not None
    assert module.offsets.bias.grad.any()


def test_away_from_a_cpu_the_backward_pass_samples_again_with_the_same_gradients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    shapes = (2, 26, 2, 32), (2, 90, 2, 2, 3, 2), (2, 90, 2, 2, 3)
    inputs = [torch.rand(shape, requires_grad=True) for shape in shapes]
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    monkeypatch.setattr(deformable, "KERNELS_ON", "no device of this machine")
    found = []
    for chosen in (sample_grids, sample):
        saved.clear()
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            output = chosen(*inputs, SIZES)
        found.append((output, *torch.autograd.grad(output.square().sum(), inputs), sum(saved.values())))
    for once, again in zip(found[0][:-1], found[1][:-1], strict=True):
        torch.testing.assert_close(again, once)
    assert found[1][-1] < found[0][-1] / 3


def test_cells_have_their_centres_from_0_to_1_on_every_level() -> None:
    expected = [[1 / 6, 0.25], [0.5, 0.25], [5 / 6, 0.25], [1 / 6, 0.75], [0.5, 0.75], [5 / 6, 0.75]]
    torch.testing.assert_close(centres(SIZES, torch.device("cpu"))[:6], torch.tensor(expected))


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(InputError, match="3 heads for 10 channels"):
        DeformableAttention(10, 3, levels=1)


@pytest.mark.slow
def test_the_compiler_gets_one_operator_without_gradients_and_grid_sampling_with_them() -> None:
    # In a process of its own, without the runtime checks of shapes, which the compiler cannot trace.
    command = [sys.executable, "-c", "import test_deformable; test_deformable.compare_compiled()"]
    run = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]


def compare_compiled() -> None:
    module, features, references = draw()
    given = (features, references, features, SIZES)
    operators: list[str] = []

    def noted(graph: torch.fx.GraphModule, _: list[Tensor]) -> torch.fx.GraphModule:
        operators.extend(str(node.target) for node in graph.graph.nodes)
        return graph

    compiled = torch.compile(module, backend=noted, fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(*given), module(*given))
    assert any("deformable_attention" in name for name in operators), operators
    operators.clear()
    torch.testing.assert_close(compiled(*given), module(*given))
    assert any("grid_sample" in name for name in operators), operators
    assert not any("deformable_attention" in name for name in operators), operators
