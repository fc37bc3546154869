"""Swin: its gather against the published steps, sizes of any kind, and what each option changes."""

import pytest
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.errors import DeixisError
from deixis.vision.swin import Block, Swin, SwinConfig, WindowAttention, positions
from deixis.vision.windows import layout


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


def literal_attention(attention: WindowAttention, features: Tensor, shift: int) -> Tensor:
    """The published steps one by one: pad, roll, cut, attend with bias and mask, join, roll back, crop."""
    window, (height, width) = attention.window, features.shape[1:3]
    padded = F.pad(features, (0, 0, 0, -width % window, 0, -height % window))
    regions = torch.zeros(padded.shape[1:3])
    if shift:
        slices = (slice(0, -window), slice(-window, -shift), slice(-shift, None))
        for number, (rows, columns) in enumerate((rows, columns) for rows in slices for columns in slices):
            regions[rows, columns] = number
    padded = padded.roll((-shift, -shift), (1, 2))
    cells = rearrange(padded, "b (r y) (c x) d -> b (r c) (y x) d", y=window, x=window)
    regions = rearrange(regions, "(r y) (c x) -> (r c) (y x)", y=window, x=window)
    mask = (regions[:, :, None] != regions[:, None, :]).float() * -100
    query, key, value = rearrange(attention.qkv(cells), "b w n (s h d) -> s b w h n d", s=3, h=attention.heads)
    side = 2 * window - 1
    bias = torch.zeros(attention.heads, window**2, window**2)
    for first in range(window**2):
        for second in range(window**2):
            row = first // window - second // window + window - 1
            column = first % window - second % window + window - 1
            bias[:, first, second] = attention.position_bias[row * side + column]
    scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5 + bias + mask[:, None]
    attended = attention.projection(rearrange(scores.softmax(-1) @ value, "b w h n d -> b w n (h d)"))
    rows = padded.shape[1] // window
    whole = rearrange(attended, "b (r c) (y x) d -> b (r y) (c x) d", r=rows, y=window)
    return whole.roll((shift, shift), (1, 2))[:, :height, :width]


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("size", [(8, 12), (7, 9), (3, 2), (4, 4), (1, 13)])
def test_attention_equals_the_published_steps(size: tuple[int, int], shifted: bool) -> None:
    torch.manual_seed(1)
    attention = WindowAttention(12, 3, 4)
    torch.nn.init.normal_(attention.qkv.bias)
    torch.nn.init.normal_(attention.position_bias)
    features = torch.randn(3, *size, 12, requires_grad=True)
    windows = layout(3, *size, 4, shifted, "cpu")
    ours = attention(features, windows)
    theirs = literal_attention(attention, features, 2 if shifted else 0)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    weight = torch.randn_like(ours)
    inputs = [features, *attention.parameters()]
    gradients = (torch.autograd.grad((answer * weight).sum(), inputs) for answer in (ours, theirs))
    for our_gradient, their_gradient in zip(*gradients, strict=True):
        torch.testing.assert_close(our_gradient, their_gradient, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("compiling", [False, True])
@pytest.mark.parametrize("shifted", [False, True])
def test_bfloat16_attention_on_a_cpu_is_as_exact_as_its_numbers(
    shifted: bool, compiling: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sums are written out there, some windows at a time; how many must not matter. The compiler gets others."""
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: compiling)
    torch.manual_seed(1)
    attention = WindowAttention(12, 3, 4).requires_grad_(False).bfloat16()
    torch.nn.init.normal_(attention.qkv.bias)
    torch.nn.init.normal_(attention.position_bias)
    features, windows = torch.randn(3, 7, 9, 12).bfloat16(), layout(3, 7, 9, 4, shifted, "cpu")
    fused = attention(features, windows)
    with torch.no_grad():
        ours = attention(features, windows)
        monkeypatch.setattr("deixis.vision.windows.SCORES", 2 * 3 * 16**2)
        assert torch.equal(attention(features, windows), ours)
    exact = literal_attention(attention.float(), features.float(), 2 if shifted else 0)
    assert not torch.equal(ours, fused)  # else nothing was written out
    torch.testing.assert_close(ours.float(), exact, atol=0.02 * exact.std().item(), rtol=0.02)


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


def test_coordinates_tell_the_same_place_at_any_size() -> None:
    small, large = positions(3, 5, torch.device("cpu")), positions(9, 15, torch.device("cpu"))
    torch.testing.assert_close(small, large[1::3, 1::3], atol=1e-4, rtol=1e-4)
    assert small[..., :2].abs().max() < 1


def test_coordinates_change_what_is_seen_and_are_off_by_default() -> None:
    image = torch.zeros(1, 3, 32, 32)
    plain, placed = tiny().embed(image), tiny(coordinates=True).embed(image)
    torch.testing.assert_close(plain, plain[:, :1, :1].expand_as(plain))
    assert placed.flatten(1, 2).std(dim=1).mean() > 0.05


def test_every_stage_is_told_where_its_cells_lie() -> None:
    swin, plain = tiny(coordinates=True), tiny()
    for stage, width in enumerate(swin.widths[:-1]):
        blank = torch.zeros(1, 6, 6, width)
        told, untold = swin.merge(stage, blank), plain.merge(stage, blank)
        assert not untold.any()
        assert told.flatten(1, 2).std(dim=1).mean() > 0.05
        assert (told[:, :, 0] - told[:, :, -1]).abs().mean() > 0.05  # left and right differ, not only top and bottom


def test_drop_path_drops_whole_samples_in_training_only() -> None:
    swin, images = tiny(drop_path=0.9), torch.randn(1, 3, 32, 32).expand(16, -1, -1, -1)
    still = swin(images)[3]
    torch.testing.assert_close(still, still[:1].expand_as(still), atol=1e-5, rtol=1e-5)
    torch.manual_seed(0)
    features = swin.train()(images)[3].flatten(1)
    assert torch.unique(features.round(decimals=3), dim=0).shape[0] > 1


@pytest.mark.parametrize("silent", ["attention.projection", "mlp.2"])
def test_a_dropped_branch_is_absent_and_a_kept_one_is_as_much_stronger_as_it_is_rarer(silent: str) -> None:
    torch.manual_seed(0)
    block = Block(8, 2, 4, shifted=False, drop_path=0.75).double()
    nn.init.zeros_(block.get_submodule(silent).weight)  # the other branch is all that changes anything
    features, windows = torch.randn(80, 4, 4, 8).double(), layout(80, 4, 4, 4, False, "cpu")
    branch = block.eval()(features, windows) - features
    change = block.train()(features, windows) - features
    kept = change.flatten(1).any(1)
    assert 8 <= kept.sum() <= 32  # a quarter of 80 are expected
    assert branch.abs().mean() > 1e-5
    torch.testing.assert_close(change, 4 * branch * kept[:, None, None, None], atol=1e-12, rtol=0)


def test_the_deeper_a_block_the_likelier_it_is_dropped() -> None:
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
        ({"heads": (3, 4, 8, 16)}, "cannot share"),
        ({"window": 1}, "window"),
        ({"drop_path": 1.0}, "probability"),
    ],
)
def test_a_wrong_size_is_one_sentence(change: dict, sentence: str) -> None:
    with pytest.raises(DeixisError, match=sentence):
        SwinConfig(**change)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"heads": (0, 1, 1, 1)}, r"heads=\(0, 1, 1, 1\); give numbers of 1 or more"),
        ({"heads": (-4, 8, 16, 32)}, "give numbers of 1 or more"),
        ({"embed_dim": 0}, "embed_dim=0"),
        ({"embed_dim": -128}, "embed_dim=-128"),
    ],
)
def test_a_size_out_of_range_is_one_sentence(change: dict, sentence: str) -> None:
    with pytest.raises(DeixisError, match=sentence):
        SwinConfig(**change)
