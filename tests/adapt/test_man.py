"""MAN's moments and pseudo labels against NumPy."""

import numpy as np
import pytest
import torch
from torch import nn

from deixis.adapt.man import MANConfig, moment_distance, own_labels
from deixis.batch import Batch, Output
from deixis.layers.domains import Domain


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
    logits = torch.tensor([4.0, 1.0, -1.0, -3.0], requires_grad=True)
    loss = own_labels(logits, 0.9, 0.1)
    p = 1 / (1 + np.exp(-np.array([4.0, -3.0])))
    assert loss.item() == pytest.approx(-(np.log(p[0]) + np.log(1 - p[1])) / 2, rel=1e-5)
    loss.backward()
    assert logits.grad is not None
    assert (logits.grad != 0).tolist() == [True, False, False, True]


def test_without_reliable_pixels_there_is_nothing_to_learn() -> None:
    logits = torch.zeros(4, requires_grad=True)
    loss = own_labels(logits, 0.9, 0.1)
    loss.backward()
    assert loss.item() == 0


class Fixed(nn.Module):
    loss_features = ()
    feature_widths = {"visual": 4, "query": 3}  # noqa: RUF012


def test_padding_is_not_learned_as_background() -> None:
    images = torch.ones(1, 1, 3, 4, 4)
    images[..., 2:] = 0  # padding at the right
    ones = torch.ones(1, 2)
    batch = Batch(images=images, token_ids=ones.long(), token_mask=ones.bool())
    logits = torch.full((1, 4, 4), -5.0)
    logits[..., :2] = 6.0
    domain = Domain(
        batch, Output(logits=logits, features={"visual": torch.ones(1, 4, 2, 2), "query": torch.ones(1, 2, 3)})
    )
    method = MANConfig(num_steps=1).build(Fixed(), ())
    found = method.alignment(domain, domain, step=1)["labels"].item()
    assert found == pytest.approx(method.ramp(1) * np.log1p(np.exp(-6.0)), rel=1e-4)
