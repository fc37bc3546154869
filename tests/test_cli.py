"""The command itself: fast help, its version, and the nearest name for a mistyped verb."""

import os
import subprocess
import sys
import time
from importlib.metadata import version
from types import SimpleNamespace

import pytest

from deixis import cli
from deixis.cli import VERBS, main


def test_help_is_fast() -> None:
    """It takes 0.1 s on an idle machine; the limit leaves room for a busy one."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        told = subprocess.run(
            [sys.executable, "-m", "deixis.cli", "--help"], capture_output=True, text=True, check=True
        )
        times.append(time.perf_counter() - start)
    assert all(verb in told.stdout for verb in VERBS)
    assert told.stderr == ""
    assert min(times) < 1.5


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"deixis {version('deixis')}\n"


def test_a_mistyped_verb_gets_the_nearest_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segmnt", "photo.jpg"]) == 2
    assert capsys.readouterr().err == "deixis: There is no command 'segmnt'. Did you mean 'segment'?\n"


def test_no_verb_prints_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out.startswith("usage: deixis COMMAND")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (PermissionError(13, "Permission denied", "answers"), "answers cannot be used: Permission denied."),
        (OSError(28, "No space left on device"), "No space left on device."),
        (
            ModuleNotFoundError("No module named 'accelerate.state'", name="accelerate.state"),
            "This needs accelerate, which is not installed; run `pip install 'deixis[train]'`.",
        ),
    ],
)
def test_errors_of_the_machine_are_one_sentence(
    error: Exception, sentence: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(arguments: list[str]) -> int:
        raise error

    monkeypatch.setattr(cli, "import_module", lambda *_: SimpleNamespace(main=fail))
    assert main(["segment"]) == 2
    assert capsys.readouterr().err == f"deixis: {sentence}\n"


def test_a_module_that_no_extra_installs_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: str) -> None:
        raise ModuleNotFoundError("No module named 'deixis.cli.absent'", name="deixis.cli.absent")

    monkeypatch.setattr(cli, "import_module", fail)
    with pytest.raises(ModuleNotFoundError):
        main(["segment"])


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437"])
def test_letters_that_a_terminal_cannot_show_do_not_end_the_work(encoding: str) -> None:
    command = [sys.executable, "-m", "deixis.cli", "evaluate", "--help"]
    told = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding}, check=True)
    assert b"usage: deixis evaluate" in told.stdout
    assert b"accelerate launch -m deixis.cli evaluate MODEL ..." in told.stdout


def test_without_an_output_the_work_is_done_all_the_same() -> None:
    command = f"'{sys.executable}' -m deixis.cli --version"
    assert subprocess.run(["bash", "-c", f"{command} >&-"], check=False).returncode == 0
    full = subprocess.run(["bash", "-c", f"{command} >/dev/full"], check=False, capture_output=True, text=True)
    assert (full.returncode, full.stderr) == (2, "deixis: No space left on device.\n")
