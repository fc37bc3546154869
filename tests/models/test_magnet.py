"""MagNet: its loss against numbers computed by hand, and that each option changes what it should."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.batch import Batch, Output
from deixis.errors import InputError
from deixis.models.magnet import MagNet, MagNetConfig
from deixis.text.bert import BertConfig
from deixis.vision.swin import SwinConfig

TINY = MagNetConfig(
    vision=SwinConfig(embed_dim=8, depths=(1, 1, 1, 1), heads=(1, 1, 2, 2), window=4, drop_path=0.0),
    text=BertConfig(layers=4, width=16, heads=2, feed_forward=32, vocabulary=40, positions=24, dropout=0.0),
    width=32,
    mask_width=16,
    heads=2,
    pixel_layers=2,
    pixel_feed_forward=32,
    query_layers=3,
    query_feed_forward=32,
)
ABSENT = torch.tensor([False, True, False])


def make_batch(words: int = 6, height: int = 64, width: int = 48) -> Batch:
    draw = torch.Generator().manual_seed(7)
    masks = torch.zeros(3, height, width, dtype=torch.bool)
    masks[0, 8:40, 4:30] = masks[1, 20:50, 10:40] = masks[2, 30:60, 8:44] = True
    return Batch(
        images=torch.randn(3, 1, 3, height, width, generator=draw),
        token_ids=torch.randint(1, 40, (3, words), generator=draw),
        token_mask=torch.arange(words) < torch.tensor([[words], [min(words, 3)], [min(words, 4)]]),
        masks=masks,
    )


def without(batch: Batch, absent: Tensor) -> Batch:
    """The same batch, where some expressions have no referent."""
    return replace(batch, masks=batch.masks & ~absent[:, None, None])


def build(**changes: object) -> MagNet:
    torch.manual_seed(3)
    return MagNet(replace(TINY, **changes)).eval()


def shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: weight.shape for name, weight in module.named_parameters()}


def reached(model: MagNet, term: Tensor) -> set[str]:
    """The parts of the model that get a gradient from a loss term."""
    model.zero_grad()
    term.backward()
    return {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}


def by_hand(batch: Batch) -> tuple[Output, np.ndarray, np.ndarray]:
    """An output of four layers: masks at the size of the batch's masks, and presence."""
    draw = np.random.default_rng(2)
    masks, presence = draw.normal(size=(3, 4, *batch.masks.shape[1:])), draw.normal(size=(3, 4))
    features = {"layer_masks": torch.from_numpy(masks).float(), "layer_presence": torch.from_numpy(presence).float()}
    return Output(logits=features["layer_masks"][:, -1], features=features), masks, presence


def run(model: MagNet, batch: Batch) -> Output:
    return model(batch, features=model.loss_features)


@pytest.mark.parametrize("absent", [torch.tensor([False] * 3), ABSENT])
def test_the_mask_terms_are_mask2formers_before_the_first_layer_and_after_each(absent: Tensor) -> None:
    batch = make_batch(height=12, width=8)
    batch = replace(batch, masks=torch.rand(3, 12, 8, generator=torch.Generator().manual_seed(0)) > 0.6)
    batch = without(batch, absent)
    output, layer_masks, presence = by_hand(batch)
    expected = {"mask": 0.0, "dice": 0.0, "presence": 0.0}
    present = [number for number in range(3) if not absent[number]]
    for layer in range(4):
        for number in present:
            target, probability = batch.masks[number].numpy(), 1 / (1 + np.exp(-layer_masks[number, layer]))
            nll = -np.log(np.where(target, probability, 1 - probability))
            unlike = 1 - (2 * (probability * target).sum() + 1) / (probability.sum() + target.sum() + 1)
            expected["mask"] += 5 * nll.mean() / len(present)
            expected["dice"] += 5 * unlike / len(present)
        for number in range(3):
            probability = 1 / (1 + math.exp(-presence[number, layer]))
            expected["presence"] += 2 * -math.log(probability if number in present else 1 - probability) / 3
    terms = build(alignment_weight=0.0).loss(batch, output)
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(expected, rel=1e-5)


def test_the_loss_counts_the_masks_before_the_first_layer_and_after_each() -> None:
    for layers in (1, 3, 5):
        output = run(build(query_layers=layers), make_batch())
        assert output.features["layer_masks"].shape[1] == layers + 1
        assert output.features["layer_presence"].shape[1] == layers + 1
        assert torch.equal(output.features["layer_presence"][:, -1], output.presence)


def test_masks_are_compared_at_the_labels_size_with_corners_aligned() -> None:
    batch, model = make_batch(), build()
    output = run(model, batch)
    larger = F.interpolate(output.features["layer_masks"], size=(64, 48), mode="bilinear", align_corners=True)
    given = replace(output, features=output.features | {"layer_masks": larger})
    for name, term in model.loss(batch, output).items():
        torch.testing.assert_close(term, model.loss(batch, given)[name])
    torch.testing.assert_close(larger[:, -1], output.logits)


def test_loss_weights_multiply_their_terms() -> None:
    batch, plain = make_batch(), build()
    heavy = build(mask_weight=1.0, dice_weight=10.0, presence_weight=4.0, alignment_weight=0.5)
    before, after = plain.loss(batch, run(plain, batch)), heavy.loss(batch, run(heavy, batch))
    assert list(before) == ["mask", "dice", "presence", "alignment"]
    for name, factor in {"mask": 0.2, "dice": 2.0, "presence": 2.0, "alignment": 0.5}.items():
        torch.testing.assert_close(after[name], factor * before[name])


def test_the_mask_of_an_absent_referent_gets_no_gradient_and_the_class_head_learns_its_absence() -> None:
    batch, model = without(make_batch(), ABSENT), build()
    output = run(model, batch)
    layer_masks, presence = output.features["layer_masks"], output.features["layer_presence"]
    terms = model.loss(batch, output)
    slopes = torch.autograd.grad(terms["mask"] + terms["dice"], layer_masks, retain_graph=True)[0]
    assert not slopes[1].any()
    assert slopes[0].any()
    assert slopes[2].any()
    pull = torch.autograd.grad(terms["presence"], presence, retain_graph=True)[0]
    assert (pull[1] > 0).all()
    assert (pull[[0, 2]] < 0).all()
    pixels = torch.autograd.grad(terms["alignment"], output.features["mask_pixels"])[0]
    assert not pixels[1].any()


def test_a_batch_of_absent_referents_alone_has_finite_terms() -> None:
    batch, model = without(make_batch(), torch.tensor([True] * 3)), build()
    terms = model.loss(batch, run(model, batch))
    assert terms["mask"] == terms["dice"] == terms["alignment"] == 0
    assert terms["presence"] > 0
    torch.stack(list(terms.values())).sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_without_a_class_head_the_mask_itself_learns_to_be_empty() -> None:
    batch, model = without(make_batch(), ABSENT), build(presence=False)
    output = run(model, batch)
    terms = model.loss(batch, output)
    assert list(terms) == ["mask", "dice", "alignment"]
    for name in ("mask", "dice"):
        pull = torch.autograd.grad(terms[name], output.features["layer_masks"], retain_graph=True)[0]
        assert (pull[1] >= 0).all()
        assert pull[1].any()


def test_each_term_reaches_the_parts_that_it_should() -> None:
    model, batch = build().train(), make_batch()
    seen = {"text", "fusion", "pixels"}
    for name, parts in {
        "mask": seen | {"referent"},
        "dice": seen | {"referent"},
        "presence": seen | {"referent", "present"},
        "alignment": seen | {"sentence"},
    }.items():
        assert reached(model, model.loss(batch, run(model, batch))[name]) == parts


def test_an_expression_of_one_token_has_logits_and_a_loss() -> None:
    for form in ("intended", "published"):
        model, batch = build(language_fusion=form), make_batch(words=1)
        output = run(model, batch)
        assert output.logits.isfinite().all()
        terms = model.loss(batch, output)
        assert all(term.isfinite() for term in terms.values())
        torch.stack(list(terms.values())).sum().backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_a_loss_needs_masks_and_the_features_that_it_reads() -> None:
    model, batch = build(), make_batch()
    with pytest.raises(InputError, match="has none"):
        model.loss(replace(batch, masks=None), run(model, batch))
    with pytest.raises(InputError, match=r"reads the features layer_masks, .*features=system\.loss_features"):
        model.loss(batch, model(batch))
    with torch.no_grad():
        assert model.loss(batch, run(model, batch)).keys() == {"mask", "dice", "presence", "alignment"}


def test_it_overfits_one_scene_and_which_referents_are_absent() -> None:
    torch.manual_seed(0)
    batch = without(make_batch(width=64), ABSENT)
    image = batch.masks[0].float() - batch.masks[2].float() + 0.1 * torch.randn(1, 3, 64, 64)
    batch = replace(batch, images=image[:, None], image_index=torch.zeros(3, dtype=torch.long))
    model = build(pixel_layers=1, query_layers=1).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(40):
        optimiser.zero_grad()
        torch.stack(list(model.loss(batch, run(model, batch)).values())).sum().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    with torch.no_grad():
        output = model.eval()(batch)
    found = output.logits > 0
    overlap = (found & batch.masks).sum((1, 2)) / (found | batch.masks).sum((1, 2))
    assert overlap[~ABSENT].min() > 0.8
    assert ((output.presence > 0) == ~ABSENT).all()


# Options. `build` seeds alike, so models of equal parameters have equal weights.


def test_without_pooled_sides_only_the_pooled_scales_are_absent() -> None:
    default, flat = shapes(build()), shapes(build(pooled_sides=()))
    scales = {name for name in default if ".scales." in name}
    assert set(default) - set(flat) == scales
    assert set(flat) <= set(default)
    changed = {name for name in flat if flat[name] != default[name]}
    assert changed == {f"fusion.alignments.{stage}.mix.weight" for stage in range(4)}
    model, batch = build(pooled_sides=()), make_batch()
    stage = model.fusion.alignments[0]
    features, words = torch.randn(3, 4, 5, 8), torch.randn(3, 6, 16)
    aligned, fused, _ = stage(features, words, batch.token_mask)
    torch.testing.assert_close(aligned, F.gelu(stage.output(stage.norm(stage.mix(fused)))))


def test_without_the_alignment_module_the_decoder_reads_the_norm_of_the_fused_map() -> None:
    default, bare = shapes(build()), shapes(build(alignment_module=False))
    parts = {name for name in default if re.search(r"alignments\.\d\.(scales|mix|output)\.", name)}
    assert len(parts) > 16
    assert {name: shape for name, shape in default.items() if name not in parts} == bare
    stage, batch = build(alignment_module=False).fusion.alignments[0], make_batch()
    features, words = torch.randn(3, 4, 5, 8), torch.randn(3, 6, 16)
    aligned, fused, attention = stage(features, words, batch.token_mask)
    expected, weights = stage.fusion(features.flatten(1, 2), words, batch.token_mask)
    torch.testing.assert_close(fused.flatten(1, 2), expected)
    torch.testing.assert_close(attention, weights)
    torch.testing.assert_close(aligned, stage.norm(fused))
    model = build(alignment_module=False)
    output = run(model, batch)
    assert output.logits.shape == batch.masks.shape
    torch.stack(list(model.loss(batch, output).values())).sum().backward()
    gradients = {name: weight.grad for name, weight in model.fusion.alignments[3].named_parameters()}
    assert all(gradient is not None and gradient.any() for gradient in gradients.values()), gradients


def test_without_alignment_the_loss_lacks_a_term_and_the_network_a_projection_and_nothing_else() -> None:
    default, without_it, batch = build(), build(alignment_weight=0.0), make_batch()
    assert set(shapes(default)) - set(shapes(without_it)) == {"sentence.weight", "sentence.bias"}
    before, after = run(default, batch), run(without_it, batch)
    assert torch.equal(before.logits, after.logits)
    assert set(before.features) - set(after.features) == {"mask_pixels", "sentence"}
    terms, fewer = default.loss(batch, before), without_it.loss(batch, after)
    assert set(terms) - set(fewer) == {"alignment"}
    assert all(torch.equal(fewer[name], terms[name]) for name in fewer)


def test_without_a_class_head_the_logits_are_the_same_and_there_is_no_presence() -> None:
    default, headless, batch = build(alignment_weight=0.0), build(presence=False, alignment_weight=0.0), make_batch()
    assert set(shapes(default)) - set(shapes(headless)) == {"present.weight", "present.bias"}
    before, after = run(default, batch), run(headless, batch)
    assert torch.equal(before.logits, after.logits)
    assert set(before.features) - set(after.features) == {"layer_presence"}
    assert before.presence.isfinite().all()
    assert after.presence is None


def test_both_forms_of_the_language_fusion_have_the_same_weights_and_different_logits() -> None:
    intended, published, batch = build(), build(language_fusion="published"), make_batch()
    assert shapes(intended) == shapes(published)
    for gate in (*intended.fusion.word_gates, *published.fusion.word_gates):  # as after training: open
        nn.init.ones_(gate.gate.weight)
    assert (intended(batch).logits - published(batch).logits).abs().max() > 1e-3


def test_the_published_form_reads_exactly_twenty_tokens() -> None:
    model, batch = build(language_fusion="published"), make_batch()
    padding = torch.full((3, 14), 17)
    full = replace(
        batch,
        token_ids=torch.cat((batch.token_ids, padding), 1),
        token_mask=torch.cat((batch.token_mask, torch.zeros(3, 14, dtype=torch.bool)), 1),
    )
    assert torch.equal(model(full).logits, model(batch).logits)
    garbage = replace(batch, token_ids=torch.where(batch.token_mask, batch.token_ids, 33))
    assert torch.equal(model(garbage).logits, model(batch).logits)
    output = model(batch, features=("query", "attention"), explain=True)
    assert output.evidence["pixel_word_attention_1"].shape == (3, 6, 16, 12)
    assert output.features["query"].shape == (3, 6, 16)
    assert output.features["attention"].shape == (3, 4, 6)
    longer = replace(full, token_ids=F.pad(full.token_ids, (0, 1)), token_mask=F.pad(full.token_mask, (0, 1)))
    with pytest.raises(InputError, match=r"reads 20 tokens, but the batch has 21.*max_tokens=20"):
        model(longer)
    assert build()(longer).logits.isfinite().all()


def test_the_published_forms_result_depends_on_the_amount_of_padding() -> None:
    fusion = build(language_fusion="published").fusion.word_fusions[0]
    words, features, mask = torch.randn(3, 6, 16), torch.randn(3, 4, 4, 8), make_batch().token_mask
    gathered = fusion(words, features, mask)
    more = fusion(F.pad(words, (0, 0, 0, 3)), features, F.pad(mask, (0, 3)))[:, :6]
    assert (more - gathered)[mask].abs().max() > 1e-3


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("language_fusion", "intent", "Did you mean 'intended'"),
        ("fusion_heads", (1, 1), "give 4 and 3 numbers"),
        ("fusion_heads", (3, 1, 1, 1), "cannot share a quarter"),
        ("language_heads", (5, 1, 1), "must divide BERT's width"),
        ("width", 48, "multiple of 32"),
        ("text", replace(TINY.text, layers=3), "give 4 or more"),
        ("pooled_sides", (0,), "pooled_sides must each be 1 or more"),
        ("query_layers", 0, "query_layers and pooled_sides must each be 1"),
        ("dice_weight", -1.0, "dice_weight is -1.0; expected 0 or more"),
    ],
)
def test_a_wrong_option_is_named_with_what_it_may_be(name: str, value: object, hint: str) -> None:
    config = replace(TINY)
    object.__setattr__(config, name, value)  # without the tests' own type checks, like a value from the command line
    with pytest.raises(InputError, match=hint):
        config.__post_init__()


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("heads", 0, "MagNet's heads is 0; expected a positive number"),
        ("width", 0, "width is 0"),
        ("mask_width", -1, "mask_width is -1"),
        ("query_feed_forward", 0, "query_feed_forward is 0"),
        ("pixel_feed_forward", 0, "pixel_feed_forward is 0"),
        ("language_heads", (0, 1, 1), "must divide BERT's width"),
        ("fusion_heads", (1, 0, 1, 1), "Fusion 2's 0 heads cannot share"),
        ("alignment_weight", float("nan"), "alignment_weight is nan"),
    ],
)
def test_a_number_out_of_range_is_one_sentence(name: str, value: object, hint: str) -> None:
    config = replace(TINY)
    object.__setattr__(config, name, value)
    with pytest.raises(InputError, match=hint):
        config.__post_init__()
