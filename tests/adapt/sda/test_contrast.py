"""Eq. 4 with several positives against NumPy, and what the memory bank holds."""

import numpy as np
import pytest
import torch

from deixis.adapt.sda.contrast import MemoryBank, feature_contrast, reliable


def test_pixels_between_the_thresholds_are_neither_foreground_nor_background() -> None:
    foreground, background = reliable(torch.tensor([[0.95, 0.9, 0.5, 0.1, 0.05]]))
    assert foreground.tolist() == [[True, False, False, False, False]]
    assert background.tolist() == [[False, False, False, False, True]]


@pytest.mark.parametrize("several", ["mean", "sum-in-log"])
def test_the_contrast_is_equation_4_with_several_positives(several: str) -> None:
    draw = torch.Generator().manual_seed(0)
    anchors, positives, negatives = (torch.randn(n, 5, generator=draw).double() for n in (3, 2, 4))
    v, p, m = (x.numpy() / np.linalg.norm(x.numpy(), axis=1, keepdims=True) for x in (anchors, positives, negatives))
    total = 0.0
    for i in range(3):
        near, far = np.exp(v[i] @ p.T / 0.1), np.exp(v[i] @ m.T / 0.1)
        ratios = near / (near.sum() + far.sum())
        total -= np.log(ratios).mean() if several == "mean" else np.log(ratios.sum())
    found = feature_contrast(anchors, positives, negatives, several=several)  # type: ignore[arg-type]
    assert found.item() == pytest.approx(total / 3)


def test_without_anchors_or_positives_the_contrast_is_zero_with_a_gradient() -> None:
    some, none = torch.randn(3, 5, requires_grad=True), torch.zeros(0, 5)
    for loss in (feature_contrast(some, none, some), feature_contrast(some[:0], some, some)):
        loss.backward(retain_graph=True)
        assert loss.item() == 0
    assert feature_contrast(some[:1], some[:1], none).item() == pytest.approx(0, abs=1e-6)


def one(number: float, kind: int = 0) -> torch.Tensor:
    """Two cells that point in a direction of their own."""
    return torch.tensor([[np.cos(number), np.sin(number), kind], [np.cos(number), np.sin(number), kind]]) * 3


def test_the_bank_holds_exactly_the_entries_that_came_last() -> None:
    bank = MemoryBank(2, 3, size=3, cells=2)
    for number in range(5):
        bank.enter(0, one(number), one(number, kind=1))
        foreground, background = bank.entries(0)
        latest = range(max(0, number - 2), number + 1)
        for held, kind in ((foreground, 0), (background, 1)):
            expected = torch.cat([torch.nn.functional.normalize(one(each, kind), dim=-1) for each in latest])
            np.testing.assert_allclose(sorted(held.tolist()), sorted(expected.tolist()))
    assert bank.entries(1)[0].shape == (0, 3)


def test_a_sample_without_foreground_or_background_does_not_enter() -> None:
    bank = MemoryBank(1, 3, size=3, cells=2)
    bank.enter(0, one(1)[:0], one(1))
    bank.enter(0, one(1), one(1)[:0])
    assert not bank.entered.any()


def test_an_entry_draws_its_cells_without_repetition_where_there_are_enough() -> None:
    bank = MemoryBank(1, 40, size=1, cells=16)
    bank.enter(0, torch.eye(40), torch.eye(40)[:3], torch.Generator().manual_seed(0))
    foreground, background = bank.entries(0)
    assert len(foreground.unique(dim=0)) == 16
    assert len(background.unique(dim=0)) == 3
    again = MemoryBank(1, 40, size=1, cells=16)
    again.load_state_dict(bank.state_dict())
    assert torch.equal(again.entries(0)[0], foreground)
