"""The parts of the benchmarks that decide what a number means: what may share a table, and how wide an interval is."""

import json
import sys
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


def test_ablations_of_two_budgets_never_share_a_table(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    budget = {"steps": 300, "sentences": 300, "start": ablations.START}
    results.write_text(json.dumps({"budget": budget, "runs": {}}))
    before = results.read_text()
    monkeypatch.setattr(ablations, "train", lambda *_: pytest.fail("trained on another budget"))
    monkeypatch.setattr(sys, "argv", ["ablations", "--steps", "200", "--sentences", "300"])
    with pytest.raises(SystemExit) as stop:
        ablations.main()
    assert "'steps': 300" in str(stop.value)
    assert "'steps': 200" in str(stop.value)
    assert results.read_text() == before


def test_an_interval_is_students() -> None:
    # 4.303 standard errors at two degrees of freedom: deviation 2, standard error 2 / sqrt(3).
    mean, half = ablations.interval([1.0, 3.0, 5.0])
    assert (mean, half) == pytest.approx((3.0, 4.303 * 2 / 3**0.5))


def test_the_ablations_table_compares_equal_seeds(results: Path) -> None:
    def runs(*scores: float) -> dict[str, dict[str, dict[str, float]]]:
        return {
            str(seed): {register: {"mIoU": score} for register in ablations.SUBSETS}
            for seed, score in enumerate(scores)
        }

    found = {"lavt": runs(30, 40, 50), "lavt with mask grounding": runs(28, 38, 48)}
    results.write_text(json.dumps({"runs": found}))
    lines = ablations.table().splitlines()
    assert lines[-1].endswith("| -2.0 ± 0.0 to lavt |")
    assert "40.0 ± 24.8" in lines[-2]


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
