"""LateFusion: its logits are the sum of its words' scores, and its loss is binary cross-entropy and Dice."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from deixis import losses
from deixis.batch import Batch
from deixis.checkpoints.configs import from_dict, to_dict
from deixis.errors import InputError
from deixis.models.late_fusion import LateFusion, LateFusionConfig
from deixis.system import EncodesImages, System
from deixis.text.bert import BertConfig
from deixis.vision.swin import SwinConfig
from deixis.vision.vit import ViT, ViTConfig

TINY = LateFusionConfig(
    vision=SwinConfig(embed_dim=8, depths=(1, 1, 1, 1), heads=(1, 1, 2, 2), window=4, drop_path=0.0),
    text=BertConfig(layers=1, width=16, heads=2, feed_forward=32, vocabulary=40, positions=16, dropout=0.0),
    width=12,
)


@pytest.fixture
def model() -> LateFusion:
    torch.manual_seed(0)
    return LateFusion(TINY).eval()


@pytest.fixture
def batch() -> Batch:
    draw = torch.Generator().manual_seed(1)
    return Batch(
        images=torch.randn(2, 1, 3, 40, 52, generator=draw),
        token_ids=torch.randint(1, 40, (3, 6), generator=draw),
        token_mask=torch.arange(6) < torch.tensor([[6], [4], [2]]),
        masks=torch.rand(3, 40, 52, generator=draw) > 0.6,
        image_index=torch.tensor([1, 0, 1]),
    )


def test_it_is_a_system_that_encodes_images_alone(model: LateFusion) -> None:
    assert isinstance(model, System)
    assert isinstance(model, EncodesImages)
    assert model.feature_widths == {"query": 16, "embeddings": 16}


def test_the_logits_are_the_sum_of_the_words_scores_and_a_bias(model: LateFusion, batch: Batch) -> None:
    output = model(batch, explain=True)
    scores = output.evidence["word_scores"]
    assert scores.shape == (3, 6, 10, 13)
    assert not scores[~batch.token_mask].any()
    summed = scores.sum(1, keepdim=True) + model.bias
    enlarged = F.interpolate(summed, size=(40, 52), mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(output.logits, enlarged, atol=1e-5, rtol=1e-5)


def test_a_words_score_is_its_direction_times_the_pixel_and_its_bias(model: LateFusion, batch: Batch) -> None:
    words = model.text(batch.token_ids, batch.token_mask)
    pixels = model.encode_images(batch.images)
    direction, bias = model.vote(words)[1, 2].split([12, 1])
    expected = pixels[0, 4, 7] @ direction / 12**0.5 + bias
    torch.testing.assert_close(model(batch, explain=True).evidence["word_scores"][1, 2, 4, 7], expected[0])


def test_the_loss_is_binary_cross_entropy_and_weighted_dice(model: LateFusion, batch: Batch) -> None:
    output = model(batch)
    terms = LateFusion(replace(TINY, dice_weight=0.5)).loss(batch, output)
    signed = torch.where(batch.masks, output.logits, -output.logits)
    torch.testing.assert_close(terms["mask"], -signed.sigmoid().log().mean())
    torch.testing.assert_close(terms["dice"], 0.5 * losses.dice(output.logits, batch.masks))
    assert terms.keys() == {"mask", "dice"}


def test_a_plain_vit_takes_swins_place_under_the_same_name(batch: Batch) -> None:
    torch.manual_seed(0)
    vit = ViTConfig(layers=1, width=8, heads=2, patch=4, grid=4, drop_path=0.0)
    model = LateFusion(replace(TINY, vit=vit)).eval()
    assert model.encode_images(batch.images).shape == (2, 10, 13, 12)
    assert model(batch).logits.shape == (3, 40, 52)
    weights = {name.removeprefix("fusion.vision."): each.shape for name, each in model.state_dict().items()}
    assert {name: each.shape for name, each in ViT(vit).state_dict().items()}.items() <= weights.items()
    config = from_dict(LateFusionConfig, to_dict(model.config))
    assert config == model.config
    assert config.num_layers == 2


@pytest.mark.parametrize("change", [{"width": 0}, {"dice_weight": -1.0}, {"dice_weight": float("nan")}])
def test_a_number_out_of_range_is_one_sentence(change: dict) -> None:
    with pytest.raises(InputError, match="expected a positive width and weights of 0 or more"):
        replace(TINY, **change)
