"""Losses against numbers worked out by hand."""

import math

import pytest
import torch

from deixis.losses import bce, cross_modal_alignment, dice, pixel_contrast, weighted_cross_entropy


def log_sigmoid(value: float) -> float:
    return -math.log1p(math.exp(-value))


def test_bce_is_the_mean_surprise() -> None:
    logits = torch.tensor([[[2.0, -1.0], [0.5, 3.0]]])
    masks = torch.tensor([[[True, False], [False, True]]])
    expected = -(log_sigmoid(2) + log_sigmoid(1) + log_sigmoid(-0.5) + log_sigmoid(3)) / 4
    assert bce(logits, masks).item() == pytest.approx(expected, abs=1e-6)


def test_bce_survives_logits_of_half_precision() -> None:
    loss = bce(torch.full((1, 2, 2), -200.0, dtype=torch.float16), torch.ones(1, 2, 2, dtype=torch.bool))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(200)


def test_dice_is_zero_for_certain_truth_and_counts_each_mask_alike() -> None:
    masks = torch.zeros(2, 4, 4, dtype=torch.bool)
    masks[0, :2] = True  # 8 pixels; the second mask is empty
    certain = torch.where(masks, 50.0, -50.0)
    assert dice(certain, masks).item() == pytest.approx(0, abs=1e-6)
    half = torch.zeros(2, 4, 4)  # chance 1/2 everywhere: overlap 4, sums 8 + 8; then 0, 8 + 0
    expected = ((1 - 9 / 17) + (1 - 1 / 9)) / 2
    assert dice(half, masks).item() == pytest.approx(expected, abs=1e-6)


def test_weighted_cross_entropy_weighs_pixels_by_class_and_divides_by_their_weights() -> None:
    logits = torch.tensor([[[[1.0, 0.0]], [[0.0, 2.0]]]])  # background, target; two pixels
    masks = torch.tensor([[[False, True]]])
    expected = -(0.9 * log_sigmoid(1) + 1.1 * log_sigmoid(2)) / (0.9 + 1.1)
    assert weighted_cross_entropy(logits, masks).item() == pytest.approx(expected, abs=1e-6)
    even = weighted_cross_entropy(logits, masks, (1.0, 1.0)).item()
    assert even == pytest.approx(-(log_sigmoid(1) + log_sigmoid(2)) / 2, abs=1e-6)


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


def test_pixel_contrast_counts_a_cell_by_the_share_of_it_that_the_target_covers() -> None:
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
    logits = torch.randn(2, 2, 6, 6, requires_grad=True)
    weighted_cross_entropy(logits, masks).backward()
    assert (logits.grad != 0).all()


def test_cross_modal_alignment_is_worked_out_by_hand_and_skips_empty_targets() -> None:
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
