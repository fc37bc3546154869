"""The reader against what the published reader returned, sentence by sentence and mask by mask, and broken trees."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deixis import masks
from deixis.data.readers import refcoco
from deixis.data.readers.refcoco import RefCOCO
from deixis.data.readers.referents import Sentences
from deixis.data.validation import Issues, validate
from deixis.errors import DeixisError
from deixis.records import Sample

SHARED = Path(__file__).parents[3] / ".." / "shared"
GOLDENS = SHARED / "goldens" / "refer"
MINI = SHARED / "data" / "refcoco_mini"
needs_goldens = pytest.mark.skipif(not GOLDENS.is_dir(), reason="the published reader's answers are not beside us")
needs_mini = pytest.mark.skipif(not MINI.is_dir(), reason="the real data are not beside us")


def square(left: int, top: int, side: int) -> list[float]:
    return [left, top, left + side, top, left + side, top + side, left, top + side]


class SmallTree:
    """Two images, three objects, four sentences, written when `write` is called so that tests can break them first."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.images = [{"id": i, "file_name": f"{i}.jpg", "height": 30, "width": 40} for i in (1, 2)]
        self.annotations: list[dict[str, Any]] = [
            {"id": 11, "image_id": 1, "category_id": 7, "segmentation": [square(2, 3, 10)], "iscrowd": 0},
            {"id": 12, "image_id": 1, "category_id": 7, "segmentation": [square(20, 3, 8), square(24, 7, 8)]},
            {"id": 13, "image_id": 2, "category_id": 8, "segmentation": {"size": [30, 40], "counts": [0, 30, 1170]}},
        ]
        self.refs: list[dict[str, Any]] = [
            self.ref(101, 11, 1, "train", ["Left cup", "the cup"], 0),
            self.ref(102, 12, 1, "testA", ["Right cup"], 2),
            self.ref(103, 13, 2, "testB", ["Dog!"], 3),
        ]
        self.pixels = {i: np.full((30, 40, 3), 100 + i, dtype=np.uint8) for i in (1, 2)}

    @staticmethod
    def ref(number: int, annotation: int, image: int, split: str, raw: list[str], first: int) -> dict[str, Any]:
        sentences = [
            {"sent_id": first + k, "raw": text, "sent": text.lower().strip("!"), "tokens": text.lower().split()}
            for k, text in enumerate(raw)
        ]
        names = {"ref_id": number, "ann_id": annotation, "image_id": image, "split": split}
        return {**names, "sentences": sentences, "category_id": 7, "sent_ids": [s["sent_id"] for s in sentences]}

    def write(self) -> Path:
        folder, photos = self.root / "refcoco", self.root / "images" / "train2014"
        folder.mkdir(parents=True)
        photos.mkdir(parents=True)
        categories = [{"id": 7, "name": "cup"}, {"id": 8, "name": "dog"}]
        instances = {"images": self.images, "annotations": self.annotations, "categories": categories}
        (folder / "instances.json").write_text(json.dumps(instances))
        (folder / "refs(unc).p").write_bytes(pickle.dumps(self.refs, protocol=2))
        for number, pixels in self.pixels.items():
            Image.fromarray(pixels).save(photos / f"{number}.jpg")
        return self.root


@pytest.fixture
def tree(tmp_path: Path) -> SmallTree:
    return SmallTree(tmp_path)


def published(dataset: str, split_by: str) -> dict[str, Any]:
    return json.loads((GOLDENS / "expected.json").read_text())["expected"][f"{dataset}({split_by})"]["splits"]


@needs_goldens
@pytest.mark.parametrize(("dataset", "split_by"), [("refcoco", "unc"), ("refcocog", "umd")])
@pytest.mark.parametrize("split", ["train", "val", "test", "testA", "testB"])
@pytest.mark.parametrize("sentences", ["raw", "sent"])
def test_every_sentence_and_mask_is_the_published_readers(
    dataset: str, split_by: str, split: str, sentences: Sentences
) -> None:
    expected = published(dataset, split_by)[split]
    if not expected["refs"]:
        with pytest.raises(DeixisError, match=f"no split '{split}'; the splits there are: test, train, val"):
            RefCOCO(GOLDENS, dataset, split_by, split)
        return
    union = RefCOCO(GOLDENS, dataset, split_by, split, sentences)
    quirk = RefCOCO(GOLDENS, dataset, split_by, split, sentences, overlaps="published")
    wanted = [(ref, sentence) for ref in expected["refs"] for sentence in ref["sentences"]]
    assert len(union) == len(quirk) == len(wanted) == expected["n_sentences"]
    for sample, kept, (ref, sentence) in zip(union, quirk, wanted, strict=True):
        assert sample.expression == kept.expression == sentence[sentences]
        assert (sample.ids.image, sample.ids.object, sample.ids.sentence) == (
            str(ref["image_id"]),
            str(ref["ref_id"]),
            str(sentence["sent_id"]),
        )
        assert sample.traits["annotations"] == [ref["ann_id"]]
        assert sample.traits["category"] == ref["category"]
        assert sample.visual.size == tuple(ref["rle_nonzero"]["size"])
        assert sample.mask is not None
        assert kept.mask is not None
        assert np.array_equal(masks.decode(sample.mask), masks.decode(ref["rle_nonzero"]))
        assert sample.traits["area"] == ref["area_nonzero"]
        # The published reader raises on a crowd's run lengths; both of ours read them.
        assert np.array_equal(masks.decode(kept.mask), masks.decode(ref.get("rle_equal_one", ref["rle_nonzero"])))
        assert kept.traits["area"] == ref.get("area_equal_one", ref["area_nonzero"])


@needs_goldens
def test_the_goldens_images_can_be_read() -> None:
    reader = RefCOCO(GOLDENS / "refcoco", split="train")
    assert len(validate(reader, Issues())) == len(reader)


@needs_mini
def test_the_real_miniature_is_complete() -> None:
    readers = RefCOCO.every_split(MINI)
    assert {split: len(reader) for split, reader in readers.items()} == {"val": 36, "testA": 12, "testB": 23}
    for reader in readers.values():
        assert len(validate(reader, Issues())) == len(reader)
    truth = json.loads((MINI / "refcoco" / "instances.json").read_text())
    area = {annotation["id"]: annotation["area"] for annotation in truth["annotations"]}
    for sample in readers["val"]:
        assert sample.traits["area"] == pytest.approx(area[sample.traits["annotations"][0]], rel=0.05)
        assert sample.expression


@needs_mini
def test_sentences_are_those_of_the_whole_published_val_split() -> None:
    items = json.loads((SHARED / "data" / "refcoco_val_sentences.json").read_text())["items"]
    known = {(Path(item["image"]).stem.split("_")[-1].lstrip("0"), item["text"]) for item in items}
    reader = RefCOCO(MINI, split="val", sentences="sent")
    assert {(sample.ids.image, sample.expression) for sample in reader} <= known


def test_both_the_root_and_the_folder_itself_are_accepted(tree: SmallTree) -> None:
    root = tree.write()
    outer, inner = RefCOCO(root, split="train"), RefCOCO(root / "refcoco", split="train")
    assert outer.ids == inner.ids
    assert outer[0].mask == inner[0].mask
    assert np.array_equal(outer[0].visual.read(), inner[0].visual.read())


def test_test_takes_both_tests(tree: SmallTree) -> None:
    root = tree.write()
    assert [s.ids.sentence for s in RefCOCO(root, split="test")] == ["2", "3"]
    assert [s.split for s in RefCOCO(root, split="test")] == ["testA", "testB"]
    assert [s.ids.sentence for s in RefCOCO(root, split="testB")] == ["3"]


def test_facts_for_breakdowns_come_along(tree: SmallTree) -> None:
    sample = RefCOCO(tree.write(), split="train")[0]
    assert sample.traits == {"annotations": [11], "category": "cup", "same_category_count": 2, "area": 100}
    assert (sample.dataset, sample.split, sample.expression) == ("refcoco", "train", "Left cup")


def test_overlapping_parts_are_united_or_dropped(tree: SmallTree) -> None:
    root = tree.write()
    united: Sample = RefCOCO(root, split="testA")[0]
    dropped: Sample = RefCOCO(root, split="testA", overlaps="published")[0]
    assert united.traits["area"] == 64 + 64 - 16
    assert dropped.traits["area"] == 64 + 64 - 32


@pytest.mark.parametrize(
    ("file", "page"),
    [("refs(unc).p", "github.com/lichengunc/refer"), ("instances.json", "github.com/lichengunc/refer")],
)
def test_a_missing_file_names_the_download(tree: SmallTree, file: str, page: str) -> None:
    root = tree.write()
    (root / "refcoco" / file).unlink()
    with pytest.raises(DeixisError) as raised:
        RefCOCO(root)
    assert file in str(raised.value)
    assert "https://github.com/lichengunc/refer" in str(raised.value)


def test_an_unknown_split_lists_the_known(tree: SmallTree) -> None:
    with pytest.raises(DeixisError, match="no split 'val'; the splits there are: test, testA, testB, train"):
        RefCOCO(tree.write())


def test_an_unknown_data_set_or_division_is_answered_with_the_nearest(tree: SmallTree) -> None:
    root = tree.write()
    with pytest.raises(DeixisError, match="Did you mean 'refcoco"):
        RefCOCO(root, "refcocos")
    with pytest.raises(DeixisError, match="not split by 'umd'"):
        RefCOCO(root, split_by="umd")


def test_a_missing_image_is_named_with_its_record(tree: SmallTree) -> None:
    root = tree.write()
    (root / "images" / "train2014" / "1.jpg").unlink()
    with pytest.raises(DeixisError, match=r"1\.jpg is missing, but .*instances\.json \(image 1\) names it"):
        RefCOCO(root, split="train")[0].visual.read()


def test_a_truncated_photo_is_named_with_its_record(tree: SmallTree) -> None:
    tree.pixels[1] = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    photo = tree.write() / "images" / "train2014" / "1.jpg"
    photo.write_bytes(photo.read_bytes()[:700])
    with pytest.raises(DeixisError, match=r"instances\.json \(image 1\): .*1\.jpg"):
        RefCOCO(tree.root, split="train")[0].visual.read()


def test_a_photo_of_another_size_than_its_record_is_refused(tree: SmallTree) -> None:
    tree.pixels[1] = np.zeros((20, 40, 3), dtype=np.uint8)
    with pytest.raises(DeixisError, match=r"1\.jpg is 20x40 pixels .* but .*image 1.* says 30x40"):
        RefCOCO(tree.write(), split="train")[0].visual.read()


def test_run_lengths_of_another_size_than_their_image_are_refused(tree: SmallTree) -> None:
    tree.annotations[2]["segmentation"] = {"size": [40, 30], "counts": [1200]}
    with pytest.raises(DeixisError, match=r"instances\.json: annotation 13: The mask is 40x30 .* image is 30x40"):
        RefCOCO(tree.write(), split="testB")[0]


def test_a_polygon_of_two_points_is_refused(tree: SmallTree) -> None:
    tree.annotations[0]["segmentation"] = [[1, 2, 3, 4]]
    with pytest.raises(DeixisError, match=r"instances\.json: annotation 11: A polygon has 4 numbers"):
        RefCOCO(tree.write(), split="train")[0]


def test_an_annotation_without_image_is_refused(tree: SmallTree) -> None:
    tree.annotations[2]["image_id"] = 99
    with pytest.raises(DeixisError, match=r"instances\.json: annotation 13 is on image 99, which the file lacks"):
        RefCOCO(tree.write(), split="train")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda tree: tree.refs[1].update(ref_id=101), r"refs\(unc\)\.p: ref 101 is there twice"),
        (lambda tree: tree.refs[1]["sentences"][0].update(sent_id=0), "ref 102 has a sentence whose id another"),
        (lambda tree: tree.annotations[1].update(id=11), "instances.json: two annotations have the id 11"),
        (lambda tree: tree.images[1].update(id=1), "instances.json: two images have the id 1"),
        (lambda tree: tree.refs[1].update(ann_id=99), "ref 102 refers to annotation 99, which .* lacks"),
        (lambda tree: tree.refs[1].update(ann_id=13), "its annotation 13 is on another"),
        (lambda tree: tree.refs[1].update(image_id=5), "ref 102 is on image 5, which .* lacks"),
        (lambda tree: tree.refs[1].pop("split"), "record number 1 lacks a valid ref_id"),
        (lambda tree: tree.refs[1].update(ref_id=float("inf")), "record number 1 lacks a valid ref_id"),
        (lambda tree: tree.refs[1]["sentences"][0].update(raw="\ud83d"), "record number 1 lacks a valid ref_id"),
        (lambda tree: tree.refs[1]["sentences"][0].update(raw=5), "record number 1 lacks a valid ref_id"),
    ],
)
def test_records_that_contradict_each_other_are_refused(tree: SmallTree, change: Any, sentence: str) -> None:
    change(tree)
    with pytest.raises(DeixisError, match=sentence):
        RefCOCO(tree.write(), split="train")


@pytest.mark.parametrize("name", ["../../secret.jpg", "/etc/passwd", "C:\\secret.jpg", "link.jpg"])
def test_a_path_that_leaves_the_root_is_refused(
    tree: SmallTree, name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tree.images[0]["file_name"] = name
    root = tree.write()
    secret = tmp_path_factory.mktemp("elsewhere") / "secret.jpg"
    Image.new("RGB", (40, 30)).save(secret)
    (root / "images" / "train2014" / "link.jpg").symlink_to(secret)
    with pytest.raises(DeixisError, match=r"instances\.json \(image 1\) names .* leaves"):
        RefCOCO(root, split="train")[0].visual.read()


def test_what_is_broken_can_be_left_out_and_is_counted(tree: SmallTree) -> None:
    tree.refs[1]["ann_id"] = 99
    tree.annotations[0]["segmentation"] = [[1, 2, 3, 4]]
    root = tree.write()
    issues = Issues(skip=True)
    readers = RefCOCO.every_split(root, issues=issues)
    kept = [len(validate(reader, issues)) for reader in readers.values()]
    assert list(readers) == ["train", "testB"]
    assert kept == [0, 1]
    assert len(issues) == 3  # one ref, and the two sentences of the object whose polygon is none
    assert issues.summary().startswith("3 broken records were left out:")
    assert "ref 102" in issues.summary()


def test_a_set_with_all_published_objects_is_counted(tree: SmallTree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(refcoco.PUBLISHED, ("refcoco", "unc"), (4, 3, 2))
    assert len(RefCOCO(tree.write(), split="train")) == 2
    monkeypatch.setitem(refcoco.PUBLISHED, ("refcoco", "unc"), (5, 3, 2))
    with pytest.raises(DeixisError, match="4 sentences on 2 images instead of 5 on 2: download it again"):
        RefCOCO(tree.root, split="train")
