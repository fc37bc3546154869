"""Data sets of videos in the tools: converted and read back, audited, described, drawn."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deixis import masks
from deixis.cli import main
from deixis.data.readers.formats import open_splits
from deixis.data.tools.contact_sheet import contact_sheet, examples, panel_of
from deixis.data.tools.conversion import convert
from deixis.data.tools.leakage import audit, leaks
from deixis.data.validation import Issues
from deixis.records import Sample
from tests.data.readers.video_mini import ROOT, needs_trees
from tests.data.video_writing import number_of, numbered, write_video


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A video file and a folder of frames with a gap, which its line lists."""
    root = tmp_path / "own"
    (root / "cat").mkdir(parents=True)
    write_video(root / "dog.mp4", 6)
    for number in (5, 10, 20):
        Image.fromarray(numbered(number)).save(root / "cat" / f"{number:05d}.png")
    rle = masks.encode(np.eye(48, 64, dtype=bool))
    names = ["00005.png", "00010.png", "00020.png"]
    lines = [
        {"video": "dog.mp4", "expression": "the dog", "masks": {"2": rle, "4": rle}, "split": "train"},
        {"video": "cat", "frames": names, "expression": "the cat", "masks": {"00020": rle}, "split": "val"},
    ]
    (root / "data.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return root


def facts(sample: Sample) -> tuple[object, ...]:
    shown = [number_of(frame) for frame in sample.visual.read()]
    ids = (sample.ids, sample.dataset, sample.split)
    return sample.frame, shown, sample.expression, sample.mask, *ids, dict(sample.traits)


def test_clips_are_converted_and_read_back_as_the_same_samples(root: Path, tmp_path: Path) -> None:
    splits = open_splits(root)
    assert convert(splits, tmp_path / "out", "jsonl") == 3
    again = open_splits(tmp_path / "out")
    assert {split: list(map(facts, reader)) for split, reader in again.items()} == {
        split: list(map(facts, reader)) for split, reader in splits.items()
    }
    assert (tmp_path / "out" / "videos" / "dog.mp4").is_file()


@needs_trees
@pytest.mark.parametrize("name", ["a2d", "jhmdb", "refer_youtube_vos"])
def test_published_sets_are_converted_and_read_back(tmp_path: Path, name: str) -> None:
    splits = dict(list(open_splits(ROOT / name).items())[:1])
    convert(splits, tmp_path / "out", "jsonl")
    again = open_splits(tmp_path / "out")
    assert {split: list(map(facts, reader)) for split, reader in again.items()} == {
        split: list(map(facts, reader)) for split, reader in splits.items()
    }


def test_frames_become_images_in_coco_json(root: Path, tmp_path: Path) -> None:
    convert(open_splits(root), tmp_path / "out", "coco")
    again = open_splits(tmp_path / "out")
    samples = list(again["train"])
    assert [number_of(sample.visual.read()[0]) for sample in samples] == [2, 4]
    assert [sample.ids.image for sample in samples] == ["dog.mp4/2", "dog.mp4/4"]
    assert {sample.traits["area"] for sample in samples} == {48}


@needs_trees
def test_videos_of_two_splits_are_found_by_name_and_by_looks(tmp_path: Path) -> None:
    splits = open_splits(ROOT / "mevis")
    same = audit(splits["train"], splits["train"])
    assert same.leaked_images == 2
    assert {one.match for one in same.shared} == {"video"}
    assert leaks(splits["train"], splits["train"])
    convert({"train": splits["train"]}, tmp_path / "copy", "jsonl")
    copied = audit(open_splits(tmp_path / "copy")["train"], splits["train"])
    assert {one.match for one in copied.shared} == {"looks"}


def test_a_contact_sheet_shows_the_masked_frames(root: Path) -> None:
    splits = open_splits(root)
    shown = [panel_of(sample) for sample in examples(splits["train"], 2, Issues())]
    assert [number_of(panel.pixels) for panel in shown] == [2, 4]
    assert contact_sheet(shown).size[0] > 240


def test_the_command_line_reads_clips(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "info", str(root), "--check", "--sheet", str(tmp_path / "sheet.png")]) == 0
    printed = capsys.readouterr().out
    assert "clips" in printed
    assert "none broken" in printed
    assert (tmp_path / "sheet.png").is_file()
    assert main(["data", "audit", str(root), "--against", str(root), "--test-split", "val"]) == 0


@needs_trees
def test_info_tells_what_a_layout_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "info", str(ROOT / "a2d"), "--check"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "1 row left out: the instance is not a number" in printed
    assert "videos" in printed
    assert main(["data", "info", str(ROOT / "refer_youtube_vos"), "--split", "valid"]) == 0
    assert "1 of 3 videos in the expressions of valid are test videos" in " ".join(capsys.readouterr().out.split())


def test_broken_clips_are_left_out_and_listed(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "dog.mp4").write_bytes(b"hello")
    assert main(["data", "info", str(root), "--check"]) == 2
    assert "dog.mp4 is not a video that PyAV can read" in capsys.readouterr().err
    assert main(["data", "info", str(root), "--check", "--skip-broken"]) == 0
    assert "2 broken records were left out" in capsys.readouterr().err
