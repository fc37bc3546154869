"""Totals against ten-line loops; any split over workers, in any order, gives the same digits."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deixis.metrics.accumulators import Tally, Totals
from deixis.metrics.protocols import PROTOCOLS
from deixis.metrics.scored import Answer, Scored
from deixis.records import Ids


def made(count: int, seed: int = 0) -> list[Scored]:
    """Expressions with random counts; some targets and some predictions are empty."""
    rng = np.random.default_rng(seed)
    scored = []
    for number in range(count):
        target, area = (int(rng.integers(1, 3000)) * int(rng.random() > 0.15) for _ in range(2))
        both = int(rng.integers(0, min(target, area) + 1))
        if rng.random() < 0.2:
            both = area = target
        answer = Answer(float(rng.random()), area, both, target + area - both)
        groups = {"length": str(rng.integers(3)), "size": "small" if target < 1000 else "large"}
        image = str(rng.integers(max(1, count // 3)))
        scored.append(Scored(ids=Ids(image, str(number), str(number)), target=target, answers=(answer,), groups=groups))
    return scored


def loop(scored: list[Scored], both_empty: float) -> Iterator[tuple[float, int, int]]:
    for one in scored:
        (answer,) = one.answers
        value = answer.intersection / answer.union if answer.union else both_empty
        yield value, answer.intersection, answer.union


@pytest.mark.parametrize("protocol", ["full", "lavt-480", "weak"])
def test_totals_equal_a_plain_loop(protocol: str) -> None:
    rules, scored = PROTOCOLS[protocol], made(300)
    values, both, either = zip(*loop(scored, rules.both_empty), strict=True)
    expected = {rules.overall_name: 100 * sum(both) / sum(either), rules.mean_name: 100 * math.fsum(values) / 300}
    for threshold in rules.thresholds:
        hits = [value >= threshold for value in values]
        expected[f"{rules.threshold_name}@{threshold}"] = 100 * sum(hits) / 300
    assert Totals(rules).add_all(scored).overall.values() == pytest.approx(expected, rel=1e-14)


def test_no_target_accuracies_equal_a_count_by_hand() -> None:
    def one(number: int, target: int, area: int, both: int) -> Scored:
        answer = Answer(1.0, area, both, target + area - both)
        return Scored(ids=Ids("0", str(number), str(number)), target=target, answers=(answer,))

    tally = Tally(PROTOCOLS["grefcoco"])
    for case in [one(0, 0, 0, 0), one(1, 0, 50, 0), one(2, 0, 0, 0), one(3, 100, 0, 0), one(4, 100, 100, 80)]:
        tally.add(case)
    values = tally.values()
    assert values["N-acc"] == 100 * 2 / 3
    assert values["T-acc"] == 50.0
    assert values["gIoU"] == pytest.approx(100 * (1 + 0 + 1 + 0 + 80 / 120) / 5)
    assert values["cIoU"] == 100 * 80 / (50 + 100 + 120)
    assert values["Pr@0.7"] == 0.0  # of the two targeted expressions; a right "nothing" is not among them


def test_nothing_counted_is_none_rather_than_a_number() -> None:
    values = Tally(PROTOCOLS["grefcoco"]).values()
    assert set(values.values()) == {None}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.lists(st.integers(0, 3), min_size=60, max_size=60))
def test_any_workers_in_any_order_merge_to_one_accumulator(seed: int, worker_of: list[int]) -> None:
    rules, scored = PROTOCOLS["a2d-best"], made(60, seed)
    whole = Totals(rules).add_all(scored)
    parts = [Totals(rules) for _ in range(4)]
    for worker, one in sorted(zip(worker_of, scored, strict=True), key=lambda pair: hash((seed, pair[1].ids.sentence))):
        parts[worker].add(one)
    for part in parts[1:]:
        parts[0].merge(part)
    assert parts[0].overall.totals() == whole.overall.totals()
    assert parts[0].overall.values() == whole.overall.values()
    assert parts[0].overall.rows == whole.overall.rows
    assert {
        axis: {name: tally.values() for name, tally in groups.items()} for axis, groups in whole.groups.items()
    } == {axis: {name: tally.values() for name, tally in groups.items()} for axis, groups in parts[0].groups.items()}
    assert parts[0].detections is not None
    assert whole.detections is not None
    assert parts[0].detections.scored == whole.detections.scored


def test_groups_of_an_axis_add_up_to_all_expressions() -> None:
    totals = Totals(PROTOCOLS["full"]).add_all(made(100))
    for groups in totals.groups.values():
        for column in ("expressions", "intersection", "union", "iou"):
            assert sum(tally.totals()[column] for tally in groups.values()) == totals.overall.totals()[column]


def test_the_table_has_a_row_an_image_and_zeros_for_strangers() -> None:
    totals = Totals(PROTOCOLS["full"]).add_all(made(50))
    images = [*sorted(totals.overall.rows), "nobody"]
    table = totals.overall.table(images)
    assert not table[-1].any()
    sums = dict(zip(totals.overall.columns, table.sum(axis=0), strict=True))
    assert sums["expressions"] == 50
    assert sums["intersection"] == totals.overall.totals()["intersection"]
    assert 100 * sums["iou"] / 50 == pytest.approx(totals.overall.values()["mIoU"])
