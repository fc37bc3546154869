"""The learning rate step by step, and schedules that are refused."""

import math
from typing import Any

import pytest

from deixis.errors import InputError
from deixis.training.schedule import Schedule


def test_the_rate_decays_with_power_nine_tenths_per_step() -> None:
    schedule = Schedule(power=0.9)
    for step in range(100):
        assert schedule.factor(step, 100) == pytest.approx((1 - step / 100) ** 0.9)


def test_a_warm_up_rises_linearly_to_the_whole_rate_then_decays() -> None:
    schedule = Schedule(warm_up=4, power=1.0)
    factors = [schedule.factor(step, 14) for step in range(14)]
    assert factors[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert factors[5:] == pytest.approx([1 - step / 10 for step in range(1, 10)])


def test_steps_replace_epochs() -> None:
    assert Schedule(epochs=3).total(7) == 21
    assert Schedule(epochs=3, steps=5).total(7) == 5


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"batch_size": 0}, {"warm_up": -1}, {"power": -0.1}, {"log_every": 0}, {"save_every": 0}]
)
def test_counts_that_are_not_positive_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="not positive"):
        Schedule(**wrong)  # type: ignore[arg-type]


def test_a_batch_that_cannot_be_cut_equally_is_refused() -> None:
    with pytest.raises(InputError, match="10 cannot be accumulated in 4"):
        Schedule(batch_size=10, accumulate=4)


def test_a_warm_up_may_start_from_a_fraction_of_the_rate() -> None:
    schedule = Schedule(warm_up=4, warm_up_from=0.5, decay="constant")
    assert [schedule.factor(step, 10) for step in range(6)] == pytest.approx([0.6, 0.7, 0.8, 0.9, 1.0, 1.0])


def test_a_cosine_falls_to_zero_in_half_a_period_after_the_warm_up() -> None:
    schedule = Schedule(warm_up=2, decay="cosine")
    factors = [schedule.factor(step, 12) for step in range(12)]
    assert factors[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert factors[2:] == pytest.approx([math.cos(math.pi * step / 20) ** 2 for step in range(10)])
    assert schedule.factor(12, 12) == pytest.approx(0.0)


def test_a_cosine_may_start_later_and_then_ends_above_zero() -> None:
    """SaG's: the rate in iteration i = 1, 2, …, T is ½(1 + cos(π · max(0, i - 5000) / T))."""
    schedule, total = Schedule(decay="cosine", decay_from=4999), 20_000
    for iteration in (1, 4999, 5000, 5001, 12_500, total):
        published = (1 + math.cos(math.pi * max(0, iteration - 5000) / total)) / 2
        assert schedule.factor(iteration - 1, total) == pytest.approx(published)
    assert schedule.factor(total - 1, total) > 0.1


def test_an_inverse_decay_follows_the_square_root_of_the_step() -> None:
    schedule = Schedule(warm_up=299, warm_up_from=2.5e-4, decay="inverse")
    assert schedule.factor(299, 10_000) == 1.0  # step 300, counted from 1
    for step in (400, 1200, 10_000):
        assert schedule.factor(step - 1, 10_000) == pytest.approx(math.sqrt(300 / step))


def test_a_polynomial_decay_may_start_later_and_still_ends_at_zero() -> None:
    schedule = Schedule(warm_up=2, decay_from=5, power=1.0)
    factors = [schedule.factor(step, 10) for step in range(10)]
    assert factors[2:6] == pytest.approx([1.0] * 4)
    assert factors[5:] == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2])


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"warm_up_from": 1.5}, "warm_up_from is 1.5"),
        ({"warm_up": 10, "decay_from": 5}, "starts at step 5, during the warm-up of 10"),
    ],
)
def test_a_decay_that_cannot_be_is_refused(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Schedule(**wrong)


def test_a_mistyped_decay_is_refused_with_the_nearest_name() -> None:
    schedule = Schedule()
    object.__setattr__(schedule, "decay", "cosin")  # past the tests' own type checks
    with pytest.raises(InputError, match=r"no decay 'cosin'\. Did you mean 'cosine'"):
        schedule.__post_init__()


@pytest.mark.parametrize("length", [{"steps": 10, "after": 20}, {"epochs": 2, "after": 4}])
def test_a_run_continues_the_rates_of_an_earlier_one(length: dict[str, int]) -> None:
    whole = Schedule(steps=30, warm_up=5, decay="inverse")
    later = Schedule(warm_up=5, decay="inverse", **length)  # type: ignore[arg-type]
    assert later.total(5) == 10
    assert [later.factor(step, 10) for step in range(10)] == [whole.factor(step, 30) for step in range(20, 30)]
