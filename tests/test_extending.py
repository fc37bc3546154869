"""The page on extending deixis is true: its files, its commands and its Python run as they are printed."""

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deixis.cli import main

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)(?: (\S+))?\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with the files of the page; what they import is forgotten afterwards."""
    for _, name, text in BLOCKS:
        if name:
            (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in ("my_system", "my_objective", "my_data"):
        sys.modules.pop(name, None)


def commands() -> list[list[str]]:
    lines = [line for language, _, text in BLOCKS if language == "bash" for line in text.splitlines()]
    return [shlex.split(line)[1:] for line in lines]


def test_the_files_of_the_page_train_resume_score_and_segment(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, longer = commands()
    assert main([*first, "--quiet"]) == 0
    assert main([*longer, "--quiet"]) == 0
    assert "finished at step 90" in capsys.readouterr().err
    header = (folder / "runs/dot/metrics.csv").read_text().splitlines()[0].split(",")
    assert {"loss/mask", "loss/smooth", "val/mIoU"} <= {*header}
    (python,) = (text for language, name, text in BLOCKS if language == "python" and not name)
    exec(compile(python, "docs/extending.md", "exec"), {})
    score, pixels = re.fullmatch(r"mIoU (\S+)\n(\d+) pixels\n", capsys.readouterr().out).groups()  # type: ignore[union-attr]
    assert float(score) > 60
    assert 100 < int(pixels) < 600  # of a square of 256


def test_a_stored_run_imports_no_module_that_is_not_named_again(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, longer = commands()
    assert main([*first, "--schedule.steps", "1", "--quiet"]) == 0
    sys.modules.pop("my_data")
    unnamed = [word for word in longer if word not in ("--data.dataset", "my_data:open_splits")]
    assert main([*unnamed, "--quiet"]) == 2
    assert "if you trust that module, add `--data.dataset my_data:open_splits`" in capsys.readouterr().err
    assert "my_data" not in sys.modules


def test_what_it_points_to_is_there() -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", PAGE) + [f"../tests/{name}" for name in re.findall(r"`tests/(\S+)`", PAGE)]
    assert len(targets) >= 4
    for target in targets:
        assert (ROOT / "docs" / target).exists(), target
