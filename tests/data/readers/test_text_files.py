"""Records in every encoding, line ending and separator that people save them with."""

import json
from pathlib import Path

import pytest
from PIL import Image

from deixis.data.readers.captions import CaptionedInstances
from deixis.data.readers.jsonl import JsonlDataset
from deixis.data.readers.text_files import read_text_file
from deixis.data.validation import Issues
from deixis.errors import DeixisError

ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")
BOX = [[1, 1, 5, 1, 5, 4, 1, 4]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    Image.new("RGB", (8, 6)).save(tmp_path / "a.jpg")
    return tmp_path


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\n\n", "\r\n\r\n"])
def test_json_lines_of_any_encoding_are_read(root: Path, encoding: str, newline: str) -> None:
    lines = [
        json.dumps({"image": "a.jpg", "expression": text, "mask": BOX}, ensure_ascii=False) for text in ("né", "日本")
    ]
    (root / "data.jsonl").write_bytes(newline.join([*lines, ""]).encode(encoding))
    reader = JsonlDataset(root)
    assert [sample.expression for sample in reader] == ["né", "日本"]
    assert [sample.traits["area"] for sample in reader] == [12, 12]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_tables_of_any_separator_are_read(root: Path, encoding: str, delimiter: str, newline: str) -> None:
    rows = [["Image", "Expression", "split"], ["a.jpg", '"née; left, or\tup"', "train"], ["a.jpg", "日本", "val"]]
    text = newline.join(delimiter.join(row) for row in rows) + newline
    (root / "data.csv").write_bytes(text.encode(encoding))
    readers = JsonlDataset.every_split(root)
    assert {split: reader[0].expression for split, reader in readers.items()} == {
        "train": "née; left, or\tup",
        "val": "日本",
    }


@pytest.mark.parametrize("name", ["data.csv", "data.tsv"])
def test_a_table_may_name_mask_files_and_labels(root: Path, name: str) -> None:
    mask = Image.new("L", (8, 6))
    mask.paste(1, (1, 1, 5, 4))
    mask.paste(2, (6, 0, 8, 2))
    mask.save(root / "mask.png")
    rows = (
        "image\ttext\tmask\tlabel",
        "a.jpg\tthe cup\tmask.png\t1",
        "a.jpg\tall\tmask.png\tany",
        "a.jpg\tnothing\t\t",
    )
    (root / name).write_text("\n".join(rows))
    assert [sample.traits.get("area") for sample in JsonlDataset(root)] == [12, 16, None]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("indent", [None, 1])
def test_coco_json_of_any_encoding_is_read(root: Path, encoding: str, indent: int | None) -> None:
    whole = {
        "info": {"description": "Ångström 😀"},
        "images": [{"id": "日本", "file_name": "a.jpg", "height": 6, "width": 8}],
        "annotations": [
            {"id": number, "image_id": "日本", "segmentation": BOX, "caption": f"né 日本 😀 {number}"}
            for number in range(3)
        ],
    }
    (root / "data.json").write_bytes(json.dumps(whole, ensure_ascii=False, indent=indent).encode(encoding))
    reader = CaptionedInstances(root)
    assert [sample.expression for sample in reader] == [f"né 日本 😀 {number}" for number in range(3)]
    assert [sample.traits["area"] for sample in reader] == [12] * 3
    assert reader.ids[0].image == "日本"


def test_other_encodings_are_refused_by_line(root: Path) -> None:
    (root / "data.csv").write_bytes("image,expression\na.jpg,née\n".encode("latin1"))
    with pytest.raises(DeixisError, match=r"data\.csv, line 2: byte \d+ is not UTF-8 text .*; save the file as UTF-8"):
        JsonlDataset(root)
    (root / "data.csv").unlink()
    lines = [json.dumps({"image": "a.jpg", "expression": text}, ensure_ascii=False) for text in ("a cup", "née")]
    (root / "data.jsonl").write_bytes("\n".join(lines).encode("latin1"))
    issues = Issues(skip=True)
    assert len(JsonlDataset(root, issues=issues)) == 1
    assert "data.jsonl, line 2, is not UTF-8 text" in issues.broken[0]


@pytest.mark.parametrize("data", [b"\xff\xfea", b"\xff\xfe\x00\xd8", b"\xff\xfe\x00\x00\x01"])
def test_half_a_letter_of_utf_16_or_32_is_refused(root: Path, data: bytes) -> None:
    (root / "data.csv").write_bytes(data)
    with pytest.raises(DeixisError, match=r"data\.csv is not valid UTF-(16|32) text .*; save it as UTF-8"):
        read_text_file(root / "data.csv")
