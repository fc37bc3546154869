"""The statistics of a set against counting by hand, and the contact sheet."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deixis.data.readers.jsonl import JsonlDataset
from deixis.data.subsets import Subset
from deixis.data.tools import statistics as inspection
from deixis.data.tools.contact_sheet import CELL, contact_sheet, examples, panel_of
from deixis.data.validation import Issues
from deixis.errors import DeixisError

BOX = [[0, 0, 10, 0, 10, 10, 0, 10]]


@pytest.fixture
def reader(tmp_path: Path) -> JsonlDataset:
    Image.new("RGB", (40, 20), (0, 0, 255)).save(tmp_path / "wide.png")
    Image.new("RGB", (20, 60), (0, 0, 255)).save(tmp_path / "tall.png")
    lines: list[dict[str, Any]] = [
        {"image": "wide.png", "expression": "the left cup", "mask": BOX, "ids": {"object": "1", "sentence": "1"}},
        {"image": "wide.png", "expression": "cup", "mask": BOX, "ids": {"object": "1", "sentence": "2"}},
        {"image": "wide.png", "expression": "no such thing", "mask": []},
        {"image": "tall.png", "expression": "a weak one without mask"},
    ]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return JsonlDataset(tmp_path)


def test_the_facts_are_what_one_counts_by_hand(reader: JsonlDataset) -> None:
    ticks: list[int] = []
    facts = inspection.describe({"all": reader}, advance=lambda: ticks.append(1))["all"]
    assert (facts.images, facts.objects, facts.expressions, facts.looked_at) == (2, 3, 4, 4)
    assert (facts.without_mask, facts.with_empty_mask, facts.broken) == (1, 1, 0)
    assert facts.words is not None
    assert (facts.words.smallest, facts.words.median, facts.words.largest, facts.words.mean) == (1, 3, 5, 3)
    assert facts.mask_shares is not None
    assert facts.mask_shares.smallest == facts.mask_shares.largest == pytest.approx(100 / 800)
    assert facts.heights is not None
    assert (facts.heights.smallest, facts.heights.largest) == (20, 60)
    assert len(ticks) == 4
    assert json.loads(json.dumps(inspection.as_json({"all": facts})))["all"]["words"]["mean"] == 3


def test_broken_records_raise_or_are_counted(reader: JsonlDataset, tmp_path: Path) -> None:
    (tmp_path / "tall.png").unlink()
    with pytest.raises(DeixisError, match=r"tall\.png is missing"):
        inspection.describe({"all": reader})
    issues = Issues(skip=True)
    assert inspection.describe({"all": reader}, issues)["all"].broken == 1
    assert len(examples(reader, 4, issues)) == 3
    assert len(issues) == 2


def test_an_empty_split_has_no_spreads(reader: JsonlDataset) -> None:
    facts = inspection.describe({"none": Subset(reader, [])})["none"]
    assert (facts.expressions, facts.words, facts.mask_shares) == (0, None, None)


def test_only_published_sets_are_called_complete(reader: JsonlDataset) -> None:
    assert inspection.completeness({"all": reader}) == ""
    assert inspection.completeness({}) == ""


def test_the_sheet_shows_the_image_with_its_mask_painted_over_it(reader: JsonlDataset) -> None:
    sheet = np.asarray(contact_sheet([panel_of(sample) for sample in examples(reader, 4, Issues())], columns=2))
    assert sheet.dtype == np.uint8
    assert sheet.shape[1] > 2 * CELL
    assert sheet.shape[0] > 2 * CELL
    blue = (sheet == (0, 0, 255)).all(axis=-1)
    reddish = (sheet[..., 0] > 100) & (sheet[..., 1] < 60)
    # One quarter of one eighth of each of the first two pictures is painted; the third and fourth have no mask.
    assert reddish.sum() == pytest.approx(2 * CELL * CELL / 2 / 8, rel=0.1)
    assert blue.sum() > CELL * CELL


def test_an_empty_sheet_is_still_an_image() -> None:
    assert contact_sheet([]).size[0] > CELL


def test_issues_list_the_first_and_count_the_rest() -> None:
    issues = Issues(skip=True)
    assert issues.summary() == "Nothing is broken; nothing was left out."
    for number in range(12):
        issues.add(f"record {number}")
    assert issues.summary(most=2).splitlines() == [
        "12 broken records were left out:",
        "  record 0",
        "  record 1",
        "  … and 10 more",
    ]
    with pytest.raises(DeixisError, match="record 5"):
        Issues().add("record 5")
