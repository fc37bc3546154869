"""Sentences that refer to several objects or to none: union, empty mask, and the facts for breakdowns."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deixis import masks
from deixis.data.readers.grefcoco import GRefCOCO
from deixis.data.validation import Issues
from deixis.errors import DeixisError


def box(left: int, top: int, right: int, bottom: int) -> list[list[int]]:
    return [[left, top, right, top, right, bottom, left, bottom]]


def ref(number: int, annotations: Any, split: str, text: str) -> dict[str, Any]:
    sentences = [{"sent_id": number * 10, "raw": text, "sent": text.lower(), "tokens": text.lower().split()}]
    return {"ref_id": number, "ann_id": annotations, "image_id": 4, "split": split, "sentences": sentences}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "grefcoco"
    folder.mkdir()
    (tmp_path / "images").mkdir()
    Image.new("RGB", (20, 16)).save(tmp_path / "images" / "4.jpg")
    annotations = [
        {"id": 1, "image_id": 4, "category_id": 1, "segmentation": box(0, 0, 4, 4)},
        {"id": 2, "image_id": 4, "category_id": 1, "segmentation": box(2, 2, 6, 6)},
        {"id": 3, "image_id": 4, "category_id": 2, "segmentation": box(10, 10, 12, 12)},
    ]
    instances = {
        "images": [{"id": 4, "file_name": "4.jpg", "height": 16, "width": 20}],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "cup"}, {"id": 2, "name": "dog"}],
    }
    (folder / "instances.json").write_text(json.dumps(instances))
    refs = [
        ref(1, [1, 2], "val", "Both cups"),
        ref(2, [-1], "val", "The elephant"),
        ref(3, [1, 3], "testA", "Cup and dog"),
        {**ref(4, [], "testB", "nothing at all"), "no_target": True},
    ]
    (folder / "grefs(unc).json").write_text(json.dumps(refs))
    return tmp_path


def test_several_targets_are_one_mask(root: Path) -> None:
    both = GRefCOCO(root)[0]
    expected = np.zeros((16, 20), dtype=bool)
    expected[0:4, 0:4] = expected[2:6, 2:6] = True
    assert both.expression == "Both cups"
    assert both.mask is not None
    assert np.array_equal(masks.decode(both.mask), expected)
    assert both.traits == {"annotations": [1, 2], "category": "cup", "same_category_count": 2, "area": 28}


@pytest.mark.parametrize(("split", "position"), [("val", 1), ("testB", 0)])
def test_no_target_is_an_empty_mask_and_not_an_absent_one(root: Path, split: str, position: int) -> None:
    nothing = GRefCOCO(root, split=split)[position]
    assert nothing.mask is not None
    assert nothing.mask["size"] == [16, 20]
    assert masks.area(nothing.mask) == nothing.traits["area"] == 0
    assert nothing.traits["annotations"] == []


def test_targets_of_several_kinds_count_all_of_their_kinds(root: Path) -> None:
    sample = GRefCOCO(root / "grefcoco", split="testA", sentences="sent")[0]
    assert sample.expression == "cup and dog"
    assert sample.traits["category"] == "cup, dog"
    assert sample.traits["same_category_count"] == 3
    assert sample.traits["area"] == 20
    assert sample.visual.read().shape == (1, 16, 20, 3)


def test_splits_are_read_at_once_and_the_unknown_listed(root: Path) -> None:
    assert {split: len(reader) for split, reader in GRefCOCO.every_split(root).items()} == {
        "val": 2,
        "testA": 1,
        "testB": 1,
    }
    assert len(GRefCOCO(root, split="test")) == 2
    with pytest.raises(DeixisError, match="no split 'train'; the splits there are: test, testA, testB, val"):
        GRefCOCO(root, split="train")


@pytest.mark.parametrize("file", ["grefs(unc).json", "instances.json"])
def test_a_missing_file_names_the_download(root: Path, file: str) -> None:
    (root / "grefcoco" / file).unlink()
    with pytest.raises(DeixisError, match=r"is missing; download gRefCOCO as https://github.com/henghuiding/gRefCOCO"):
        GRefCOCO(root)


def test_a_target_that_is_not_there_is_refused_or_counted(root: Path) -> None:
    refs = root / "grefcoco" / "grefs(unc).json"
    refs.write_text(refs.read_text().replace("[1, 3]", "[1, 9]"))
    with pytest.raises(DeixisError, match="ref 3 refers to annotation 9"):
        GRefCOCO(root)
    issues = Issues(skip=True)
    assert list(GRefCOCO.every_split(root, issues=issues)) == ["val", "testB"]
    assert len(issues) == 1


def test_a_refs_file_that_is_not_json_is_named(root: Path) -> None:
    (root / "grefcoco" / "grefs(unc).json").write_text("[{")
    with pytest.raises(DeixisError, match=r"grefs\(unc\)\.json is not valid JSON"):
        GRefCOCO(root)
