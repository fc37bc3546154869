"""MAN's moments and pseudo labels against NumPy."""

import numpy as np
import pytest
import torch

from deixis.adapt.man import moment_distance, own_labels


def test_moments_are_means_and_covariances() -> None:
    draw = torch.Generator().manual_seed(0)
    first, second = torch.randn(5, 3, generator=draw).double(), torch.randn(7, 3, generator=draw).double()
    x, y = first.numpy(), second.numpy()
    covariances = [np.cov(rows.T, bias=True) for rows in (x, y)]
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + ((covariances[0] - covariances[1]) ** 2).sum() / 3
    assert moment_distance(first, second).item() == pytest.approx(expected)
    assert moment_distance(first, first.flip(0)).item() == pytest.approx(0, abs=1e-12)


def test_without_rows_the_moments_have_no_distance() -> None:
    rows = torch.randn(4, 3, requires_grad=True)
    for loss in (moment_distance(rows, rows[:0]), moment_distance(rows[:0], rows)):
        loss.backward()
        assert loss.item() == 0


def test_only_reliable_pixels_are_learned_with_their_own_labels() -> None:
    logits = torch.tensor([[[4.0, 1.0], [-1.0, -3.0]]], requires_grad=True)
    loss = own_labels(logits, 0.9, 0.1)
    p = 1 / (1 + np.exp(-np.array([4.0, -3.0])))
    assert loss.item() == pytest.approx(-(np.log(p[0]) + np.log(1 - p[1])) / 2, rel=1e-5)
    loss.backward()
    assert logits.grad is not None
    assert (logits.grad != 0).tolist() == [[[True, False], [False, True]]]


def test_without_reliable_pixels_there_is_nothing_to_learn() -> None:
    logits = torch.zeros(1, 2, 2, requires_grad=True)
    loss = own_labels(logits, 0.9, 0.1)
    loss.backward()
    assert loss.item() == 0
