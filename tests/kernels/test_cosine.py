"""The cosine by quadratic forms against normalised projections."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from deixis.kernels.cosine import ROWS, cosine_pays, projected_cosine


def draw(pixels: int, width: int, joint: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    torch.manual_seed(4)
    words = F.normalize(torch.randn(2, 6, joint, dtype=dtype), dim=-1)
    shapes = (2, pixels, width), (joint, width), (joint,)
    features, weight, bias = (torch.randn(shape, dtype=dtype) / 4 for shape in shapes)
    return [each.requires_grad_() for each in (features, words, weight, bias)]


def textbook(pixels: Tensor, words: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return words @ F.normalize(F.linear(pixels, weight, bias), dim=-1).mT


@pytest.mark.parametrize(("pixels", "width", "joint"), [(40, 32, 32), (1, 5, 3), (ROWS // 2 + 7, 8, 8)])
def test_values_and_gradients_are_those_of_the_textbook(pixels: int, width: int, joint: int) -> None:
    inputs = draw(pixels, width, joint)
    found, expected = projected_cosine(*inputs), textbook(*inputs)
    torch.testing.assert_close(found, expected)
    weight = torch.randn_like(found)
    gradients = (torch.autograd.grad((each * weight).sum(), inputs) for each in (found, expected))
    for gradient, right in zip(*gradients, strict=True):
        torch.testing.assert_close(gradient, right)


def test_a_pixel_without_features_has_similarity_zero_and_finite_gradients() -> None:
    inputs = draw(10, 6, 6, torch.float32)
    with torch.no_grad():
        inputs[0][:, 3] = 0
        inputs[3].zero_()
    similarity = projected_cosine(*inputs)
    assert torch.equal(similarity[:, :, 3], torch.zeros(2, 6))
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(similarity.sum(), inputs))


def test_it_pays_in_single_precision_training_with_many_pixels_only() -> None:
    pixels, words, *_ = draw(64, 32, 32, torch.float32)
    assert cosine_pays(pixels, words)
    assert not cosine_pays(pixels[:, :63], words)
    assert not cosine_pays(pixels.half(), words.half())
    assert not cosine_pays(pixels, words.detach())
    with torch.autocast("cpu", torch.bfloat16):
        assert not cosine_pays(pixels, words)
