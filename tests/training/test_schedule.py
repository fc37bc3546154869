"""The learning rate step by step, and schedules that cannot be."""

import pytest

from deixis.errors import DeixisError
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


def test_epochs_rule_where_no_steps_are_given() -> None:
    assert Schedule(epochs=3).total(7) == 21
    assert Schedule(epochs=3, steps=5).total(7) == 5


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"batch_size": 0}, {"warm_up": -1}, {"power": -0.1}, {"log_every": 0}, {"save_every": 0}]
)
def test_counts_that_are_not_positive_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(DeixisError, match="not positive"):
        Schedule(**wrong)  # type: ignore[arg-type]


def test_a_batch_that_cannot_be_cut_equally_is_refused() -> None:
    with pytest.raises(DeixisError, match="10 cannot be accumulated in 4"):
        Schedule(batch_size=10, accumulate=4)
