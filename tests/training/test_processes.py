"""Sums over processes, of which some may lack a number."""

import pytest

from deixis.training import processes
from deixis.training.processes import sum_over_processes


def test_in_one_process_the_sums_are_its_own() -> None:
    assert sum_over_processes({"loss": 1.5, "masks": 2.0}) == {"loss": 1.5, "masks": 2.0}


def test_a_number_that_a_process_lacks_counts_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "gather_object", lambda own: [*own, {"masks": 3.0, "union": 5.0}, {}])
    assert sum_over_processes({"loss": 1.5, "masks": 2.0}) == {"loss": 1.5, "masks": 5.0, "union": 5.0}
