"""PhraseCut's layout: polygons per instance, sizes from its own list or from the photo, and broken tasks."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deixis import masks
from deixis.data.readers.phrasecut import PhraseCut
from deixis.data.validation import Issues
from deixis.errors import DeixisError

SQUARE = [[2, 2], [6, 2], [6, 6], [2, 6]]
OTHER = [[10, 2], [12.0, 2], [12, 4], [10, 4]]


def task(number: int, image: int, phrase: str, polygons: Any) -> dict[str, Any]:
    structure = {"name": phrase.split()[-1], "attributes": [], "relations": [{"a": {"b": "}"}}]}
    return {
        "task_id": f"{image}__{number}",
        "image_id": image,
        "ann_ids": [1],
        "instance_boxes": [[2, 2, 4, 4]],
        "Polygons": polygons,
        "phrase": phrase,
        "phrase_structure": structure,
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for image in (61, 62):
        Image.new("RGB", (20, 16)).save(tmp_path / "images" / f"{image}.jpg")
    val = [
        task(0, 61, "red {cup}", [[SQUARE], [OTHER]]),
        task(1, 61, "cup", [[SQUARE, OTHER]]),
        task(0, 62, "dog", [[OTHER]]),
    ]
    (tmp_path / "refer_val.json").write_text(json.dumps(val))
    (tmp_path / "refer_test.json").write_text(json.dumps([task(0, 62, "sky", [[SQUARE]])]))
    sizes = [
        {"image_id": 61, "height": 16, "width": 20, "coco_id": 139, "split": "val"},
        {"image_id": 62, "height": 16, "width": 20, "coco_id": None, "split": "val"},
    ]
    (tmp_path / "image_data_split.json").write_text(json.dumps(sizes))
    return tmp_path


def test_the_target_is_the_union_of_the_instances(root: Path) -> None:
    reader = PhraseCut(root)
    expected = np.zeros((16, 20), dtype=bool)
    expected[2:6, 2:6] = expected[2:4, 10:12] = True
    for position, instances in ((0, 2), (1, 1)):
        sample = reader[position]
        assert sample.mask is not None
        assert np.array_equal(masks.decode(sample.mask), expected)
        assert sample.traits == {"num_instances": instances, "area": 20, "coco_image": 139}
    assert [sample.expression for sample in reader] == ["red {cup}", "cup", "dog"]
    assert reader.ids[0].image == "61"
    assert reader.ids[0].sentence == "61__0"
    assert "coco_image" not in reader[2].traits


def test_sizes_come_from_the_photos_where_the_list_is_absent(root: Path) -> None:
    with_list = [sample.mask for sample in PhraseCut(root)]
    (root / "image_data_split.json").unlink()
    assert [sample.mask for sample in PhraseCut(root)] == with_list
    (root / "images" / "62.jpg").unlink()
    with pytest.raises(DeixisError, match=r"62\.jpg is missing, but .*refer_val\.json: task 62__0 names it"):
        PhraseCut(root)[2]


def test_every_split_that_is_there_is_known(root: Path) -> None:
    assert {split: len(reader) for split, reader in PhraseCut.every_split(root).items()} == {"val": 3, "test": 1}
    with pytest.raises(DeixisError, match="no split 'train'; the splits there are: test, val"):
        PhraseCut(root, "train")


def test_a_folder_without_its_files_names_the_download(tmp_path: Path) -> None:
    with pytest.raises(DeixisError, match=r"download PhraseCut as https://github.com/ChenyunWu/PhraseCutDataset"):
        PhraseCut(tmp_path)


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (task(0, 61, "cup", [[[[1, 2], [3, 4]]]]), "refer_val.json: task 61__0: A polygon has 4 numbers"),
        (task(0, 61, "cup", [[[[1, 2, 3]]]]), "refer_val.json: task 61__0: its polygons are not lists of points"),
        (task(0, 61, "cup", [[[[1, 2], [3, 10**400], [5, 6]]]]), "61__0: its polygons are not lists of points"),
        (task(0, 61, "cup", [["abc"]]), "refer_val.json: task 61__0: its polygons are not lists of points"),
        (task(0, 63, "cup", [[SQUARE]]), r"63\.jpg is missing, but .*task 63__0 names it"),
    ],
)
def test_a_broken_task_is_named_when_it_is_read(root: Path, broken: dict[str, Any], sentence: str) -> None:
    (root / "refer_val.json").write_text(json.dumps([broken]))
    with pytest.raises(DeixisError, match=sentence):
        PhraseCut(root)[0]


def test_tasks_without_their_facts_are_refused_or_counted(root: Path) -> None:
    whole, lame, mute = task(0, 61, "cup", [[SQUARE]]), task(1, 61, "dog", [[SQUARE]]), task(2, 61, "x", [])
    lame.pop("image_id")
    mute["phrase"] = 5
    (root / "refer_val.json").write_text(json.dumps([whole, lame, mute, whole]))
    with pytest.raises(DeixisError, match="task number 1 lacks a valid task_id"):
        PhraseCut(root)
    issues = Issues(skip=True)
    assert len(PhraseCut(root, issues=issues)) == 1
    assert [sentence.partition(".json")[2][:20] for sentence in issues.broken] == [
        ": task number 1 lack",
        ": task 61__2: the ph",
        ": two tasks have the",
    ]


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"phrase": "\ud83d"}, "task number 1 has a text that cannot be written"),
        ({"task_id": "\ud83d"}, "task number 1 has a text that cannot be written"),
        ({"image_id": float("inf")}, "task number 1 lacks a valid task_id"),
    ],
)
def test_a_task_that_cannot_be_read_is_counted(root: Path, facts: dict[str, Any], sentence: str) -> None:
    tasks = [task(0, 61, "cup", [[SQUARE]]), task(1, 61, "dog", [[SQUARE]]) | facts]
    (root / "refer_val.json").write_text(json.dumps(tasks))
    issues = Issues(skip=True)
    assert len(PhraseCut(root, issues=issues)) == 1
    assert sentence in issues.broken[0]


@pytest.mark.parametrize("text", ["[{", "{}", "[1, 2]", "", '[{"a": }]', "[{} {}]", "[{}]]"])
def test_a_file_that_is_not_a_list_of_tasks_is_named(root: Path, text: str) -> None:
    (root / "refer_val.json").write_text(text)
    with pytest.raises(DeixisError, match=r"refer_val\.json"):
        PhraseCut(root)


def test_a_photo_of_another_size_is_refused(root: Path) -> None:
    Image.new("RGB", (20, 17)).save(root / "images" / "61.jpg")
    with pytest.raises(DeixisError, match=r"61\.jpg is 17x20 pixels .* says 16x20"):
        PhraseCut(root)[0].visual.read()
