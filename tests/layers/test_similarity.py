"""Similarity: cosines in the joint space, with and without gradients, and in half precision."""

import pytest
import torch
from torch import Tensor

from deixis.kernels.cosine import cosine_pays
from deixis.layers.similarity import Similarity


def draw(pixels: int) -> tuple[Similarity, Tensor, Tensor]:
    torch.manual_seed(4)
    return Similarity(32), torch.randn(2, pixels, 32), torch.randn(2, 6, 32)


def cosines(layer: Similarity, pixels: Tensor, words: Tensor) -> Tensor:
    return torch.nn.functional.cosine_similarity(layer.words(words)[:, :, None], layer.pixels(pixels)[:, None], dim=-1)


@pytest.mark.parametrize(("pixels", "by_kernel"), [(40, False), (70, True)])
def test_similarities_are_cosines_in_the_joint_space(pixels: int, by_kernel: bool) -> None:
    layer, features, words = draw(pixels)
    assert cosine_pays(features, layer.words(words)) == by_kernel
    expected = cosines(layer, features, words)
    torch.testing.assert_close(layer(features, words), expected, rtol=0, atol=1e-6)
    with torch.no_grad():
        torch.testing.assert_close(layer(features, words), expected, rtol=0, atol=1e-6)
    unit_pixels, unit_words = layer.embed(features, words)
    torch.testing.assert_close(unit_words @ unit_pixels.mT, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("pixels", [40, 70])
def test_gradients_are_those_of_cosines(pixels: int) -> None:
    layer, features, words = draw(pixels)
    inputs = [features.requires_grad_(), words.requires_grad_(), *layer.parameters()]
    direction = torch.randn(2, 6, pixels)
    outputs = layer(features, words), cosines(layer, features, words)
    gradients = (torch.autograd.grad((output * direction).sum(), inputs) for output in outputs)
    for gradient, right in zip(*gradients, strict=True):
        torch.testing.assert_close(gradient, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pixels", [40, 70])
def test_a_pixel_without_features_has_similarity_zero_and_finite_gradients(pixels: int) -> None:
    layer, features, words = draw(pixels)
    torch.nn.init.zeros_(layer.pixels.bias)
    features[:, 3] = 0
    features.requires_grad_()
    similarity = layer(features, words)
    assert torch.equal(similarity[:, :, 3], torch.zeros(2, 6))
    similarity.sum().backward()
    assert features.grad.isfinite().all()


def test_in_half_precision_the_norms_and_the_similarities_are_in_single_precision() -> None:
    layer, features, words = draw(40)
    expected = cosines(layer, features, words)
    found = layer.bfloat16()(features.bfloat16(), words.bfloat16())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0, atol=0.02)
