"""SaG: slots compete for patches, predictions are repeatable, and its options change what they say."""

from dataclasses import replace

import pytest
import torch

from deixis.batch import Batch
from deixis.errors import InputError
from deixis.models.sag import SaG, SaGConfig
from deixis.system import EncodesImages, System
from deixis.text.bert import BertConfig
from deixis.vision.vit import ViTConfig

TINY = SaGConfig(
    vision=ViTConfig(layers=1, width=16, heads=2, grid=3, drop_path=0.0),
    text=BertConfig(layers=1, width=16, heads=2, feed_forward=32, vocabulary=30, positions=16, dropout=0.0),
    width=16,
    gaussians=3,
    samples=2,
    iterations=2,
    heads=2,
    head_width=8,
    interaction_head_width=8,
    fusion_head_width=8,
)


def build(**changes: object) -> SaG:
    torch.manual_seed(0)
    return SaG(replace(TINY, **changes)).eval()


def batch(height: int = 48, width: int = 48) -> Batch:
    draw = torch.Generator().manual_seed(1)
    return Batch(
        images=torch.randn(2, 1, 3, height, width, generator=draw),
        token_ids=torch.randint(1, 30, (2, 6), generator=draw),
        token_mask=torch.ones(2, 6, dtype=torch.bool),
    )


def test_it_is_a_system_that_encodes_images() -> None:
    model = build()
    assert isinstance(model, System)
    assert isinstance(model, EncodesImages)


def test_slots_share_each_patch_and_an_expression_shares_itself_among_slots() -> None:
    evidence = build()(batch(), explain=True).evidence
    assert evidence["entities"].shape == (2, 6, 3, 3)
    torch.testing.assert_close(evidence["entities"].sum(1), torch.ones(2, 3, 3))
    torch.testing.assert_close(evidence["relevance"].sum(1), torch.ones(2))


@pytest.mark.parametrize(
    ("slots", "gaussians"),
    [("entity", [0, 0, 1, 1, 2, 2]), ("random", [0] * 6), ("random-narrow", [0] * 6), ("query", None)],
)
def test_evidence_says_from_which_gaussian_each_entity_was_drawn(slots: str, gaussians: list[int] | None) -> None:
    evidence = build(slots=slots)(batch(), explain=True).evidence
    assert ("gaussian" in evidence) == (gaussians is not None)
    assert gaussians is None or evidence["gaussian"].tolist() == [gaussians] * 2


def test_the_logits_are_those_of_the_relevance_of_the_entities_that_hold_a_patch() -> None:
    output = build()(batch(), explain=True)
    maps = (output.evidence["relevance"][..., None, None] * output.evidence["entities"]).sum(1, keepdim=True)
    large = torch.nn.functional.interpolate(maps, size=(48, 48), mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(output.logits.sigmoid(), large)


def test_predictions_start_from_the_means_or_from_a_seeded_sample() -> None:
    mean, sampled = build(), build(noise="sample")
    again, other = build(noise="sample"), build(noise="sample", noise_seed=1)
    given = batch()
    with torch.no_grad():
        assert torch.equal(mean(given).logits, mean(given).logits)
        assert torch.equal(sampled(given).logits, again(given).logits)
        assert not torch.equal(sampled(given).logits, mean(given).logits)
        assert not torch.equal(sampled(given).logits, other(given).logits)


def test_the_number_of_iterations_may_change_after_training() -> None:
    model = build()
    before = model(batch()).logits
    model.discovery.iterations = 4
    assert not torch.equal(model(batch()).logits, before)
    torch.testing.assert_close(model(batch()).logits, build(iterations=4)(batch()).logits)


@pytest.mark.parametrize("slots", ["entity", "random", "random-narrow", "query"])
def test_every_slot_type_has_its_weights(slots: str) -> None:
    shapes = {name: tuple(value.shape) for name, value in build(slots=slots).discovery.start.named_parameters()}
    if slots == "query":
        assert shapes == {"params": (6, 16)}
    else:
        gaussians = 3 if slots == "entity" else 1
        assert shapes == {"slots_mu": (1, gaussians, 16), "slots_log_sigma": (1, gaussians, 16)}


def test_the_learned_positions_of_the_decoder_end() -> None:
    given = batch(height=16 * 51, width=16)
    assert build()(given).logits.shape == (2, 816, 16)
    with pytest.raises(InputError, match="positions end at 50 patches, but the image has 51 x 1"):
        build()(given, features=("reconstruction",))
    assert build(decoder_positions="sinusoidal")(given, features=("reconstruction",)).features


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"gaussians": 0}, "'gaussians' is 0"),
        ({"width": 6}, "width is 6; expected a multiple of 4"),
        ({"dropout": 1.0}, "'dropout' is 1.0"),
    ],
)
def test_a_wrong_config_is_one_sentence(change: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        replace(TINY, **change)


def test_the_sentence_is_the_first_token_or_the_mean_of_the_real_ones() -> None:
    given = batch()
    mask = torch.arange(6) < torch.tensor([[6], [4]])
    given = replace(given, token_mask=mask)
    for pooling in ("first", "mean"):
        model = build(pooling=pooling)
        words = model.text(given.token_ids, mask)
        pooled = words[:, 0] if pooling == "first" else torch.stack([words[0].mean(0), words[1, :4].mean(0)])
        found = model(given, features=("sentence",)).features["sentence"]
        torch.testing.assert_close(found, model.sentence(pooled))


def test_sharpness_multiplies_the_scores_of_the_attention() -> None:
    model, sharp = build(), build(sharpness=3.0)
    for layer, sharper in ((model.fusion, sharp.fusion), (model.discovery.aggregation, sharp.discovery.aggregation)):
        assert sharper.attention.scale == pytest.approx(3 * layer.attention.scale)
    given = batch()
    relevance, sharper_relevance = (each(given, explain=True).evidence["relevance"] for each in (model, sharp))
    assert sharper_relevance.max() > relevance.max()


def test_cells_of_the_reconstruction_are_those_of_the_whole() -> None:
    model, slots = build(), torch.randn(2, 6, TINY.width, generator=torch.Generator().manual_seed(2))
    whole = model.reconstruct(slots, 3, 4)
    assert whole.shape == (2, 12, TINY.vision.width)
    cells = torch.tensor([7, 0, 11])
    torch.testing.assert_close(model.reconstruct(slots, 3, 4, cells), whole[:, cells])
