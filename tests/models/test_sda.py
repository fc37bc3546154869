"""SDA's base network against ten lines of NumPy for each equation of Appendix A, and one scene learned by heart."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from deixis.batch import Batch
from deixis.checkpoints.configs import from_dict, to_dict
from deixis.errors import InputError
from deixis.models.sda import SDA, RegionAttention, SDAConfig, WordGate
from deixis.system import Adaptable, EncodesImages
from deixis.text.gru import GRUConfig
from deixis.vision.i3d import I3DConfig, over_time
from deixis.vision.resnet import ResNetConfig
from deixis.vision.slic import PADDING

TINY = SDAConfig(
    vision=ResNetConfig(depths=(1, 1, 1, 1), width=4),
    text=GRUConfig(vocabulary=20, embedding=6, width=8),
    width=10,
    decoder_width=6,
    regions=12,
    compactness=100.0,
)


@pytest.fixture
def model() -> SDA:
    torch.manual_seed(0)
    return SDA(TINY).eval()


@pytest.fixture
def batch() -> Batch:
    draw = torch.Generator().manual_seed(1)
    return Batch(
        images=torch.randn(2, 1, 3, 64, 80, generator=draw),
        token_ids=torch.randint(1, 20, (3, 6), generator=draw),
        token_mask=torch.arange(6) < torch.tensor([[6], [4], [1]]),
        masks=torch.rand(3, 64, 80, generator=draw) > 0.6,
        image_index=torch.tensor([1, 0, 1]),
    )


def softmax(scores: np.ndarray) -> np.ndarray:
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def linear(layer: nn.Linear, rows: np.ndarray) -> np.ndarray:
    product = rows @ layer.weight.detach().numpy().T
    return product if layer.bias is None else product + layer.bias.detach().numpy()


@pytest.mark.parametrize("is_scaled", [True, False])
def test_words_gate_pixels_as_in_equation_8(is_scaled: bool) -> None:
    torch.manual_seed(2)
    gate = WordGate(7, 8, 10, scale=10**-0.5 if is_scaled else 1.0).double()
    pixels, words = torch.randn(1, 12, 7).double(), torch.randn(1, 5, 8).double()
    mask = torch.tensor([[True, True, True, False, False]])
    gated, attention = gate(pixels, words, mask)
    V, Q = pixels[0].numpy(), words[0, :3].numpy()
    scores = linear(gate.pixel, V) @ linear(gate.word, Q).T
    alpha = softmax(scores / np.sqrt(10) if is_scaled else scores)
    expected = np.tanh(linear(gate.gate, alpha @ Q)) * V
    np.testing.assert_allclose(gated[0].detach(), expected, rtol=1e-10)
    np.testing.assert_allclose(attention[0, :, :3].detach(), alpha, rtol=1e-10)
    assert not attention[0, :, 3:].any()


def test_regions_attend_to_each_other_as_in_equation_9() -> None:
    torch.manual_seed(3)
    layer = RegionAttention(7, 10, scale=10**-0.5).double()
    features = torch.randn(1, 12, 7).double()
    labels = torch.tensor([[0, 0, 3, 3, 3, PADDING, 5, 5, 0, 3, PADDING, 5]])
    V = features[0].numpy()
    present = (0, 3, 5)
    Vr = np.stack([V[labels[0].numpy() == region].max(0) for region in present])
    context = softmax(linear(layer.query, Vr) @ linear(layer.key, Vr).T / np.sqrt(10)) @ linear(layer.value, Vr)
    found = layer(features, labels, 8)[0].detach().numpy()
    for cell, region in enumerate(labels[0].tolist()):
        expected = np.zeros(7) if region == PADDING else context[present.index(region)]
        np.testing.assert_allclose(found[cell], expected, rtol=1e-10, atol=1e-12)


def test_the_loss_is_equation_10_at_every_resolution(model: SDA, batch: Batch) -> None:
    output = model(batch, features=("responses",))
    assert batch.masks is not None
    total = 0.0
    for response in output.features["responses"]:
        height, width = response.shape[1:]
        covered = F.interpolate(batch.masks[:, None].float(), size=(height, width), mode="area")[:, 0].numpy()
        s = 1 / (1 + np.exp(-response.detach().double().numpy()))
        a = (covered >= np.minimum(covered.max((1, 2), keepdims=True), 0.5)).astype(float)
        total += (-a * np.log(s) - (1 - a) * np.log(1 - s)).mean()
    assert model.loss(batch, output)["mask"].item() == pytest.approx(total, rel=1e-5)


def test_responses_are_at_strides_8_16_and_32_and_the_finest_is_the_answer(model: SDA, batch: Batch) -> None:
    output = model(batch, features=("responses", "visual", "attention"))
    responses = output.features["responses"]
    assert [tuple(each.shape) for each in responses] == [(3, 8, 10), (3, 4, 5), (3, 2, 3)]
    enlarged = F.interpolate(responses[0][:, None], size=(64, 80), mode="bilinear", align_corners=False)[:, 0]
    assert torch.equal(output.logits, enlarged)


def test_the_visual_feature_is_the_encoders_last_map_before_any_word(model: SDA, batch: Batch) -> None:
    last = model.vision(batch.target_frames())[-1]
    visual = model(batch, features=("visual",)).features["visual"]
    torch.testing.assert_close(visual, last[[1, 0, 1]])
    other = replace(batch, token_ids=batch.token_ids % 19 + 1)
    assert torch.equal(model(other, features=("visual",)).features["visual"], visual)


def test_a_coarser_level_reaches_the_answer_only_in_the_top_down_flow(batch: Batch) -> None:
    for flow, count in (("top-down", 3), ("independent", 4)):
        torch.manual_seed(0)
        model = SDA(replace(TINY, flow=flow)).eval()  # type: ignore[arg-type]
        output = model(batch, features=("responses",))
        assert len(output.features["responses"]) == count
        output.features["responses"][count - 3].sum().backward()  # the finest level's own map
        assert bool(model.fusion.words[2].gate.weight.grad is not None) == (flow == "top-down")


def test_the_independent_flow_joins_the_upsampled_maps_by_a_convolution(batch: Batch) -> None:
    torch.manual_seed(0)
    model = SDA(replace(TINY, flow="independent")).eval()
    joined, *levels = model(batch, features=("responses",)).features["responses"]
    size = levels[0].shape[1:]
    up = [F.interpolate(each[:, None], size=size, mode="bilinear", align_corners=False) for each in levels]
    assert model.decoder.join is not None
    torch.testing.assert_close(joined, model.decoder.join(torch.cat(up, 1))[:, 0])


def test_padding_of_the_image_belongs_to_no_region(model: SDA, batch: Batch) -> None:
    padded = batch.images.clone()
    padded[..., 32:, :] = 0
    encoded = model.encode_images(padded)
    assert (encoded.labels[:, 32:] == PADDING).all()
    assert (encoded.labels[:, :32] >= 0).all()
    assert model(replace(batch, images=padded)).logits.isfinite().all()
    assert model(replace(batch, images=torch.zeros_like(padded))).logits.isfinite().all()


def test_it_is_adaptable_and_encodes_an_image_alone(model: SDA, batch: Batch) -> None:
    assert isinstance(model, Adaptable)
    assert isinstance(model, EncodesImages)
    encoded = model.encode_images(batch.images)
    output = model.decode_expressions(encoded, batch, features=("embeddings",))
    torch.testing.assert_close(output.logits, model(batch).logits)
    assert torch.equal(output.features["embeddings"], model.text.words.weight[batch.token_ids])


def test_a_fixed_table_is_saved_but_not_trained(batch: Batch) -> None:
    model = SDA(replace(TINY, text=replace(TINY.text, glove=True)))
    names = {name for name, _ in model.named_parameters()}
    assert "text.words.weight" in model.state_dict()
    assert "text.words.weight" not in names
    output = model(batch, features=model.loss_features)
    model.loss(batch, output)["mask"].backward()
    assert model.text.gru.weight_ih_l0.grad is not None


def scene() -> Batch:
    """Two squares on one image, and an expression for each."""
    image = torch.full((3, 64, 64), -1.0)
    masks = torch.zeros(2, 64, 64, dtype=torch.bool)
    masks[0, 8:32, 8:32] = masks[1, 32:56, 32:56] = True
    image[0, masks[0]] = image[2, masks[1]] = 2.0
    return Batch(
        images=image[None, None],
        token_ids=torch.tensor([[2, 3], [2, 4]]),
        token_mask=torch.ones(2, 2, dtype=torch.bool),
        masks=masks,
        image_index=torch.tensor([0, 0]),
    )


def test_it_learns_one_scene_by_heart() -> None:
    torch.manual_seed(0)
    model = SDA(replace(TINY, vision=replace(TINY.vision, norms="trained"))).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(150):
        optimiser.zero_grad()
        loss = model.loss(scene(), model(scene(), features=model.loss_features))["mask"]
        loss.backward()
        optimiser.step()
    assert iou(model(scene()).logits, scene()).min() > 0.7
    swapped = replace(scene(), token_ids=scene().token_ids.flip(0))
    assert iou(model(swapped).logits.flip(0), scene()).min() > 0.7


def iou(logits: Tensor, given: Batch) -> Tensor:
    """With the paper's rule: above half of the maximum."""
    assert given.masks is not None
    scores = rearrange(logits.sigmoid(), "b h w -> b (h w)")
    found, right = scores > scores.amax(1, keepdim=True) / 2, given.masks.flatten(1)
    return (found & right).sum(1) / (found | right).sum(1)


@pytest.mark.parametrize("change", [{"width": 0}, {"decoder_width": 0}, {"regions": 0}, {"compactness": 0.0}])
def test_a_wrong_config_is_one_sentence(change: dict) -> None:
    with pytest.raises(InputError, match=r"SDA's .* expected"):
        SDAConfig(**change)


def test_the_default_is_the_papers_network() -> None:
    with torch.device("meta"):
        model = SDA(SDAConfig())
    assert model.feature_widths == {"query": 1024, "visual": 2048, "embeddings": 300}
    assert [each.first.in_channels for each in model.decoder.levels] == [512, 1024, 2048]  # type: ignore[union-attr]


CLIPS = replace(TINY, vision=I3DConfig(width=4))


def clips(frames: int = 4) -> Batch:
    draw = torch.Generator().manual_seed(1)
    return Batch(
        images=torch.randn(2, frames, 3, 64, 80, generator=draw),
        token_ids=torch.randint(1, 20, (3, 6), generator=draw),
        token_mask=torch.arange(6) < torch.tensor([[6], [4], [1]]),
        image_index=torch.tensor([1, 0, 1]),
    )


@pytest.mark.parametrize("time", ["mean", "centre"])
def test_a_clips_maps_become_one_of_its_target_frame(time: str) -> None:
    torch.manual_seed(0)
    model = SDA(replace(CLIPS, time=time)).eval()  # type: ignore[arg-type]
    first, *_ = model.vision(rearrange(clips().images, "i t c h w -> i c t h w"))
    assert first.shape[2] == 2
    expected = first.mean(2) if time == "mean" else first[:, :, 1]
    torch.testing.assert_close(model.encode_images(clips().images).maps[0], expected)
    values = torch.arange(5.0)[None, None, :, None, None]
    assert over_time(values, time).item() == 2  # type: ignore[arg-type]
    assert over_time(values[:, :, :4], time).item() == {"mean": 1.5, "centre": 2}[time]  # type: ignore[arg-type]


def test_responses_of_clips_are_at_five_resolutions() -> None:
    torch.manual_seed(0)
    output = SDA(CLIPS).eval()(clips(), features=("responses", "visual", "attention"), explain=True)
    sizes = [(3, 32, 40), (3, 16, 20), (3, 8, 10), (3, 4, 5), (3, 2, 3)]
    assert [tuple(each.shape) for each in output.features["responses"]] == sizes
    assert [*output.evidence] == [f"pixel_word_attention_{stage}" for stage in range(5)]


def test_superpixels_of_a_clip_are_its_target_frames() -> None:
    torch.manual_seed(0)
    model, given = SDA(CLIPS).eval(), clips()
    middle = model(given).logits
    torch.testing.assert_close(model(replace(given, frames=torch.tensor([2, 2]))).logits, middle)
    assert not torch.equal(model(replace(given, frames=torch.tensor([0, 3]))).logits, middle)


def test_the_default_of_clips_has_the_five_resolutions() -> None:
    with torch.device("meta"):
        model = SDA(SDAConfig(vision=I3DConfig()))
    assert model.feature_widths["visual"] == 1024
    assert [each.first.in_channels for each in model.decoder.levels] == [64, 192, 480, 832, 1024]  # type: ignore[union-attr]


def test_a_config_from_before_there_were_clips_is_that_of_images() -> None:
    stored = to_dict(TINY)
    assert stored["vision"].pop("type") == "ResNetConfig"
    assert from_dict(SDAConfig, stored) == TINY
    assert from_dict(SDAConfig, to_dict(CLIPS)) == CLIPS
