"""Window attention by gathers against the published steps."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from deixis.kernels import windows
from deixis.kernels.windows import attend, relative_positions, traceable_attention, window_attention

literal = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("literal_windows.py"))))
SIZES = [(8, 12), (7, 9), (3, 2), (4, 4), (1, 13)]


def draw(size: tuple[int, int], dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of the cells, those of padding, and the table of the position bias."""
    generator = torch.Generator().manual_seed(1)
    shapes = ((3, *size, 36), (36,), (49, 3))
    qkv, padding, table = (torch.randn(shape, dtype=torch.float64, generator=generator).to(dtype) for shape in shapes)
    return qkv, padding, table


def attend_cells(qkv: Tensor, padding: Tensor, table: Tensor, *, shifted: bool) -> Tensor:
    return window_attention(qkv, padding, table[relative_positions(4, "cpu")], 4, shifted=shifted)


def textbook(qkv: Tensor, padding: Tensor, table: Tensor, *, shifted: bool) -> Tensor:
    return literal.window_attention(qkv, padding, literal.position_bias(table, 4), 4, shifted=shifted)


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_values_and_gradients_are_those_of_the_published_steps(size: tuple[int, int], shifted: bool) -> None:
    inputs = [each.requires_grad_() for each in draw(size)]
    found = attend_cells(*inputs, shifted=shifted)
    expected = textbook(*inputs, shifted=shifted)
    torch.testing.assert_close(found, expected)
    weight = torch.randn_like(found)
    gradients = (
        torch.autograd.grad((each * weight).sum(), inputs, materialize_grads=True) for each in (found, expected)
    )
    for gradient, right in zip(*gradients, strict=True):
        torch.testing.assert_close(gradient, right)


@pytest.mark.parametrize("shifted", [False, True])
def test_in_bfloat16_on_a_cpu_the_written_out_scores_are_as_exact_as_the_number_format(
    shifted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = draw((7, 9), torch.bfloat16)
    written = attend_cells(*inputs, shifted=shifted)
    monkeypatch.setattr(windows, "SCORES", 2 * 3 * 16**2)  # several portions instead of one
    assert torch.equal(attend_cells(*inputs, shifted=shifted), written)
    fused = attend_cells(inputs[0].clone().requires_grad_(), *inputs[1:], shifted=shifted)
    assert not torch.equal(written, fused)  # otherwise both took the same path
    exact = textbook(*(each.double() for each in inputs), shifted=shifted)
    for found in (written, fused):
        torch.testing.assert_close(found.double(), exact, atol=0.03 * exact.std().item(), rtol=0.03)


def test_attention_is_the_softmax_of_scores_and_bias_times_the_values() -> None:
    query, key, value = torch.randn(3, 5, 2, 6, 4, dtype=torch.float64)
    bias = torch.randn(2, 6, 6, dtype=torch.float64)
    expected = (query @ key.mT / 2 + bias).softmax(-1) @ value
    torch.testing.assert_close(attend(query, key, value, bias), expected)


@pytest.mark.parametrize("window", [2, 5])
def test_the_bias_of_a_pair_depends_on_the_offset_alone(window: int) -> None:
    table = torch.randn((2 * window - 1) ** 2, 3)
    assert torch.equal(table[relative_positions(window, "cpu")], literal.position_bias(table, window))


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_the_form_for_exported_graphs_has_the_same_values(size: tuple[int, int], shifted: bool) -> None:
    qkv, padding, table = draw(size)
    bias = table[relative_positions(4, "cpu")]
    found = traceable_attention(qkv, padding, bias, 4, shifted=shifted)
    torch.testing.assert_close(found, attend_cells(qkv, padding, table, shifted=shifted))
