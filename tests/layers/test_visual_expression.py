"""Visual information selection against Algorithm 1 written out, and each option against its definition."""

import runpy
from pathlib import Path

import pytest
import torch
from torch import Tensor

from deixis.layers.attention import MASKED
from deixis.layers.visual_expression import (
    VisualExpression,
    above_half,
    equally,
    similarity_itself,
    softmax_over_all,
    softmax_over_selected,
    top_k,
)

literal = runpy.run_path(str(Path(__file__).with_name("literal_vis.py")))["literal"]


def draw(words: int = 6, pixels: int = 40, width: int = 32, batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    mask = torch.arange(words) < torch.tensor([words, max(1, words - 3)])[:batch, None]
    features = torch.randn(batch, pixels, width, generator=generator)
    return features, torch.randn(batch, words, width, generator=generator), mask


def build(width: int = 32, heads: int = 4, **options: object) -> VisualExpression:
    torch.manual_seed(0)
    return VisualExpression(width, heads, **options)


@pytest.mark.parametrize(("words", "pixels", "width", "heads"), [(6, 40, 32, 4), (21, 225, 64, 8), (5, 400, 48, 1)])
def test_it_is_algorithm_1(words: int, pixels: int, width: int, heads: int) -> None:
    layer, (features, tokens, mask) = build(width, heads), draw(words, pixels, width)
    expected = literal(layer, features, tokens, mask)
    torch.testing.assert_close(layer(features, tokens, mask).tokens, expected, rtol=0, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(layer(features, tokens, mask).tokens, expected, rtol=0, atol=1e-5)


def test_its_gradients_are_those_of_algorithm_1() -> None:
    layer, (features, tokens, mask) = build(64, 4), draw(21, 225, 64)
    gradients = []
    for run in (lambda *inputs: layer(*inputs).tokens, lambda *inputs: literal(layer, *inputs)):
        inputs = features.clone().requires_grad_(), tokens.clone().requires_grad_()
        layer.zero_grad()
        run(*inputs, mask).square().mean().backward()
        weights = {name: weight.grad.clone() for name, weight in layer.named_parameters()}
        gradients.append({"pixels": inputs[0].grad, "words": inputs[1].grad} | weights)
    for name, expected in gradients[1].items():
        torch.testing.assert_close(gradients[0][name], expected, rtol=1e-3, atol=1e-7, msg=name)


def test_no_tensor_has_a_pixel_and_a_channel_for_each_word() -> None:
    layer, (features, tokens, mask) = build(64, 2), draw(11, 300, 64)
    largest = 0
    keep = []

    def remember(tensor: Tensor) -> Tensor:
        nonlocal largest
        largest = max(largest, tensor.numel())
        keep.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        layer(features.requires_grad_(), tokens, mask)
    assert keep
    assert largest <= 2 * 300 * max(64, 11 * 2)  # b·n·d or b·h·l·n, where b·l·n·d would be 11 times 64


@pytest.mark.parametrize("pixels", [1, 2, 3, 4])
def test_a_map_too_small_for_the_ratio_still_selects_a_pixel(pixels: int) -> None:
    layer, (features, tokens, mask) = build(), draw(pixels=pixels)
    found = layer(features, tokens, mask)
    assert (found.selected.sum(-1) == 1).all()
    assert found.tokens.isfinite().all()


def test_padding_words_change_nothing() -> None:
    for cues in ("both", "local", "global", "none"):
        layer, (features, tokens, mask) = build(cues=cues), draw()
        longer = torch.cat((tokens, torch.randn(2, 4, 32)), 1)
        longer_mask = torch.cat((mask, torch.zeros(2, 4, dtype=torch.bool)), 1)
        before, after = layer(features, tokens, mask), layer(features, longer, longer_mask)
        kept = before.tokens.shape[1]
        torch.testing.assert_close(after.tokens[:, :kept][before.mask], before.tokens[before.mask], rtol=0, atol=2e-6)
        assert torch.equal(after.mask[:, :kept], before.mask)
        assert not after.mask[:, kept:].any()


SCORES = torch.tensor([[[0.9, -0.5, 0.1, 0.4, -0.2], [-0.9, -0.5, -0.1, -0.4, -0.2]]])


def test_top_k_selects_the_highest_and_the_threshold_the_positive() -> None:
    assert top_k(SCORES, 0.4).int().tolist() == [[[1, 0, 0, 1, 0], [0, 0, 1, 0, 1]]]
    assert top_k(SCORES, 0.8).sum(-1).tolist() == [[4, 4]]
    assert top_k(SCORES, 1.0).all()
    # No pixel of the second word is above one half: its best one is selected.
    assert above_half(SCORES).int().tolist() == [[[1, 0, 1, 1, 0], [0, 0, 1, 0, 0]]]


def test_equal_similarities_do_not_add_pixels() -> None:
    assert top_k(torch.zeros(1, 1, 10), 0.3).sum() == 3


def test_weights_are_normalised_over_the_pixels_that_the_option_names() -> None:
    selected = top_k(SCORES, 0.4)
    plain = similarity_itself(SCORES, selected)
    assert plain[0].tolist() == [
        [SCORES[0, 0, 0], 0, 0, SCORES[0, 0, 3], 0],
        [0, 0, SCORES[0, 1, 2], 0, SCORES[0, 1, 4]],
    ]
    over_all = softmax_over_all(SCORES, selected)
    torch.testing.assert_close(over_all, SCORES.exp() / SCORES.exp().sum(-1, keepdim=True) * selected)
    over_selected = softmax_over_selected(SCORES, selected)
    exponents = SCORES.exp() * selected
    torch.testing.assert_close(over_selected, exponents / exponents.sum(-1, keepdim=True))
    printed = (SCORES + torch.where(selected, 0.0, MASKED)).softmax(-1) * selected  # M · softmax(S + M̂)
    torch.testing.assert_close(over_selected, printed)
    assert torch.equal(equally(SCORES, selected), selected.float())


def test_without_weights_the_pooled_vector_is_the_mean_of_the_selected_pixels_features() -> None:
    layer, (features, tokens, mask) = build(weigh_by_similarity=False, attend_to_selected=False), draw()
    found = layer(features, tokens, mask)
    means = torch.stack(
        [torch.stack([features[b, found.selected[b, word]].mean(0) for word in range(6)]) for b in range(2)]
    )
    torch.testing.assert_close(found.tokens, layer.context(means, mask), rtol=0, atol=1e-5)


def test_the_cross_attention_reads_selected_pixels_only() -> None:
    layer, (features, tokens, mask) = build(), draw()
    selected = layer(features, tokens, mask).selected
    word = 2
    features = features.requires_grad_()
    attended = layer.cross(tokens, features, selected)
    (gradient,) = torch.autograd.grad(attended[0, word].sum(), features)
    assert torch.equal(gradient[0].abs().sum(-1) > 0, selected[0, word])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_finite(dtype: torch.dtype) -> None:
    layer, (features, tokens, mask) = build().to(dtype), draw()
    found = layer(features.to(dtype), tokens.to(dtype), mask)
    assert found.tokens.dtype == dtype
    assert found.tokens.isfinite().all()
    full = build()(features, tokens, mask)
    torch.testing.assert_close(found.similarity.float(), full.similarity, rtol=0, atol=0.03)
