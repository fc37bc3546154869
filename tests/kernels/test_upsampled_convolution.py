"""The convolution of two maps without enlarging the coarser one, against enlarging it."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from deixis.kernels.upsampled_convolution import upsampled_convolution, upsampled_convolution_pays

Size = tuple[int, int]


def textbook(coarse: Tensor, fine: Tensor, weight: Tensor) -> Tensor:
    enlarged = F.interpolate(coarse, size=fine.shape[2:], mode="bilinear", align_corners=True)
    return F.conv2d(torch.cat([enlarged, fine], dim=1), weight, padding=1)


@pytest.mark.parametrize(
    ("small", "large"), [((4, 5), (8, 9)), ((3, 3), (3, 3)), ((1, 1), (2, 1)), ((1, 4), (7, 5)), ((2, 2), (9, 4))]
)
def test_values_and_gradients_are_those_of_the_textbook(small: Size, large: Size) -> None:
    torch.manual_seed(0)
    shapes = ((2, 6, *small), (2, 3, *large), (5, 9, 3, 3))
    inputs = [torch.randn(shape, dtype=torch.float64).requires_grad_() for shape in shapes]
    found, expected = upsampled_convolution(*inputs), textbook(*inputs)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)  # the interpolation is in single precision
    weight = torch.randn_like(found)
    gradients = (torch.autograd.grad((each * weight).sum(), inputs) for each in (found, expected))
    for gradient, right in zip(*gradients, strict=True):
        torch.testing.assert_close(gradient, right, rtol=1e-4, atol=1e-5)


def test_it_pays_on_a_cpu_without_gradients_only() -> None:
    coarse = torch.zeros(1, 2, 3, 3)
    assert upsampled_convolution_pays(coarse)
    assert not upsampled_convolution_pays(coarse.to("meta"))
    assert not upsampled_convolution_pays(coarse.requires_grad_())
