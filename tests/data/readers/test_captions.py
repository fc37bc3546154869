"""COCO JSON with captions per annotation, as people write it."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from deixis.data.readers.captions import CaptionedInstances
from deixis.data.validation import Issues
from deixis.errors import DeixisError

BOX = [[1, 1, 5, 1, 5, 4, 1, 4]]


def write(folder: Path, *annotations: dict[str, Any], name: str = "data.json") -> Path:
    (folder / "images").mkdir(exist_ok=True)
    Image.new("RGB", (8, 6)).save(folder / "images" / "a.jpg")
    whole = {
        "images": [{"id": 3, "file_name": "a.jpg", "height": 6, "width": 8}],
        "annotations": [{"image_id": 3, "category_id": 1, **annotation} for annotation in annotations],
        "categories": [{"id": 1, "name": "cup"}],
    }
    (folder / name).write_text(json.dumps(whole))
    return folder


@pytest.mark.parametrize(
    ("said", "texts"),
    [
        ({"caption": "a cup"}, ["a cup"]),
        ({"captions": ["a cup", "it"]}, ["a cup", "it"]),
        ({"sentences": ["a cup"]}, ["a cup"]),
        ({"expression": "a cup"}, ["a cup"]),
    ],
)
def test_captions_are_found_under_any_usual_name(tmp_path: Path, said: dict[str, Any], texts: list[str]) -> None:
    reader = CaptionedInstances(write(tmp_path, {"id": 5, "segmentation": BOX, **said}, {"id": 6, "segmentation": BOX}))
    assert [sample.expression for sample in reader] == texts
    assert [ids.sentence for ids in reader.ids] == [f"5_{number}" for number in range(len(texts))]
    assert reader[0].traits == {"category": "cup", "same_category_count": 2, "area": 12}
    assert reader[0].visual.read().shape == (1, 6, 8, 3)
    assert (reader[0].split, reader.ids[0].image, reader.ids[0].object) == ("all", "3", "5")


def test_an_annotation_without_segmentation_is_weak(tmp_path: Path) -> None:
    assert CaptionedInstances(write(tmp_path, {"id": 5, "caption": "a cup"}))[0].mask is None


def test_splits_are_files_or_fields(tmp_path: Path) -> None:
    said = [{"id": 5, "caption": "x", "split": "val"}, {"id": 6, "caption": "y", "split": "train"}]
    readers = CaptionedInstances.every_split(write(tmp_path, *said))
    assert {split: [s.expression for s in reader] for split, reader in readers.items()} == {
        "val": ["x"],
        "train": ["y"],
    }
    path = write(tmp_path, {"id": 5, "caption": "x"}, name="val.json") / "val.json"
    assert list(CaptionedInstances.every_split(path)) == ["val"]
    with pytest.raises(DeixisError, match="no split 'test'; the splits there are: val"):
        CaptionedInstances(path, "test")


def test_each_split_may_have_a_file_of_its_own(tmp_path: Path) -> None:
    for split in ("val", "train"):
        write(tmp_path, {"id": 5, "caption": f"a cup of {split}"}, name=f"{split}.json")
    readers = CaptionedInstances.every_split(tmp_path)
    assert {split: [each.expression for each in reader] for split, reader in readers.items()} == {
        "train": ["a cup of train"],
        "val": ["a cup of val"],
    }
    with pytest.raises(DeixisError, match=r"holds train\.json, val\.json; name one"):
        CaptionedInstances(tmp_path)
    write(tmp_path, {"id": 5, "caption": "x", "split": "train"}, name="test.json")
    with pytest.raises(DeixisError, match=r"train\.json and .*test\.json both have captions of the split 'train'"):
        CaptionedInstances.every_split(tmp_path)


@pytest.mark.parametrize(
    ("annotation", "sentence"),
    [
        ({"id": 5, "segmentation": BOX}, r"data\.json has no captions"),
        ({"id": 5, "captions": [1]}, "annotation 5 needs texts as captions"),
        ({"id": 5, "captions": ["a"], "ids": {"sentences": [1, 2]}}, "annotation 5 needs texts as captions"),
        ({"id": 5, "captions": ["a"], "ids": {"sentences": 5}}, "annotation 5 needs texts as captions"),
        ({"id": 5, "caption": 7}, "annotation 5 needs texts as captions"),
        ({"id": 5, "caption": "x", "image_id": 9}, "annotation 5 is on image 9"),
        ({"id": 5, "caption": "a \ud83d"}, r"annotation 5 has a text .* \(surrogates not allowed\); mend it"),
        ({"id": 5, "caption": "x", "ids": {"sentences": ["\ud83d"]}}, "annotation 5 has a text that cannot be written"),
        ({"id": 5, "caption": "x", "traits": {"colour": "\ud83d"}}, "annotation 5 has a text that cannot be written"),
    ],
)
def test_broken_captions_are_named_or_counted(tmp_path: Path, annotation: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DeixisError, match=sentence):
        CaptionedInstances(write(tmp_path, annotation))
    if "captions" in annotation or "caption" in annotation:
        issues = Issues(skip=True)
        reader = CaptionedInstances(write(tmp_path, annotation, {"id": 6, "caption": "a cup"}), issues=issues)
        assert [sample.expression for sample in reader] == ["a cup"]
        assert len(issues) == 1


def test_an_annotation_that_is_no_json_is_counted(tmp_path: Path) -> None:
    file = write(tmp_path, {"id": 5, "caption": "x"}, {"id": 6, "caption": "a cup"}) / "data.json"
    file.write_text(file.read_text().replace('"x"', "x"))
    issues = Issues(skip=True)
    assert len(CaptionedInstances(file, issues=issues)) == 1
    assert "annotation 5, is no whole JSON" in issues.broken[0]


def test_a_folder_without_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeixisError, match="holds no COCO JSON"):
        CaptionedInstances(tmp_path)
