"""The right reader for every path, and a helpful sentence for every path without a data set."""

import json
import pickle
from pathlib import Path

import pytest

from deixis.data.readers.captions import CaptionedInstances
from deixis.data.readers.formats import detect_format, open_data, open_splits
from deixis.data.readers.grefcoco import GRefCOCO
from deixis.data.readers.jsonl import JsonlDataset
from deixis.data.readers.phrasecut import PhraseCut
from deixis.data.readers.refcoco import RefCOCO
from deixis.data.validation import Issues
from deixis.errors import DeixisError

INSTANCES = {
    "images": [{"id": 1, "file_name": "a.jpg", "height": 4, "width": 4}],
    "annotations": [{"id": 2, "image_id": 1, "category_id": 3, "segmentation": [[0, 0, 2, 0, 2, 2]], "caption": "x"}],
    "categories": [],
}


def refs(folder: Path, name: str, splits: tuple[str, ...]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "instances.json").write_text(json.dumps(INSTANCES))
    records = [
        {"ref_id": n, "ann_id": 2, "image_id": 1, "split": s, "sentences": [{"sent_id": n, "raw": s, "sent": s}]}
        for n, s in enumerate(splits)
    ]
    whole = pickle.dumps(records, 2) if name.endswith(".p") else json.dumps(records).encode()
    (folder / name).write_bytes(whole)


@pytest.mark.parametrize(
    ("folder", "file", "kind"),
    [
        ("refcoco", "refs(unc).p", "refcoco"),
        ("refcoco+", "refs(unc).p", "refcoco+"),
        ("refcocog", "refs(umd).p", "refcocog"),
        ("refcocog", "refs(google).p", "refcocog"),
        ("grefcoco", "grefs(unc).json", "grefcoco"),
    ],
)
def test_the_family_is_opened_by_root_and_by_folder(tmp_path: Path, folder: str, file: str, kind: str) -> None:
    refs(tmp_path / folder, file, ("train", "val"))
    for path in (tmp_path, tmp_path / folder):
        assert detect_format(path) == kind
        assert list(open_splits(path)) == ["train", "val"]
        reader = open_data(path)
        assert isinstance(reader, GRefCOCO if kind == "grefcoco" else RefCOCO)
        assert reader[0].expression == "val"
        assert reader[0].dataset == kind
        assert open_data(path, "train")[0].expression == "train"


def test_a_renamed_folder_passes_for_refcoco(tmp_path: Path) -> None:
    refs(tmp_path / "elsewhere", "refs(unc).p", ("val",))
    assert open_data(tmp_path / "elsewhere")[0].dataset == "refcoco"


def test_test_takes_both_tests_of_the_family(tmp_path: Path) -> None:
    refs(tmp_path / "refcoco", "refs(unc).p", ("val", "testA", "testB"))
    assert [ids.sentence for ids in open_data(tmp_path, "test").ids] == ["1", "2"]


def test_the_authors_of_the_splits_can_be_chosen(tmp_path: Path) -> None:
    refs(tmp_path / "refcocog", "refs(umd).p", ("val", "test"))
    refs(tmp_path / "refcocog", "refs(google).p", ("train", "val"))
    assert list(open_splits(tmp_path)) == ["val", "test"]
    assert list(open_splits(tmp_path, split_by="google")) == ["train", "val"]


def test_of_several_sets_one_must_be_named(tmp_path: Path) -> None:
    refs(tmp_path / "refcoco", "refs(unc).p", ("val",))
    refs(tmp_path / "refcoco+", "refs(unc).p", ("val",))
    with pytest.raises(DeixisError, match=r"holds refcoco, refcoco\+; choose one with --dataset"):
        open_data(tmp_path)
    assert open_data(tmp_path, dataset="refcoco+")[0].dataset == "refcoco+"
    with pytest.raises(DeixisError, match=r"There is no data set 'refcoko'. Did you mean 'refcoco'"):
        open_data(tmp_path, dataset="refcoko")


def test_phrasecut_and_your_own_are_recognised(tmp_path: Path) -> None:
    task = {"task_id": "1__0", "image_id": 1, "phrase": "x", "Polygons": []}
    for name, file, text, kind in (
        ("p", "refer_val.json", json.dumps([task]), PhraseCut),
        ("f", "data.jsonl", '{"image": "a.jpg", "expression": "x"}', JsonlDataset),
        ("t", "data.csv", "image,expression\na.jpg,x", JsonlDataset),
        ("c", "data.json", json.dumps(INSTANCES), CaptionedInstances),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text(text)
        assert isinstance(open_data(tmp_path / name), kind)
    assert isinstance(open_data(tmp_path / "f" / "data.jsonl"), JsonlDataset)
    assert isinstance(open_data(tmp_path / "c" / "data.json"), CaptionedInstances)
    assert list(open_splits(tmp_path / "t")) == ["all"]
    with pytest.raises(DeixisError, match="no split 'val'; the splits there are: all"):
        open_data(tmp_path / "t", "val")


@pytest.mark.parametrize(
    ("file", "text"),
    [("data.jsonl", ""), ("data.csv", "image,expression\n"), ("refer_val.json", "[]"), ("refs(unc).p", "")],
)
def test_a_set_without_records_is_refused(tmp_path: Path, file: str, text: str) -> None:
    if file.startswith("refs"):
        refs(tmp_path, file, ())
    else:
        (tmp_path / file).write_text(text)
    with pytest.raises(DeixisError, match="holds no records; expected at least one"):
        open_data(tmp_path)


def test_a_set_of_broken_records_alone_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text("5\n6\n")
    with pytest.raises(
        DeixisError, match=r"holds broken records only, 2 of them: .*data\.jsonl, line 1 is of type int"
    ):
        open_splits(tmp_path, issues=Issues(skip=True))


def test_of_several_splits_one_must_be_named(tmp_path: Path) -> None:
    lines = [json.dumps({"image": "a.jpg", "expression": "x", "split": split}) for split in ("one", "two")]
    (tmp_path / "data.jsonl").write_text("\n".join(lines))
    with pytest.raises(DeixisError, match=r"has several splits; name one of: one, two"):
        open_data(tmp_path)


@pytest.mark.parametrize(
    ("mark", "name"),
    [
        ("meta_expressions/valid/meta_expressions.json", "refer-youtube-vos"),
        ("valid_u/meta_expressions.json", "mevis"),
        ("text_annotations/a2d_annotation.txt", "a2d"),
        ("jhmdb_annotation.txt", "jhmdb"),
        ("davis_text_annotations/Davis17_annot1.txt", "ref-davis"),
    ],
)
def test_video_sets_are_detected_by_their_files(tmp_path: Path, mark: str, name: str) -> None:
    (tmp_path / mark).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / mark).write_text("")
    assert detect_format(tmp_path) == name


def test_a_path_with_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeixisError, match=r"no folder .*absent; give the one that holds refcoco/, from https://github"):
        open_data(tmp_path / "absent", dataset="refcoco")
    with pytest.raises(DeixisError, match="There is nothing at"):
        open_data(tmp_path / "absent")
    with pytest.raises(DeixisError, match="has none of the layouts that are read: refcoco"):
        open_data(tmp_path)


@pytest.mark.parametrize("name", ["refcoco", "grefcoco"])
def test_a_known_folder_without_its_refs_names_the_download(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "instances.json").write_text(json.dumps(INSTANCES))
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(DeixisError, match=r"has no refs file; download .* as https://github\.com/"):
            open_data(path)
