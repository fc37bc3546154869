"""`deixis toyland` from the command line."""

from pathlib import Path

import pytest
from PIL import Image

from deixis.cli import main


def test_draw_writes_a_sheet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "sheet.png"
    options = ["--count", "3", "--columns", "2", "--side", "48", "--domain", "sketch-street-g", "--seed", "5"]
    assert main(["toyland", "draw", "--out", str(out), *options]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    with Image.open(out) as sheet:
        assert sheet.width > 2 * 48
        assert len(sheet.getcolors(1 << 20) or []) > 100
    first = out.read_bytes()
    assert main(["toyland", "draw", "--out", str(out), *options]) == 0
    assert out.read_bytes() == first


@pytest.mark.parametrize(
    ("layout", "file"),
    [
        ("refcoco", "refcoco+/refs(unc).p"),
        ("grefcoco", "grefcoco/grefs(unc).json"),
        ("phrasecut", "refer_test.json"),
    ],
)
def test_write_writes_a_tree(tmp_path: Path, layout: str, file: str) -> None:
    root = tmp_path / "data"
    options = ["--layout", layout, "--scenes", "1", "--size", "48", "--registers", "toyland+"]
    assert main(["toyland", "write", str(root), *options]) == 0
    assert (root / file).stat().st_size > 100
    assert not (root / "refcocog").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["paint"], "has no 'paint'"),
        (["draw", "--domain", "sketh"], "Did you mean 'sketch'"),
        (["draw", "--count", "0"], "at least 1"),
        (["write", "{tmp}", "--scenes", "0"], "at least one scene"),
        (["draw", "--cuont", "2"], "Did you mean '--count'"),
        (["draw", "--count", "two"], "The options do not fit"),
        (["write"], "The options do not fit"),
        (["write", "{full}"], "holds something already"),
        (["draw", "--side", "48", "--count", "1", "--out", "{tmp}/sheet.what"], "name a .png"),
    ],
)
def test_mistakes_are_told_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").touch()
    places = {"tmp": str(tmp_path / "new"), "full": str(tmp_path / "full")}
    assert main(["toyland", *(argument.format(**places) for argument in arguments)]) == 2
    told = capsys.readouterr()
    assert complaint in told.err
    assert len(told.err.strip().splitlines()) == 1
    assert told.out == ""


@pytest.mark.parametrize("arguments", [[], ["--help"], ["draw", "--help"], ["write", "--help"]])
def test_help_is_given(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert main(["toyland", *arguments]) == 0
    assert "toyland" in capsys.readouterr().out
