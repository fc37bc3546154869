"""LAVT: sizes, its loss, shared images, padding, gradients, and that it overfits one scene."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from deixis import losses
from deixis.batch import Batch, Output
from deixis.errors import InputError
from deixis.models.lavt import LAVT, LAVTConfig
from deixis.system import System
from deixis.text.bert import BertConfig
from deixis.vision.swin import SwinConfig

TINY = LAVTConfig(
    vision=SwinConfig(embed_dim=8, depths=(1, 1, 1, 1), heads=(1, 2, 2, 4), window=4, drop_path=0.0),
    text=BertConfig(layers=2, width=16, heads=2, feed_forward=32, vocabulary=30, positions=16, dropout=0.0),
)


@pytest.fixture
def model() -> LAVT:
    torch.manual_seed(0)
    model = LAVT(TINY).eval()
    for gate in model.fusion.gates:  # as after training: open
        torch.nn.init.normal_(gate.gate.weight)
    return model


@pytest.fixture
def batch() -> Batch:
    torch.manual_seed(1)
    words = torch.randint(1, 30, (3, 7))
    mask = torch.arange(7) < torch.tensor([[7], [4], [5]])
    masks = torch.zeros(3, 40, 52, dtype=torch.bool)
    masks[:, 10:25, 8:30] = True
    return Batch(images=torch.randn(3, 1, 3, 40, 52), token_ids=words, token_mask=mask, masks=masks)


def changed(batch: Batch, **fields: object) -> Batch:
    return Batch(**{name: getattr(batch, name) for name in ("images", "token_ids", "token_mask", "masks")} | fields)


def test_it_is_a_system_whose_logits_have_the_images_size(model: LAVT, batch: Batch) -> None:
    assert isinstance(model, System)
    output = model(batch, explain=True)
    assert output.logits.shape == (3, 40, 52)
    assert output.evidence["pixel_word_attention_1"].shape == (3, 7, 10, 13)
    assert output.evidence["pixel_word_attention_4"].shape == (3, 7, 2, 2)


def test_the_loss_is_weighted_cross_entropy_over_two_classes(model: LAVT, batch: Batch) -> None:
    background, target = torch.randn(2, 3, 40, 52)
    scores = torch.stack([background, target], dim=1)
    expected = F.cross_entropy(scores, batch.masks.long(), weight=torch.tensor([0.9, 1.1]))
    terms = model.loss(batch, Output(logits=target - background))
    assert list(terms) == ["mask"]
    torch.testing.assert_close(terms["mask"], expected)


def test_dice_is_a_term_where_it_has_a_weight(model: LAVT, batch: Batch) -> None:
    output = model(batch)
    published = model.loss(batch, output)
    both = LAVT(replace(TINY, dice_weight=0.5)).loss(batch, output)
    assert batch.masks is not None
    assert published.keys() == {"mask"}
    assert both.keys() == {"mask", "dice"}
    assert torch.equal(both["mask"], published["mask"])
    torch.testing.assert_close(both["dice"], 0.5 * losses.dice(output.logits, batch.masks))


def test_a_batch_without_masks_has_no_loss(model: LAVT, batch: Batch) -> None:
    with pytest.raises(InputError, match="this batch has none"):
        model.loss(changed(batch, masks=None), Output(logits=torch.zeros(3, 40, 52)))


def test_a_batch_equals_its_expressions_one_by_one(model: LAVT, batch: Batch) -> None:
    together = model(batch).logits
    for number in range(3):
        one = slice(number, number + 1)
        alone = Batch(images=batch.images[one], token_ids=batch.token_ids[one], token_mask=batch.token_mask[one])
        torch.testing.assert_close(model(alone).logits, together[one], atol=1e-5, rtol=1e-4)


def test_sharing_an_image_changes_nothing(model: LAVT, batch: Batch) -> None:
    index = torch.tensor([1, 1, 0])
    shared = model(changed(batch, images=batch.images[:2], image_index=index))
    torch.testing.assert_close(
        shared.logits, model(changed(batch, images=batch.images[index])).logits, atol=1e-5, rtol=1e-4
    )


def test_padding_words_change_nothing(model: LAVT, batch: Batch) -> None:
    longer = F.pad(batch.token_ids, (0, 3), value=17)
    padded = model(changed(batch, token_ids=longer, token_mask=F.pad(batch.token_mask, (0, 3))))
    torch.testing.assert_close(padded.logits, model(batch).logits, atol=1e-5, rtol=1e-4)


def test_words_change_the_logits(model: LAVT, batch: Batch) -> None:
    other = model(changed(batch, token_ids=batch.token_ids.flip(0), token_mask=torch.ones_like(batch.token_mask)))
    assert (other.logits - model(batch).logits).abs().max() > 1e-3


def test_a_clip_is_seen_at_its_middle_frame(model: LAVT, batch: Batch) -> None:
    clip = torch.randn(3, 3, 3, 40, 52)
    clip[:, 1] = batch.images[:, 0]
    torch.testing.assert_close(model(changed(batch, images=clip)).logits, model(batch).logits)


def test_every_weight_gets_gradient(model: LAVT, batch: Batch) -> None:
    output = model.train()(batch)
    sum(model.loss(batch, output).values()).backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()] == []


def test_it_overfits_one_scene(batch: Batch) -> None:
    torch.manual_seed(0)
    model = LAVT(TINY).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        loss = model.loss(batch, model(batch))["mask"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"fusion_heads": (1, 1)}, "4 numbers"),
        ({"fusion_heads": (3, 1, 1, 1)}, "cannot share"),
        ({"class_weights": (0.0, 1.0)}, "two positive numbers"),
        ({"dice_weight": -1.0}, "expected 0 or more"),
    ],
)
def test_a_wrong_config_is_one_sentence(change: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        LAVTConfig(**change)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"fusion_heads": (0, 1, 1, 1)}, "Fusion 1's 0 heads cannot share"),
        ({"fusion_heads": (1, 1, -1, 1)}, "Fusion 3's -1 heads cannot share"),
        ({"decoder_width": 0}, "decoder_width is 0; give 1 or more"),
        ({"decoder_width": -1}, "decoder_width is -1"),
        ({"dice_weight": float("nan")}, "dice_weight is nan; expected 0 or more"),
        ({"class_weights": (1.0, float("nan"))}, "two positive numbers"),
    ],
)
def test_a_number_out_of_range_is_one_sentence(change: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        LAVTConfig(**change)
