"""COCO JSON in the folders that annotation tools export, with their ids and their names for sentences."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deixis import masks
from deixis.data.readers.captions import CaptionedInstances
from deixis.data.readers.formats import detect_format, open_splits
from deixis.data.readers.options import ReadOptions
from deixis.data.validation import Issues, validate
from deixis.errors import DeixisError

BOX = [[1, 1, 5, 1, 5, 4, 1, 4]]


def photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6)).save(path)


def coco(file: Path, name: str, *, image: dict[str, Any] | None = None, **annotation: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    whole = {
        "images": [{"id": 3, "file_name": name, "height": 6, "width": 8, **(image or {})}],
        "annotations": [
            {
                "id": 5,
                "image_id": 3,
                "category_id": 1,
                "segmentation": BOX,
                "caption": f"the cup in {name}",
                **annotation,
            }
        ],
        "categories": [{"id": 1, "name": "cup"}],
    }
    file.write_text(json.dumps(whole))


LAYOUTS: dict[str, tuple[list[tuple[str, str, str]], dict[str, int]]] = {
    # (annotations, the name in them, the photo), and samples per split
    "Label Studio": ([("result.json", "images/a.jpg", "images/a.jpg")], {"all": 1}),
    "Label Studio on Windows": ([("result.json", "images\\a.jpg", "images/a.jpg")], {"all": 1}),
    "Label Studio, a space": ([("result.json", "images\\my%20a.jpg", "images/my a.jpg")], {"all": 1}),
    "CVAT": ([("annotations/instances_default.json", "a.jpg", "images/a.jpg")], {"default": 1}),
    "CVAT, folder of the subset": (
        [("annotations/instances_default.json", "a.jpg", "images/default/a.jpg")],
        {"default": 1},
    ),
    "CVAT, two subsets": (
        [
            ("annotations/instances_Train.json", "a.jpg", "images/Train/a.jpg"),
            ("annotations/instances_Validation.json", "b.jpg", "images/Validation/b.jpg"),
        ],
        {"train": 1, "val": 1},
    ),
    "Roboflow": (
        [
            ("train/_annotations.coco.json", "a.jpg", "train/a.jpg"),
            ("valid/_annotations.coco.json", "b.jpg", "valid/b.jpg"),
            ("test/_annotations.coco.json", "c.jpg", "test/c.jpg"),
        ],
        {"train": 1, "val": 1, "test": 1},
    ),
    "Roboflow, one split": ([("_annotations.coco.json", "a.jpg", "a.jpg")], {"all": 1}),
    "COCO": (
        [
            ("annotations/instances_train2017.json", "a.jpg", "train2017/a.jpg"),
            ("annotations/instances_val2017.json", "b.jpg", "val2017/b.jpg"),
        ],
        {"train": 1, "val": 1},
    ),
    "COCO 2014 in images": (
        [("annotations/instances_val2014.json", "b.jpg", "images/val2014/b.jpg")],
        {"val": 1},
    ),
    "one file a split": (
        [("train.json", "train/a.jpg", "images/train/a.jpg"), ("val.json", "b.jpg", "images/b.jpg")],
        {"train": 1, "val": 1},
    ),
}


@pytest.mark.parametrize(("files", "splits"), LAYOUTS.values(), ids=LAYOUTS)
def test_the_folders_of_tools_are_read_as_they_are(
    tmp_path: Path, files: list[tuple[str, str, str]], splits: dict[str, int]
) -> None:
    for annotations, name, image in files:
        coco(tmp_path / annotations, name)
        photo(tmp_path / image)
    assert detect_format(tmp_path) == "coco"
    readers = open_splits(tmp_path)
    assert {split: len(reader) for split, reader in readers.items()} == splits
    for reader in readers.values():
        issues = Issues()
        assert len(validate(reader, issues, need_masks=True)) == len(reader)
        assert (issues.num_images, issues.num_masks) == (1, 1)
        assert reader[0].traits["area"] == 12


@pytest.mark.parametrize(
    ("file", "photos"),
    [
        ("annotations/instances_val2017.json", "val2017/a.jpg"),
        ("valid/_annotations.coco.json", "valid/a.jpg"),
        ("result.json", "images/a.jpg"),
    ],
)
def test_one_file_of_a_layout_can_be_named(tmp_path: Path, file: str, photos: str) -> None:
    coco(tmp_path / file, "a.jpg")
    photo(tmp_path / photos)
    assert CaptionedInstances(tmp_path / file)[0].visual.read().shape == (1, 6, 8, 3)


@pytest.mark.parametrize("image", [3, "3", "photo-3", "0003", 3.0, "фото"])
@pytest.mark.parametrize("annotation", [5, "5", "a1b2-c3"])
def test_ids_may_be_numbers_digits_or_any_text(tmp_path: Path, image: Any, annotation: Any) -> None:
    coco(tmp_path / "data.json", "a.jpg", image={"id": image}, id=annotation, image_id=image)
    photo(tmp_path / "images" / "a.jpg")
    sample = CaptionedInstances(tmp_path)[0]
    assert sample.mask is not None
    assert sample.ids.object == str(annotation)


@pytest.mark.parametrize(("image", "named"), [(3, "3"), ("3", 3), ("3", 3.0)])
def test_a_number_and_its_digits_are_one_id(tmp_path: Path, image: Any, named: Any) -> None:
    coco(tmp_path / "data.json", "a.jpg", image={"id": image}, image_id=named)
    assert len(CaptionedInstances(tmp_path)) == 1


@pytest.mark.parametrize("sizes", [{}, {"height": None, "width": None}, {"height": 0, "width": 0}, {"height": 6}])
def test_without_sizes_the_photos_header_counts(tmp_path: Path, sizes: dict[str, Any]) -> None:
    coco(tmp_path / "data.json", "a.jpg")
    whole = json.loads((tmp_path / "data.json").read_text())
    whole["images"] = [{"id": 3, "file_name": "a.jpg", **sizes}]
    (tmp_path / "data.json").write_text(json.dumps(whole))
    photo(tmp_path / "images" / "a.jpg")
    sample = CaptionedInstances(tmp_path)[0]
    assert sample.visual.size == (6, 8)
    assert masks.area(sample.mask) == 12


@pytest.mark.parametrize(
    "record",
    [
        {"caption": "a cup"},
        {"captions": ["a cup"]},
        {"expression": "a cup"},
        {"expressions": ["a cup"]},
        {"text": "a cup"},
        {"description": "a cup"},
        {"attributes": {"caption": "a cup", "occluded": False}},
        {"attributes": {"expression": "a cup"}},
        {"attributes": {"text": ["a cup"]}},
    ],
)
def test_sentences_have_any_usual_name(tmp_path: Path, record: dict[str, Any]) -> None:
    coco(tmp_path / "data.json", "a.jpg", **{"caption": None, **record})
    assert [caption.text for caption in CaptionedInstances(tmp_path).captions] == ["a cup"]


@pytest.mark.parametrize("record", [{"phrase": "a cup"}, {"attributes": {"phrase": "a cup"}}, {"phrase": ["a cup"]}])
def test_another_name_of_the_sentences_is_given_by_an_option(tmp_path: Path, record: dict[str, Any]) -> None:
    coco(tmp_path / "data.json", "a.jpg", **{"caption": None, **record})
    with pytest.raises(DeixisError, match=r"has no captions.*whose first has .*; name the key .* with --text-key"):
        CaptionedInstances(tmp_path)
    reader = CaptionedInstances(tmp_path, options=ReadOptions(text_key="phrase"))
    assert [caption.text for caption in reader.captions] == ["a cup"]


@pytest.mark.parametrize("segmentation", [[], [[]], None, [[], []], "absent"])
def test_a_box_without_a_segmentation_has_no_mask(tmp_path: Path, segmentation: Any) -> None:
    coco(tmp_path / "data.json", "a.jpg", segmentation=segmentation, bbox=[1, 1, 4, 3], area=12)
    whole = json.loads((tmp_path / "data.json").read_text())
    if segmentation == "absent":
        del whole["annotations"][0]["segmentation"]
        (tmp_path / "data.json").write_text(json.dumps(whole))
    reader = CaptionedInstances(tmp_path)
    assert reader[0].mask is None
    with pytest.raises(DeixisError, match=r"Sentence '5_0' of .* has no mask"):
        validate(reader, Issues(), look_at_images=False, need_masks=True)


@pytest.mark.parametrize(
    "facts",
    [
        {"segmentation": [], "area": 0},
        {"segmentation": [], "area": 0, "bbox": [0, 0, 0, 0]},
        {"segmentation": {"size": [6, 8], "counts": [48]}, "area": 0, "bbox": [0, 0, 0, 0]},
        {"segmentation": masks.encode(np.zeros((6, 8), dtype=bool)), "area": 0},
    ],
)
def test_an_empty_mask_has_no_pixel_and_no_box(tmp_path: Path, facts: dict[str, Any]) -> None:
    coco(tmp_path / "data.json", "a.jpg", **facts)
    sample = CaptionedInstances(tmp_path)[0]
    assert sample.mask is not None
    assert masks.area(sample.mask) == 0


@pytest.mark.parametrize(
    "fragment", [[2, 2], [2, 2, 4, 4], [2, 2, 2, 2, 2, 2], [2, 2, 4, 4, 3, 3], [20, 20, 30, 20, 30, 30]]
)
def test_a_fragment_is_refused_or_dropped_and_the_object_kept(tmp_path: Path, fragment: list[int]) -> None:
    coco(tmp_path / "data.json", "a.jpg", segmentation=[*BOX, fragment])
    photo(tmp_path / "images" / "a.jpg")
    with pytest.raises(DeixisError, match=r"annotation 5: polygon 2 of 2 (has|is) .*; remove it"):
        CaptionedInstances(tmp_path)[0]
    issues = Issues(skip=True)
    reader = CaptionedInstances(tmp_path, issues=issues)
    assert masks.area(validate(reader, issues)[0].mask) == 12
    assert reader[0].traits["area"] == 12
    assert issues.broken == []
    assert len(issues.dropped) == 1
    assert issues.summary().startswith("1 part of a record was left out, and the rest kept:\n")
