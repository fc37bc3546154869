"""The journal's table: new columns, resuming, and lines that a kill cut short."""

import csv
from pathlib import Path

from deixis.training.logging import Journal


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "journal.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_new_number_gets_a_column_and_old_rows_leave_it_empty(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.write(1, {"loss": 0.5})
        journal.write(2, {"loss": 0.25, "val": 0.125})
    assert rows(tmp_path) == [{"step": "1", "loss": "0.5", "val": ""}, {"step": "2", "loss": "0.25", "val": "0.125"}]


def test_resuming_forgets_what_will_be_lived_again(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        for step in range(1, 6):
            journal.write(step, {"loss": float(step)})
    with Journal(tmp_path, step=3) as journal:
        journal.write(4, {"loss": 40.0})
    assert [(row["step"], row["loss"]) for row in rows(tmp_path)] == [("1", "1"), ("2", "2"), ("3", "3"), ("4", "40")]


def test_a_line_cut_short_by_a_kill_is_dropped(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.write(1, {"loss": 0.5, "rate": 0.1})
    with (tmp_path / "journal.csv").open("a") as file:
        file.write("2,0.2")
    with Journal(tmp_path, step=2) as journal:
        journal.write(3, {"loss": 0.1, "rate": 0.2})
    assert [row["step"] for row in rows(tmp_path)] == ["1", "3"]
