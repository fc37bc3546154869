"""The README is correct: its Python runs, its commands and options exist, its pictures and pages are there."""

import re
import shlex
from contextlib import suppress
from pathlib import Path

import pytest

from deixis.cli import VERBS, main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    return [
        shlex.split(line.removeprefix(".venv/bin/"), comments=True)
        for line in lines
        if line.removeprefix(".venv/bin/").startswith("deixis ")
    ]


def test_it_is_short_and_shows_code_and_a_picture_early() -> None:
    lines = README.splitlines()
    assert len(lines) <= 120
    assert all(len(line) <= 120 for line in lines if not line.startswith(("|", "![")))
    assert next(number for number, line in enumerate(lines, 1) if line.startswith("![")) <= 15
    assert next(number for number, line in enumerate(lines, 1) if line.startswith("```")) <= 20


def test_its_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), {})
    assert (tmp_path / "overlay.png").stat().st_size > 10_000
    score, box = capsys.readouterr().out.split(maxsplit=1)
    assert 0 <= float(score) <= 1
    assert "(" in box


def test_its_commands_exist() -> None:
    assert len(commands()) >= 8
    for words in commands():
        assert words[1] in VERBS, " ".join(words)


def test_the_options_it_names_are_known(capsys: pytest.CaptureFixture[str]) -> None:
    for words in commands():
        has_subcommand = words[1] in {"data", "toyland", "checkpoint", "train"} and not words[2].startswith("--")
        for verbs in (words[1:2], words[1:3]) if has_subcommand else (words[1:2],):
            with suppress(SystemExit):  # tyro exits after its help
                main([*verbs, "--help"])
        helped = capsys.readouterr().out
        for option in (word for word in words if word.startswith("--")):
            assert option in helped, f"{' '.join(words)}: {option} is not in the help"


def test_what_it_points_to_is_there() -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", README)
    assert targets
    for target in targets:
        assert (ROOT / target).exists(), f"README points to {target}, which is not there"
