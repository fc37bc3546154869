"""Swin: window attention against the published steps, maps of any size, and the effect of each option."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.errors import DeixisError
from deixis.vision.swin import Block, Swin, SwinConfig, WindowAttention, positions

literal = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "kernels" / "literal_windows.py")))


def tiny(window: int = 4, drop_path: float = 0.0, coordinates: bool = False) -> Swin:
    torch.manual_seed(0)
    config = SwinConfig(
        embed_dim=8,
        depths=(2, 2, 2, 2),
        heads=(1, 2, 2, 4),
        window=window,
        drop_path=drop_path,
        coordinates=coordinates,
    )
    return Swin(config).eval()


def literal_attention(attention: WindowAttention, features: Tensor) -> Tensor:
    """The published steps: the padded map is projected, cells of padding included."""
    window, (height, width) = attention.window, features.shape[1:3]
    qkv = attention.qkv(F.pad(features, (0, 0, 0, -width % window, 0, -height % window)))
    bias = literal.position_bias(attention.position_bias, window)
    mixed = literal.attend_whole(qkv, bias, window, window // 2 if attention.shifted else 0)
    return attention.projection(mixed[:, :height, :width])


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("size", [(8, 12), (7, 9), (3, 2), (4, 4), (1, 13)])
def test_attention_equals_the_published_steps(size: tuple[int, int], shifted: bool) -> None:
    torch.manual_seed(1)
    attention = WindowAttention(12, 3, 4, shifted=shifted)
    torch.nn.init.normal_(attention.qkv.bias)
    torch.nn.init.normal_(attention.position_bias)
    features = torch.randn(3, *size, 12, requires_grad=True)
    ours = attention(features)
    theirs = literal_attention(attention, features)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    weight = torch.randn_like(ours)
    inputs = [features, *attention.parameters()]
    gradients = (torch.autograd.grad((answer * weight).sum(), inputs) for answer in (ours, theirs))
    for our_gradient, their_gradient in zip(*gradients, strict=True):
        torch.testing.assert_close(our_gradient, their_gradient, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("size", [(32, 32), (33, 70), (5, 3), (1, 1)])
def test_stages_have_the_published_strides_at_any_size(size: tuple[int, int]) -> None:
    swin = tiny()
    height, width = (-(-side // 4) for side in size)
    for index, features in enumerate(swin(torch.randn(2, 3, *size))):
        assert features.shape == (2, height, width, swin.widths[index])
        assert features.isfinite().all()
        height, width = -(-height // 2), -(-width // 2)


def test_stages_run_one_by_one_equal_the_whole() -> None:
    swin, images = tiny(), torch.randn(2, 3, 48, 40)
    features = swin.embed(images)
    for index, whole in enumerate(swin(images)):
        features = swin.stage(index, features)
        torch.testing.assert_close(features, whole)
        if index < 3:
            features = swin.merge(index, features)


def test_a_batch_equals_its_images_one_by_one() -> None:
    swin, images = tiny(), torch.randn(3, 3, 36, 52)
    together = swin(images)
    for number in range(3):
        for whole, alone in zip(together, swin(images[number : number + 1]), strict=True):
            torch.testing.assert_close(whole[number : number + 1], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("coordinates", [False, True])
def test_every_weight_gets_gradient(coordinates: bool) -> None:
    swin = tiny(coordinates=coordinates).train()
    sum(features.square().mean() for features in swin(torch.randn(2, 3, 70, 66))).backward()
    assert [name for name, weight in swin.named_parameters() if weight.grad is None or not weight.grad.any()] == []


def test_coordinates_of_a_position_are_the_same_at_any_size() -> None:
    small, large = positions(3, 5, torch.device("cpu")), positions(9, 15, torch.device("cpu"))
    torch.testing.assert_close(small, large[1::3, 1::3], atol=1e-4, rtol=1e-4)
    assert small[..., :2].abs().max() < 1


def test_coordinates_change_the_features_and_are_off_by_default() -> None:
    image = torch.zeros(1, 3, 32, 32)
    plain, with_positions = tiny().embed(image), tiny(coordinates=True).embed(image)
    torch.testing.assert_close(plain, plain[:, :1, :1].expand_as(plain))
    assert with_positions.flatten(1, 2).std(dim=1).mean() > 0.05


def test_every_stage_gets_the_positions_of_its_cells() -> None:
    swin, plain = tiny(coordinates=True), tiny()
    for stage, width in enumerate(swin.widths[:-1]):
        blank = torch.zeros(1, 6, 6, width)
        with_positions, without = swin.merge(stage, blank), plain.merge(stage, blank)
        assert not without.any()
        assert with_positions.flatten(1, 2).std(dim=1).mean() > 0.05
        assert (
            with_positions[:, :, 0] - with_positions[:, :, -1]
        ).abs().mean() > 0.05  # left and right differ, not only top and bottom


def test_drop_path_drops_whole_samples_in_training_only() -> None:
    swin, images = tiny(drop_path=0.9), torch.randn(1, 3, 32, 32).expand(16, -1, -1, -1)
    still = swin(images)[3]
    torch.testing.assert_close(still, still[:1].expand_as(still), atol=1e-5, rtol=1e-5)
    torch.manual_seed(0)
    features = swin.train()(images)[3].flatten(1)
    assert torch.unique(features.round(decimals=3), dim=0).shape[0] > 1


@pytest.mark.parametrize("silent", ["attention.projection", "mlp.2"])
def test_a_dropped_branch_is_zero_and_a_kept_one_is_divided_by_its_probability(silent: str) -> None:
    torch.manual_seed(0)
    block = Block(8, 2, 4, shifted=False, drop_path=0.75).double()
    nn.init.zeros_(block.get_submodule(silent).weight)  # the other branch is all that changes anything
    features = torch.randn(80, 4, 4, 8).double()
    branch = block.eval()(features) - features
    change = block.train()(features) - features
    kept = change.flatten(1).any(1)
    assert 8 <= kept.sum() <= 32  # a quarter of 80 are expected
    assert branch.abs().mean() > 1e-5
    torch.testing.assert_close(change, 4 * branch * kept[:, None, None, None], atol=1e-12, rtol=0)


def test_deeper_blocks_are_dropped_more_often() -> None:
    swin = Swin(SwinConfig(embed_dim=8, depths=(1, 2, 3, 1), heads=(1, 1, 2, 2), window=2, drop_path=0.3))
    rates = [block.drop_path for stage in swin.stages for block in stage]
    assert rates == pytest.approx([0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3], abs=1e-6)


def test_a_window_layout_made_in_inference_serves_training() -> None:
    swin = tiny(window=5)
    with torch.inference_mode():
        swin(torch.randn(1, 3, 44, 44))
    swin.train()(torch.randn(1, 3, 44, 44))[3].sum().backward()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"depths": (2, 2)}, "4 stages"),
        ({"heads": (3, 4, 8, 16)}, "3 heads for 128 channels"),
        ({"window": 1}, "window"),
        ({"drop_path": 1.0}, "probability"),
    ],
)
def test_a_config_that_cannot_be_built_is_refused_in_one_sentence(change: dict, sentence: str) -> None:
    with pytest.raises(DeixisError, match=sentence):
        SwinConfig(**change)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"heads": (0, 1, 1, 1)}, r"heads=\(0, 1, 1, 1\) .* give numbers of 1 or more"),
        ({"heads": (-4, 8, 16, 32)}, "give numbers of 1 or more"),
        ({"depths": (2, 0, 2, 2)}, r"depths=\(2, 0, 2, 2\)"),
        ({"embed_dim": 0}, "embed_dim=0"),
        ({"embed_dim": -128}, "embed_dim=-128"),
    ],
)
def test_a_size_below_one_is_refused_in_one_sentence(change: dict, sentence: str) -> None:
    with pytest.raises(DeixisError, match=sentence):
        SwinConfig(**change)
