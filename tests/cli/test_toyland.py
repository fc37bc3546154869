"""The command `deixis toyland`."""

import errno
from pathlib import Path

import pytest
from PIL import Image

from deixis.cli import main


def test_draw_writes_a_contact_sheet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_the_subset_of_a_domain_can_be_replaced(tmp_path: Path) -> None:
    draw = ["toyland", "draw", "--count", "2", "--side", "48", "--out"]
    assert main([*draw, str(tmp_path / "a.png"), "--subset", "toyland-g"]) == 0
    assert main([*draw, str(tmp_path / "b.png"), "--domain", "toyland-g"]) == 0
    assert main([*draw, str(tmp_path / "c.png")]) == 0
    first, same, other = ((tmp_path / name).read_bytes() for name in ("a.png", "b.png", "c.png"))
    assert first == same != other


def test_a_failed_write_leaves_the_earlier_sheet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "sheet.png"
    options = ["toyland", "draw", "--out", str(out), "--side", "48", "--count", "1"]
    assert main(options) == 0
    first = out.read_bytes()
    capsys.readouterr()

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert main([*options, "--seed", "1"]) == 2
    assert capsys.readouterr().err == f"deixis: {out} cannot be written: No space left on device.\n"
    assert out.read_bytes() == first
    assert list(tmp_path.iterdir()) == [out]


def test_a_sheet_too_large_for_its_format_names_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deixis.data.tools.contact_sheet.contact_sheet", lambda *_: Image.new("RGB", (70_000, 1)))
    out = tmp_path / "sheet.jpg"
    assert main(["toyland", "draw", "--out", str(out), "--side", "48", "--count", "1"]) == 2
    output = capsys.readouterr().err
    assert f"{out} cannot hold 70000x1 pixels as JPEG (" in output
    assert output.endswith("; use .png.\n")
    assert not out.exists()


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
    options = ["--layout", layout, "--scenes", "1", "--size", "48", "--subset", "toyland+"]
    assert main(["toyland", "write", str(root), *options]) == 0
    assert (root / file).stat().st_size > 100
    assert not (root / "refcocog").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["paint"], "no command 'toyland paint'"),
        (["draw", "--domain", "sketh"], "Did you mean 'sketch'"),
        (["draw", "--count", "0"], "--count is 0; expected 1 or more"),
        (["write", "{tmp}", "--scenes", "0"], "--scenes is 0; expected 1 or more"),
        (["draw", "--cuont", "2"], "Did you mean '--count'"),
        (["draw", "--count", "two"], "--count is 'two'; expected a whole number"),
        (["draw", "--subset", "toyland++"], "--subset is 'toyland++'; expected one of its choices"),
        (["write"], "ROOT is missing"),
        (["write", "{tmp}", "--size", "8"], "--size is 8; expected 32 or more"),
        (["write", "{tmp}", "--subset", "toyworld"], "Toyland has no subset 'toyworld'"),
        (["write", "{full}"], "holds something already"),
        (
            ["draw", "--side", "48", "--count", "1", "--out", "{tmp}/sheet.what"],
            "sheet.what cannot be written: '.what' is not an image format",
        ),
        (["draw", "--side", "48", "--count", "1", "--out", "{tmp}"], "use .png"),
        (
            ["draw", "--side", "48", "--count", "1", "--out", "{full}/precious/a.png"],
            "precious/a.png cannot be written: ",
        ),
    ],
)
def test_errors_are_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").touch()
    places = {"tmp": str(tmp_path / "new"), "full": str(tmp_path / "full")}
    assert main(["toyland", *(argument.format(**places) for argument in arguments)]) == 2
    output = capsys.readouterr()
    assert complaint in output.err
    assert len(output.err.strip().splitlines()) == 1
    assert output.out == ""


def test_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["--help"]):
        assert main(["toyland", *arguments]) == 0
        assert "usage: deixis toyland draw" in capsys.readouterr().out
    for verb, option in (("draw", "--paraphrases"), ("write", "--full-size")):
        with pytest.raises(SystemExit) as ending:
            main(["toyland", verb, "--help"])
        assert not ending.value.code
        assert option in capsys.readouterr().out


def test_several_subsets_are_written_together(tmp_path: Path) -> None:
    subsets = ["--subset", "toyland", "--subset", "toyland-g"]
    assert main(["toyland", "write", str(tmp_path / "data"), "--scenes", "1", "--size", "48", *subsets]) == 0
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"images", "refcoco", "refcocog"}
