"""Losses against numbers computed by hand, and against loops."""

import math

import numpy as np
import pytest
import torch

from deixis.losses import bce, cell_masks, cross_modal_alignment, dice, mmd, multilevel_bce, pixel_contrast


def log_sigmoid(value: float) -> float:
    return -math.log1p(math.exp(-value))


def test_bce_is_the_mean_negative_log_likelihood() -> None:
    logits = torch.tensor([[[2.0, -1.0], [0.5, 3.0]]])
    masks = torch.tensor([[[True, False], [False, True]]])
    expected = -(log_sigmoid(2) + log_sigmoid(1) + log_sigmoid(-0.5) + log_sigmoid(3)) / 4
    assert bce(logits, masks).item() == pytest.approx(expected, abs=1e-6)


def test_bce_of_half_precision_logits_is_finite() -> None:
    loss = bce(torch.full((1, 2, 2), -200.0, dtype=torch.float16), torch.ones(1, 2, 2, dtype=torch.bool))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(200)


def test_dice_is_zero_for_a_certain_correct_mask_and_weights_masks_equally() -> None:
    masks = torch.zeros(2, 4, 4, dtype=torch.bool)
    masks[0, :2] = True  # 8 pixels; the second mask is empty
    certain = torch.where(masks, 50.0, -50.0)
    assert dice(certain, masks).item() == pytest.approx(0, abs=1e-6)
    half = torch.zeros(2, 4, 4)  # probability 1/2 everywhere: overlap 4, sums 8 + 8; then 0, 8 + 0
    expected = ((1 - 9 / 17) + (1 - 1 / 9)) / 2
    assert dice(half, masks).item() == pytest.approx(expected, abs=1e-6)


def test_bce_and_dice_equal_loops() -> None:
    draw = np.random.default_rng(0)
    logits, masks = draw.normal(size=(3, 4, 5)) * 3, draw.random((3, 4, 5)) > 0.6
    nlls, dices = [], []
    for scores, mask in zip(logits, masks, strict=True):
        overlap = total = inside = 0.0
        for score, is_target in zip(scores.ravel(), mask.ravel(), strict=True):
            probability = 1 / (1 + math.exp(-score))
            nlls.append(-math.log(probability if is_target else 1 - probability))
            overlap, total, inside = overlap + probability * is_target, total + probability, inside + is_target
        dices.append(1 - (2 * overlap + 1) / (total + inside + 1))
    given = torch.from_numpy(logits).float(), torch.from_numpy(masks)
    assert bce(*given).item() == pytest.approx(np.mean(nlls), abs=1e-5)
    assert dice(*given).item() == pytest.approx(np.mean(dices), abs=1e-5)


def test_pixel_contrast_is_equation_5() -> None:
    similarity, temperature = torch.tensor([[[0.8, -0.2], [0.1, -0.9]]]), 0.5
    masks = torch.tensor([[[True, False], [False, True]]])
    expected = -(log_sigmoid(1.6) + log_sigmoid(0.4) + log_sigmoid(-0.2) + log_sigmoid(-1.8)) / 4
    assert pixel_contrast(similarity / temperature, masks).item() == pytest.approx(expected, abs=1e-6)


def test_pixel_contrast_of_an_empty_target_pushes_every_pixel_away() -> None:
    logits = torch.tensor([[[3.0, -1.0]]], requires_grad=True)
    loss = pixel_contrast(logits, torch.zeros(1, 4, 8, dtype=torch.bool))
    assert loss.item() == pytest.approx(-(log_sigmoid(-3) + log_sigmoid(1)) / 2, abs=1e-6)
    loss.backward()
    assert (logits.grad > 0).all()


def test_pixel_contrast_weights_a_cell_by_the_fraction_that_the_target_covers() -> None:
    masks = torch.zeros(1, 4, 8, dtype=torch.bool)
    masks[0, :, :2] = True  # half of the left cell
    logits = torch.tensor([[[2.0, -1.0]]])
    expected = -(0.5 * log_sigmoid(2) + 0.5 * log_sigmoid(-2) + log_sigmoid(1)) / 2
    assert pixel_contrast(logits, masks).item() == pytest.approx(expected, abs=1e-6)
    smallest = torch.zeros(1, 4, 8, dtype=torch.bool)
    smallest[0, 3, 7] = True  # one pixel of a cell's sixteen still counts
    assert pixel_contrast(logits, smallest) != pixel_contrast(logits, torch.zeros_like(smallest))


def test_every_loss_has_a_gradient() -> None:
    masks = torch.rand(2, 6, 6) > 0.5
    for loss in (bce, dice, pixel_contrast):
        logits = torch.randn(2, 6, 6, requires_grad=True)
        loss(logits, masks).backward()
        assert (logits.grad != 0).all()


def test_cross_modal_alignment_is_the_number_computed_by_hand_and_skips_empty_targets() -> None:
    pixels = (
        torch.tensor([[[[2.0, 0.0], [0.0, 3.0]]]]).repeat(2, 1, 1, 1).requires_grad_()
    )  # unit vectors: (1, 0), (0, 1)
    sentence = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    masks = torch.tensor([[[True, False]], [[False, False]]])
    expected = math.log1p(math.exp(-10)) + math.log1p(math.exp(-1 / 0.3))
    loss = cross_modal_alignment(pixels, sentence, masks)
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    loss.backward()
    assert pixels.grad[0].abs().max() > 0
    assert pixels.grad[1].abs().max() == 0
    for nothing in (torch.zeros_like(masks), torch.ones_like(masks)):
        assert cross_modal_alignment(pixels, sentence, nothing).item() == 0


def alignment_by_loops(pixels: np.ndarray, sentence: np.ndarray, inside: np.ndarray) -> float:
    """One image: each pixel of the target against all pixels outside."""
    pixels = pixels / np.linalg.norm(pixels, axis=-1, keepdims=True)
    sentence = sentence / np.linalg.norm(sentence)
    middle, others, total = pixels[inside].mean(0), pixels[~inside], 0.0
    for pixel in pixels[inside]:
        to_pixels = sum(math.exp(float(pixel @ other) / 0.1) for other in others)
        positive = math.exp(float(pixel @ middle) / 0.1)
        total -= math.log(positive / (positive + to_pixels))
        to_text = sum(math.exp(float(sentence @ other) / 0.3) for other in others)
        positive = math.exp(float(sentence @ pixel) / 0.3)
        total -= math.log(positive / (positive + to_text))
    return total / int(inside.sum())


def test_cross_modal_alignment_equals_a_double_loop_over_pixels() -> None:
    draw = torch.Generator().manual_seed(0)
    pixels, sentence = torch.randn(3, 4, 5, 6, generator=draw), torch.randn(3, 6, generator=draw)
    cells = torch.rand(3, 4, 5, generator=draw) > 0.7
    masks = cells.repeat_interleave(4, 1).repeat_interleave(4, 2)  # the target at the image's size
    expected = [alignment_by_loops(*(each.numpy() for each in of)) for of in zip(pixels, sentence, cells, strict=True)]
    assert cross_modal_alignment(pixels, sentence, masks).item() == pytest.approx(np.mean(expected), abs=1e-5)


def test_a_target_that_vanishes_at_the_size_of_the_features_is_not_counted() -> None:
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randn(2, 4, 4, 6, generator=draw).requires_grad_()
    sentence = torch.randn(2, 6, generator=draw).requires_grad_()
    masks = torch.zeros(2, 16, 16, dtype=torch.bool)
    masks[0, :8, :8] = True
    alone = cross_modal_alignment(pixels[:1], sentence[:1], masks[:1])
    masks[1, 3, 3] = True  # one pixel of a cell's sixteen
    loss = cross_modal_alignment(pixels, sentence, masks)
    assert loss == alone
    loss.backward()
    assert pixels.grad[0].any()
    assert sentence.grad[0].any()
    assert not pixels.grad[1].any()
    assert not sentence.grad[1].any()


def test_alignment_without_any_target_is_zero_with_a_zero_gradient() -> None:
    pixels, sentence = torch.randn(2, 4, 4, 6, requires_grad=True), torch.randn(2, 6, requires_grad=True)
    loss = cross_modal_alignment(pixels, sentence, torch.zeros(2, 16, 16, dtype=torch.bool))
    loss.backward()
    assert loss == 0
    assert not pixels.grad.any()
    assert not sentence.grad.any()


def test_alignment_draws_at_most_the_given_pixels_of_a_side_as_the_seed_determines() -> None:
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randn(1, 20, 20, 6, generator=draw).requires_grad_()
    sentence, masks = torch.randn(1, 6, generator=draw), torch.zeros(1, 20, 20, dtype=torch.bool)
    masks[:, :10] = True
    torch.manual_seed(1)
    drawn = cross_modal_alignment(pixels, sentence, masks, most=30)
    torch.manual_seed(1)
    assert cross_modal_alignment(pixels, sentence, masks, most=30) == drawn
    drawn.backward()
    touched = pixels.grad.abs().sum(-1) > 0
    assert touched[:, 10:].sum() == 30  # all pixels of the target are in its mean
    full = cross_modal_alignment(pixels, sentence, masks)
    assert full == cross_modal_alignment(pixels, sentence, masks, most=200)  # nothing is drawn
    assert full != drawn


def test_masks_on_a_grid_are_the_half_covered_cells_and_at_least_the_most_covered_one() -> None:
    masks = torch.zeros(3, 4, 6, dtype=torch.bool)
    masks[0, :2, :3] = True  # the first cell, and half of the second
    masks[1, 3, 5] = True  # a quarter of the last cell
    expected = torch.zeros(3, 2, 3, dtype=torch.bool)
    expected[0, 0, :2] = expected[1, 1, 2] = True
    assert torch.equal(cell_masks(masks, (2, 3)), expected)


def test_multilevel_bce_sums_the_means_of_the_levels() -> None:
    draw = torch.Generator().manual_seed(0)
    masks = torch.zeros(2, 4, 4, dtype=torch.bool)
    masks[0, :2] = masks[1, 2:, :2] = True
    fine, coarse = torch.randn(2, 4, 4, generator=draw), torch.randn(2, 2, 2, generator=draw)
    total = 0.0
    for response, target in ((fine, masks.numpy()), (coarse, masks[:, ::2, ::2].numpy())):
        s, a = 1 / (1 + np.exp(-response.double().numpy())), target.astype(float)
        total += (-a * np.log(s) - (1 - a) * np.log(1 - s)).mean()
    assert multilevel_bce([fine, coarse], masks).item() == pytest.approx(total, rel=1e-6)


def test_mmd_is_the_sum_of_five_gaussian_kernels() -> None:
    draw = torch.Generator().manual_seed(0)
    source, target = torch.randn(4, 3, generator=draw), torch.randn(6, 3, generator=draw) + 1
    rows = torch.cat([source, target]).double().numpy()
    d = np.array([[((x - y) ** 2).sum() for y in rows] for x in rows])
    beta = d.sum() / (10**2 - 10)
    K = sum(np.exp(-d / (beta * 2 ** (i - 2))) for i in range(5))
    expected = K[:4, :4].mean() + K[4:, 4:].mean() - 2 * K[:4, 4:].mean()
    assert mmd(source, target).item() == pytest.approx(expected, rel=1e-5)


def test_mmd_of_equal_sets_is_zero_and_grows_with_their_distance() -> None:
    rows = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    near, far = mmd(rows, rows + 0.5), mmd(rows, rows + 2)
    assert abs(mmd(rows, rows).item()) < 1e-6
    assert 0 < near < far
    assert mmd(torch.ones(2, 3), torch.ones(2, 3)).isfinite()
