"""Progress on stderr: a bar on a terminal, lines of numbers in a log, nothing when quiet."""

import io
import re
import sys

import pytest

from deixis.progress import ProgressBar, fitting


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_lines_of_numbers_and_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar("training", 10, done=2) as bar:
        bar.advance()
        bar.advance(3)
        assert bar.done == 6
        bar.report({"loss": 0.123456, "lr": 5e-5})
        bar.move_to(9)
        assert bar.done == 9
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("step 6/10  left 0:00:0")
    assert line.endswith("loss 0.1235  lr 5e-05")


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar("checking", 3, quiet=True) as bar:
        bar.advance()
        bar.report({"loss": 1.0})
    assert bar.done == 1
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar_with_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with ProgressBar("checking", 3) as bar:
        bar.advance(2)
        bar.report({"loss": 0.5})
    assert "checking" in terminal.getvalue()
    assert "2/3" in terminal.getvalue()
    assert "loss 0.5" in terminal.getvalue()
    assert "step" not in terminal.getvalue()


TRAINING = {"loss": 0.6931, "loss/mask": 0.5931, "loss/presence": 0.1, "epoch": 1.25, "rate": 5e-05, "speed": 31.5}


def test_the_training_bar_has_step_total_time_and_loss_at_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    with ProgressBar("training", 100_000, done=12_000) as bar:
        bar.move_to(12_345)
        bar.report(TRAINING)
    lines = [re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line) for line in terminal.getvalue().split("\n")]
    shown = [line for line in lines if "loss" in line]
    assert shown
    for line in shown:
        assert re.search(r"training .* 12345/100000 left \S+ loss 0\.6931(?!/)", line)
        assert all(len(part) <= 80 for part in line.split("\r"))
        assert "…" not in line


def test_a_line_of_a_log_has_80_columns_and_further_losses_only_where_there_is_room(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for columns, last in (("80", "loss/mask 0.5931"), ("200", "speed 31.5")):
        monkeypatch.setenv("COLUMNS", columns)
        with ProgressBar("training", 100_000, done=12_345) as bar:
            bar.report(TRAINING)
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("step 12345/100000  left ")
        assert line.endswith(last)
        assert len(line) <= int(columns)


def test_the_first_number_is_shown_whatever_the_room() -> None:
    assert fitting(TRAINING, 3) == "loss 0.6931"
    assert fitting(TRAINING, 29) == "loss 0.6931  loss/mask 0.5931"
    assert fitting(TRAINING, 28) == "loss 0.6931"
