"""The parts of the benchmarks that decide what a number means: what may share a table, and how wide an interval is."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import ablations, measure, models


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "ablations.json"
    monkeypatch.setattr(ablations, "FILE", file)
    return file


def unit(*images: tuple[int, float]) -> dict[str, object]:
    """A unit with the numbers of expressions of its images and the sums of their IoUs."""
    value = 100 * sum(total for _, total in images) / sum(count for count, _ in images)
    return {"measures": {key: [value, value - 1, value + 1] for key in ablations.MEASURES}, "images": images}


def test_ablations_of_two_budgets_never_share_a_table(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    budget = ablations.Budget(sentences=360, folder=Path("runs/x"), packed="runs/y")
    ablations.record("vega/full", 0, unit((2, 1.0)), budget)
    before = results.read_text()
    monkeypatch.setattr(ablations, "measured", lambda *_: pytest.fail("trained on another budget"))
    with pytest.raises(SystemExit) as stop:
        ablations.main(["--sentences", "300"])
    assert "'sentences': 360" in str(stop.value)
    assert "'sentences': 300" in str(stop.value)
    assert results.read_text() == before


def test_a_stopped_ablation_goes_on_with_the_units_that_lack_a_result(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = []

    def measured(row: str, seed: int, budget: object) -> dict[str, object]:
        trained.append((row, seed))
        if len(trained) == 2:
            raise SystemExit("stopped")
        return unit((2, 1.0), (1, 0.5))

    monkeypatch.setattr(ablations, "measured", measured)
    rows = ["--rows", "vega/full", "vega/table-2/words"]
    with pytest.raises(SystemExit):
        ablations.main(rows)
    assert list(json.loads(results.read_text())["units"]) == ["vega/full 0"]
    ablations.main(rows)
    assert trained[2:] == [(row, seed) for seed in range(3) for row in rows[1:]][1:]
    shown = capsys.readouterr().out
    assert "| `vega/full` | 3 | 50.0 ± 0.0 | 50.0 ± 0.0 | 50.0 ± 0.0 |  |" in shown
    assert "| `vega/table-2/words` | 3 | 50.0 ± 0.0 | 50.0 ± 0.0 | 50.0 ± 0.0 | +0.0 (+0.0 to +0.0) |" in shown
    assert "`vega/table-2/enhanced` minus `vega/table-2/words` |  | not measured |" in shown


def test_ablations_have_every_row_once_and_three_seeds_of_the_claims() -> None:
    plan = ablations.planned()
    assert len(plan) == len(set(plan))
    assert {row for row, _ in plan} == set(ablations.ROWS)
    assert {row for row, seed in plan if seed == 2} == set(ablations.HEADLINES)
    claimed = {row for each in (*ablations.VEGA_CLAIMS, *ablations.MAGNET_CLAIMS) for row in (each.better, each.worse)}
    assert claimed <= set(ablations.ROWS)


def test_rows_of_the_ablations_differ_in_what_they_change_alone() -> None:
    budget = ablations.Budget(sentences=10, folder=Path("runs/x"), packed="runs/y", scale=0.5)
    full, words = (ablations.run_of(f"vega/{name}", 0, budget) for name in ("full", "table-2/words"))
    assert replace(words, system=full.system, description=full.description) == full
    assert words.system.guidance == "words"
    assert (full.start_from.checkpoint, full.vocabulary, full.schedule.steps) == ("bundled", "bundled", 30)
    magnet = ablations.run_of("magnet/full", 2, budget)
    assert (magnet.schedule.steps, magnet.seed, magnet.data) == (100, 2, full.data)


def test_a_claim_holds_where_its_interval_excludes_zero() -> None:
    better, worse = unit((2, 1.8), (3, 2.7), (2, 1.9)), unit((2, 1.0), (3, 1.5), (2, 1.0))
    found = ablations.difference({"a 0": better, "b 0": worse}, "a", "b")
    assert found is not None
    assert found[0] == pytest.approx(100 * (6.4 - 3.5) / 7)
    assert found[1] < found[0] < found[2]
    assert [ablations.verdict(each) for each in (found, (-3.0, -4.0, -2.0), (1.0, -1.0, 3.0), None)] == [
        "holds here",
        "does not hold here",
        "undecided",
        "not measured",
    ]
    spreads = {f"vega/full {seed}": unit((1, value)) for seed, value in enumerate((0.4, 0.5, 0.6))}
    half = 4.303 * (2 * 10**2) ** 0.5  # a standard deviation of 10 points, with two degrees of freedom
    assert ablations.spread(spreads, ablations.VEGA_HEADLINES) == pytest.approx(half)
    wider = ablations.difference({"a 0": better, "b 0": worse, **spreads}, "a", "b")
    own = ablations.difference({"magnet/a 0": better, "magnet/b 0": worse, **spreads}, "magnet/a", "magnet/b")
    assert own == found  # VEGA's seeds do not widen MagNet's interval
    assert wider is not None
    assert wider[2] - wider[0] == pytest.approx(((found[2] - found[0]) ** 2 + half**2) ** 0.5)
    assert ablations.verdict(wider) == "undecided"
    seeds = {f"a {seed}": unit((2, total)) for seed, total in enumerate((1.0, 1.2, 1.4))}
    seeds |= {f"b {seed}": unit((2, 1.0)) for seed in range(3)}
    assert ablations.difference(seeds, "a", "b") == pytest.approx((10.0, 10 - 24.843, 10 + 24.843), abs=0.01)


def test_an_interval_is_students() -> None:
    # 4.303 standard errors at two degrees of freedom: deviation 2, standard error 2 / sqrt(3).
    mean, half = ablations.interval([1.0, 3.0, 5.0])
    assert (mean, half) == pytest.approx((3.0, 4.303 * 2 / 3**0.5))


def test_a_result_names_the_command_and_the_threads_it_was_taken_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["visual_expression.py", "--repeats", "3"])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert measure.called("benchmarks.scoring") == "OMP_NUM_THREADS=1 python -m benchmarks.scoring --repeats 3"
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert measure.called("benchmarks.scoring") == "python -m benchmarks.scoring --repeats 3"


def test_operations_of_fused_attention_are_those_of_its_two_products() -> None:
    shapes = {"query": [2, 3, 5, 8], "key": [2, 3, 7, 8], "value": [2, 3, 7, 4]}
    draw = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(shape, generator=draw) for shape in shapes.values())
    with FlopCounterMode(display=False) as counter:
        (query @ key.mT).softmax(-1) @ value
    assert models.attention_flops(*shapes.values(), out_shape=None) == counter.get_total_flops()
