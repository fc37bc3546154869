"""The command `deixis toyland`."""

import errno
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deixis.cli import main
from deixis.data.clips import open_clip
from deixis.data.readers.formats import open_splits
from deixis.data.validation import Issues


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


@pytest.mark.parametrize("name", ["clip.gif", "clip.mp4"])
def test_a_clip_is_drawn_as_a_video_and_an_animation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    out = tmp_path / "new" / name
    assert main(["toyland", "draw", "--clip", "--out", str(out), "--side", "96", "--frames", "8"]) == 0
    video, animation = out.with_suffix(".mp4"), out.with_suffix(".gif")
    assert capsys.readouterr().out.splitlines() == [str(video), str(animation)]
    assert sorted(out.parent.iterdir()) == [animation, video]
    frames = open_clip(video).read().astype(int)
    with Image.open(animation) as drawn:
        assert (drawn.n_frames, drawn.info["duration"], drawn.info["loop"]) == (8, 100, 0)  # type: ignore[attr-defined]
        for number, frame in enumerate(frames):
            drawn.seek(number)
            same = np.asarray(drawn.convert("RGB")).astype(int)
            blocks = (same - frame)[:152, :112].reshape(38, 4, 28, 4, 3).mean((1, 3))
            assert np.abs(blocks).max() < 30  # small things keep their colour
    assert np.abs(frames[0] - frames[7]).max() > 100  # something moves


@pytest.mark.parametrize("layout", ["a2d", "jhmdb", "refer-youtube-vos"])
def test_a_tree_of_clips_is_read_as_its_layout(tmp_path: Path, layout: str) -> None:
    root = tmp_path / "data"
    options = ["--layout", layout, "--scenes", "1", "--size", "48", "--frames", "8", "--domain", "zoo"]
    assert main(["toyland", "write", str(root), *options]) == 0
    issues = Issues()
    splits = open_splits(root, None, None, issues)
    assert {"a2d": {"train", "test"}, "jhmdb": {"test"}}.get(layout, {"train", "valid"}) == {*splits}
    for name, reader in splits.items():
        sample = reader[0]
        assert (sample.dataset, sample.visual.num_frames, sample.visual.size) == (layout, 8, (48, 48))
        assert (sample.mask is None) == (name == "valid")
    assert main(["toyland", "write", str(tmp_path / "other"), *options, "--full-size"]) == 2
    assert not (tmp_path / "other").exists()


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
        (["draw", "--clip", "--frames", "1"], "--frames is 1; expected 8 or more"),
        (["draw", "--clip", "--frames", "37"], "num_frames is 37; expected 1 for images, or 8 to 36 for clips"),
        (["draw", "--clip", "--out", "{tmp}/clip.png"], "clip.png cannot hold a clip: '.png' is not a format of clips"),
        (["write", "{tmp}", "--layout", "a2d", "--frames", "4"], "--frames is 4; expected 8 or more"),
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
