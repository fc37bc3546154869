"""Refer-YouTube-VOS and the converted Ref-DAVIS17: the small trees' answers, and every trap of the layout."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deixis import masks
from deixis.data.readers.formats import choose, detect_format, open_splits
from deixis.data.validation import Issues, validate
from deixis.errors import InputError
from tests.data.readers.video_mini import ROOT, check_frames, expected, needs_trees, shown
from tests.data.video_writing import numbered


def write_expressions(root: Path, split: str, videos: dict[str, Any]) -> None:
    file = root / "meta_expressions" / split / "meta_expressions.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"videos": videos}))


def write_palette(path: Path, indices: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("P", indices.shape[::-1])
    image.putdata(indices.astype(int).reshape(-1).tolist())
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0])
    image.save(path)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A training video with frames 10, 20, 25 (listed in another order) and objects 1 and 3; two validation videos."""
    indices = np.zeros((48, 64))
    indices[:4, :5] = 3
    for number in (10, 20, 25):
        folder = tmp_path / "train" / "JPEGImages" / "v1"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(numbered(number)).save(folder / f"{number:05d}.jpg", quality=95)
        write_palette(tmp_path / "train" / "Annotations" / "v1" / f"{number:05d}.png", indices)
        indices[10:12, :2] = 1
    expressions = {"0": {"exp": "The  cat ", "obj_id": "1"}, "1": {"exp": "a dog", "obj_id": "3"}}
    write_expressions(tmp_path, "train", {"v1": {"expressions": expressions, "frames": ["00020", "00010", "00025"]}})
    one = {"expressions": {"0": {"exp": "a bird"}}, "frames": ["00000"]}
    write_expressions(tmp_path, "valid", {"v2": one, "v3": one})
    (tmp_path / "valid" / "JPEGImages" / "v2").mkdir(parents=True)
    Image.fromarray(numbered(0)).save(tmp_path / "valid" / "JPEGImages" / "v2" / "00000.jpg")
    return tmp_path


@needs_trees
def test_the_small_tree_is_read_as_expected() -> None:
    splits = open_splits(ROOT / "refer_youtube_vos")
    content = expected("refer_youtube_vos")
    assert {split: len(splits[split].expressions) for split in content["counts"]} == content["counts"]
    check_frames({split: splits[split] for split in ("train", "valid")}, content["samples"])
    sample = next(each for each in splits["train"] if each.ids.sentence == "02b1c5a7e9/1/00030")
    assert shown(sample, 4) == [15, 20, 30, 35]  # the file's frames, with a gap


@needs_trees
def test_the_converted_ref_davis_is_read_as_expected() -> None:
    splits = open_splits(ROOT / "ref_davis" / "converted")
    assert detect_format(ROOT / "ref_davis" / "converted") == "ref-davis"
    found = check_frames(splits, expected("ref_davis")["samples"])
    assert any("void" in sample.traits for sample in found["dog-swan/0"])
    assert not any("void" in sample.traits for sample in found["classic-car/0"])


def test_frames_are_sorted_and_ids_need_not_be_contiguous(tree: Path) -> None:
    reader = open_splits(tree)["train"]
    assert [(sample.ids.sentence, sample.frame, sample.traits["area"]) for sample in reader] == [
        ("v1/0/00010", 0, 0),  # an object may be absent from the first frames: its mask is empty
        ("v1/0/00020", 1, 4),
        ("v1/0/00025", 2, 4),
        ("v1/1/00010", 0, 20),
        ("v1/1/00020", 1, 20),
        ("v1/1/00025", 2, 20),
    ]
    assert [sample.ids.object for sample in reader] == ["1"] * 3 + ["3"] * 3
    assert shown(reader[1], 3) == [10, 20, 25]
    assert reader[0].expression == "the cat"


def test_masks_are_read_by_palette_index(tree: Path) -> None:
    sample = open_splits(tree)["train"][4]
    expected_mask = np.zeros((48, 64), dtype=bool)
    expected_mask[:4, :5] = True
    np.testing.assert_array_equal(masks.decode(sample.mask), expected_mask)
    path = tree / "train" / "Annotations" / "v1" / "00020.png"
    with Image.open(path) as image:
        image.convert("RGB").save(path)
    with pytest.raises(InputError, match=r"00020\.png has mode RGB, but masks of objects are palette images"):
        open_splits(tree)["train"][4]


def test_videos_of_the_test_split_are_left_out_of_valid(tree: Path) -> None:
    splits = open_splits(tree)
    assert [ids.image for ids in splits["valid"].ids] == ["v2"]  # without a test file: the folders that are there
    assert "1 of 2 videos in the expressions of valid are test videos" in splits["valid"].notes[0]
    assert splits["valid"][0].mask is None
    one = {"expressions": {"0": {"exp": "a bird"}}, "frames": ["00000"]}
    write_expressions(tree, "test", {"v2": one})
    assert [ids.image for ids in open_splits(tree)["valid"].ids] == ["v3"]
    assert choose(open_splits(tree), "val", tree).split == "valid"


def test_the_real_file_of_valid_gives_202_videos(tmp_path: Path) -> None:
    source = ROOT.parent / "video_text" / "ref-youtube-vos_valid_meta_expressions.json"
    if not source.is_file():
        pytest.skip("needs the published expressions in ../shared/data/video_text")
    videos = json.loads(source.read_text())["videos"]
    assert len(videos) == 507
    assert max(len(video["frames"]) for video in videos.values()) == 36
    for video in videos.values():
        video["expressions"] = dict(list(video["expressions"].items())[:1])
        video["frames"] = video["frames"][:1]
    write_expressions(tmp_path, "valid", videos)
    write_expressions(tmp_path, "test", dict(list(videos.items())[202:]))
    assert len({ids.image for ids in open_splits(tmp_path)["valid"].ids}) == 202


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"objects": {"1": {"category": "cat"}}}, "the older variant of this file"),
        ({"expressions": {"0": {"exp": "x"}}}, "has no list of 'frames'"),
        ({"frames": ["1", "10"], "expressions": {}}, "names of several lengths"),
        ({"frames": ["../secret"], "expressions": {}}, "cannot be a file's"),
        ({"frames": ["00000"], "expressions": {"0": {"exp": 5}}}, "expression 0 has no text 'exp'"),
        ({"frames": ["00000"], "expressions": {"0": {"exp": "x", "obj_id": [1]}}}, "has the obj_id '\\[1\\]'"),
    ],
)
def test_broken_records_are_named_or_skipped(tree: Path, record: dict[str, Any], words: str) -> None:
    whole = {"frames": ["00010"], "expressions": {"0": {"exp": "a cat", "obj_id": "1"}}}
    write_expressions(tree, "train", {"bad": record, "v1": whole})
    with pytest.raises(InputError, match=words):
        open_splits(tree)
    issues = Issues(skip=True)
    assert len(open_splits(tree, issues=issues)["train"]) == 1
    assert len(issues) == 1


def test_missing_frames_and_masks_are_named_or_skipped(tree: Path) -> None:
    (tree / "train" / "Annotations" / "v1" / "00025.png").unlink()
    issues = Issues(skip=True)
    assert len(validate(open_splits(tree)["train"], issues)) == 4
    assert "frame 00025 of video v1 has no mask" in issues.broken[0]
    write_palette(tree / "train" / "Annotations" / "v1" / "00025.png", np.zeros((10, 10)))
    with pytest.raises(InputError, match=r"00025\.png is 10x10 pixels .*, but its frame is 48x64"):
        validate(open_splits(tree)["train"], Issues())
    (tree / "train" / "JPEGImages" / "v1" / "00020.jpg").unlink()
    issues = Issues(skip=True)
    assert len(validate(open_splits(tree)["train"], issues)) == 0
    assert any("00020.jpg is missing, but it is a frame of its clip" in sentence for sentence in issues.broken)
