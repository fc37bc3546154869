"""Progress on stderr: a bar on a terminal, lines of numbers in a log, nothing when quiet."""

import io
import sys

import pytest

from deixis.progress import ProgressBar


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
