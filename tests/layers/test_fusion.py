"""Pixel-word attention and the gate: against the published formula, and what padding must not do."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.layers.fusion import Gate, PixelWordAttention, instance_norm


def literal(module: PixelWordAttention, features: Tensor, words: Tensor, token_mask: Tensor) -> Tensor:
    """The published module on channels-first sequences, with instance norms, one head after another."""
    mask = token_mask.float()[:, None]
    pixels, words = features.flatten(1, 2).transpose(1, 2), words.transpose(1, 2)
    dim = pixels.shape[1]

    def convolve(layer: nn.Linear, sequence: Tensor) -> Tensor:
        return F.conv1d(sequence, layer.weight[..., None], layer.bias)

    query = F.instance_norm(convolve(module.query, pixels), eps=1e-5)
    key, value = convolve(module.key, words) * mask, convolve(module.value, words) * mask
    answers = []
    for q, k, v in zip(*(tensor.chunk(module.heads, dim=1) for tensor in (query, key, value)), strict=True):
        scores = q.transpose(1, 2) @ k * dim**-0.5 + (1e4 * mask - 1e4)
        answers.append(v @ scores.softmax(-1).transpose(1, 2))
    attended = F.instance_norm(convolve(module.output, torch.cat(answers, dim=1)), eps=1e-5)
    fused = F.gelu(convolve(module.fuse, F.gelu(convolve(module.vision, pixels)) * attended))
    return fused.transpose(1, 2).reshape(features.shape)


@pytest.fixture(params=[1, 3], ids=lambda heads: f"{heads} heads")
def case(request: pytest.FixtureRequest) -> tuple[PixelWordAttention, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    module = PixelWordAttention(12, 10, request.param)
    mask = torch.arange(5) < torch.tensor([[5], [3]])
    return module, torch.randn(2, 6, 7, 12), torch.randn(2, 5, 10), mask


def test_it_equals_the_published_formula(case: tuple[PixelWordAttention, Tensor, Tensor, Tensor]) -> None:
    torch.testing.assert_close(case[0](*case[1:]), literal(*case), atol=2e-5, rtol=1e-4)


def test_padding_words_change_nothing(case: tuple[PixelWordAttention, Tensor, Tensor, Tensor]) -> None:
    module, features, words, mask = case
    whole, attention = module.attend(features, words, mask)
    other = torch.where(mask[..., None], words, torch.full_like(words, 9.0))
    torch.testing.assert_close(module(features, other, mask), whole)
    shorter = module(features[1:], words[1:, :3], mask[1:, :3])
    torch.testing.assert_close(shorter, whole[1:], atol=1e-5, rtol=1e-5)
    assert not attention[1, 3:].any()


def test_attention_says_how_much_each_pixel_looks_at_each_word(
    case: tuple[PixelWordAttention, Tensor, Tensor, Tensor],
) -> None:
    attention = case[0].attend(*case[1:])[1]
    assert attention.shape == (2, 5, 6, 7)
    torch.testing.assert_close(attention.sum(1), torch.ones(2, 6, 7))


def test_every_weight_gets_gradient(case: tuple[PixelWordAttention, Tensor, Tensor, Tensor]) -> None:
    module = case[0]
    module(*case[1:]).square().sum().backward()
    assert [name for name, weight in module.named_parameters() if weight.grad is None or not weight.grad.any()] == []


def test_the_gate_lets_through_at_most_the_map_itself() -> None:
    torch.manual_seed(0)
    gate, fused = Gate(8), torch.randn(2, 3, 4, 8)
    assert (gate(fused).abs() <= fused.abs()).all()
    torch.testing.assert_close(
        gate(fused), fused * torch.tanh(F.relu(fused @ gate.hidden.weight.T) @ gate.gate.weight.T)
    )
    gate(fused).square().sum().backward()
    assert all(weight.grad.any() for weight in gate.parameters())


def test_instance_norm_equals_the_framework() -> None:
    features = torch.randn(2, 5, 6, 7) * 3 + 1
    expected = F.instance_norm(features.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    torch.testing.assert_close(instance_norm(features), expected, atol=1e-5, rtol=1e-5)
