"""Pixel-word attention and the gate: against the published formula; padding changes nothing."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.layers.fusion import Gate, PixelWordAttention, attention_maps, attention_to_words, instance_norm


def literal(module: PixelWordAttention, features: Tensor, words: Tensor, token_mask: Tensor) -> Tensor:
    """The published module on channels-first sequences, with instance norms, one head after another."""
    mask = token_mask.float()[:, None]
    pixels, words = features.flatten(1, 2).transpose(1, 2), words.transpose(1, 2)
    dim = pixels.shape[1]

    def convolve(layer: nn.Linear, sequence: Tensor) -> Tensor:
        return F.conv1d(sequence, layer.weight[..., None], layer.bias)

    query = F.instance_norm(convolve(module.query, pixels), eps=1e-5)
    key, value = convolve(module.key, words) * mask, convolve(module.value, words) * mask
    attended = []
    for q, k, v in zip(*(tensor.chunk(module.heads, dim=1) for tensor in (query, key, value)), strict=True):
        scores = q.transpose(1, 2) @ k * dim**-0.5 + (1e4 * mask - 1e4)
        attended.append(v @ scores.softmax(-1).transpose(1, 2))
    joined = F.instance_norm(convolve(module.output, torch.cat(attended, dim=1)), eps=1e-5)
    fused = F.gelu(convolve(module.fuse, F.gelu(convolve(module.vision, pixels)) * joined))
    return fused.transpose(1, 2).reshape(features.shape)


@pytest.fixture(params=[1, 3], ids=lambda heads: f"{heads} heads")
def case(request: pytest.FixtureRequest) -> tuple[PixelWordAttention, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    module = PixelWordAttention(12, 10, request.param)
    mask = torch.arange(5) < torch.tensor([[5], [3]])
    return module, torch.randn(2, 6, 7, 12), torch.randn(2, 5, 10), mask


def test_it_equals_the_published_formula(case: tuple[PixelWordAttention, Tensor, Tensor, Tensor]) -> None:
    torch.testing.assert_close(case[0](*case[1:])[0], literal(*case), atol=2e-5, rtol=1e-4)


def test_padding_words_change_nothing(case: tuple[PixelWordAttention, Tensor, Tensor, Tensor]) -> None:
    module, features, words, mask = case
    whole, attention = module(features, words, mask)
    other = torch.where(mask[..., None], words, torch.full_like(words, 9.0))
    torch.testing.assert_close(module(features, other, mask)[0], whole)
    shorter, _ = module(features[1:], words[1:, :3], mask[1:, :3])
    torch.testing.assert_close(shorter, whole[1:], atol=1e-5, rtol=1e-5)
    assert not attention[1, ..., 3:].any()


def test_the_attention_of_each_pixel_sums_to_one(case: tuple[PixelWordAttention, Tensor, Tensor, Tensor]) -> None:
    attention = case[0](*case[1:])[1]
    assert attention.shape == (2, case[0].heads, 42, 5)
    torch.testing.assert_close(attention.sum(-1), torch.ones(2, case[0].heads, 42))


def test_maps_of_attention_are_the_means_over_heads_on_each_stages_grid() -> None:
    stages = [torch.rand(2, 3, 12, 5, requires_grad=True), torch.rand(2, 1, 4, 5)]
    maps = attention_maps(stages, heights=[3, 2])
    assert list(maps) == ["pixel_word_attention_1", "pixel_word_attention_2"]
    torch.testing.assert_close(maps["pixel_word_attention_1"][1, 4, 2, 3], stages[0][1, :, 11, 4].mean().detach())
    assert maps["pixel_word_attention_2"].shape == (2, 5, 2, 2)
    assert not maps["pixel_word_attention_1"].requires_grad


def test_attention_to_words_omits_the_first_and_last_real_token_and_sums_to_one() -> None:
    mask = torch.arange(5) < torch.tensor([[5], [3], [2], [1]])
    attention = torch.full((4, 2, 7, 5), 0.1)
    attention[0, 1, 0, 2] = 0.7
    weights = attention_to_words(attention, mask)
    torch.testing.assert_close(weights[0, 0], torch.tensor([0.0, 1 / 6, 4 / 6, 1 / 6, 0.0]))
    torch.testing.assert_close(weights[0, 1], torch.tensor([0.0, 1 / 3, 1 / 3, 1 / 3, 0.0]))
    assert torch.equal(weights[1], torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0]).expand(7, 5))
    assert not weights[2:].any()
    assert attention_to_words(torch.ones(1, 1, 3, 1), torch.ones(1, 1, dtype=torch.bool)).tolist() == [[[0.0]] * 3]


def test_every_weight_gets_gradient(case: tuple[PixelWordAttention, Tensor, Tensor, Tensor]) -> None:
    module = case[0]
    module(*case[1:])[0].square().sum().backward()
    assert [name for name, weight in module.named_parameters() if weight.grad is None or not weight.grad.any()] == []


def test_the_gate_never_enlarges_a_feature() -> None:
    torch.manual_seed(0)
    gate, fused = Gate(8), torch.randn(2, 3, 4, 8)
    assert (gate(fused).abs() <= fused.abs()).all()
    torch.testing.assert_close(
        gate(fused), fused * torch.tanh(F.relu(fused @ gate.hidden.weight.T) @ gate.gate.weight.T)
    )
    gate(fused).square().sum().backward()
    assert all(weight.grad.any() for weight in gate.parameters())


def test_instance_norm_equals_pytorchs() -> None:
    features = torch.randn(2, 5, 6, 7) * 3 + 1
    expected = F.instance_norm(features.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    torch.testing.assert_close(instance_norm(features), expected, atol=1e-5, rtol=1e-5)
