"""The convolutional decoder against the published steps: enlarge, concatenate, convolve, normalise, ReLU."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from deixis.layers.decoders import ConvolutionalDecoder, DecoderLevel


def first(features: Tensor) -> Tensor:
    return features.permute(0, 3, 1, 2)


def literal(level: DecoderLevel, deep: Tensor, skip: Tensor) -> Tensor:
    enlarged = F.interpolate(first(deep), size=skip.shape[1:3], mode="bilinear", align_corners=True)
    joined = F.relu(level.bn1(level.conv1(torch.cat([enlarged, first(skip)], dim=1))))
    return F.relu(level.bn2(level.conv2(joined))).permute(0, 2, 3, 1)


def roughen(module: torch.nn.Module) -> None:
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if "bn" in name and tensor.is_floating_point():
            torch.nn.init.uniform_(tensor, 0.5, 2.0)


@pytest.mark.parametrize("training", [False, True])
def test_a_level_equals_the_published_steps(training: bool) -> None:
    torch.manual_seed(0)
    level = DecoderLevel(6, 4, 8)
    roughen(level)
    twin = DecoderLevel(6, 4, 8)
    twin.load_state_dict(level.state_dict())
    level.train(training)
    twin.train(training)
    inputs = [torch.randn(3, 3, 4, 6, requires_grad=True), torch.randn(3, 6, 7, 4, requires_grad=True)]
    ours, theirs = level(*inputs), literal(twin, *inputs)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    for name, buffer in level.named_buffers():
        torch.testing.assert_close(buffer, twin.get_buffer(name), atol=1e-5, rtol=1e-4)
    weight = torch.randn_like(ours)
    ours_gradients = torch.autograd.grad((ours * weight).sum(), [*inputs, *level.parameters()])
    theirs_gradients = torch.autograd.grad((theirs * weight).sum(), [*inputs, *twin.parameters()])
    for one, other in zip(ours_gradients, theirs_gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


def test_in_bfloat16_a_level_is_as_exact_as_the_number_format() -> None:
    torch.manual_seed(0)
    level = DecoderLevel(6, 4, 8).eval()
    roughen(level)
    inputs = [torch.randn(3, 3, 4, 6), torch.randn(3, 6, 7, 4)]
    with torch.no_grad():
        exact = literal(level, *inputs)
        found = level.bfloat16()(*(each.bfloat16() for each in inputs))
    torch.testing.assert_close(found.float(), exact, atol=0.02 * exact.std().item(), rtol=0.02)


def test_the_decoder_ends_at_the_finest_map() -> None:
    torch.manual_seed(0)
    decoder = ConvolutionalDecoder((4, 8, 16, 32), width=12).eval()
    roughen(decoder)
    maps = [torch.randn(2, 9, 14, 4), torch.randn(2, 5, 7, 8), torch.randn(2, 3, 4, 16), torch.randn(2, 2, 2, 32)]
    features = maps[3]
    for level, skip in zip(decoder.levels, maps[2::-1], strict=True):
        features = literal(level, features, skip)
    torch.testing.assert_close(decoder(maps), decoder.classes(features), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(decoder([features[1:] for features in maps]), decoder(maps)[1:], atol=1e-5, rtol=1e-4)


def test_every_weight_gets_gradient() -> None:
    torch.manual_seed(0)
    decoder = ConvolutionalDecoder((4, 8, 16, 32), width=12)
    maps = [torch.randn(2, side, side, dim) for side, dim in ((8, 4), (4, 8), (2, 16), (1, 32))]
    (decoder(maps) * torch.randn(2, 8, 8, 2)).sum().backward()
    assert [name for name, weight in decoder.named_parameters() if weight.grad is None or not weight.grad.any()] == []
