"""Intervals repeat with their seed, cover the true value, and come from draws of whole images."""

import numpy as np
import pytest

from deixis.metrics.bootstrap import image_weights, interval, ratio, resampled_sums, two_sided_p


def test_the_same_seed_gives_the_same_draws_and_another_seed_others() -> None:
    table = np.random.default_rng(0).random((40, 3))
    first = resampled_sums(table, draws=200, seed=1)
    assert np.array_equal(first, resampled_sums(table, draws=200, seed=1))
    assert not np.array_equal(first, resampled_sums(table, draws=200, seed=2))


def test_every_draw_takes_as_many_images_as_there_are() -> None:
    weights = np.concatenate(list(image_weights(30, draws=100)))
    assert weights.shape == (100, 30)
    assert (weights.sum(axis=1) == 30).all()
    assert np.isclose(weights.mean(), 1.0)
    assert weights.std() == pytest.approx((1 - 1 / 30) ** 0.5, rel=0.05)  # of a binomial with 30 tries of 1/30


def test_sums_equal_a_loop_over_drawn_images() -> None:
    table = np.random.default_rng(3).random((7, 2))
    sums = resampled_sums(table, draws=5, seed=9)
    generator = np.random.default_rng(9)
    for draw in generator.integers(7, size=(5, 7)):
        assert np.allclose(sums[0], sum(table[image] for image in draw))
        sums = sums[1:]


def test_intervals_cover_the_true_fraction_at_about_their_level() -> None:
    rng = np.random.default_rng(4)
    covered = 0
    for repetition in range(200):
        hits = rng.binomial(3, 0.4, size=60).astype(float)  # three expressions an image
        sums = resampled_sums(np.stack([hits, np.full(60, 3.0)], axis=1), draws=400, seed=repetition)
        span = interval(ratio(sums[:, 0], sums[:, 1]))
        assert span is not None
        covered += span[0] <= 0.4 <= span[1]
    assert 0.89 <= covered / 200 <= 0.99


def test_expressions_of_one_image_widen_the_interval() -> None:
    values = np.random.default_rng(5).random(50)
    apart = np.stack([np.repeat(values, 4), np.ones(200)], axis=1)
    together = np.stack([values * 4, np.full(50, 4.0)], axis=1)

    def width(table: np.ndarray) -> float:
        sums = resampled_sums(table, draws=2000)
        span = interval(ratio(sums[:, 0], sums[:, 1]))
        assert span is not None
        return span[1] - span[0]

    assert width(together) == pytest.approx(2 * width(apart), rel=0.15)


def test_draws_that_count_nothing_are_left_out() -> None:
    shares = ratio(np.array([1.0, 0.0, 3.0]), np.array([2.0, 0.0, 4.0]))
    assert np.isnan(shares[1])
    assert interval(shares, level=0.5) == pytest.approx((0.5625, 0.6875))
    assert interval(np.array([np.nan])) is None
    assert two_sided_p(np.array([np.nan])) is None


def test_p_is_twice_the_smaller_side_within_its_bounds() -> None:
    assert two_sided_p(np.array([1.0] * 99 + [-1.0])) == 0.02
    assert two_sided_p(np.ones(1000)) == 0.001
    assert two_sided_p(np.zeros(10)) == 1.0


def test_nothing_cannot_be_drawn_from() -> None:
    with pytest.raises(ValueError, match="needs at least one of each"):
        next(image_weights(0))
