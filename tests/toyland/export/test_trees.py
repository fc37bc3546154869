"""Trees in official layouts, read with pickle, json and pycocotools only."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from deixis import masks
from deixis.errors import DeixisError
from deixis.toyland.export import full_size
from deixis.toyland.export.full_size import PUBLISHED, write_full_size
from deixis.toyland.export.grefcoco import write_grefcoco
from deixis.toyland.export.outlines import outlines, polygons, segmentation
from deixis.toyland.export.phrasecut import write_phrasecut
from deixis.toyland.export.refcoco import write_refcoco
from deixis.toyland.export.trees import IMAGES, Tree
from deixis.toyland.language.expressions import ExpressionOptions
from deixis.toyland.scene.kinds import KINDS

TREE = Tree(scenes={"train": 2, "val": 1, "testA": 1, "testB": 1}, size=48, objects_per_scene=2, sentences_per_object=2)


def decoded(shape: Any, height: int, width: int) -> np.ndarray:
    """As the published reader decodes it."""
    rle = coco.merge(coco.frPyObjects(shape, height, width)) if isinstance(shape, list) else shape
    return np.asarray(coco.decode(rle)).astype(bool)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trees") / "data"
    calls: list[tuple[str, int, int]] = []
    write_refcoco(path, TREE, lambda *step: calls.append(step))
    assert calls == [("train", 1, 2), ("train", 2, 2), ("val", 1, 1), ("testA", 1, 1), ("testB", 1, 1)]
    return path


def load(root: Path, folder: str, refs_file: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    refs = pickle.loads((root / folder / refs_file).read_bytes())
    return refs, json.loads((root / folder / "instances.json").read_text())


@pytest.mark.parametrize(
    ("folder", "refs_file", "subset", "splits"),
    [
        ("refcoco", "refs(unc).p", "toyland", {"train", "val", "testA", "testB"}),
        ("refcoco+", "refs(unc).p", "toyland+", {"train", "val", "testA", "testB"}),
        ("refcocog", "refs(umd).p", "toyland-g", {"train", "val", "test"}),
    ],
)
def test_a_tree_has_the_drawn_masks_and_the_generated_expressions(
    root: Path, folder: str, refs_file: str, subset: str, splits: set[str]
) -> None:
    refs, instances = load(root, folder, refs_file)
    annotations = {one["id"]: one for one in instances["annotations"]}
    images = {one["id"]: one for one in instances["images"]}
    categories = {one["id"]: one["name"] for one in instances["categories"]}
    assert set(categories.values()) == set(KINDS)
    assert {ref["split"] for ref in refs} <= splits
    assert {ref["split"] for ref in refs} >= {"train", "val"}
    found = {}
    for ref in refs:
        annotation, image = annotations[ref["ann_id"]], images[ref["image_id"]]
        assert annotation["image_id"] == ref["image_id"]
        assert annotation["category_id"] == ref["category_id"]
        assert [sentence["sent_id"] for sentence in ref["sentences"]] == ref["sent_ids"]
        assert ref["file_name"].startswith(image["file_name"].removesuffix(".jpg"))
        mask = decoded(annotation["segmentation"], image["height"], image["width"])
        assert annotation["area"] == mask.sum()
        for sentence in ref["sentences"]:
            assert sentence["tokens"] == sentence["raw"].split()
            found[ref["split"], sentence["raw"], mask.tobytes()] = categories[annotation["category_id"]]
    for split in ("train", "val"):
        world = TREE.world(split, subset)
        for sample in (one for scene in world.scenes() for one in scene):
            (target,) = sample.traits["targets"]
            drawn = np.asarray(sample.visual.image().masks[target])  # type: ignore[attr-defined]
            assert found[split, sample.expression, drawn.tobytes()] == sample.traits["kind"]


def test_ids_are_unique_and_images_exist(root: Path) -> None:
    refs, instances = load(root, "refcoco", "refs(unc).p")
    for numbers in (
        [ref["ref_id"] for ref in refs],
        [number for ref in refs for number in ref["sent_ids"]],
        [one["id"] for one in instances["annotations"]],
    ):
        assert len(set(numbers)) == len(numbers)
    assert len(instances["images"]) == 5
    for number, image in enumerate(instances["images"]):
        image = np.asarray(Image.open(root / IMAGES / image["file_name"])).astype(float)
        assert image.shape == (48, 48, 3)
        if number < 2:
            drawn = TREE.world("train", "toyland").drawn(number).read()[0]
            assert abs(image - drawn).mean() < 6  # JPEG is lossy


def test_refs_are_pickled_with_protocol_2(root: Path) -> None:
    assert (root / "refcoco" / "refs(unc).p").read_bytes()[:2] == b"\x80\x02"


def test_a_tree_is_complete_or_absent(tmp_path: Path) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_refcoco(tmp_path / "data", TREE, stop)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").touch()
    with pytest.raises(DeixisError, match="holds something already"):
        write_refcoco(tmp_path / "full", TREE)
    assert (tmp_path / "full" / "precious").exists()


def test_generalised_expressions_list_all_their_referents(tmp_path: Path) -> None:
    write_grefcoco(tmp_path / "g", TREE)
    refs = json.loads((tmp_path / "g" / "grefcoco" / "grefs(unc).json").read_text())
    instances = json.loads((tmp_path / "g" / "grefcoco" / "instances.json").read_text())
    annotations = {one["id"]: one for one in instances["annotations"]}
    assert {1} <= {len(ref["ann_id"]) for ref in refs} <= {1, 2}
    assert any(ref["no_target"] for ref in refs)
    for ref in refs:
        assert ref["no_target"] == (ref["ann_id"] == [-1])
        if not ref["no_target"]:
            assert [annotations[number]["category_id"] for number in ref["ann_id"]] == ref["category_id"]
            assert {annotations[number]["image_id"] for number in ref["ann_id"]} == {ref["image_id"]}
    sentences = [number for ref in refs for number in ref["sent_ids"]]
    assert sentences == list(range(len(sentences)))


def test_phrases_list_polygons_of_their_instances(tmp_path: Path) -> None:
    write_phrasecut(tmp_path / "p", TREE)
    assert {path.name for path in (tmp_path / "p").glob("refer_*.json")} == {
        "refer_train.json",
        "refer_val.json",
        "refer_test.json",
    }
    tasks = json.loads((tmp_path / "p" / "refer_train.json").read_text())
    world = TREE.world("train", "toyland+", ExpressionOptions(two_targets=0.8))
    samples = [sample for scene in world.scenes() for sample in scene]
    assert [task["phrase"] for task in tasks] == [sample.expression for sample in samples]
    for task, sample in zip(tasks, samples, strict=True):
        assert (tmp_path / "p" / "images" / f"{task['image_id']}.jpg").exists()
        assert len(task["Polygons"]) == len(task["instance_boxes"]) == len(task["ann_ids"])
        flat = [[n for corner in polygon for n in corner] for instance in task["Polygons"] for polygon in instance]
        assert masks.from_polygons(flat, 48, 48) == sample.mask
    assert {len(task["Polygons"]) for task in tasks} == {1, 2}


@pytest.mark.parametrize("seed", range(8))
def test_polygons_decode_to_the_mask_with_its_holes(seed: int) -> None:
    mask = np.random.default_rng(seed).random((24, 30)) < 0.1 * (seed + 1)
    assert masks.from_polygons(polygons(mask), 24, 30) == masks.encode(mask)


@pytest.mark.parametrize("seed", range(8))
def test_segmentations_decode_to_the_same_pixels(seed: int) -> None:
    mask = np.random.default_rng(seed).random((24, 30)) < 0.1 * (seed + 1)
    np.testing.assert_array_equal(decoded(segmentation(mask), 24, 30), mask)


def test_outlines_follow_the_edges_of_pixels() -> None:
    mask = np.zeros((5, 6), dtype=bool)
    mask[1:3, 2:5] = True
    (outline,) = outlines(mask)
    assert sorted(zip(outline[::2], outline[1::2], strict=True)) == [(2, 1), (2, 3), (5, 1), (5, 3)]
    assert segmentation(mask) == [outline]
    assert outlines(np.zeros((3, 3), dtype=bool)) == []
    ring = np.ones((5, 5), dtype=bool)
    ring[2, 2] = False
    assert isinstance(segmentation(ring), dict)


def test_published_sizes_add_up() -> None:
    images, objects, sentences = (sum(counts) for counts in zip(*PUBLISHED.values(), strict=True))
    assert (images, objects, sentences) == (19_994, 50_000, 142_209)


def test_images_of_a_full_size_tree_are_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"train": (10, 25, 71), "val": (2, 5, 14), "testA": (1, 3, 8), "testB": (1, 2, 6)}
    monkeypatch.setattr(full_size, "PUBLISHED", sizes)
    write_full_size(tmp_path / "full", height=48, width=64, scenes=2)
    refs, instances = load(tmp_path / "full", "refcoco", "refs(unc).p")
    for split, (_, objects, sentences) in sizes.items():
        mine = [ref for ref in refs if ref["split"] == split]
        assert (len(mine), sum(len(ref["sentences"]) for ref in mine)) == (objects, sentences)
    files = sorted((tmp_path / "full" / IMAGES).iterdir())
    assert [file.name for file in files] == [image["file_name"] for image in instances["images"]]
    assert len(files) == 14
    assert len({file.stat().st_ino for file in files}) == 2
    with Image.open(files[0]) as image:
        assert image.size == (64, 48)
    assert len({number for ref in refs for number in ref["sent_ids"]}) == 99
    for annotation in instances["annotations"][:20]:
        assert decoded(annotation["segmentation"], 48, 64).sum() == annotation["area"]
