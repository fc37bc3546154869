"""`deixis data` as it is typed: tables, JSON for programs, exit codes, one sentence for every mistake."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deixis.cli import main

MINI = Path(__file__).parents[2] / ".." / "shared" / "data" / "refcoco_mini"
BOX = [[0, 0, 4, 0, 4, 4, 0, 4]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "mine"
    root.mkdir()
    lines = []
    for number, split in enumerate(("train", "val", "test")):
        pixels = np.random.default_rng(number).integers(0, 255, (8, 9, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((90, 80), Image.Resampling.BICUBIC).save(root / f"{split}.png")
        lines.append({"image": f"{split}.png", "expression": f"the {split} thing", "mask": BOX, "split": split})
    (root / "data.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return root


def break_one(root: Path) -> None:
    with (root / "data.jsonl").open("a") as file:
        file.write("\n{broken\n")


def test_info_shows_every_split(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "info", str(root)]) == 0
    shown = capsys.readouterr().out
    for split in ("train", "val", "test"):
        assert split in shown


def test_info_tells_programs(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "info", str(root), "--json", "--check"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["dataset"] == "folder"
    assert told["broken"] == []
    assert told["splits"]["val"]["expressions"] == 1
    assert told["splits"]["val"]["mask_shares"]["median"] == pytest.approx(16 / 7200)


def test_info_writes_a_sheet(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "info", str(root), "--sheet", str(tmp_path / "out" / "sheet.png"), "--split", "val"]) == 0
    with Image.open(tmp_path / "out" / "sheet.png") as sheet:
        assert sheet.mode == "RGB"
        assert len(sheet.getcolors(1 << 24) or []) > 100
    assert main(["data", "info", str(root), "--sheet", str(tmp_path / "sheet.xyz")]) == 2
    assert "is not a PNG" in capsys.readouterr().err
    assert main(["data", "info", str(root), "--sheet", str(root / "data.jsonl" / "sheet.png")]) == 2
    assert "sheet.png cannot be written: " in capsys.readouterr().err


def test_broken_records_stop_or_are_counted(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    break_one(root)
    assert main(["data", "info", str(root)]) == 2
    assert "data.jsonl, line 4, is not valid JSON" in capsys.readouterr().err
    assert main(["data", "info", str(root), "--skip-broken"]) == 0
    assert "1 broken record was left out" in capsys.readouterr().err
    assert main(["data", "info", str(root), "--skip-broken", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["broken"]) == 1


def test_a_check_finds_what_only_pixels_tell(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = (root / "val.png").read_bytes()
    (root / "val.png").write_bytes(whole[: len(whole) // 2])
    assert main(["data", "info", str(root)]) == 0
    assert main(["data", "info", str(root), "--check"]) == 2
    assert "data.jsonl, line 2" in capsys.readouterr().err
    assert main(["data", "info", str(root), "--check", "--skip-broken"]) == 0
    assert "1 broken record was left out" in capsys.readouterr().err


def test_audit_finds_nothing_where_nothing_is_shared(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "audit", str(root), "--against", str(root)]) == 0
    assert "0 images and 0 of 1 sentence are in both" in capsys.readouterr().out


def test_audit_finds_what_is_shared_and_says_so_by_its_exit_code(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["data", "audit", str(root), "--against", str(root), "--train-split", "test"]
    assert main(command) == 1
    assert "1 image and 1 of 1 sentence are in both" in capsys.readouterr().out
    assert main([*command, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)["splits"]["test"]
    assert told["shared_images"] == told["shared_sentences"] == 1
    assert told["shared"][0]["match"] == "looks"
    assert main([*command[:-1], "nothing"]) == 2
    assert "name one of train, val, test with --train-split" in capsys.readouterr().err


@pytest.mark.parametrize("layout", ["jsonl", "coco"])
def test_convert_writes_what_info_reads(
    root: Path, tmp_path: Path, layout: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["data", "convert", str(root), str(out), "--format", layout]) == 0
    assert "Wrote 3 samples of train, val, test to" in capsys.readouterr().out
    assert main(["data", "info", str(out), "--json", "--check"]) == 0
    assert list(json.loads(capsys.readouterr().out)["splits"]) == ["train", "val", "test"]
    assert main(["data", "convert", str(root), str(out)]) == 2
    assert "holds something already" in capsys.readouterr().err


def test_convert_may_take_one_split(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "convert", str(root), str(tmp_path / "out"), "--split", "val", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["inf"], "There is no command 'data inf'. Did you mean 'info'?"),
        (["info", "absent"], "There is nothing at absent"),
        (["info", ".", "--dataset", "refcoc"], "Did you mean 'refcoco'?"),
    ],
)
def test_mistakes_are_one_sentence(
    arguments: list[str],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["data", *arguments]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["info", "."], ["audit", ".", "--against", "."], ["convert", ".", "out"]])
def test_an_empty_set_is_one_sentence(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.jsonl").touch()
    assert main(["data", *arguments]) == 2
    assert capsys.readouterr().err == "deixis: . holds no records; expected at least one.\n"
    assert not (tmp_path / "out").exists()


def test_help_names_the_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "--help"]) == 0
    assert "deixis data audit A --against B" in capsys.readouterr().out
    assert main(["data", "info", "--help"]) == 0
    assert "--skip-broken" in capsys.readouterr().out


def test_the_real_miniature_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not MINI.is_dir():
        pytest.skip("the real data are not beside us")
    assert main(["data", "info", str(MINI), "--check", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {split: facts["expressions"] for split, facts in told["splits"].items()} == {
        "val": 36,
        "testA": 12,
        "testB": 23,
    }
    assert told["completeness"].startswith("a part of the published set: 71 of 142,209 sentences")
    out = tmp_path / "out"
    assert main(["data", "convert", str(MINI), str(out)]) == 0
    capsys.readouterr()
    assert main(["data", "audit", str(out), "--train-split", "val", "--against", str(MINI)]) == 0
    assert main(["data", "audit", str(out), "--train-split", "testA", "--against", str(MINI)]) == 1
    assert "by coco; 12 sentences" in capsys.readouterr().out
