"""VEGA: the literal decoder, its loss and evidence, and that each option changes what it should and nothing else."""

import runpy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from deixis.batch import Batch, Output
from deixis.errors import InputError
from deixis.models.vega import VEGA, VEGAConfig
from deixis.system import System
from deixis.text.bert import BertConfig
from deixis.vision.swin import SwinConfig

literal = runpy.run_path(str(Path(__file__).with_name("literal_vega.py")))["literal"]

TINY = VEGAConfig(
    vision=SwinConfig(embed_dim=8, depths=(1, 1, 1, 1), heads=(1, 1, 2, 2), window=4, drop_path=0.0),
    text=BertConfig(layers=1, width=16, heads=2, feed_forward=32, vocabulary=40, positions=16, dropout=0.0),
    width=32,
    heads=2,
    decoder_widths=(16, 16, 24),
)


def make_batch(count: int = 2, words: int = 6, height: int = 96, width: int = 64, images: int | None = None) -> Batch:
    draw = torch.Generator().manual_seed(7)
    lengths = torch.tensor([words, *(3 + number % (words - 2) for number in range(count - 1))])
    return Batch(
        images=torch.randn(images or count, 1, 3, height, width, generator=draw),
        token_ids=torch.randint(1, 40, (count, words), generator=draw),
        token_mask=torch.arange(words) < lengths[:, None],
        masks=torch.rand(count, height, width, generator=draw) > 0.6,
        image_index=None if images is None else torch.arange(count) % images,
    )


def build(**changes: object) -> VEGA:
    torch.manual_seed(3)
    return VEGA(replace(TINY, **changes)).eval()


def predict(model: VEGA, batch: Batch) -> Output:
    with torch.no_grad():
        return model(batch, features=model.loss_features, explain=True)


def loss_terms(model: VEGA, batch: Batch) -> dict[str, Tensor]:
    return model.loss(batch, model(batch, features=model.loss_features))


def names(model: VEGA) -> set[str]:
    return {name for name, _ in model.named_parameters()}


def starting(start: str, of: set[str]) -> set[str]:
    return {name for name in of if name.startswith(start)}


def test_it_is_a_system_and_its_logits_have_the_images_size() -> None:
    model = build()
    assert isinstance(model, System)
    for height, width in ((96, 64), (200, 168), (33, 70)):
        output = predict(model, make_batch(height=height, width=width))
        assert output.logits.shape == (2, height, width)
        assert output.logits.isfinite().all()


@pytest.mark.parametrize("size", [(128, 96), (200, 168), (33, 470)], ids=str)
def test_it_is_the_published_decoder_written_out(size: tuple[int, int]) -> None:
    model = build().double()
    for name, weight in model.named_parameters():
        if name.startswith(("guide", "look", "stages", "mask")) and name.endswith("bias"):
            torch.nn.init.normal_(weight, std=0.3)  # so that every bias and every ReLU has an effect
    batch = make_batch(count=3, height=size[0], width=size[1])
    batch = replace(batch, images=batch.images.double())
    output = predict(model, batch)
    with torch.no_grad():
        logits, visual = literal(model, batch)
    torch.testing.assert_close(output.logits, logits, rtol=0, atol=1e-9)
    fractions = output.evidence["attention_to_visual_expression"]
    torch.testing.assert_close(fractions.double(), visual, rtol=0, atol=1e-6)  # they are computed in float32
    assert visual.diff(dim=1).abs().min() > 1e-5  # so that their order matters


def test_the_contrasts_log_temperature_starts_at_its_default() -> None:
    assert build().log_temperature.item() == -2.5


def test_every_weight_gets_a_gradient() -> None:
    model, batch = build().train(), make_batch(count=3)
    sum(loss_terms(model, batch).values()).backward()
    # Words beyond the batch's, positions beyond its length and the second token type are never looked up.
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []


def test_the_loss_has_named_weighted_terms() -> None:
    batch = make_batch()
    model = build()
    terms = loss_terms(model, batch)
    assert set(terms) == {"mask", "pixel_contrast"}
    logits, masks = model(batch).logits, batch.masks
    torch.testing.assert_close(terms["mask"], -torch.where(masks, logits, -logits).sigmoid().log().mean())
    double = build(pixel_contrast_weight=2.0, dice_weight=0.5)
    more = loss_terms(double, batch)
    assert set(more) == {"mask", "pixel_contrast", "dice"}
    torch.testing.assert_close(more["pixel_contrast"], 2 * terms["pixel_contrast"])
    torch.testing.assert_close(more["mask"], terms["mask"])


def test_a_batch_without_masks_has_no_loss() -> None:
    model, batch = build(), replace(make_batch(), masks=None)
    with pytest.raises(InputError, match="masks"):
        loss_terms(model, batch)


def test_padding_words_change_nothing() -> None:
    model, batch = build(), make_batch()
    padding = torch.randint(1, 40, (2, 4), generator=torch.Generator().manual_seed(1))
    words = torch.where(batch.token_mask, batch.token_ids, torch.tensor(9))
    longer = replace(
        batch,
        token_ids=torch.cat((words, padding), 1),
        token_mask=torch.cat((batch.token_mask, torch.zeros(2, 4, dtype=torch.bool)), 1),
    )
    before, after = predict(model, batch), predict(model, longer)
    torch.testing.assert_close(after.logits, before.logits, rtol=0, atol=1e-5)
    for now, then in (
        (after.features["pixel_contrast"], before.features["pixel_contrast"]),
        (after.evidence["attention_to_visual_expression"], before.evidence["attention_to_visual_expression"]),
    ):
        torch.testing.assert_close(now, then, rtol=0, atol=1e-5)


def test_an_expression_of_one_token_has_logits_and_a_loss() -> None:
    for cues in ("both", "local", "global", "none"):
        model, batch = build(cues=cues), make_batch()
        batch = replace(batch, token_ids=batch.token_ids[:, :1], token_mask=batch.token_mask[:, :1])
        output = model(batch, features=model.loss_features)
        assert output.logits.isfinite().all()
        assert all(term.isfinite() for term in model.loss(batch, output).values())


def test_a_batch_equals_its_expressions_one_by_one_and_shared_images_equal_copies() -> None:
    model, batch = build(), make_batch(count=4, images=2)
    together = predict(model, batch)
    for number in range(4):
        alone = replace(
            batch,
            images=batch.images[batch.image_index[number : number + 1]],
            token_ids=batch.token_ids[number : number + 1],
            token_mask=batch.token_mask[number : number + 1],
            masks=None,
            image_index=None,
        )
        output = predict(model, alone)
        torch.testing.assert_close(output.logits[0], together.logits[number], rtol=0, atol=1e-5)
        assert torch.equal(output.evidence["selected"][0], together.evidence["selected"][number])


def test_a_clip_is_seen_at_its_middle_frame() -> None:
    model, batch = build(), make_batch()
    clip = torch.cat((batch.images + 1, batch.images, batch.images - 1), 1)
    assert torch.equal(predict(model, replace(batch, images=clip)).logits, predict(model, batch).logits)


def test_it_overfits_one_scene() -> None:
    torch.manual_seed(0)
    batch = make_batch(height=64, width=64, images=1)
    masks = torch.zeros(2, 64, 64, dtype=torch.bool)
    masks[0, 8:32, 8:40] = masks[1, 40:60, 20:60] = True  # two expressions, two regions of one image
    image = torch.randn(1, 1, 3, 64, 64) * 0.1 + masks[0] - masks[1].float()
    batch = replace(batch, images=image, masks=masks)
    model = build().train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(80):
        optimiser.zero_grad()
        sum(loss_terms(model, batch).values()).backward()
        optimiser.step()
    found = predict(model.eval(), batch).logits > 0
    overlap = (found & masks).sum((1, 2)) / (found | masks).sum((1, 2))
    assert overlap.min() > 0.9


def test_the_evidence_explains_each_word_and_each_stage() -> None:
    batch = make_batch(height=200, width=168)
    evidence = predict(build(), batch).evidence
    assert evidence["similarity"].shape == evidence["selected"].shape == (2, 6, 7, 6)
    assert evidence["similarity"].abs().max() <= 1 + 1e-6
    assert (evidence["selected"].sum((2, 3)) == int(0.3 * 42)).all()
    lowest_in = evidence["similarity"].masked_fill(~evidence["selected"], 2).amin((2, 3))
    highest_out = evidence["similarity"].masked_fill(evidence["selected"], -2).amax((2, 3))
    assert (lowest_in >= highest_out).all()
    fractions = evidence["attention_to_visual_expression"]
    assert fractions.shape == (2, 4)
    assert ((fractions > 0) & (fractions < 1)).all()


def test_the_figures_vectors_are_the_pixels_and_the_guidance_set() -> None:
    model, batch = build(), make_batch()
    found = model.vectors(batch)
    assert found["pixels"].shape == (2, 6, 32)
    similarity = model.guide.expression.similarity(found["pixels"], found["words"])
    torch.testing.assert_close(similarity, predict(model, batch).evidence["similarity"].flatten(2), rtol=0, atol=1e-5)
    visual = model.guide.expression(found["pixels"], found["words"], batch.token_mask).tokens
    torch.testing.assert_close(found["visual"], visual, rtol=0, atol=1e-5)


# Options. `build` seeds alike, so models of equal parameters have equal weights.


def test_guidance_by_words_alone_reads_no_pixels_and_selects_none() -> None:
    default, words = build(), build(guidance="words")
    assert names(default) - names(words) == starting("guide.", names(default)) | {"log_temperature"}
    output = predict(words, make_batch())
    assert output.evidence == {}
    assert set(words.loss(make_batch(), output)) == {"mask"}
    pixels, tokens = torch.randn(2, 5, 32), torch.randn(2, 6, 32)
    assert torch.equal(words.guide(pixels, tokens, make_batch().token_mask).tokens, tokens)


def test_enhanced_guidance_is_the_words_after_attending_to_the_pixels() -> None:
    default, enhanced = build(), build(guidance="enhanced")
    assert names(default) - names(enhanced) == starting("guide.expression.", names(default)) | {"log_temperature"}
    pixels, tokens, mask = torch.randn(2, 5, 32), torch.randn(2, 6, 32), make_batch().token_mask
    found = enhanced.guide(pixels, tokens, mask)
    enhanced.guide.enhance.load_state_dict(default.guide.enhance.state_dict())
    found, full = enhanced.guide(pixels, tokens, mask), default.guide(pixels, tokens, mask)
    assert torch.equal(found.tokens, full.tokens[:, :6])
    assert torch.equal(found.mask, mask)
    assert torch.equal(full.mask, torch.cat((mask, mask), 1))


@pytest.mark.parametrize("choice", ["all-pixels", "top-pixels"])
def test_pixels_may_replace_the_visual_expression(choice: str) -> None:
    default, model = build(), build(visual_guidance=choice)
    missing = starting("guide.expression.c", names(default))
    if choice == "all-pixels":
        assert names(default) - names(model) == starting("guide.expression.", names(default)) | {"log_temperature"}
    else:
        assert names(default) - names(model) == missing | starting("guide.expression.similarity", names(default))
        assert names(model) - names(default) == {
            f"guide.similarity.{part}" for part in ("pixels.weight", "pixels.bias", "words.weight", "words.bias")
        }
    pixels, tokens, mask = torch.randn(2, 10, 32), torch.randn(2, 6, 32), make_batch().token_mask
    found = model.guide(pixels, tokens, mask)
    assert torch.equal(found.tokens[:, 6:], pixels)
    assert torch.equal(found.mask[:, :6], mask)
    expected = torch.ones(2, 10, dtype=torch.bool) if choice == "all-pixels" else found.maps["selected"][:, 0]
    assert torch.equal(found.mask[:, 6:], expected)
    if choice == "top-pixels":
        assert (found.mask[:, 6:].sum(1) == 3).all()
    # A pixel that is not selected does not reach the decoder.
    guided = model.look(pixels, found.tokens, found.mask[:, None])
    unseen = torch.where(found.mask[..., None], found.tokens, torch.tensor(5.0))
    torch.testing.assert_close(model.look(pixels, unseen, found.mask[:, None]), guided)


@pytest.mark.parametrize(("cues", "kept"), [("global", [0]), ("local", [1, 2, 3, 4, 5]), ("both", [0, 1, 2, 3, 4, 5])])
def test_cues_choose_the_visual_tokens_that_guide(cues: str, kept: list[int]) -> None:
    model = build(cues=cues)
    assert names(model) == names(build())
    mask = torch.ones(2, 6, dtype=torch.bool)
    found = model.guide(torch.randn(2, 10, 32), torch.randn(2, 6, 32), mask)
    assert found.mask[:, :6].all()
    assert found.mask[0, 6:].nonzero()[:, 0].tolist() == kept


def test_without_cues_a_learned_token_selects_and_the_visual_expression_ignores_the_words() -> None:
    model = build(cues="none")
    assert names(model) - names(build()) == {"guide.expression.cue"}
    assert names(build()) <= names(model)
    pixels, mask = torch.randn(2, 10, 32), torch.ones(2, 6, dtype=torch.bool)
    first = model.guide(pixels, torch.randn(2, 6, 32), mask)
    second = model.guide(pixels, torch.randn(2, 6, 32), mask)
    assert first.tokens.shape == (2, 7, 32)
    assert torch.equal(first.tokens[:, 6:], second.tokens[:, 6:])


def test_the_default_values_are_the_published_model() -> None:
    spelled = build(
        guidance="enhanced+visual",
        visual_guidance="expression",
        cues="both",
        selection="top-k",
        selection_ratio=0.3,
        weigh_by_similarity=True,
        normalise="selected",
        attend_to_selected=True,
        pixel_contrast=True,
    )
    default = build()
    assert spelled.config == default.config
    assert torch.equal(predict(spelled, make_batch()).logits, predict(default, make_batch()).logits)


@pytest.mark.parametrize(
    "change",
    [
        {"cues": "global"},
        {"cues": "local"},
        {"selection": "threshold"},
        {"selection_ratio": 0.8},
        {"weigh_by_similarity": False},
        {"normalise": "none"},
        {"normalise": "all"},
    ],
    ids=str,
)
def test_options_of_the_selection_keep_the_weights_and_similarities_but_change_the_logits(change: dict) -> None:
    default, changed, batch = build(), build(**change), make_batch(height=128, width=128)
    assert names(default) == names(changed)
    if "normalise" in change:  # only a scale of E unless the cross-attention's norm is absent
        default, changed = build(attend_to_selected=False), build(**change, attend_to_selected=False)
    first, second = predict(default, batch), predict(changed, batch)
    assert torch.equal(first.evidence["similarity"], second.evidence["similarity"])
    assert not torch.equal(first.logits, second.logits)
    same_pixels = torch.equal(first.evidence["selected"], second.evidence["selected"])
    assert same_pixels == (not {"selection", "selection_ratio"} & set(change))


def test_pixel_contrast_adds_a_term_and_a_temperature_and_keeps_the_logits() -> None:
    default, without, batch = build(), build(pixel_contrast=False), make_batch()
    assert names(default) - names(without) == {"log_temperature"}
    output = predict(without, batch)
    assert torch.equal(output.logits, predict(default, batch).logits)
    assert set(without.loss(batch, output)) == {"mask"}
    contrast = predict(default, batch).features["pixel_contrast"]
    similarity = predict(default, batch).evidence["similarity"][:, 0]
    torch.testing.assert_close(contrast, similarity / default.log_temperature.exp())


def test_attention_to_the_selected_pixels_is_a_layer_that_can_be_omitted() -> None:
    default, without, batch = build(), build(attend_to_selected=False), make_batch()
    assert names(default) - names(without) == starting("guide.expression.cross.", names(default))
    assert names(without) <= names(default)
    without.load_state_dict({name: tensor for name, tensor in default.state_dict().items() if name in names(without)})
    first, second = predict(default, batch), predict(without, batch)
    for name in ("similarity", "selected"):
        assert torch.equal(first.evidence[name], second.evidence[name])
    assert not torch.allclose(first.logits, second.logits)


def test_normalising_over_all_pixels_only_scales_and_the_cross_attentions_norm_cancels_it() -> None:
    batch = make_batch(height=128, width=128)
    found = predict(build(normalise="all"), batch).logits
    torch.testing.assert_close(found, predict(build(), batch).logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("guidance", "wrods", "Did you mean 'words'"),
        ("visual_guidance", "pixels", "Did you mean 'top-pixels'"),
        ("cues", "some", "both, global, local, none"),
        ("selection", "top_k", "Did you mean 'top-k'"),
        ("normalise", "select", "Did you mean 'selected'"),
        ("selection_ratio", 0.0, "0, 1"),
        ("selection_ratio", 1.2, "0, 1"),
        ("heads", 3, "multiple"),
        ("decoder_widths", (8, 8), "strides"),
        ("pixel_contrast_weight", -1.0, "pixel_contrast_weight is -1.0; expected 0 or more"),
    ],
)
def test_a_wrong_option_is_named_with_what_it_may_be(name: str, value: object, hint: str) -> None:
    config = replace(TINY)
    object.__setattr__(config, name, value)  # without the tests' own type checks, like a value from the command line
    with pytest.raises(InputError, match=hint):
        config.__post_init__()


def test_autocast_keeps_the_logits_and_their_gradients_finite() -> None:
    model, batch = build().train(), make_batch(height=64, width=64)
    with torch.autocast("cpu", torch.bfloat16):
        output = model(batch, features=model.loss_features)
        terms = model.loss(batch, output)
    assert all(term.dtype == torch.float32 for term in terms.values())
    sum(terms.values()).backward()
    assert all(weight.grad.isfinite().all() for weight in model.parameters())
    full = predict(model.eval(), batch).logits
    torch.testing.assert_close(output.logits.float(), full, rtol=0, atol=0.1)


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("heads", 0, "cannot be shared by 0 heads"),
        ("heads", -2, "cannot be shared by -2 heads"),
        ("fusion_heads", (1, 1), "fuses after 4 stages"),
        ("fusion_heads", (0, 0, 0, 0), "Fusion 1's 0 heads cannot share 8 channels"),
        ("fusion_heads", (1, 1, 3, 1), "Fusion 3's 3 heads cannot share 32 channels"),
        ("dice_weight", float("nan"), "dice_weight is nan; expected 0 or more"),
    ],
)
def test_a_number_out_of_range_is_one_sentence(name: str, value: object, hint: str) -> None:
    config = replace(TINY)
    object.__setattr__(config, name, value)
    with pytest.raises(InputError, match=hint):
        config.__post_init__()
