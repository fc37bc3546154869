"""Mask grounding takes out the right words, guesses them from what it should, and leaves the system as it was."""

import math
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
import torch
from einops import repeat
from torch import Tensor, nn

from deixis.batch import Batch, Output
from deixis.errors import DeixisError
from deixis.models.lavt import LAVT, LAVTConfig
from deixis.models.magnet import MagNet, MagNetConfig
from deixis.models.vega import VEGA, VEGAConfig
from deixis.objectives.mask_grounding import GroundingConfig, MaskGrounding
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
SMALL = GroundingConfig(layers=1, width=16, heads=2, feed_forward=32, dropout=0.0)


def sentences(*lengths: int, length: int | None = None) -> tuple[Tensor, Tensor]:
    """[CLS], as many different words as asked, [SEP], padding."""
    words = torch.full((len(lengths), length or max(lengths) + 2), PAD)
    for row, count in zip(words, lengths, strict=True):
        row[: count + 2] = torch.tensor([CLS, *range(5, 5 + count), SEP])
    return words, words != PAD


def batch_of(*lengths: int, side: int = 64) -> Batch:
    words, token_mask = sentences(*lengths)
    masks = torch.zeros(len(lengths), side, side, dtype=torch.bool)
    masks[:, side // 8 : 3 * side // 8, side // 4 : 5 * side // 8] = True
    images = torch.randn(len(lengths), 1, 3, side, side, generator=torch.Generator().manual_seed(1))
    return Batch(images=images, token_ids=words, token_mask=token_mask, masks=masks)


class Plain(nn.Module):
    """A system that shows what words it was given, and what it was given to see."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.width = width
        self.words = nn.Embedding(len(VOCABULARY), width)
        self.pixels = nn.Conv2d(3, width, 16, stride=16)
        self.seen: list[Tensor] = []

    def forward(self, batch: Batch) -> Output:
        self.seen.append(batch.token_ids)
        words = self.words(batch.token_ids)
        pixels = self.pixels(batch.images[:, 0]).permute(0, 2, 3, 1)
        logits = (pixels.mean((1, 2)) * words.mean(1)).sum(-1)[:, None, None].expand(-1, *batch.images.shape[-2:])
        return Output(logits=logits, evidence={"words": words, "pixels": pixels} if torch.is_grad_enabled() else {})

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        assert batch.masks is not None
        self.seen.append(batch.token_ids)
        return {"mask": nn.functional.binary_cross_entropy_with_logits(output.logits, batch.masks.float())}


def plain(config: GroundingConfig = SMALL) -> MaskGrounding:
    torch.manual_seed(3)
    return MaskGrounding(Plain(), config, VOCABULARY, 16, 16).train()


def grounded(name: str, config: GroundingConfig = SMALL) -> MaskGrounding:
    torch.manual_seed(3)
    return MaskGrounding(SYSTEMS[name](), config, VOCABULARY, 16, 64).train()


def test_words_are_taken_out_as_often_as_asked() -> None:
    drawn = plain(replace(SMALL, probability=0.15))
    batch = batch_of(*[12] * 400, side=16)
    replaced = torch.stack([drawn.draw(batch) for _ in range(20)])
    # At least one: of twelve words 12 p on average, and 1 where none would have been drawn.
    expected = (0.15 * 12 + 0.85**12) / 12
    assert replaced[..., 1:13].float().mean().item() == pytest.approx(expected, abs=0.004)
    everywhere = replaced[..., 1:13].float().mean((0, 1))
    assert (everywhere - expected).abs().max() < 0.02  # no place is spared


def test_special_and_padding_words_are_never_taken_out() -> None:
    drawn = plain(replace(SMALL, probability=1.0))
    batch = batch_of(3, 6, 1)
    batch.token_ids[1, 4] = UNK
    for _ in range(5):
        replaced = drawn.draw(batch)
        expected = batch.token_mask & (batch.token_ids > MASK)
        assert torch.equal(replaced, expected)
    assert replaced.sum(1).tolist() == [3, 5, 1]


def test_of_two_words_or_more_at_least_one_is_taken_out_and_any_may_be() -> None:
    drawn = plain(replace(SMALL, probability=0.0))
    batch = batch_of(*[2] * 100, *[5] * 100, *[1] * 50, side=16)
    replaced = drawn.draw(batch)
    assert (replaced[:200].sum(1) == 1).all()
    assert not replaced[200:].any()
    assert replaced[:100, 1:3].any(0).all()
    assert replaced[100:200, 1:6].any(0).all()


def test_a_sentence_of_one_word_loses_it_by_chance_alone() -> None:
    replaced = plain(replace(SMALL, probability=0.3)).draw(batch_of(*[1] * 4000, side=16))
    assert replaced[:, 1].float().mean().item() == pytest.approx(0.3, abs=0.03)


def test_a_share_below_one_leaves_some_sentences_as_they_are() -> None:
    replaced = plain(replace(SMALL, share=0.25)).draw(batch_of(*[4] * 4000, side=16))
    assert replaced.any(1).float().mean().item() == pytest.approx(0.25, abs=0.03)


def test_the_system_reads_the_mask_word_and_its_loss_gets_what_it_read() -> None:
    wrapper = plain()
    batch = batch_of(3, 5)
    before = batch.token_ids.clone()
    output = wrapper(batch)
    wrapper.loss(batch, output)
    replaced = output.evidence["replaced"]
    read, scored = wrapper.system.seen
    assert replaced.any(1).all()
    assert torch.equal(read, torch.where(replaced, MASK, before))
    assert torch.equal(scored, read)
    assert torch.equal(batch.token_ids, before)


def test_the_term_is_the_mean_surprise_at_the_missing_words() -> None:
    wrapper = plain(replace(SMALL, weight=0.5))
    batch = batch_of(4, 2)
    output = wrapper(batch)
    replaced = torch.zeros_like(batch.token_mask)
    replaced[0, 2] = replaced[0, 3] = replaced[1, 1] = True  # words 6, 7 and 5
    guesses = torch.zeros(3, len(VOCABULARY))
    guesses[0, 6], guesses[1, 20] = 2.0, 1.0
    known = replace(output, evidence=output.evidence | {"replaced": replaced, "asked": replaced, "guesses": guesses})
    rest = len(VOCABULARY) - 1
    surprises = [math.log(math.exp(2) + rest) - 2, math.log(math.e + rest), math.log(rest + 1)]
    assert wrapper.loss(batch, known)["grounding"].item() == pytest.approx(0.5 * sum(surprises) / 3, rel=1e-5)


def test_guesses_stand_in_the_order_of_the_missing_words_and_each_reads_its_own_sentence() -> None:
    wrapper = plain().eval()
    batch = batch_of(4, 6, 3)
    output = wrapper.system(batch)
    words, pixels = output.evidence["words"], output.evidence["pixels"]
    replaced = torch.zeros_like(batch.token_mask)
    replaced[0, 2] = replaced[0, 4] = replaced[2, 1] = True
    together = wrapper.predictor(words, batch.token_mask, pixels, batch.masks, replaced)
    assert together.shape == (3, len(VOCABULARY))
    for place, (row, column) in enumerate(((0, 2), (0, 4), (2, 1))):
        one, length = slice(row, row + 1), int(batch.token_mask[row].sum())
        alone = wrapper.predictor(
            words[one, :length],
            batch.token_mask[one, :length],
            pixels[one],
            batch.masks[one],  # type: ignore[index]
            torch.arange(length)[None] == column,
        )
        torch.testing.assert_close(alone[0], together[place], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("encoder", ["centre", "box", "shape"])
def test_gradients_of_the_term_reach_words_pixels_and_the_target(encoder: str) -> None:
    wrapper = plain(replace(SMALL, encoder=encoder))
    batch = batch_of(3, 5)
    output = wrapper(batch)
    for name in ("words", "pixels"):
        output.evidence[name].retain_grad()
    wrapper.loss(batch, output)["grounding"].backward()
    assert output.evidence["words"].grad.abs().amax(-1)[batch.token_mask].min() > 0
    assert not output.evidence["words"].grad[~batch.token_mask].any()
    assert output.evidence["pixels"].grad.abs().amax(-1).min() > 0
    target = list(wrapper.predictor.target.parameters())
    assert target
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in target)


def test_where_the_target_lies_changes_the_guesses() -> None:
    wrapper = plain().eval()
    batch = batch_of(3, 3)
    output = wrapper.system(batch)
    replaced = batch.token_ids == 6
    asked = (output.evidence["words"], batch.token_mask, output.evidence["pixels"])
    here = wrapper.predictor(*asked, batch.masks, replaced)
    there = wrapper.predictor(*asked, batch.masks.flip(2), replaced)  # type: ignore[union-attr]
    assert (here - there).abs().max() > 1e-4


def test_an_empty_target_loses_words_like_any_other_and_adds_nothing() -> None:
    """Else [MASK] in a sentence would mean that its referent is there, and a presence head would learn just that."""
    wrapper = plain(replace(SMALL, probability=1.0))
    whole = batch_of(3, 4)
    half = replace(whole, masks=whole.masks.clone())  # type: ignore[union-attr]
    half.masks[1] = False  # type: ignore[index]
    output = wrapper(half)
    assert output.evidence["replaced"].sum(1).tolist() == [3, 4]
    assert output.evidence["asked"].sum(1).tolist() == [3, 0]
    alone = batch_of(3)
    expected = wrapper.loss(alone, wrapper(alone))["grounding"]
    # Instance by instance the same: images differ in the batch's first place by nothing.
    torch.testing.assert_close(wrapper.loss(half, output)["grounding"], expected, atol=1e-5, rtol=1e-5)


def test_a_batch_without_any_missing_word_costs_nothing_and_breaks_nothing() -> None:
    wrapper = plain(replace(SMALL, probability=0.0))
    for batch in (batch_of(1, 1), replace(batch_of(4, 5), masks=torch.zeros(2, 64, 64, dtype=torch.bool))):
        terms = wrapper.loss(batch, output := wrapper(batch))
        assert not output.evidence["asked"].any()
        assert terms["grounding"].item() == 0
        torch.stack(list(terms.values())).sum().backward()
        gradients = [parameter.grad for parameter in wrapper.parameters() if parameter.grad is not None]
        assert all(gradient.isfinite().all() for gradient in gradients)


def test_all_words_may_be_missing() -> None:
    wrapper = plain(replace(SMALL, probability=1.0))
    batch = batch_of(1, 4)
    terms = wrapper.loss(batch, output := wrapper(batch))
    assert output.evidence["guesses"].shape == (5, len(VOCABULARY))
    assert terms["grounding"].isfinite()
    assert terms["grounding"].item() == pytest.approx(math.log(len(VOCABULARY)), rel=0.5)


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_weight_of_system_and_wrapper_gets_a_gradient(name: str) -> None:
    wrapper = grounded(name)
    batch = batch_of(3, 5, 2)
    terms = wrapper.loss(batch, wrapper(batch))
    assert {"mask", "grounding"} <= set(terms)
    torch.stack(list(terms.values())).sum().backward()
    still = [name for name, each in wrapper.named_parameters() if each.grad is None or not each.grad.any()]
    assert still == []


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_systems_weights_and_names_are_its_own(name: str) -> None:
    wrapper = grounded(name)
    inside = {key: value for key, value in wrapper.state_dict().items() if key.startswith("system.")}
    torch.manual_seed(3)
    alone = SYSTEMS[name]().state_dict()  # the same seed, no wrapper
    assert {f"system.{key}" for key in alone} == set(inside)
    assert all(torch.equal(inside[f"system.{key}"], value) for key, value in alone.items())


@pytest.mark.parametrize("name", SYSTEMS)
def test_out_of_training_it_answers_as_the_system_does(name: str) -> None:
    wrapper = grounded(name).eval()
    batch = batch_of(3, 5)
    ours, theirs = wrapper(batch), wrapper.system(batch)
    assert torch.equal(ours.logits, theirs.logits)
    assert ours.evidence.keys() == theirs.evidence.keys()
    assert wrapper.loss(batch, ours).keys() == wrapper.system.loss(batch, theirs).keys()
    with torch.no_grad():
        assert "words" not in wrapper(batch).evidence
        shown = wrapper.train()(batch).evidence
        assert not {"words", "pixels", "guesses"} & shown.keys()


@pytest.mark.parametrize("name", SYSTEMS)
def test_sentences_that_share_an_image_are_guessed_as_if_they_did_not(name: str) -> None:
    wrapper = grounded(name)
    plain = batch_of(3, 5, 2)
    index = torch.tensor([1, 0, 1])
    shared = replace(plain, images=plain.images[:2], image_index=index)
    unshared = replace(plain, images=plain.images[:2][index])
    found = []
    for batch in (shared, unshared):
        torch.manual_seed(8)
        found.append(wrapper.loss(batch, wrapper(batch))["grounding"])
    torch.testing.assert_close(found[0], found[1], atol=2e-5, rtol=1e-4)


def test_one_seed_takes_out_one_choice_of_words() -> None:
    wrapper = grounded("vega", replace(SMALL, dropout=0.2))
    batch = batch_of(6, 9, 4)
    terms = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        terms.append(wrapper.loss(batch, wrapper(batch)))
    assert all(torch.equal(terms[0][name], terms[1][name]) for name in terms[0])
    assert not torch.equal(terms[0]["grounding"], terms[2]["grounding"])


def test_lower_precision_gives_nearly_the_same_term() -> None:
    wrapper = grounded("lavt")
    batch = batch_of(3, 5)
    found = []
    for enabled in (False, True):
        torch.manual_seed(8)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            output = wrapper(batch)
        found.append(wrapper.loss(batch, output)["grounding"])
    torch.testing.assert_close(found[0], found[1], atol=0.1, rtol=0.05)


@pytest.mark.usefixtures("one_thread")
def test_a_missing_word_is_learned_from_what_the_target_shows() -> None:
    """ "The COLOUR thing", one of four colours; each picture shows all four, in any order, and one of them is meant.

    Once its colour is missing, neither the sentence nor the picture tells it: four are equally likely.
    """
    config = replace(SMALL, layers=2, width=64, heads=4, feed_forward=128, probability=1.0)
    wrapper = plain(config)
    wrapper.guessable[5] = wrapper.guessable[6] = False  # the colour alone is taken out
    optimiser = torch.optim.AdamW(wrapper.parameters(), lr=1e-3)
    batch = coloured()
    surprises = []
    for _ in range(200):
        surprise = wrapper.loss(batch, wrapper(batch))["grounding"]
        optimiser.zero_grad()
        surprise.backward()
        optimiser.step()
        surprises.append(surprise.item())
        if surprises[-1] < 0.2 * math.log(4):
            break
    assert surprises[0] > math.log(4)
    assert surprises[-1] < 0.2 * math.log(4)
    # A target that lies elsewhere has another colour, and the guess follows it.
    moved = replace(batch, masks=batch.masks.flip(2))  # type: ignore[union-attr]
    assert wrapper.loss(moved, wrapper(moved))["grounding"] > 2 * math.log(4)


def coloured() -> Batch:
    """Four cells of 16 pixels with four colours in each of their 24 orders, and each cell meant once."""
    palette = torch.tensor([[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, -1]])
    order = torch.tensor(list(permutations(range(4)))).repeat_interleave(4, 0)
    meant = torch.eye(4, dtype=torch.bool).repeat(24, 1)
    cells = "b (y x) c -> b 1 c (y v) (x h)"
    images = repeat(palette[order], cells, y=2, v=16, h=16)
    masks = repeat(meant, "b (y x) -> b (y v) (x h)", y=2, v=16, h=16)
    words = torch.tensor([CLS, 5, 7, 6, SEP]).repeat(96, 1)
    words[:, 2] += order[meant]
    return Batch(images=images, token_ids=words, token_mask=torch.ones_like(words, dtype=torch.bool), masks=masks)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"encoder": "center"}, "no encoder 'center'. Did you mean 'centre'"),
        ({"probability": 1.5}, "probability and a share"),
        ({"share": 0.0}, "probability and a share"),
        ({"weight": -1.0}, "weight of 0 or more"),
        ({"heads": 5}, "cannot be built"),
        ({"layers": 0}, "cannot be built"),
    ],
)
def test_settings_that_cannot_be_are_refused(change: dict[str, Any], sentence: str) -> None:
    config = replace(SMALL)
    for name, value in change.items():
        object.__setattr__(config, name, value)  # past the tests' own type checks, as a command line's text would come
    with pytest.raises(DeixisError, match=sentence):
        config.__post_init__()


def test_the_defaults_are_the_published_ones() -> None:
    config = GroundingConfig()
    assert (config.probability, config.layers, config.encoder, config.share) == (0.15, 8, "centre", 1.0)


def test_what_it_needs_is_said_in_a_sentence() -> None:
    with pytest.raises(DeixisError, match=r"by \[MASK\], which this vocabulary of 39 lacks"):
        MaskGrounding(Plain(), SMALL, [word for word in VOCABULARY if word != "[MASK]"], 16, 16)
    with pytest.raises(DeixisError, match="this batch has none"):
        plain()(replace(batch_of(2), masks=None))

    class Silent(Plain):
        def forward(self, batch: Batch) -> Output:
            return replace(super().forward(batch), evidence={})

    with pytest.raises(DeixisError, match="Silent shows nothing"):
        MaskGrounding(Silent(), SMALL, VOCABULARY, 16, 16).train()(batch_of(2))


@pytest.mark.parametrize("width", [0, -4])
def test_a_predictor_without_channels_is_refused(width: int) -> None:
    with pytest.raises(DeixisError, match="cannot be built"):
        replace(SMALL, width=width)
