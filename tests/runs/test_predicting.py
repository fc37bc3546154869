"""Rows in, Parquet out: no row is lost, whatever fails, and a run that was killed continues."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from deixis import masks
from deixis.checkpoints import native
from deixis.checkpoints.configs import to_dict
from deixis.cli import main
from deixis.data.transforms import Preprocess
from deixis.errors import InputError
from deixis.models.late_fusion import LateFusionConfig
from deixis.runs.predicting.parquet import SCHEMA, finished, open_folder, parts, read_answers, write_part
from deixis.runs.predicting.rows import Row, chunks, failed, read_rows, row_id
from deixis.text.bert import BertConfig
from deixis.text.tokenizer import SPECIAL
from deixis.vision.vit import ViTConfig

PHOTO = Path(__file__).parents[2] / "examples" / "toyland.png"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("model") / "tiny"
    words = (*SPECIAL, "red", "blue", "thing")
    text = BertConfig(layers=1, width=16, heads=2, feed_forward=32, vocabulary=len(words), positions=12, dropout=0.0)
    config = LateFusionConfig(vit=ViTConfig(layers=1, width=16, heads=2, grid=4, drop_path=0.0), text=text, width=16)
    torch.manual_seed(0)
    card = native.Card(system="late_fusion", config=to_dict(config), preprocess=Preprocess(image_size=64, max_tokens=8))
    native.save(place, config.build().state_dict(), card, words)
    return place


def write_rows(folder: Path, count: int, broken: int = 1) -> Path:
    """Rows about one photo; the image of row `broken` is missing, and the next one has nothing to find."""
    (folder / "photo.png").symlink_to(PHOTO)
    lines = [{"image": "photo.png", "expression": f"red thing {number}"} for number in range(count)]
    lines[broken] = {"image": "absent.png", "expression": "red"}
    lines[broken + 1] = {"image": "photo.png", "expression": " "}
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def test_every_row_comes_out_once_with_a_mask_or_an_error(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, out = write_rows(tmp_path, 9), tmp_path / "out"
    command = ["predict", str(rows), "--out", str(out), "--model", str(model), "--workers", "2", "--chunk", "2"]
    assert main([*command, "--device", "cpu"]) == 1  # some rows have an error
    assert capsys.readouterr().out == f"{out}  9 rows, 2 with an error\n"
    found = {record["image"] + record["expression"]: record for record in read_answers(out)}
    assert len(found) == 9
    fine = found[f"{tmp_path / 'photo.png'}red thing 0"]
    assert masks.decode({"size": fine["size"], "counts": fine["rle"]}).shape == (384, 384)
    assert fine["error"] is None
    assert fine["model"] == str(model)
    assert fine["notes"] is not None
    assert "There is no file" in found[f"{tmp_path / 'absent.png'}red"]["error"]
    assert found[f"{tmp_path / 'photo.png'} "]["error"].startswith("The expression is empty")
    assert found[f"{tmp_path / 'photo.png'} "]["rle"] is None
    for file in parts(out):  # also of a file without any error
        assert pq.read_schema(file).remove_metadata().equals(SCHEMA)
    assert main([*command, "--device", "cpu"]) == 1  # they still have
    again = capsys.readouterr()
    assert again.err == "deixis: 9 of 9 rows are there already\n"
    assert again.out == f"{out}  9 rows, 2 with an error\n"
    assert main([*command, "--device", "cpu", "--threshold", "0.3"]) == 2
    assert "were made with another threshold; give another --out." in capsys.readouterr().err


def test_a_run_that_was_killed_continues(model: Path, tmp_path: Path) -> None:
    rows, out = write_rows(tmp_path, 60, broken=58), tmp_path / "out"
    options = ["--out", str(out), "--model", str(model), "--workers", "1", "--chunk", "2", "--device", "cpu"]
    command = [sys.executable, "-m", "deixis.cli", "predict", str(rows), *options]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not parts(out) and time.monotonic() < deadline and run.poll() is None:
        time.sleep(0.01)
    run.kill()
    run.communicate(timeout=60)  # its processes hold the pipe open until they end
    before = finished(out)
    assert 0 < len(before) < 60
    kept = {path: path.read_bytes() for path in parts(out)}
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 1, again.stderr
    assert f"{len(before)} of 60 rows are there already" in again.stderr
    assert len(list(read_answers(out))) == len(finished(out)) == 60
    assert sum(pq.read_metadata(path).num_rows for path in parts(out)) == 60  # none was computed twice
    assert all(path.read_bytes() == content for path, content in kept.items())


def test_a_row_that_ends_its_process_gets_an_error_and_the_others_their_masks(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).with_name("dying.py")), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["8", "2"]
    errors = {record["expression"]: record["error"] for record in read_answers(tmp_path)}
    assert len(errors) == 8
    assert "the process that computed this row died" in errors.pop("die")
    assert errors.pop("odd") == "KeyError: 'odd'"
    assert set(errors.values()) == {None}


@pytest.mark.slow
def test_ray_writes_the_same_rows(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    rows = write_rows(tmp_path, 12)
    found = []
    for engine in ("local", "ray"):
        out = tmp_path / engine
        options = ["--engine", engine, "--workers", "2", "--chunk", "3", "--model", str(model), "--device", "cpu"]
        command = [sys.executable, "-m", "deixis.cli", "predict", str(rows), "--out", str(out), *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1, done.stderr[-3000:]
        found.append(sorted(read_answers(out), key=lambda record: record["id"]))
    assert found[0] == found[1]


def test_a_duplicate_that_a_killed_run_left_is_read_once(tmp_path: Path) -> None:
    first, again = (failed(Row("x", "a.png", "red"), error, "m") for error in ("one", "two"))
    for record in (first, again):
        write_part(tmp_path, [record])
    assert len(list(read_answers(tmp_path))) == len(finished(tmp_path)) == 1


def test_a_parquet_reader_reads_the_whole_folder(tmp_path: Path) -> None:
    open_folder(tmp_path, {"model": "m"})
    for number in "12":
        write_part(tmp_path, [failed(Row(number, "a.png", "red"), "The file is missing.", "m")])
    table = pq.read_table(tmp_path)
    assert table.schema.equals(SCHEMA)
    assert table["id"].to_pylist() == [record["id"] for record in read_answers(tmp_path)]


def test_a_folder_with_the_former_name_of_the_manifest_is_continued(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"model": "m"}')
    with pytest.raises(InputError, match="made with another model"):
        open_folder(tmp_path, {"model": "n"})
    assert [file.name for file in tmp_path.iterdir()] == ["manifest.json"]
    open_folder(tmp_path, {"model": "m"})
    assert [file.name for file in tmp_path.iterdir()] == ["_manifest.json"]


def test_an_id_depends_on_image_expression_and_settings() -> None:
    ids = {
        row_id(*each) for each in (("a", "b", {}), ("a", "c", {}), ("ab", "", {}), ("a", "b", {"t": 1}), ("a", "b", {}))
    }
    assert len(ids) == 4


def test_rows_about_one_image_stay_together() -> None:
    rows = [Row(str(number), image, "") for number, image in enumerate("aaabbbbbbbc")]
    assert ["".join(row.image for row in chunk) for chunk in chunks(rows, 2)] == ["aaa", "bbbb", "bbb", "c"]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('{"image": "a.png"', "line 2 is not JSON"),
        ('["a.png"]', "line 2 has no image"),
        ('{"image": ""}', "line 2 has no image"),
        ('{"image": "a.png"}', "line 2 has no expression; add one, or give --text for all images"),
        ('{"image": "a.png", "expression": 3}', "line 2 has no expression"),
    ],
)
def test_a_line_that_is_no_row_is_refused(tmp_path: Path, line: str, sentence: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(f'{{"image": "a.png", "sentence": ["red", "blue"]}}\n{line}\n')
    with pytest.raises(InputError, match=sentence):
        read_rows(file, [], {})


def test_a_folder_is_asked_every_expression(tmp_path: Path) -> None:
    for name in ("b.png", "a.jpg", "notes.txt"):
        (tmp_path / name).touch()
    rows = read_rows(tmp_path, ["red", "blue", "red"], {})
    asked = [(Path(row.image).name, row.expression) for row in rows]
    assert asked == [("a.jpg", "red"), ("a.jpg", "blue"), ("b.png", "red"), ("b.png", "blue")]
    with pytest.raises(InputError, match="about which nothing is asked; give --text or --texts"):
        read_rows(tmp_path, [], {})


def test_a_folder_of_something_else_is_not_written_to(tmp_path: Path) -> None:
    manifest: dict[str, Any] = {"model": "m"}
    (tmp_path / "mine.txt").touch()
    with pytest.raises(InputError, match="holds something other than answers"):
        open_folder(tmp_path, manifest)
    open_folder(tmp_path / "new", manifest)
    open_folder(tmp_path / "new", manifest)
    with pytest.raises(InputError, match="were made with another model; give another --out"):
        open_folder(tmp_path / "new", {"model": "n"})


def test_options_that_do_not_go_together_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "rows.jsonl", "--out", "o", "--gpus", "1"]) == 2
    assert "are options of --engine ray" in capsys.readouterr().err
    assert main(["predict", "rows.jsonl", "--out", "o", "--workers", "0"]) == 2
    assert "--workers is 0; expected 1 or more." in capsys.readouterr().err
