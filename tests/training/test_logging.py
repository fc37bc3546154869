"""The table of a run: new columns, resuming, lines that a kill cut short; means of losses, and the speed."""

import csv
import io
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from deixis.errors import ModelError
from deixis.training import logging
from deixis.training.logging import MetricLogger, Table


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_new_number_gets_a_column_which_is_empty_in_old_rows(tmp_path: Path) -> None:
    with closing(Table(tmp_path)) as table:
        table.write(1, {"loss": 0.5})
        table.write(2, {"loss": 0.25, "val": 0.125})
    assert rows(tmp_path) == [{"step": "1", "loss": "0.5", "val": ""}, {"step": "2", "loss": "0.25", "val": "0.125"}]


def test_resuming_removes_the_rows_that_will_be_computed_again(tmp_path: Path) -> None:
    with closing(Table(tmp_path)) as table:
        for step in range(1, 6):
            table.write(step, {"loss": float(step)})
    with closing(Table(tmp_path, step=3)) as table:
        table.write(4, {"loss": 40.0})
    assert [(row["step"], row["loss"]) for row in rows(tmp_path)] == [("1", "1"), ("2", "2"), ("3", "3"), ("4", "40")]


def test_a_line_cut_short_by_a_kill_is_dropped(tmp_path: Path) -> None:
    with closing(Table(tmp_path)) as table:
        table.write(1, {"loss": 0.5, "rate": 0.1})
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("2,0.2")
    with closing(Table(tmp_path, step=2)) as table:
        table.write(3, {"loss": 0.1, "rate": 0.2})
    assert [row["step"] for row in rows(tmp_path)] == ["1", "3"]


def test_losses_are_written_as_their_means_and_the_speed_is_that_of_training_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(logging, "time", SimpleNamespace(monotonic=lambda: now))
    with MetricLogger(tmp_path, 0, 100, quiet=True) as log:

        def speed(step: int, seconds: float) -> float:
            """Of four steps of twelve expressions, with losses of 1, 2, 3 and 4."""
            nonlocal now
            now += seconds
            for position in range(1, 5):
                log.add(step + position, {"mask": torch.tensor(float(position)), "dice": torch.tensor(0.5)})
            log.write_losses(step + 4, epoch=1.0, rate=0.1, batch_size=12)
            return float(rows(tmp_path)[-1]["expressions_per_second"])

        assert speed(0, 2.0) == pytest.approx(24.0)
        assert speed(4, 4.0) == pytest.approx(12.0)
        now += 100.0
        log.write_scores(8, {"mIoU": 0.25})
        assert speed(8, 1.0) == pytest.approx(48.0)
    written = rows(tmp_path)
    assert [row["step"] for row in written] == ["4", "8", "8", "12"]
    first = {name: float(written[0][name]) for name in ("loss", "loss/mask", "loss/dice", "rate")}
    assert first == {"loss": 3.0, "loss/mask": 2.5, "loss/dice": 0.5, "rate": 0.1}
    assert written[2]["val/mIoU"] == "0.25"


def test_a_loss_that_is_not_finite_is_found_when_losses_are_read(tmp_path: Path) -> None:
    with MetricLogger(tmp_path, 0, 10, quiet=True) as log:
        log.add(1, {"mask": torch.tensor(1.0)})
        log.add(2, {"mask": torch.tensor(float("inf"))})
        with pytest.raises(ModelError, match="loss 'mask' became inf in step 2"):
            log.read()


def test_a_quiet_run_prints_nothing_and_another_its_numbers_and_notes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for quiet in (True, False):
        with MetricLogger(tmp_path / str(quiet), 0, 10, quiet=quiet) as log:
            log.add(5, {"mask": torch.tensor(0.5)})
            log.write_losses(5, epoch=0.5, rate=0.1, batch_size=1)
            log.note("The smallest loss chooses.")
        printed = capsys.readouterr().err
        assert ("step 5/10" in printed, "The smallest loss chooses." in printed) == (not quiet, not quiet)


def test_a_resumed_run_is_marked_in_the_table_and_in_tensorboard(tmp_path: Path) -> None:
    for start in (0, 4):
        with MetricLogger(tmp_path, start, 8, quiet=True) as log:
            log.add(start + 4, {"mask": torch.tensor(0.5)})
            log.write_losses(start + 4, epoch=1.0, rate=0.1, batch_size=1)
    assert [(row["step"], row["loss"], row.get("resumed", "")) for row in rows(tmp_path)] == [
        ("4", "0.5", ""),
        ("4", "", "1"),
        ("8", "0.5", ""),
    ]
    assert [event.step for event in events_of(tmp_path).Scalars("resumed")] == [4]


def test_pictures_are_in_tensorboard_with_their_pixels(tmp_path: Path) -> None:
    picture = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    with MetricLogger(tmp_path, 0, 8, quiet=True) as log:
        log.write_picture(3, "samples", picture)
    (event,) = events_of(tmp_path).Images("samples")
    assert event.step == 3
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(event.encoded_image_string))), picture)


def events_of(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return events
