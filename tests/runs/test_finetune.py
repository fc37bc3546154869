"""The change of the scores from one model to the next."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from deixis.runs.finetune import change

made = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "evaluation" / "test_report.py")))


def test_a_change_is_positive_where_the_later_scores_are_higher() -> None:
    scored, rules = made.made(80, 0), made.PROTOCOLS["full"]
    before = made.Totals(rules).add_all(scored)
    after = made.Totals(rules).add_all(made.nearer(scored, 0.5))
    found = change(before, after)["mIoU"]
    assert found.first == before.overall.values()["mIoU"] < found.second
    assert found.difference == pytest.approx(found.second - found.first)
    assert 0 < found.low < found.difference < found.high
