"""Similarity: cosines in the joint space, by projected pixels and by quadratic forms alike."""

import pytest
import torch
from torch import Tensor

from deixis.layers.similarity import ROWS, Similarity


def draw(pixels: int = 40, width: int = 32, dtype: torch.dtype = torch.float32) -> tuple[Similarity, Tensor, Tensor]:
    torch.manual_seed(4)
    layer = Similarity(width).to(dtype)
    return layer, torch.randn(2, pixels, width, dtype=dtype), torch.randn(2, 6, width, dtype=dtype)


@pytest.mark.parametrize("by_squares", [False, True])
def test_similarities_are_cosines_in_the_joint_space(by_squares: bool) -> None:
    layer, pixels, words = draw()
    expected = torch.nn.functional.cosine_similarity(
        layer.words(words)[:, :, None], layer.pixels(pixels)[:, None], dim=-1
    )
    similarity = layer(pixels, words, by_squares=by_squares)
    torch.testing.assert_close(similarity, expected, rtol=0, atol=1e-6)
    unit_pixels, unit_words = layer.embed(pixels, words)
    torch.testing.assert_close(unit_words @ unit_pixels.mT, expected, rtol=0, atol=1e-6)


def test_both_ways_have_the_same_gradients() -> None:
    layer, pixels, words = draw(dtype=torch.float64)
    direction = torch.randn(2, 6, 40, dtype=torch.float64)
    found = []
    for by_squares in (False, True):
        inputs = pixels.clone().requires_grad_(), words.clone().requires_grad_()
        layer.zero_grad()
        (layer(*inputs, by_squares=by_squares) * direction).sum().backward()
        found.append([*(tensor.grad for tensor in inputs), *(weight.grad.clone() for weight in layer.parameters())])
    for expected, gradient in zip(*found, strict=True):
        torch.testing.assert_close(gradient, expected)


def test_pixels_that_do_not_fit_one_portion_are_all_done() -> None:
    layer, pixels, words = draw(pixels=ROWS // 2 + 7, width=8)
    first, second = (pixels.clone().requires_grad_() for _ in range(2))
    expected, found = layer(first, words, by_squares=False), layer(second, words, by_squares=True)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)
    expected.square().sum().backward()
    found.square().sum().backward()
    torch.testing.assert_close(second.grad, first.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("by_squares", [False, True])
def test_a_pixel_without_features_is_similar_to_nothing_and_breaks_nothing(by_squares: bool) -> None:
    layer, pixels, words = draw()
    torch.nn.init.zeros_(layer.pixels.bias)
    pixels[:, 3] = 0
    pixels.requires_grad_()
    similarity = layer(pixels, words, by_squares=by_squares)
    assert torch.equal(similarity[:, :, 3], torch.zeros(2, 6))
    similarity.sum().backward()
    assert pixels.grad.isfinite().all()


def test_quadratic_forms_are_left_alone_where_they_would_lose_precision_or_time() -> None:
    layer, pixels, _ = draw(pixels=64)
    assert layer._pays(pixels)
    assert not layer._pays(pixels[:, :63])
    assert not layer._pays(pixels.half())
    with torch.no_grad():
        assert not layer._pays(pixels)
    with torch.autocast("cpu", torch.bfloat16):
        assert not layer._pays(pixels)
