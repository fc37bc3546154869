"""Mask grounding replaces the right words, predicts them from the referent, and leaves the system as it is."""

import math
from collections.abc import Iterable
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
import torch
from einops import repeat
from torch import Tensor, nn

from deixis.batch import Batch, Output
from deixis.errors import InputError
from deixis.models.late_fusion import LateFusion, LateFusionConfig
from deixis.models.lavt import LAVT, LAVTConfig
from deixis.models.magnet import MagNet, MagNetConfig
from deixis.models.vega import VEGA, VEGAConfig
from deixis.objectives.mask_grounding import MaskGrounding, MaskGroundingConfig, mean_nll
from deixis.text.bert import BertConfig
from deixis.vision.swin import SwinConfig

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = tuple(f"word{number}" for number in range(35))
VOCABULARY = (*SPECIAL, *WORDS)
PAD, UNK, CLS, SEP, MASK = range(5)
VISION = SwinConfig(embed_dim=8, depths=(1, 1, 2, 1), heads=(1, 1, 2, 2), window=4, drop_path=0.0)
TEXT = BertConfig(layers=1, width=16, heads=2, feed_forward=32, vocabulary=40, positions=24, dropout=0.0)
SYSTEMS: dict[str, Any] = {
    "lavt": lambda: LAVT(LAVTConfig(vision=VISION, text=TEXT)),
    "magnet": lambda: MagNet(
        MagNetConfig(
            vision=VISION,
            text=replace(TEXT, layers=4),
            width=32,
            mask_width=32,
            heads=2,
            pixel_layers=1,
            pixel_feed_forward=32,
            query_layers=2,
            query_feed_forward=32,
        )
    ),
    "vega": lambda: VEGA(VEGAConfig(vision=VISION, text=TEXT, width=16, heads=2, decoder_widths=(16, 16, 16))),
}
SMALL = MaskGroundingConfig(layers=1, width=16, heads=2, feed_forward=32, dropout=0.0)


def sentences(*lengths: int, length: int | None = None) -> tuple[Tensor, Tensor]:
    """[CLS], as many different words as asked for, [SEP], padding."""
    token_ids = torch.full((len(lengths), length or max(lengths) + 2), PAD)
    for row, count in zip(token_ids, lengths, strict=True):
        row[: count + 2] = torch.tensor([CLS, *range(5, 5 + count), SEP])
    return token_ids, token_ids != PAD


def batch_of(*lengths: int, side: int = 64) -> Batch:
    token_ids, token_mask = sentences(*lengths)
    masks = torch.zeros(len(lengths), side, side, dtype=torch.bool)
    masks[:, side // 8 : 3 * side // 8, side // 4 : 5 * side // 8] = True
    images = torch.randn(len(lengths), 1, 3, side, side, generator=torch.Generator().manual_seed(1))
    return Batch(images=images, token_ids=token_ids, token_mask=token_mask, masks=masks)


class Plain(nn.Module):
    """A system that stores the tokens that it reads, and the features that it returns."""

    loss_features: tuple[str, ...] = ()

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.feature_widths = {"query": width, "visual": width}
        self.words = nn.Embedding(len(VOCABULARY), width)
        self.pixels = nn.Conv2d(3, width, 16, stride=16)
        self.seen: list[Tensor] = []
        self.features: dict[str, Tensor] = {}

    def forward(self, batch: Batch, *, features: Iterable[str] = (), explain: bool = False) -> Output:
        self.seen.append(batch.token_ids)
        query, visual = self.words(batch.token_ids), self.pixels(batch.images[:, 0])
        logits = (visual.mean((2, 3)) * query.mean(1)).sum(-1)[:, None, None].expand(-1, *batch.images.shape[-2:])
        self.features = {"query": query, "visual": visual}
        return Output(logits=logits, features={name: self.features[name] for name in features})

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        assert batch.masks is not None
        self.seen.append(batch.token_ids)
        return {"mask": nn.functional.binary_cross_entropy_with_logits(output.logits, batch.masks.float())}


def plain(config: MaskGroundingConfig = SMALL) -> MaskGrounding:
    torch.manual_seed(3)
    return config.build(Plain(), VOCABULARY).train()


def grounded(name: str, config: MaskGroundingConfig = SMALL) -> MaskGrounding:
    torch.manual_seed(3)
    return config.build(SYSTEMS[name](), VOCABULARY).train()


def test_words_are_replaced_with_the_given_probability() -> None:
    objective = plain(replace(SMALL, probability=0.15))
    batch = batch_of(*[12] * 400, side=16)
    replaced = torch.stack([objective.draw(batch) for _ in range(20)])
    # At least one: of twelve words 12 p on average, and 1 where none would have been drawn.
    expected = (0.15 * 12 + 0.85**12) / 12
    assert replaced[..., 1:13].float().mean().item() == pytest.approx(expected, abs=0.004)
    everywhere = replaced[..., 1:13].float().mean((0, 1))
    assert (everywhere - expected).abs().max() < 0.02  # at every position


def test_special_and_padding_tokens_are_never_replaced() -> None:
    objective = plain(replace(SMALL, probability=1.0))
    batch = batch_of(3, 6, 1)
    batch.token_ids[1, 4] = UNK
    for _ in range(5):
        replaced = objective.draw(batch)
        expected = batch.token_mask & (batch.token_ids > MASK)
        assert torch.equal(replaced, expected)
    assert replaced.sum(1).tolist() == [3, 5, 1]


def test_of_two_words_or_more_at_least_one_is_replaced_and_any_may_be() -> None:
    objective = plain(replace(SMALL, probability=0.0))
    batch = batch_of(*[2] * 100, *[5] * 100, *[1] * 50, side=16)
    replaced = objective.draw(batch)
    assert (replaced[:200].sum(1) == 1).all()
    assert not replaced[200:].any()
    assert replaced[:100, 1:3].any(0).all()
    assert replaced[100:200, 1:6].any(0).all()


def test_the_only_word_of_an_expression_is_replaced_with_the_probability_alone() -> None:
    replaced = plain(replace(SMALL, probability=0.3)).draw(batch_of(*[1] * 4000, side=16))
    assert replaced[:, 1].float().mean().item() == pytest.approx(0.3, abs=0.03)


def test_a_fraction_below_one_leaves_some_expressions_as_they_are() -> None:
    replaced = plain(replace(SMALL, fraction=0.25)).draw(batch_of(*[4] * 4000, side=16))
    assert replaced.any(1).float().mean().item() == pytest.approx(0.25, abs=0.03)


def drawing(objective: MaskGrounding, replaced: Tensor) -> MaskGrounding:
    """The objective, which replaces just these words."""
    object.__setattr__(objective, "draw", lambda batch: replaced)
    return objective


def test_the_system_reads_the_mask_token_and_its_loss_gets_what_it_read() -> None:
    objective = plain()
    batch = batch_of(3, 5)
    before = batch.token_ids.clone()
    torch.manual_seed(5)
    replaced = objective.draw(batch)
    torch.manual_seed(5)
    objective.terms(batch, 0)
    read, scored = objective.system.seen
    assert replaced.any(1).all()
    assert torch.equal(read, torch.where(replaced, MASK, before))
    assert torch.equal(scored, read)
    assert torch.equal(batch.token_ids, before)


def test_the_system_is_run_once_with_the_features_that_both_losses_read() -> None:
    class Asking(Plain):
        loss_features = ("visual",)
        asked: tuple[str, ...] = ()

        def forward(self, batch: Batch, *, features: Iterable[str] = (), explain: bool = False) -> Output:
            self.asked = (*self.asked, *features)
            assert not explain
            return super().forward(batch, features=features)

    objective = SMALL.build(Asking(), VOCABULARY)
    objective.terms(batch_of(3), 0)
    assert objective.requires == objective.system.asked == ("query", "visual")


def test_the_mean_nll_of_the_replaced_words() -> None:
    logits = torch.zeros(3, len(VOCABULARY))
    logits[0, 6], logits[1, 20] = 2.0, 1.0
    rest = len(VOCABULARY) - 1
    each = [math.log(math.exp(2) + rest) - 2, math.log(math.e + rest), math.log(rest + 1)]
    assert mean_nll(logits, torch.tensor([6, 7, 5])).item() == pytest.approx(sum(each) / 3, rel=1e-5)


def test_the_term_is_the_weighted_nll_of_the_words_that_were_replaced() -> None:
    batch = batch_of(4, 2)
    replaced = torch.zeros_like(batch.token_mask)
    replaced[0, 2] = replaced[0, 3] = replaced[1, 1] = True  # words 6, 7 and 5
    objective = drawing(plain(replace(SMALL, weight=0.5)), replaced)
    terms = objective.terms(batch, 0)
    query, visual = objective.system.features["query"], objective.system.features["visual"]
    logits = objective.predictor(query, batch.token_mask, visual, batch.masks, replaced)
    expected = 0.5 * -logits.log_softmax(-1)[torch.arange(3), torch.tensor([6, 7, 5])].mean()
    torch.testing.assert_close(terms["grounding"], expected)


def test_predictions_have_the_order_of_the_replaced_words_and_each_reads_its_own_expression() -> None:
    objective = plain().eval()
    batch = batch_of(4, 6, 3)
    features = objective.system(batch, features=("query", "visual")).features
    query, visual = features["query"], features["visual"]
    replaced = torch.zeros_like(batch.token_mask)
    replaced[0, 2] = replaced[0, 4] = replaced[2, 1] = True
    together = objective.predictor(query, batch.token_mask, visual, batch.masks, replaced)
    assert together.shape == (3, len(VOCABULARY))
    for place, (row, column) in enumerate(((0, 2), (0, 4), (2, 1))):
        one, length = slice(row, row + 1), int(batch.token_mask[row].sum())
        alone = objective.predictor(
            query[one, :length],
            batch.token_mask[one, :length],
            visual[one],
            batch.masks[one],  # type: ignore[index]
            torch.arange(length)[None] == column,
        )
        torch.testing.assert_close(alone[0], together[place], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("encoder", ["centre", "box", "shape"])
def test_gradients_of_the_term_reach_words_pixels_and_the_mask_encoder(encoder: str) -> None:
    objective = plain(replace(SMALL, encoder=encoder))
    batch = batch_of(3, 5)
    terms = objective.terms(batch, 0)
    features = objective.system.features
    query, visual = torch.autograd.grad(terms["grounding"], list(features.values()), retain_graph=True)
    assert query.abs().amax(-1)[batch.token_mask].min() > 0
    assert not query[~batch.token_mask].any()
    assert visual.abs().amax(1).min() > 0
    terms["grounding"].backward()
    target = list(objective.predictor.target.parameters())
    assert target
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in target)


def test_the_position_of_the_referent_changes_the_predictions() -> None:
    objective = plain().eval()
    batch = batch_of(3, 3)
    features = objective.system(batch, features=("query", "visual")).features
    replaced = batch.token_ids == 6
    inputs = (features["query"], batch.token_mask, features["visual"])
    here = objective.predictor(*inputs, batch.masks, replaced)
    there = objective.predictor(*inputs, batch.masks.flip(2), replaced)  # type: ignore[union-attr]
    assert (here - there).abs().max() > 1e-4


def test_words_of_an_empty_mask_are_replaced_like_any_others_but_not_predicted() -> None:
    """Otherwise [MASK] would mean that the referent is there, and a presence head would learn just that."""
    objective = plain(replace(SMALL, probability=1.0))
    whole = batch_of(3, 4)
    half = replace(whole, masks=whole.masks.clone())  # type: ignore[union-attr]
    half.masks[1] = False  # type: ignore[index]
    assert objective.draw(half).sum(1).tolist() == [3, 4]
    alone = batch_of(3)
    # The images of both batches begin with the same one.
    expected = objective.terms(alone, 0)["grounding"]
    torch.testing.assert_close(objective.terms(half, 0)["grounding"], expected, atol=1e-5, rtol=1e-5)


def test_a_batch_without_any_predicted_word_costs_nothing_and_has_finite_gradients() -> None:
    objective = plain(replace(SMALL, probability=0.0))
    for batch in (batch_of(1, 1), replace(batch_of(4, 5), masks=torch.zeros(2, 64, 64, dtype=torch.bool))):
        terms = objective.terms(batch, 0)
        assert terms["grounding"].item() == 0
        torch.stack(list(terms.values())).sum().backward()
        gradients = [parameter.grad for parameter in objective.parameters()]
        assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


def test_all_words_may_be_replaced() -> None:
    terms = plain(replace(SMALL, probability=1.0)).terms(batch_of(1, 4), 0)
    assert terms["grounding"].item() == pytest.approx(math.log(len(VOCABULARY)), rel=0.5)


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_weight_of_the_system_and_the_predictor_gets_a_gradient(name: str) -> None:
    objective = grounded(name)
    # VEGA selects three in ten of the coarsest cells: of four cells one, whose softmax has no gradient.
    terms = objective(batch_of(3, 5, 2, side=128), 0)
    assert {"mask", "grounding"} <= set(terms)
    torch.stack(list(terms.values())).sum().backward()
    without = [name for name, each in objective.named_parameters() if each.grad is None or not each.grad.any()]
    assert without == []


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_systems_weights_and_names_are_its_own(name: str) -> None:
    inside = grounded(name).system.state_dict()
    torch.manual_seed(3)
    alone = SYSTEMS[name]().state_dict()  # the same seed, without the objective
    assert alone.keys() == inside.keys()
    assert all(torch.equal(inside[key], value) for key, value in alone.items())


@pytest.mark.parametrize("name", SYSTEMS)
def test_expressions_that_share_an_image_are_predicted_as_if_they_did_not(name: str) -> None:
    objective = grounded(name)
    plain = batch_of(3, 5, 2)
    index = torch.tensor([1, 0, 1])
    shared = replace(plain, images=plain.images[:2], image_index=index)
    unshared = replace(plain, images=plain.images[:2][index])
    found = []
    for batch in (shared, unshared):
        torch.manual_seed(8)
        found.append(objective.terms(batch, 0)["grounding"])
    torch.testing.assert_close(found[0], found[1], atol=2e-5, rtol=1e-4)


def test_one_seed_replaces_one_choice_of_words() -> None:
    objective = grounded("vega", replace(SMALL, dropout=0.2))
    batch = batch_of(6, 9, 4)
    terms = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        terms.append(objective.terms(batch, 0))
    assert all(torch.equal(terms[0][name], terms[1][name]) for name in terms[0])
    assert not torch.equal(terms[0]["grounding"], terms[2]["grounding"])


def test_lower_precision_gives_nearly_the_same_term() -> None:
    objective = grounded("lavt")
    batch = batch_of(3, 5)
    found = []
    for enabled in (False, True):
        torch.manual_seed(8)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            found.append(objective.terms(batch, 0)["grounding"])
    assert found[1].dtype == torch.float32
    torch.testing.assert_close(found[0], found[1], atol=0.1, rtol=0.05)


@pytest.mark.usefixtures("one_thread")
def test_a_replaced_word_is_learned_from_what_the_mask_shows() -> None:
    """ "The COLOUR thing", one of four colours; each image shows all four, in any order, and one is the referent.

    Without the colour neither the sentence nor the image alone tells it: four are equally likely.
    """
    config = replace(SMALL, layers=2, width=64, heads=4, feed_forward=128, probability=1.0)
    objective = plain(config)
    objective.replaceable[5] = objective.replaceable[6] = False  # only the colour is replaced
    optimiser = torch.optim.AdamW(objective.parameters(), lr=1e-3)
    batch = coloured()
    losses = []
    for step in range(200):
        loss = objective.terms(batch, step)["grounding"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        if losses[-1] < 0.2 * math.log(4):
            break
    assert losses[0] > math.log(4)
    assert losses[-1] < 0.2 * math.log(4)
    # A referent elsewhere has another colour, which is then predicted.
    moved = replace(batch, masks=batch.masks.flip(2))  # type: ignore[union-attr]
    assert objective.terms(moved, 0)["grounding"] > 2 * math.log(4)


def coloured() -> Batch:
    """Four cells of 16 pixels with four colours in each of their 24 orders, and each cell the referent once."""
    palette = torch.tensor([[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, -1]])
    order = torch.tensor(list(permutations(range(4)))).repeat_interleave(4, 0)
    referent = torch.eye(4, dtype=torch.bool).repeat(24, 1)
    cells = "b (y x) c -> b 1 c (y v) (x h)"
    images = repeat(palette[order], cells, y=2, v=16, h=16)
    masks = repeat(referent, "b (y x) -> b (y v) (x h)", y=2, v=16, h=16)
    token_ids = torch.tensor([CLS, 5, 7, 6, SEP]).repeat(96, 1)
    token_ids[:, 2] += order[referent]
    return Batch(
        images=images, token_ids=token_ids, token_mask=torch.ones_like(token_ids, dtype=torch.bool), masks=masks
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"encoder": "center"}, "no encoder 'center'. Did you mean 'centre'"),
        ({"probability": 1.5}, "expected a probability and a fraction"),
        ({"fraction": 0.0}, "expected a probability and a fraction"),
        ({"weight": -1.0}, "weight of 0 or more"),
        ({"heads": 5}, "5 heads"),
        ({"layers": 0}, "0 layers"),
    ],
)
def test_settings_out_of_range_are_refused(change: dict[str, Any], sentence: str) -> None:
    config = replace(SMALL)
    for name, value in change.items():
        object.__setattr__(config, name, value)  # past the tests' own type checks
    with pytest.raises(InputError, match=sentence):
        config.__post_init__()


@pytest.mark.parametrize("width", [0, -4])
def test_a_predictor_without_channels_is_refused(width: int) -> None:
    with pytest.raises(InputError, match=f"width {width}"):
        replace(SMALL, width=width)


def test_the_defaults_are_the_published_ones() -> None:
    config = MaskGroundingConfig()
    assert (config.probability, config.layers, config.encoder, config.fraction) == (0.15, 8, "centre", 1.0)


def test_what_it_needs_is_one_sentence() -> None:
    without = tuple(token for token in VOCABULARY if token != "[MASK]")
    with pytest.raises(InputError, match=r"by \[MASK\], which this vocabulary of 39 lacks"):
        SMALL.build(Plain(), without)
    with pytest.raises(InputError, match="this batch has none"):
        plain().terms(replace(batch_of(2), masks=None), 0)


def test_a_system_whose_pixels_do_not_depend_on_the_words_is_refused() -> None:
    system = LateFusion(LateFusionConfig(vision=VISION, text=TEXT, width=8))
    with pytest.raises(InputError, match="features query and visual, but LateFusion has query"):
        SMALL.build(system, VOCABULARY)
