"""The lazily read `instances.json` against `json.loads`, in every layout JSON allows, and broken files."""

import json
from pathlib import Path
from typing import Any

import pytest

from deixis.data.readers.instances import Instances
from deixis.data.validation import Issues
from deixis.errors import DeixisError

PICTURES = [
    {"id": 1, "file_name": "a.jpg", "height": 4, "width": 5},
    {"id": 2, "file_name": "b}{.jpg", "height": 6, "width": 7},
]
SHARED = Path(__file__).parents[3] / ".." / "shared"


def annotation(number: int, **extra: Any) -> dict[str, Any]:
    return {"segmentation": [[1, 2.5, 3, 4, 5, 6e-1]], "image_id": 1, "category_id": 3, "id": number, **extra}


LAYOUTS: dict[str, list[dict[str, Any]]] = {
    "plain": [annotation(5), annotation(7, image_id=2)],
    "empty": [],
    "run lengths": [annotation(5, segmentation={"size": [4, 5], "counts": [20]}), annotation(6)],
    "list of run lengths": [annotation(5, segmentation=[{"size": [4, 5], "counts": "`0"}]), annotation(6)],
    "braces in text": [annotation(5, caption="a } in { text"), annotation(6, caption="}"), annotation(7)],
    "quotes in text": [annotation(5, caption='say "cup" \\ '), annotation(6, caption='"id": 99, "image_id": 2}')],
    "nested facts": [annotation(5, attributes={"id": 1000, "more": {"id": 2000}}), annotation(6)],
    "deeply nested facts": [annotation(5, attributes={"a": {"b": {"c": {"id": 3}}}}), annotation(6)],
    "two objects within": [annotation(5, a={"x": 1}, b={"y": 2}), annotation(6)],
    "an opening brace in text": [annotation(5, caption="{", after=1), annotation(6), annotation(7, caption="{")],
    "braces in text within": [annotation(5, inner={"text": "}"}, after="{"), annotation(6, inner={"a": "{"})],
    "nested beyond the patterns": [annotation(5, attributes=json.loads('{"a":' * 12 + "1" + "}" * 12)), annotation(6)],
    "ids as numbers with a point": [{**annotation(5), "image_id": 1.0}, annotation(6)],
}


def write(folder: Path, records: list[Any], **dump: Any) -> Path:
    path = folder / "instances.json"
    whole = {
        "info": {"description": 'a "set" {with} braces', "nested": {"a": [1, 2]}, "year": 2014},
        "licenses": [{"url": "http://a/b", "id": 1}],
        "images": PICTURES,
        "annotations": records,
        "type": "instances",
        "count": None,
        "categories": [{"id": 3, "name": "cup"}],
    }
    path.write_text(json.dumps(whole, **dump), encoding="utf-8")
    return path


@pytest.mark.parametrize("records", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize(
    "dump", [{}, {"indent": 1}, {"separators": (",", ":")}, {"indent": "\t", "sort_keys": True}], ids=str
)
def test_every_layout_gives_what_json_gives(
    records: list[dict[str, Any]], dump: dict[str, Any], tmp_path: Path
) -> None:
    instances = Instances(write(tmp_path, records, **dump))
    assert list(instances) == [record["id"] for record in records]
    for record in records:
        assert instances.annotation(record["id"]) == record
        assert instances.image_of(record["id"]) == record["image_id"]
        assert instances.category_of(record["id"]) == record["category_id"]
    assert instances.images[2].name == "b}{.jpg"
    assert instances.images[2].size == (6, 7)
    assert instances.categories == {3: "cup"}


@pytest.mark.parametrize("place", ["data/refcoco_mini/refcoco", "goldens/refer/refcoco", "data/photos"])
def test_real_files_give_what_json_gives(place: str) -> None:
    path = SHARED / place / "instances.json"
    if not path.is_file():
        pytest.skip("the real data are not beside us")
    truth = json.loads(path.read_text())
    instances = Instances(path)
    assert len(instances) == len(truth["annotations"])
    assert all(instances.annotation(record["id"]) == record for record in truth["annotations"])
    assert {i: p.name for i, p in instances.images.items()} == {i["id"]: i["file_name"] for i in truth["images"]}


def test_objects_of_the_same_category_are_counted(tmp_path: Path) -> None:
    records = [annotation(1), annotation(2), annotation(3, category_id=4), annotation(4, image_id=2)]
    instances = Instances(write(tmp_path, records))
    assert instances.same_category(1, 3) == 2
    assert instances.same_category(1, 4) == 1
    assert instances.same_category(2, 4) == 0


def test_a_file_changed_meanwhile_is_noticed(tmp_path: Path) -> None:
    instances = Instances(write(tmp_path, [annotation(5), annotation(6)]))
    write(tmp_path, [annotation(6), annotation(5)])
    with pytest.raises(DeixisError, match=r"instances\.json has changed since it was opened"):
        instances.annotation(5)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.999])
def test_a_truncated_file_is_named(share: float, tmp_path: Path) -> None:
    path = write(tmp_path, [annotation(5), annotation(6)])
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(DeixisError, match=r"instances\.json is not valid JSON"):
        Instances(path)


@pytest.mark.parametrize("text", ["", "[]", "5", "{}", '{"images": []}', '{"images": {}, "annotations": []}', "\xff"])
def test_another_json_file_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "instances.json").write_text(text, encoding="latin1")
    with pytest.raises(DeixisError, match=r"instances\.json"):
        Instances(tmp_path / "instances.json")


@pytest.mark.parametrize(
    ("records", "sentence"),
    [
        ([annotation(5), annotation(5)], "two annotations have the id 5"),
        ([annotation(5, image_id=9)], "annotation 5 is on image 9, which the file lacks"),
        ([{"id": 5}], "annotation number 0 has no 'image_id'"),
        ([annotation(5), 7], "instances.json"),
    ],
)
def test_broken_records_are_named(records: list[Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(DeixisError, match=sentence):
        Instances(write(tmp_path, records))


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        (5, "is of type int; expected an object with 'id'"),
        ({"id": 6}, "has no 'image_id'; expected a number or a text"),
        ({"image_id": 6}, "has no 'id'; expected a number or a text"),
        ({"id": float("inf"), "image_id": 1}, "has the 'id' 'inf'; expected a number or a text"),
        ({"id": 6, "image_id": [1]}, r"has the 'image_id' '\[1\]'; expected a number or a text"),
    ],
)
@pytest.mark.parametrize("known_layout", [True, False])
def test_an_annotation_without_ids_is_named_or_counted(
    tmp_path: Path, record: Any, sentence: str, known_layout: bool
) -> None:
    path = write(tmp_path, [annotation(5), record, annotation(7)])
    if not known_layout:
        path.write_text(json.dumps({**json.loads(path.read_text()), "more": [[1]]}))
    with pytest.raises(DeixisError, match=rf"instances\.json: annotation number 1 {sentence}"):
        Instances(path)
    issues = Issues(skip=True)
    instances = Instances(path, issues)
    assert [instances.annotation(number)["id"] for number in instances] == [5, 7]
    assert len(issues) == 1


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"height": float("inf")}, "has the 'height' 'inf'; expected a number"),
        ({"id": float("nan")}, "has the 'id' 'nan'; expected a number or a text"),
        ({"file_name": "\ud83d.jpg"}, "has a 'file_name' that cannot be written as UTF-8"),
        ({"file_name": None}, "has no 'file_name'; expected a text"),
    ],
)
def test_a_broken_image_is_named_or_counted(tmp_path: Path, facts: dict[str, Any], sentence: str) -> None:
    path = write(tmp_path, [annotation(5), annotation(6, image_id=2)])
    whole = json.loads(path.read_text())
    whole["images"][1] |= facts
    path.write_text(json.dumps(whole))
    with pytest.raises(DeixisError, match=f"image number 1 {sentence}"):
        Instances(path)
    issues = Issues(skip=True)
    assert list(Instances(path, issues)) == [5]
    assert len(issues) == 2  # the image, and the annotation on it


@pytest.mark.parametrize(
    "category", ["cat", 5, {"id": float("inf")}, {"id": 4, "name": "\ud83d"}, {"name": "cat"}, {"id": ["cat"]}, None]
)
@pytest.mark.parametrize("known_layout", [True, False])
def test_a_broken_category_is_named_or_counted(tmp_path: Path, category: Any, known_layout: bool) -> None:
    path = write(tmp_path, [annotation(5)])
    whole = json.loads(path.read_text())
    whole["categories"].append(category)
    path.write_text(json.dumps(whole) if known_layout else json.dumps({**whole, "more": [[1]]}))
    with pytest.raises(DeixisError, match=r"instances\.json: category number 1 (has|is)"):
        Instances(path)
    issues = Issues(skip=True)
    assert Instances(path, issues).categories == {3: "cup"}
    assert len(issues) == 1


def test_categories_that_are_no_list_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, [annotation(5)])
    path.write_text(json.dumps(json.loads(path.read_text()) | {"categories": {"3": "cup"}}))
    with pytest.raises(DeixisError, match=r"instances\.json: 'categories' is of type dict; expected a list"):
        Instances(path)


def test_broken_records_are_left_out_and_counted(tmp_path: Path) -> None:
    issues = Issues(skip=True)
    instances = Instances(
        write(tmp_path, [annotation(5), annotation(6, image_id=9), annotation(7, image_id=9)]), issues
    )
    assert list(instances) == [5]
    assert len(issues) == 2
