"""Calibration against hand-made cases and brute force."""

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deixis.errors import DeixisError
from deixis.metrics.calibration import (
    Calibration,
    apply,
    calibrate,
    choose_threshold,
    expected_calibration_error,
    fit,
    logit,
    reliability,
)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def overconfident(count: int = 4000, scale: float = 0.5, bias: float = -1.0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities whose truth is σ(scale · logit + bias), and the outcomes."""
    rng = np.random.default_rng(3)
    logits = rng.normal(1, 3, count)
    return sigmoid(logits), rng.random(count) < sigmoid(scale * logits + bias)


def test_the_error_of_four_probabilities_is_that_of_a_calculation_by_hand() -> None:
    probabilities, positive = np.array([0.05, 0.15, 0.75, 0.72, 1.0]), np.array([False, True, True, False, True])
    bins = reliability(probabilities, positive)
    assert [one.count for one in bins] == [1, 1, 0, 0, 0, 0, 0, 2, 0, 1]
    assert bins[7].confidence == pytest.approx(0.735)
    assert bins[7].frequency == 0.5
    assert (bins[2].confidence, bins[2].frequency) == (None, None)
    assert (bins[9].low, bins[9].high) == (0.9, 1.0)
    # 1 · |0.05 - 0| + 1 · |0.15 - 1| + 2 · |0.735 - 0.5| + 1 · |1 - 1|, over five.
    assert expected_calibration_error(bins) == pytest.approx((0.05 + 0.85 + 0.47 + 0.0) / 5)


def test_bins_equal_a_loop() -> None:
    probabilities, positive = overconfident(500)
    for number, one in enumerate(reliability(probabilities, positive, bins=7)):
        inside = [
            place for place, p in enumerate(probabilities) if number / 7 <= p and (p < (number + 1) / 7 or number == 6)
        ]
        assert one.count == len(inside)
        assert one.confidence == pytest.approx(sum(probabilities[place] for place in inside) / len(inside))
        assert one.frequency == pytest.approx(sum(bool(positive[place]) for place in inside) / len(inside))


@given(st.lists(st.tuples(st.floats(0.01, 0.99), st.floats(0, 1)), min_size=1, max_size=30), st.floats(0.01, 50))
@example([(0.99, 1.0), (0.9899999999999999, 0.0)], 1.0)  # neighbouring floats
def test_the_chosen_threshold_is_the_largest_that_costs_no_more(pairs: list[tuple[float, float]], most: float) -> None:
    probabilities, ious = (np.array(each) for each in zip(*pairs, strict=True))
    chosen = choose_threshold(probabilities, ious, most)

    def loss(threshold: float) -> float:
        return float(100 * ious[probabilities <= threshold].sum() / len(ious))

    assert loss(chosen) <= most + 1e-9
    above = probabilities[probabilities > chosen]
    assert not len(above) or loss(above.min()) > most - 1e-9


def test_a_fit_finds_what_brute_force_finds() -> None:
    probabilities, positive = overconfident(300)
    yes = positive.sum()
    targets = np.where(positive, (yes + 1) / (yes + 2), 1 / (len(positive) - yes + 2))
    x = np.log(probabilities / (1 - probabilities))

    def nll(scale: float, bias: float) -> float:
        probability = sigmoid(scale * x + bias)
        return float(-(targets * np.log(probability) + (1 - targets) * np.log(1 - probability)).mean())

    grid = itertools.product(np.arange(0.0, 1.5, 0.01), np.arange(-2.0, 1.0, 0.01))
    best = min(grid, key=lambda place: nll(*place))
    assert fit(probabilities, positive) == pytest.approx(best, abs=0.01)
    assert nll(*fit(probabilities, positive)) <= nll(*best)


def test_the_truth_is_found_from_many_and_the_error_falls() -> None:
    probabilities, positive = overconfident(20_000)
    found = calibrate(probabilities, positive, "made:val")
    assert found.scale == pytest.approx(0.5, abs=0.03)
    assert found.bias == pytest.approx(-1.0, abs=0.06)
    assert found.ece_before > 0.15
    assert found.ece_after < 0.02
    assert (found.data, found.expressions) == ("made:val", 20_000)
    after = reliability(found(probabilities), positive)
    assert expected_calibration_error(after) == pytest.approx(found.ece_after)


def test_probabilities_that_separate_perfectly_have_a_finite_fit() -> None:
    scale, bias = fit(np.array([0.01, 0.02, 0.98, 0.99]), np.array([False, False, True, True]))
    assert 0 < scale < 10
    assert abs(bias) < 1e-6
    scale, bias = fit(np.array([0.0, 1.0], np.float32), np.array([False, True]))  # saturated in single precision
    assert sigmoid(scale * logit(np.array([1.0])) + bias)[0] == pytest.approx(2 / 3)


def test_equal_probabilities_become_the_fraction_of_positives() -> None:
    scale, bias = fit(np.full(40, 0.9), np.arange(40) < 10)
    assert apply(np.array([0.9]), scale, bias)[0] == pytest.approx((10 * 11 / 12 + 30 * 1 / 32) / 40)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=30),
    st.floats(0.01, 20),
    st.floats(-10, 10),
)
def test_a_calibration_never_turns_an_order_and_stays_a_probability(
    probabilities: list[float], scale: float, bias: float
) -> None:
    plain = np.sort(np.array(probabilities))
    made = apply(plain, scale, bias)
    assert (np.diff(made) >= -1e-12).all()
    assert ((made >= 0) & (made <= 1)).all()


def test_scale_one_and_bias_zero_change_nothing() -> None:
    probabilities = np.linspace(0.001, 0.999, 50)
    np.testing.assert_allclose(apply(probabilities, 1.0, 0.0), probabilities, atol=1e-12)


def test_impossible_calibrations_are_refused() -> None:
    with pytest.raises(DeixisError, match="3 of 3 expressions are positive"):
        fit(np.array([0.1, 0.5, 0.9]), np.ones(3, dtype=bool))
    probabilities, positive = overconfident(500)
    with pytest.raises(DeixisError, match="made:val are not higher for positives"):
        calibrate(probabilities, ~positive, "made:val")
    with pytest.raises(DeixisError, match="positive scale"):
        Calibration(scale=-1.0, bias=0.0, data="x", expressions=1, ece_before=0.0, ece_after=0.0)
    with pytest.raises(ValueError, match="All bins are empty"):
        expected_calibration_error(())
