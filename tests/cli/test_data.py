"""`deixis data` as it is typed: tables, JSON for programs, exit codes, one sentence for every error."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deixis.cli import main
from deixis.cli.data_tables import print_facts
from deixis.data.tools.statistics import SplitFacts, Spread

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


def test_info_prints_json_for_programs(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_a_check_finds_broken_pixels(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = (root / "val.png").read_bytes()
    (root / "val.png").write_bytes(whole[: len(whole) // 2])
    assert main(["data", "info", str(root)]) == 0
    assert main(["data", "info", str(root), "--check"]) == 2
    assert "data.jsonl, line 2" in capsys.readouterr().err
    assert main(["data", "info", str(root), "--check", "--skip-broken"]) == 0
    assert "1 broken record was left out" in capsys.readouterr().err


def test_a_check_ends_with_one_sentence(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "info", str(root), "--check"]) == 0
    assert capsys.readouterr().out.endswith("\n6 photos and masks read, none broken.\n")
    soft = Image.new("L", (90, 80))
    soft.paste(255, (13, 9, 51, 60))
    soft.save(root / "soft.jpg", quality=40)
    lines = [
        {"image": "val.png", "expression": "soft", "mask": "soft.jpg", "split": "val"},
        {"image": "val.png", "expression": "with a point", "mask": [*BOX, [1, 1]], "split": "val"},
    ]
    with (root / "data.jsonl").open("a") as file:
        file.write("\n" + "\n".join(map(json.dumps, lines)))
    break_one(root)
    assert main(["data", "info", str(root), "--check", "--skip-broken"]) == 0
    told = capsys.readouterr()
    assert told.out.endswith(
        "\n7 photos and masks read, 1 record broken, 1 part of records left out, 1 mask with blurred edges (lossy or "
        "resampled) cut at half of the largest value.\n"
    )
    assert "1 broken record was left out:\n" in told.err
    assert "1 part of a record was left out, and the rest kept:\n" in told.err


@pytest.mark.parametrize("lacking", [False, True])
@pytest.mark.parametrize("split", ["val", "testA", "a split with a long name of its own"])
def test_the_table_fits_80_columns_with_all_its_headings(
    split: str, lacking: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    spread = Spread(0.001, 0.3, 0.456, 0.7, 1.0, 0.5)
    facts = SplitFacts(
        images=123_287,
        objects=196_771,
        expressions=1_142_209,
        looked_at=1000,
        without_mask=1000 * lacking,
        with_empty_mask=120 * lacking,
        words=Spread(1.0, 3.0, 4.0, 5.0, 121.0, 3.5),
        mask_shares=spread,
        heights=spread,
        widths=spread,
        broken=0,
    )
    print_facts("a/long/path: refcoco", {split: facts}, "a part of the published set")
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    headings = ["split", "images", "objects", "sentences", "words per", "sentence", "mask area,", "% of photo"]
    for text in [*headings, *(["empty", "no", "mask", "100%", "12%"] if lacking else [])]:
        assert text in shown
    for number in ("123,287", "196,771", "1,142,209", "1/4/121", "0.1/45.6/100.0"):
        assert number in shown
    assert split[:5] in shown


def test_sentences_under_another_key_are_read_by_an_option(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "data.jsonl").write_text((root / "data.jsonl").read_text().replace('"expression"', '"Satz"'))
    assert main(["data", "info", str(root)]) == 2
    assert "name the key of the sentences with --text-key" in capsys.readouterr().err
    assert main(["data", "info", str(root), "--text-key", "Satz", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["splits"]["val"]["expressions"] == 1


def test_photos_of_another_folder_are_found_by_an_option(root: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    for photo in root.glob("*.png"):
        photo.rename(tmp_path / "elsewhere" / photo.name)
    assert main(["data", "info", str(root), "--check"]) == 2
    assert main(["data", "info", str(root), "--check", "--images", str(tmp_path / "elsewhere")]) == 0
    written = ["--images", str(tmp_path / "elsewhere"), "--allow-outside"]
    assert main(["data", "convert", str(root), str(tmp_path / "out"), *written]) == 0
    assert main(["data", "info", str(tmp_path / "out"), "--check"]) == 0


def test_one_sample_is_singular(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "convert", str(root), str(tmp_path / "out"), "--split", "val"]) == 0
    assert capsys.readouterr().out == f"Wrote 1 sample of val to {tmp_path / 'out'}\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["info", ".", "--chek"], "There is no option '--chek'. Did you mean '--check'?"),
        (["info", ".", "--examples", "many"], "--examples is 'many'; expected a whole number."),
        (["convert", ".", "out", "--format", "json"], "--format is 'json'; expected one of its choices."),
        (["info", ".", "--exif", "turned"], "--exif is 'turned'; expected one of its choices."),
        (["convert", "."], "OUT is missing; `deixis data convert --help` shows the options."),
    ],
)
def test_options_are_checked_in_one_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"deixis: {sentence}")


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


def test_describe_writes_sentences_a_report_and_a_sheet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "images").mkdir()
    Image.fromarray(np.full((80, 90, 3), 100, np.uint8)).save(tmp_path / "images" / "one.png")
    boxes = [{"id": number, "image_id": 7, "category_id": 1, "bbox": [40 * number, 10, 30, 60]} for number in (0, 1)]
    content = {
        "images": [{"id": 7, "file_name": "one.png"}],
        "annotations": boxes,
        "categories": [{"id": 1, "name": "dog"}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(content))
    out, sheet = tmp_path / "train.jsonl", tmp_path / "sheet.png"
    arguments = ["data", "describe", str(tmp_path / "coco.json"), str(out)]
    assert main([*arguments, "--sheet", str(sheet), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert report["sentences"] == len(lines) == sum(report["kinds"].values())
    assert report["objects"] == 2
    assert all(" ".join(line["expression"].split()) == line["expression"] for line in lines)
    with Image.open(sheet) as image:
        assert image.width > 100
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith(f"{len(lines)} sentences about 2 objects in 1 photos")
    assert main([*arguments[:3], str(tmp_path / "train.txt")]) == 2
    assert "give a name that ends in .jsonl" in capsys.readouterr().err
    assert main(["data", "describe", str(tmp_path / "absent.json"), str(out)]) == 2
    assert "There is no file" in capsys.readouterr().err
    assert main([*arguments, "--license", "4", "--license", "5"]) == 2
    assert "has no photo with license 4 or 5; its photos have None (1)." in capsys.readouterr().err
