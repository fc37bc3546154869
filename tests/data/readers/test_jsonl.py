"""Your own folder as JSONL or CSV, with masks of every kind, and every way a line can be wrong."""

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deixis import masks
from deixis.data.readers.jsonl import JsonlDataset
from deixis.data.readers.options import ReadOptions
from deixis.data.validation import Issues, validate
from deixis.errors import DeixisError

SQUARE = np.zeros((12, 16), dtype=bool)
SQUARE[2:6, 3:7] = True
POLYGON = [3, 2, 7, 2, 7, 6, 3, 6]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "mine"
    (root / "images").mkdir(parents=True)
    for name in ("a.jpg", "b.png"):
        Image.new("RGB", (16, 12), (90, 60, 30)).save(root / "images" / name)
    Image.fromarray(SQUARE).save(root / "mask1.png")
    Image.fromarray(SQUARE.astype(np.uint8) * 255).save(root / "mask8.png")
    Image.fromarray(SQUARE[..., None].astype(np.uint8) * np.array([0, 9, 0], dtype=np.uint8)).save(root / "mask24.png")
    palette = Image.fromarray(SQUARE.astype(np.uint8), mode=None).convert("P")
    palette.save(root / "palette.png")
    for mode in ("LA", "RGBA"):  # what is seen through is no part of the mask
        picture = Image.fromarray(SQUARE.astype(np.uint8) * 255).convert(mode)
        picture.save(root / f"{mode}.png")
    Image.new("L", (16, 13)).save(root / "large.png")
    Image.new("L", (16, 12)).save(root / "eps.png", format="EPS")
    return root


def write(root: Path, *lines: Any, name: str = "data.jsonl") -> Path:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    (root / name).write_text(text + "\n", encoding="utf-8")
    return root


def line(**facts: Any) -> dict[str, Any]:
    return {"image": "images/a.jpg", "expression": "the square", **facts}


@pytest.mark.parametrize(
    "mask",
    [
        masks.encode(SQUARE),
        {"size": [12, 16], "counts": [int(n) for n in (38, 4, 8, 4, 8, 4, 8, 4, 114)]},
        POLYGON,
        [POLYGON],
        [[3, 2, 7, 2, 7, 4, 3, 4], [3, 4, 7, 4, 7, 6, 3, 6]],
        [[3, 2], [7, 2], [7, 6], [3, 6]],
        "mask1.png",
        "mask8.png",
        "mask24.png",
        "palette.png",
        "LA.png",
        "RGBA.png",
    ],
    ids=lambda mask: str(mask)[:30],
)
def test_a_mask_may_be_run_lengths_polygons_or_an_image_file(root: Path, mask: Any) -> None:
    sample = JsonlDataset(write(root, line(mask=mask)))[0]
    assert sample.mask is not None
    assert np.array_equal(masks.decode(sample.mask), SQUARE)
    assert sample.traits == {"area": 16}
    assert sample.visual.size == (12, 16)
    assert sample.visual.read().shape == (1, 12, 16, 3)


@pytest.mark.parametrize("absent", [{}, {"mask": None}])
def test_an_absent_mask_makes_the_sample_weak(root: Path, absent: dict[str, Any]) -> None:
    sample = JsonlDataset(write(root, line(**absent)))[0]
    assert sample.mask is None
    assert sample.traits == {}


def test_the_ids_of_lines_without_ids_are_their_numbers(root: Path) -> None:
    reader = JsonlDataset(write(root, line(), "", line(expression="naïve – 日本", image="images/b.png")))
    assert [(ids.image, ids.object, ids.sentence) for ids in reader.ids] == [
        ("images/a.jpg", "1", "1"),
        ("images/b.png", "3", "3"),
    ]
    assert reader[1].expression == "naïve – 日本"
    assert (reader[1].dataset, reader[1].split) == ("mine", "all")


def test_lines_may_have_ids_and_a_split(root: Path) -> None:
    who = {"image": 7, "object": "x", "sentence": "s9"}
    write(root, line(ids=who, split="val", dataset="ours", traits={"program": "left"}), line(split="train"))
    reader = JsonlDataset(root, "val")
    assert len(reader) == 1
    assert (reader.ids[0].image, reader.ids[0].object, reader.ids[0].sentence) == ("7", "x", "s9")
    assert (reader[0].dataset, reader[0].split, reader[0].traits) == ("ours", "val", {"program": "left"})
    assert {split: len(part) for split, part in JsonlDataset.every_split(root).items()} == {"val": 1, "train": 1}
    assert len(JsonlDataset(root)) == 2
    with pytest.raises(DeixisError, match="no split 'test'; the splits there are: train, val"):
        JsonlDataset(root, "test")


@pytest.mark.parametrize("key", ["expression", "sentence", "caption", "text", "description"])
def test_the_sentence_has_any_usual_key(root: Path, key: str) -> None:
    assert JsonlDataset(write(root, {"image": "images/a.jpg", key: "the square"}))[0].expression == "the square"


@pytest.mark.parametrize("key", ["expressions", "sentences", "captions"])
def test_a_line_may_have_several_sentences(root: Path, key: str) -> None:
    reader = JsonlDataset(write(root, {"image": "images/a.jpg", key: ["one", "two"], "mask": POLYGON}, line()))
    assert [(ids.object, ids.sentence) for ids in reader.ids] == [("1", "1_0"), ("1", "1_1"), ("2", "2")]
    assert [sample.expression for sample in reader] == ["one", "two", "the square"]
    assert reader[0].mask == reader[1].mask != reader[2].mask


@pytest.mark.parametrize(("label", "area"), [(1, 16), (2, 9), ("any", 25), ([2, 2, 2], 9)])
def test_a_label_chooses_among_the_objects_of_a_mask_file(root: Path, label: Any, area: int) -> None:
    labels = SQUARE.astype(np.uint8)
    labels[8:11, 10:13] = 2
    Image.fromarray(labels).save(root / "labels.png")
    write(root, line(mask="labels.png", label=label), line(mask="labels.png"))
    assert JsonlDataset(root)[0].traits == {"area": area}
    with pytest.raises(DeixisError, match=r"line 2: the mask labels\.png has several values: 0, 1, 2; say which"):
        JsonlDataset(root)[1]


@pytest.mark.parametrize(
    "mask", ["masks\\square.png", "masks/square.png", "mine/masks/square.png", "masks%2Fsquare.png"]
)
def test_mask_files_are_found_as_photos_are(root: Path, mask: str) -> None:
    (root / "masks").mkdir()
    Image.fromarray(SQUARE).save(root / "masks" / "square.png")
    assert JsonlDataset(write(root, line(mask=mask)))[0].traits == {"area": 16}


def test_photos_may_lie_elsewhere_where_that_is_allowed(root: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "photos"
    elsewhere.mkdir()
    (root / "images" / "a.jpg").rename(elsewhere / "a.jpg")
    write(root, line(image="a.jpg"), line(image=str(elsewhere / "a.jpg")))
    assert JsonlDataset(root, options=ReadOptions(images=elsewhere))[0].visual.read().shape == (1, 12, 16, 3)
    assert JsonlDataset(root, options=ReadOptions(allow_outside=True))[1].visual.read().shape == (1, 12, 16, 3)
    with pytest.raises(DeixisError, match=r"line 2 names .*, which leaves"):
        JsonlDataset(root)[1]


def test_files_named_after_splits_are_splits(root: Path) -> None:
    write(root, line(), line(), name="train.jsonl")
    write(root, line(), name="val.jsonl")
    readers = JsonlDataset.every_split(root)
    assert {split: len(reader) for split, reader in readers.items()} == {"train": 2, "val": 1}
    assert {ids.sentence for reader in readers.values() for ids in reader.ids} == {"train:1", "train:2", "val:1"}


def test_a_size_in_the_line_saves_looking_at_the_image(root: Path) -> None:
    reader = JsonlDataset(write(root, line(image="images/absent.jpg", size=[12, 16], mask=POLYGON)))
    assert reader[0].traits["area"] == 16
    with pytest.raises(DeixisError, match=r"absent\.jpg is missing, but .*data\.jsonl, line 1 names it"):
        reader[0].visual.read()


def test_a_csv_of_images_and_sentences_is_weak(root: Path) -> None:
    rows = 'Image,Sentence,split\nimages/a.jpg,the cup,train\nimages/b.png,"left, then ""up""",val\n'
    (root / "data.csv").write_text("\ufeff" + rows, encoding="utf-8")
    readers = JsonlDataset.every_split(root)
    assert readers["train"][0].expression == "the cup"
    assert readers["val"][0].expression == 'left, then "up"'
    assert readers["val"][0].mask is None
    assert len(validate(readers["val"], Issues())) == 1


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ("{'image': 1}", r"data\.jsonl, line 2, is not valid JSON"),
        ('{"image": "images/a.jpg", "expr', r"data\.jsonl, line 2, is not valid JSON"),
        ("[1]", r"data\.jsonl, line 2 is of type list; expected an object with 'image' and 'expression'"),
        ({"expression": "x"}, r"data\.jsonl, line 2 has no 'image'"),
        (
            {"image": "images/a.jpg", "phrase": "x"},
            r"data\.jsonl, line 2 has no 'expression'; expected a text\. Its keys are image, phrase: .* --text-key",
        ),
        ({"image": "images/a.jpg", "expression": 5}, r"data\.jsonl, line 2 needs texts as captions, but 'expression'"),
        ({"video": "a.mp4", "expression": "x"}, r"line 2 is of a video, but the file begins with images"),
        (line(ids=[1]), r"line 2: 'ids' is of type list"),
        (line(expression="a \ud83d"), r"line 2 has a text that cannot be written as UTF-8 \(surrogates not allowed\)"),
        (line(ids={"sentence": "\ud83d"}), "line 2 has a text that cannot be written"),
        (line(image="\ud83d.jpg"), "line 2 has a text that cannot be written"),
        (line(traits={"colour": "\ud83d"}), "line 2 has a text that cannot be written"),
        (line(ids={"sentence": "1"}), r"line 2 has the sentence id '1' of line 1"),
    ],
)
def test_an_incomplete_line_is_refused_or_counted(root: Path, broken: Any, sentence: str) -> None:
    write(root, line(), broken, line())
    with pytest.raises(DeixisError, match=sentence):
        JsonlDataset(root)
    issues = Issues(skip=True)
    assert len(JsonlDataset(root, issues=issues)) == 2
    assert len(issues) == 1


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"mask": {"size": [16, 12], "counts": [192]}}, r"line 1: The mask is 16x12 .* image is 12x16"),
        ({"mask": {"size": [12, 16], "counts": [500]}}, r"line 1: Run lengths sum to 500"),
        ({"mask": {"size": [12, 16], "counts": [-5, 197]}}, r"line 1: Uncompressed run lengths must be whole numbers"),
        ({"mask": {"size": [12, 16], "counts": "ooooo"}}, "line 1: The run lengths"),
        ({"mask": {"size": [12, 16], "counts": ""}}, "line 1: The run lengths"),
        ({"mask": {"size": [12], "counts": ""}}, "line 1: Run lengths need"),
        ({"mask": {}}, "line 1: Run lengths need"),
        ({"mask": [[1, 2], [3, 4]]}, "line 1: The polygon has one point only"),
        ({"mask": [[1, 2, 3, 4]]}, "line 1: The polygon has two points only"),
        ({"mask": [1, 2, 3, 4]}, "line 1: The polygon has two points only"),
        ({"mask": [["a"] * 6]}, "line 1: A polygon is .*; expected a list of numbers"),
        ({"mask": [[0, 0, 1e12, 0, 1, 1]]}, "line 1: A polygon leaves its image"),
        ({"mask": 5}, "line 1: A mask is of type int; expected a list of polygons or run lengths"),
        ({"mask": "none.png"}, r"none\.png is missing, but .*line 1 names it"),
        ({"mask": "data.jsonl"}, r"the mask .*data\.jsonl is not an image"),
        ({"mask": "large.png"}, r"the mask large\.png is 13x16 pixels \(height x width\), but its image is 12x16"),
        ({"mask": "eps.png"}, r"line 1: the mask .*eps\.png is not an image"),
        ({"mask": "n" * 300 + ".png"}, r"line 1 names 'n*', which cannot be a file \(File name too long"),
        ({"mask": "\ud83d.png"}, r"line 1 names '\\ud83d.png', which cannot be a file name"),
        ({"mask": "../outside.png"}, "leaves"),
        ({"image": "../outside.png"}, "leaves"),
        ({"image": "/etc/hostname"}, "leaves"),
        ({"image": "images/link.png"}, "a link that leaves"),
        ({"image": "images/c.jpg"}, r"c\.jpg is missing, but .*data\.jsonl, line 1 names it"),
        (
            {"image": "n" * 300 + ".jpg"},
            r"line 1 names 'n*', which cannot be a file \(File name too long\)",
        ),
        ({"image": "n" * 300, "size": [12, 16]}, r"data\.jsonl, line 1 names 'n*', which cannot be a file"),
        ({"image": "data.jsonl"}, r"line 1: .*data\.jsonl is not an image"),
        ({"size": [10**6, 10**6], "mask": []}, "line 1: A mask cannot be 1000000x1000000 pixels"),
        ({"size": [-12, -16], "mask": []}, "line 1: A mask cannot be -12x-16 pixels"),
        ({"size": [1]}, "line 1: 'size' is '\\[1\\]'; expected height and width"),
        ({"size": [12, 17], "mask": POLYGON}, r"a\.jpg is 12x16 pixels .* says 12x17"),
        ({"traits": ["small"]}, "line 1: 'traits' is of type list; expected an object"),
        ({"traits": "small"}, "line 1: 'traits' is of type str; expected an object"),
    ],
)
def test_a_broken_record_is_named_when_it_is_read(root: Path, facts: dict[str, Any], sentence: str) -> None:
    outside = root.parent / "outside.png"
    Image.new("RGB", (16, 12)).save(outside)
    (root / "images" / "link.png").symlink_to(outside)
    reader = JsonlDataset(write(root, line(**facts), line(mask=POLYGON)))
    with pytest.raises(DeixisError, match=sentence):
        validate(reader, Issues())
    issues = Issues(skip=True)
    assert validate(reader, issues).positions == (1,)
    assert len(issues) == 1


@pytest.mark.parametrize(
    ("side", "wrong"), [(10_000, r"is a broken or truncated image \(.*truncated"), (30_000, "has 30000x30000 pixels")]
)
def test_a_huge_mask_is_one_sentence(root: Path, side: int, wrong: str) -> None:
    small = (root / "mask8.png").read_bytes()
    header = b"IHDR" + struct.pack(">II", side, side) + small[24:29]
    (root / "huge.png").write_bytes(small[:12] + header + struct.pack(">I", zlib.crc32(header)) + small[33:])
    reader = JsonlDataset(write(root, line(mask="huge.png")))
    with pytest.raises(DeixisError, match=rf"line 1: the mask .*huge\.png {wrong}"):
        reader[0]


def test_ids_are_unique_within_a_split_not_across_splits(root: Path) -> None:
    who = {"sentence": "s"}
    write(root, line(ids=who, split="val"), line(ids=who, split="small"))
    assert {split: len(reader) for split, reader in JsonlDataset.every_split(root).items()} == {"val": 1, "small": 1}
    write(root, line(ids=who, split="val"), line(ids=who, split="val"))
    with pytest.raises(DeixisError, match="line 2 has the sentence id 's' of line 1; ids are unique within a split"):
        JsonlDataset.every_split(root)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name,words\na,b\n", r"data\.csv has the columns \['name', 'words'\]"),
        ("", r"data\.csv has the columns \[\]"),
        ('image,expression\n"a.jpg,b\n', r"data\.csv, line \d, is not valid CSV"),
        ("image,expression\na.jpg\n", r"data\.csv, line 2 has no 'expression'"),
    ],
)
def test_a_broken_csv_is_named(root: Path, text: str, sentence: str) -> None:
    (root / "data.csv").write_text(text)
    with pytest.raises(DeixisError, match=sentence):
        JsonlDataset(root)


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeixisError, match=r"holds no data\.jsonl and no data\.csv"):
        JsonlDataset(tmp_path)
