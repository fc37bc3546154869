"""Photos that EXIF turns, with masks and sizes of the upright or of the stored photo."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deixis import masks
from deixis.data.readers.captions import CaptionedInstances
from deixis.data.readers.jsonl import JsonlDataset
from deixis.data.readers.options import ReadOptions
from deixis.data.tools.conversion import Layout, convert
from deixis.data.validation import Issues, validate
from deixis.errors import DeixisError
from deixis.records import Sample

STORED = np.zeros((120, 160), dtype=bool)
STORED[30:70, 40:100] = True
POLYGON = [40, 30, 100, 30, 100, 70, 40, 70]
HINT = r'EXIF turns this photo to 160x120, and 120x160 is the unturned one: write "exif": "ignore" in the record'
TURNED = {
    "run lengths": masks.encode(STORED),
    "an image file": "mask.png",
    "uncompressed run lengths": {"size": [120, 160], "counts": [19200]},
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "mine"
    root.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(STORED.astype(np.uint8) * 255).convert("RGB").save(root / "a.jpg", quality=95, exif=exif)
    Image.fromarray(STORED).save(root / "mask.png")
    return root


def write(root: Path, **facts: Any) -> Path:
    (root / "data.jsonl").write_text(json.dumps({"image": "a.jpg", "expression": "the block", **facts}))
    return root


@pytest.mark.parametrize("mask", TURNED.values(), ids=TURNED)
def test_a_mask_of_the_stored_photo_is_refused_with_the_reason(root: Path, mask: Any) -> None:
    with pytest.raises(DeixisError, match=rf"line 1: .*120x160 pixels .* its image is 160x120\. {HINT}"):
        JsonlDataset(write(root, mask=mask))[0]


@pytest.mark.parametrize("size", [{"size": [120, 160]}, {"size": [120, 160], "mask": [POLYGON]}])
def test_a_size_of_the_stored_photo_is_refused_with_the_reason(root: Path, size: dict[str, Any]) -> None:
    with pytest.raises(DeixisError, match=rf"a\.jpg is 160x120 pixels .* says 120x160\. {HINT}"):
        validate(JsonlDataset(write(root, **size)), Issues())


def aligned(sample: Sample) -> bool:
    """Whether the mask is where the photo is white."""
    assert sample.mask is not None
    return np.array_equal(masks.decode(sample.mask), sample.visual.read()[0, ..., 0] > 127)


@pytest.mark.parametrize("mask", [masks.encode(STORED), "mask.png", [POLYGON]], ids=["run lengths", "file", "polygon"])
@pytest.mark.parametrize("by", ["record", "option"])
def test_exif_can_be_ignored_by_record_or_option(root: Path, mask: Any, by: str) -> None:
    options = ReadOptions(exif="ignore" if by == "option" else "turn")
    facts = {"exif": "ignore"} if by == "record" else {}
    sample = JsonlDataset(write(root, mask=mask, **facts), options=options)[0]
    assert sample.visual.size == (120, 160)
    assert aligned(sample)


def test_a_mask_of_the_upright_photo_needs_nothing(root: Path) -> None:
    upright = np.rot90(STORED, -1)
    assert aligned(JsonlDataset(write(root, mask=masks.encode(upright)))[0])
    exif = Image.Exif()
    exif[0x0112] = 6  # as an editor keeps it when it saves a mask of the photo
    Image.fromarray(STORED).convert("L").save(root / "turned.png", exif=exif)
    assert aligned(JsonlDataset(write(root, mask="turned.png"))[0])


@pytest.mark.parametrize("place", ["image", "annotation", "option"])
def test_coco_json_says_it_for_an_image_or_an_annotation(root: Path, place: str) -> None:
    image, annotation = ({"exif": "ignore"} if place == each else {} for each in ("image", "annotation"))
    whole = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 120, "width": 160, **image}],
        "annotations": [{"id": 1, "image_id": 1, "segmentation": [POLYGON], "caption": "the block", **annotation}],
    }
    (root / "data.json").write_text(json.dumps(whole))
    options = ReadOptions(exif="ignore" if place == "option" else "turn")
    assert aligned(CaptionedInstances(root, options=options)[0])
    if place == "option":
        with pytest.raises(DeixisError, match=HINT):
            CaptionedInstances(root)[0].visual.read()


@pytest.mark.parametrize("layout", ["jsonl", "coco"])
def test_conversion_keeps_how_the_photo_is_read(root: Path, tmp_path: Path, layout: Layout) -> None:
    reader = JsonlDataset(write(root, mask="mask.png", exif="ignore"))
    convert({"all": reader}, tmp_path / "out", layout)
    back = (JsonlDataset if layout == "jsonl" else CaptionedInstances)(tmp_path / "out")
    assert aligned(back[0])
