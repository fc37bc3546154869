"""Your own clips: masks at some frames, of video files and folders; what does not fit is named."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deixis import masks
from deixis.data.readers.formats import detect_format, open_data, open_splits
from deixis.data.validation import Issues, validate
from deixis.errors import InputError
from tests.data.readers.video_mini import shown
from tests.data.video_writing import numbered, write_video


def write_lines(root: Path, *lines: dict[str, Any]) -> Path:
    (root / "data.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    return root


def write_mask(path: Path, value: int = 255, size: tuple[int, int] = (48, 64), pixels: int = 6) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros(size, np.uint8)
    mask[0, :pixels] = value
    Image.fromarray(mask).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """`dog.mp4` of 12 frames, and a folder `cat` with frames 8 to 11 without leading zeros."""
    write_video(tmp_path / "dog.mp4", 12)
    (tmp_path / "videos" / "cat").mkdir(parents=True)
    for number in range(8, 12):
        Image.fromarray(numbered(number)).save(tmp_path / "videos" / "cat" / f"{number}.png")
    return tmp_path


def test_masked_frames_of_videos_and_folders_are_samples(root: Path) -> None:
    rle = masks.encode(np.ones((48, 64), dtype=bool))
    write_mask(root / "masks" / "8.png")
    write_mask(root / "masks" / "10.png", value=1, pixels=9)
    write_lines(
        root,
        {"video": "dog.mp4", "expression": "the Dog", "masks": {"11": rle, "3": rle}, "split": "train"},
        {"video": "cat", "captions": ["a cat", "the pet"], "masks": "masks", "split": "val"},
        {"video": "cat", "expression": "it", "frame": 2, "mask": rle, "split": "val"},
        {"video": "dog.mp4", "expression": "no label", "split": "val"},
    )
    assert detect_format(root) == "clips"
    splits = open_splits(root)
    assert [(each.frame, shown(each, 3)) for each in splits["train"]] == [(3, [2, 3, 4]), (11, [10, 11, 11])]
    found = [(each.expression, each.frame, each.traits.get("area")) for each in splits["val"]]
    assert found == [
        ("a cat", 0, 6),
        ("a cat", 2, 9),
        ("the pet", 0, 6),
        ("the pet", 2, 9),
        ("it", 2, 48 * 64),
        ("no label", 0, None),
    ]
    assert shown(splits["val"][1], 3) == [9, 10, 11]
    assert len({ids.sentence for ids in splits["val"].ids}) == 6


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"video": "cat", "masks": {"7": "a.png"}}, r"line 1 has a mask of frame '7', which .*cat lacks"),
        ({"video": "dog.mp4", "masks": {"12": "a.png"}}, "is about frame 12, but .* has 12 frames, counted from 0"),
        ({"video": "dog.mp4", "masks": {"x": "a.png"}}, "mask of frame 'x'; the frames of a video are numbers"),
        ({"video": "dog.mp4", "masks": {"1": "small.png"}}, "the mask small.png is 10x10 pixels"),
        ({"video": "dog.mp4", "masks": {"1": "zero.png"}}, "the mask zero.png has no pixel of the object"),
        (
            {"video": "dog.mp4", "masks": {"1": "two.png"}},
            'has several values: .* say which is the object with "label"',
        ),
        ({"video": "dog.mp4", "masks": {}}, "'masks' is empty"),
        ({"video": "dog.mp4", "masks": "absent"}, "names the masks 'absent', but there is no such folder"),
        ({"video": "dog.mp4", "frame": -1}, "has the 'frame' '-1'; expected its position"),
        ({"video": "absent.mp4"}, r"absent\.mp4 is missing, but .*line 1 names it"),
        ({"video": "../dog.mp4"}, "which leaves"),
        ({"video": "gap", "masks": {"1": "a.png"}}, r"gap has a gap: after 2\.png comes 5\.png"),
        ({"video": "sizes"}, r"2\.png is 12x10 pixels .* the first frame of its clip"),
        ({"video": "cat", "frames": ["../8.png"]}, "expected the names of the frames' files"),
        ({"expression": "x", "image": None}, "has no 'video'"),
    ],
)
def test_what_does_not_fit_is_named_or_skipped(root: Path, line: dict[str, Any], words: str) -> None:
    write_mask(root / "a.png")
    write_mask(root / "small.png", size=(10, 10))
    write_mask(root / "zero.png", value=0)
    both = np.zeros((48, 64), np.uint8)
    both[:3], both[3:9] = 1, 2
    Image.fromarray(both).save(root / "two.png")
    for name, frames in (("gap", "125"), ("sizes", "12")):
        (root / name).mkdir()
        for number in frames:
            Image.fromarray(numbered(int(number))).save(root / name / f"{number}.png")
    Image.new("RGB", (10, 12)).save(root / "sizes" / "2.png")
    write_lines(root, {"expression": "x", **line}, {"video": "dog.mp4", "expression": "good"})
    with pytest.raises(InputError, match=words):
        validate(open_data(root, dataset="clips"), Issues())
    issues = Issues(skip=True)
    kept = validate(open_data(root, dataset="clips", issues=issues), issues)
    assert [ids.sentence for ids in kept.ids] == ["2"]
    assert len(issues) == 1


def test_a_label_chooses_among_several_objects(root: Path) -> None:
    both = np.zeros((48, 64), np.uint8)
    both[:3], both[3:9] = 1, 2
    Image.fromarray(both).save(root / "two.png")
    write_lines(root, {"video": "dog.mp4", "expression": "x", "masks": {"1": "two.png"}, "label": 2})
    assert open_data(root)[0].traits["area"] == 6 * 64
