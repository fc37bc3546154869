"""MeViS: the small tree's answers, and every trap of the format."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from deixis.data.readers.formats import choose, open_splits
from deixis.data.validation import Issues
from deixis.errors import InputError
from tests.data.readers.video_mini import ROOT, check_frames, expected, needs_trees

pytestmark = needs_trees


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "mevis", tmp_path / "mevis")
    return tmp_path / "mevis"


def edit(file: Path, change: Any) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def test_the_small_tree_is_read_as_expected() -> None:
    splits = open_splits(ROOT / "mevis")
    check_frames(splits, expected("mevis")["samples"])
    assert choose(splits, "val", ROOT).split == "valid_u"  # the one with masks


def test_several_annotations_are_one_target_and_null_is_empty(tree: Path) -> None:
    def without_second(content: dict[str, Any]) -> None:
        content["1"] = [None] * len(content["1"])

    areas = {sample.ids.sentence: sample.traits["area"] for sample in open_splits(tree)["train"]}
    edit(tree / "train" / "mask_dict.json", without_second)
    after = {sample.ids.sentence: sample.traits["area"] for sample in open_splits(tree)["train"]}
    assert after["0ab4afe7fb46/2/00003"] == 0
    assert after["0ab4afe7fb46/1/00003"] == after["0ab4afe7fb46/0/00003"]
    assert areas["0ab4afe7fb46/1/00003"] > areas["0ab4afe7fb46/0/00003"]


@pytest.mark.parametrize(
    ("anno", "words"),
    [([99], "means annotation 99, which .* lacks"), ("0", "has the anno_id '0'"), ([2], "has masks of 5 frames, but")],
)
def test_annotations_that_do_not_fit_are_named_or_skipped(tree: Path, anno: Any, words: str) -> None:
    def change(content: dict[str, Any]) -> None:
        content["videos"]["0ab4afe7fb46"]["expressions"]["0"]["anno_id"] = anno

    edit(tree / "train" / "meta_expressions.json", change)
    with pytest.raises(InputError, match=words):
        open_splits(tree)
    issues = Issues(skip=True)
    assert len(open_splits(tree, issues=issues)["train"].expressions) == 3
    assert len(issues) == 1


def test_masks_are_needed_but_for_valid(tree: Path) -> None:
    (tree / "train" / "mask_dict.json").unlink()
    with pytest.raises(InputError, match=r"train/mask_dict\.json is missing"):
        open_splits(tree)
