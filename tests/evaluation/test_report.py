"""The result file has every total with its interval, and is read as it was written."""

import json
import runpy
from dataclasses import replace
from pathlib import Path

import pytest

from deixis.cli.results import verdict
from deixis.errors import DeixisError
from deixis.evaluation.comparison import Difference, compare_totals
from deixis.evaluation.report import Result, hash_of_ids, measure
from deixis.metrics.accumulators import Totals
from deixis.metrics.average_precision import NAMES
from deixis.metrics.presence import presence_scores
from deixis.metrics.protocols import PROTOCOLS
from deixis.metrics.scored import Scored
from deixis.records import Ids

made = runpy.run_path(str(Path(__file__).parents[1] / "metrics" / "test_accumulators.py"))["made"]


def totals(protocol: str, seed: int = 0) -> Totals:
    return Totals(PROTOCOLS[protocol]).add_all(made(80, seed))


def nearer(scored: list[Scored], share: float) -> list[Scored]:
    """The same expressions with larger intersections: nearer to an IoU of 1 by this fraction of the distance."""
    better = []
    for one in scored:
        (answer,) = one.answers
        more = answer.intersection + int((answer.union - answer.intersection) * share)
        better.append(replace(one, answers=(replace(answer, intersection=more),)))
    return better


def result(protocol: str = "full") -> Result:
    measures, breakdowns = measure(totals(protocol), draws=50)
    return Result(
        protocol=protocol,
        dataset="made",
        split="val",
        num_images=26,
        num_objects=80,
        num_expressions=80,
        num_missing=0,
        ids_hash="0",
        model="m",
        checkpoint_hash=None,
        run={"steps": 3},
        threshold=0.5,
        mask_rule="probability",
        seed=0,
        measures=measures,
        breakdowns=breakdowns,
        wall_seconds=1.0,
        machine={"cpus": "2"},
        records="r.jsonl",
    )


@pytest.mark.parametrize("protocol", ["full", "grefcoco", "a2d-best"])
def test_every_total_lies_in_its_interval(protocol: str) -> None:
    measures, breakdowns = measure(totals(protocol), draws=300)
    assert set(breakdowns) == {"length", "size"}
    for name, estimate in measures.items():
        if name == "mAP[.5:.95] L":  # no target here is large
            assert (estimate.value, estimate.low, estimate.high) == (None, None, None)
            continue
        assert estimate.value is not None, name
        assert estimate.low is not None, name
        assert estimate.high is not None, name
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 100, name
        assert estimate.draws == 300
    assert ("mAP[.5:.95]" in measures) == (protocol == "a2d-best")
    assert list(breakdowns["size"]) == ["small", "large"]
    assert sum(group.num_expressions for group in breakdowns["size"].values()) == 80


def test_intervals_repeat_with_their_seed() -> None:
    assert measure(totals("full"), draws=50) == measure(totals("full"), draws=50)
    assert measure(totals("full"), draws=50) != measure(totals("full"), draws=50, seed=1)


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    result().write(tmp_path / "r.json")
    assert Result.read(tmp_path / "r.json") == result()
    scored = replace(result("grefcoco"), presence=presence_scores(made(80, 0), "mask"))
    assert scored.presence is not None
    assert scored.presence.n_acc == pytest.approx(scored.measures["N-acc"].value)
    assert scored.presence.t_acc == pytest.approx(scored.measures["T-acc"].value)
    scored.write(tmp_path / "r.json")
    assert Result.read(tmp_path / "r.json") == scored


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"measures": 3}', "[" * 200_000], ids=lambda text: text[:9])
def test_other_files_are_refused_in_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(DeixisError, match="is not a result"):
        Result.read(tmp_path / "r.json")
    with pytest.raises(DeixisError, match="There is no result file"):
        Result.read(tmp_path / "absent.json")


def test_nothing_counted_is_null_in_the_file(tmp_path: Path) -> None:
    scored = [one for one in made(80) if one.target]  # no expression without a target: N-acc has nothing to say
    measures, _ = measure(Totals(PROTOCOLS["grefcoco"]).add_all(scored), draws=20)
    assert (measures["N-acc"].value, measures["N-acc"].low) == (None, None)
    assert json.dumps(measures["N-acc"].value) == "null"


def test_the_hash_depends_on_the_ids_and_not_on_their_order() -> None:
    ids = [Ids("1", "2", "3"), Ids("1", "2", "4")]
    assert hash_of_ids(ids) == hash_of_ids(ids[::-1])
    assert hash_of_ids(ids) != hash_of_ids(ids[:1])
    assert len(hash_of_ids(ids)) == 64


@pytest.mark.parametrize("protocol", ["full", "a2d-all"])
def test_a_result_differs_from_itself_by_nothing(protocol: str) -> None:
    for name, one in compare_totals(totals(protocol), totals(protocol), draws=30).items():
        nothing = (None,) * 4 if name == "mAP[.5:.95] L" else (0.0, 0.0, 0.0, 1.0)
        assert (one.difference, one.low, one.high, one.p) == nothing, name


def test_every_difference_is_the_firsts_gain_and_lies_in_its_interval() -> None:
    first, rules = made(80), PROTOCOLS["a2d-best"]
    totals, better = Totals(rules).add_all(first), Totals(rules).add_all(nearer(first, 0.5))
    gains, losses = compare_totals(better, totals, draws=100), compare_totals(totals, better, draws=100)
    assert set(NAMES) <= set(gains)
    for name, gain in gains.items():
        if name == "mAP[.5:.95] L":  # no target here is large
            continue
        assert gain.difference == pytest.approx(gain.first - gain.second), name
        assert gain.difference > 0, name
        assert 0 <= gain.low <= gain.difference <= gain.high, name
        loss = losses[name]
        assert (loss.difference, loss.low, loss.high) == pytest.approx((-gain.difference, -gain.high, -gain.low)), name


def test_a_paired_difference_is_surer_than_two_results_apart() -> None:
    first, rules = made(80), PROTOCOLS["full"]
    better = nearer(first, 0.1)
    differences = compare_totals(Totals(rules).add_all(better), Totals(rules).add_all(first), draws=500)
    one = differences["mIoU"]
    alone = measure(Totals(rules).add_all(first), draws=500)[0]["mIoU"]
    assert (one.low or 0.0) > 0
    assert one.p == pytest.approx(1 / 500)
    assert (one.high or 0.0) - (one.low or 0.0) < ((alone.high or 0.0) - (alone.low or 0.0)) / 2


def test_a_single_image_has_a_difference_without_an_interval() -> None:
    first, rules = [one for one in made(80) if one.ids.image == made(1)[0].ids.image], PROTOCOLS["full"]
    differences = compare_totals(Totals(rules).add_all(nearer(first, 0.1)), Totals(rules).add_all(first), draws=50)
    one = differences["mIoU"]
    assert (one.difference or 0.0) > 0
    assert (one.low, one.high, one.p) == (None, None, None)


def test_other_images_or_protocols_are_not_compared() -> None:
    with pytest.raises(DeixisError, match="differ in protocol or images"):
        compare_totals(totals("full"), Totals(PROTOCOLS["full"]).add_all(made(20)))
    with pytest.raises(DeixisError, match="differ in protocol or images"):
        compare_totals(totals("full"), totals("weak"))


def test_a_verdict_names_the_better_one_and_claims_nothing_where_the_interval_contains_zero() -> None:
    def found(difference: float, low: float, high: float) -> Difference:
        return Difference(
            first=50.0 + difference, second=50.0, difference=difference, low=low, high=high, p=0.1, draws=9
        )

    assert verdict("a", "b", "mIoU", found(2.0, 1.0, 3.0)) == "mIoU: a is better than b by 2.00 points."
    assert verdict("a", "b", "mIoU", found(-2.0, -3.0, -1.0)) == "mIoU: b is better than a by 2.00 points."
    unsure = verdict("a", "b", "mIoU", found(-2.0, -5.0, 1.0))
    assert unsure.startswith("mIoU: b is 2.00 points above a, but the interval contains 0")
    assert verdict("a", "b", "oIoU", found(0.0, 0.0, 0.0)) == "oIoU: a and b are equal."
