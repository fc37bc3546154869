"""Shared images by COCO id, by Visual Genome id and by looks, in sets made to share known images."""

import io
import json
import pickle
import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deixis.data.images import ImageArray
from deixis.data.readers.jsonl import JsonlDataset
from deixis.data.readers.phrasecut import PhraseCut
from deixis.data.readers.refcoco import RefCOCO
from deixis.data.subsets import Subset
from deixis.data.tools.leakage import NEAR, audit, leaks, perceptual_hash, same_images, shared_images
from deixis.data.validation import Issues
from deixis.errors import DeixisError
from deixis.records import Reader, Sample

tiny = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[2] / "training" / "tiny.py")))
PHOTOS = Path(__file__).parents[3] / ".." / "shared" / "data" / "photos" / "images"


def scene(seed: int) -> Image.Image:
    """Soft blobs: smooth like a photo, and another for every seed."""
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((96, 72), Image.Resampling.BICUBIC)


def recompressed(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def distance(first: Image.Image, second: Image.Image) -> int:
    return int((perceptual_hash(np.asarray(first)) != perceptual_hash(np.asarray(second))).sum())


def own(root: Path, images: dict[str, Image.Image], sentences: int = 1) -> JsonlDataset:
    root.mkdir()
    for name, image in images.items():
        image.save(root / name)
    lines = [json.dumps({"image": name, "expression": "x"}) for name in images for _ in range(sentences)]
    (root / "data.jsonl").write_text("\n".join(lines))
    return JsonlDataset(root)


def phrasecut(root: Path, images: dict[int, int | None], listed: bool = True) -> PhraseCut:
    (root / "images").mkdir(parents=True)
    tasks: list[dict[str, Any]] = [
        {"task_id": f"{image}__{k}", "image_id": image, "phrase": "x", "Polygons": []}
        for image in images
        for k in (0, 1)
    ]
    (root / "refer_val.json").write_text(json.dumps(tasks))
    if listed:
        facts = [{"image_id": i, "height": 72, "width": 96, "coco_id": coco} for i, coco in images.items()]
        (root / "image_data_split.json").write_text(json.dumps(facts))
    for image in images:
        scene(image).save(root / "images" / f"{image}.jpg")
    return PhraseCut(root)


def matches(first: Reader, second: Reader, looks: bool = False) -> list[tuple[str, str, str]]:
    return [(one.first, one.second, one.match) for one in audit(first, second, looks).shared]


def test_cocos_ids_are_read_from_the_names_of_its_files(tmp_path: Path) -> None:
    names = ("COCO_train2014_000000000007.jpg", "COCO_train2014_000000000008.jpg")
    first = own(tmp_path / "first", {name: scene(k) for k, name in enumerate(names)})
    second = own(tmp_path / "second", {"000000000008.jpg": scene(5), "COCO_val2014_000000000009.jpg": scene(6)}, 3)
    found = audit(first, second)
    assert [(one.first, one.second, one.match) for one in found.shared] == [(names[1], "000000000008.jpg", "coco")]
    assert (found.leaked_images, found.leaked_sentences, found.second_sentences) == (1, 3, 6)
    assert (found.first_images, found.second_images, found.compared_looks) == (2, 2, False)


@pytest.mark.parametrize("stem", ["20240115093000", "202401150930", "IMG000000000007"])
def test_dates_and_longer_numbers_are_not_taken_for_cocos_ids(tmp_path: Path, stem: str) -> None:
    first = own(tmp_path / "first", {f"{stem}.png": scene(1)})
    second = own(tmp_path / "second", {f"{stem[::-1]}.png": scene(1), f"{stem}.png": scene(2)})
    assert matches(first, second) == [(f"{stem}.png", f"{stem[::-1]}.png", "looks")]


def test_cocos_ids_are_read_in_folders_and_behind_cocos_own_prefix(tmp_path: Path) -> None:
    names = ("COCO_val2014_000000000009.jpg", "COCO_test2015_123456789012.jpg")
    first = own(tmp_path / "first", {name: scene(k) for k, name in enumerate(names)})
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "data.jsonl").write_text(json.dumps({"image": "images/000000000009.jpg", "expression": "x"}))
    found = audit(first, JsonlDataset(tmp_path / "other"))
    assert [one.match for one in found.shared] == ["coco"]
    assert not found.compared_looks


def test_visual_genomes_images_are_cocos_through_phrasecut(tmp_path: Path) -> None:
    genome = phrasecut(tmp_path / "phrasecut", {61: 7, 62: None, 63: 99})
    coco = own(tmp_path / "coco", {"000000000007.jpg": scene(1), "000000000008.jpg": scene(62)})
    assert matches(genome, coco) == [("61", "000000000007.jpg", "coco")]
    assert matches(coco, genome) == [("000000000007.jpg", "61", "coco")]
    # Its list says that 62 is none of COCO's; who asks for looks all the same finds the copy.
    assert set(matches(genome, coco, looks=True)) == {
        ("61", "000000000007.jpg", "coco"),
        ("62", "000000000008.jpg", "looks"),
    }


def test_the_same_genome_id_is_the_same_image(tmp_path: Path) -> None:
    first = phrasecut(tmp_path / "first", {61: None, 62: None}, listed=False)
    second = phrasecut(tmp_path / "second", {62: None, 63: None}, listed=False)
    found = audit(first, second)
    assert [(one.first, one.second, one.match, one.sentences) for one in found.shared] == [("62", "62", "genome", 2)]
    assert not found.compared_looks


def test_copies_without_ids_are_found_by_their_looks(tmp_path: Path) -> None:
    first = own(tmp_path / "first", {f"{k}.png": scene(k) for k in range(12)})
    small = scene(3).resize((48, 36), Image.Resampling.LANCZOS)
    second = own(tmp_path / "second", {"x.jpg": recompressed(small, 40), "y.jpg": scene(50), "z.png": scene(5)})
    found = audit(first, second)
    assert found.compared_looks
    assert [(one.first, one.second) for one in found.shared] == [("3.png", "x.jpg"), ("5.png", "z.png")]
    assert found.shared[1].distance == 0


def test_an_image_that_cannot_be_read_raises_or_is_counted(tmp_path: Path) -> None:
    first, second = own(tmp_path / "first", {"a.png": scene(1)}), own(tmp_path / "second", {"b.png": scene(1)})
    (tmp_path / "second" / "b.png").write_bytes(b"no image")
    with pytest.raises(DeixisError, match=r"b\.png"):
        audit(first, second)
    issues = Issues(skip=True)
    assert audit(first, second, issues=issues).shared == ()
    assert len(issues) == 1


@pytest.mark.parametrize("change", ["smaller", "recompressed", "grey", "brighter"])
def test_a_changed_copy_stays_near(change: str) -> None:
    for seed in range(8):
        image = scene(seed)
        changed = {
            "smaller": lambda image: image.resize((31, 23), Image.Resampling.BILINEAR),
            "recompressed": lambda image: recompressed(image, 20),
            "grey": lambda image: image.convert("L").convert("RGB"),
            "brighter": lambda image: image.point(lambda value: min(255, int(value * 1.1))),
        }[change](image)
        assert distance(image, changed) <= NEAR


def test_different_scenes_are_far_apart() -> None:
    hashes = np.array([perceptual_hash(np.asarray(scene(seed))) for seed in range(40)])
    distances = (hashes[:, None] != hashes[None]).sum(-1)[np.triu_indices(40, 1)]
    assert distances.min() > NEAR
    assert 56 < distances.mean() < 72


def test_real_photos_are_distinguished_and_found_again() -> None:
    files = sorted(PHOTOS.glob("*.jpg"))[:40]
    if not files:
        pytest.skip("the real photos are not beside us")
    photos = [Image.open(file).convert("RGB") for file in files]
    hashes = np.array([perceptual_hash(np.asarray(photo)) for photo in photos])
    copies = [recompressed(photo.resize((photo.width // 3, photo.height // 3)), 50) for photo in photos]
    again = np.array([perceptual_hash(np.asarray(copy)) for copy in copies])
    distances = (hashes[:, None] != again[None]).sum(-1)
    assert np.diag(distances).max() <= NEAR
    assert distances[~np.eye(len(files), dtype=bool)].min() > NEAR


def test_training_on_images_of_the_test_split_is_reported_from_ids_alone(tmp_path: Path) -> None:
    images = {"train": (1, 2), "val": (2, 3), "testA": (4,), "testB": (1, 2, 5)}
    pairs = [(split, image) for split, several in images.items() for image in several]
    refs = [
        {"ref_id": n, "ann_id": n, "image_id": image, "split": split, "sentences": [{"sent_id": n, "raw": "it"}]}
        for n, (split, image) in enumerate(pairs)
    ]
    pictures = [{"id": n, "file_name": f"{n}.jpg", "height": 9, "width": 9} for n in range(1, 6)]  # none is on disk
    things = [{"id": n, "image_id": image, "category_id": 1} for n, (_, image) in enumerate(pairs)]
    content = {"images": pictures, "annotations": things, "categories": [{"id": 1, "name": "cup"}]}
    (tmp_path / "instances.json").write_text(json.dumps(content))
    (tmp_path / "refs(unc).p").write_bytes(pickle.dumps(refs))
    train = RefCOCO(tmp_path)
    assert shared_images(train.sibling("train"), train.sibling("testB")) == ("1", "2")
    told = leaks(train.sibling("train"), train)
    without_broken_records = Subset(train, range(len(train)))
    assert leaks(train.sibling("train"), without_broken_records) == told
    assert [sentence.split(" of its ")[0] for sentence in told] == [
        "The validation split shares 1",
        "The testB split shares 2",
    ]
    assert leaks(train.sibling("testA"), train.sibling("val")) == [
        "The testA split shares 1 of its images with training (such as 4): its scores will be too high."
    ]
    own_set = own(tmp_path / "own", {"a.png": scene(1)})
    assert leaks(own_set, own_set)
    assert not leaks(own_set, train)


def test_equal_files_are_the_same_image_whatever_their_names_and_equal_names_are_not(tmp_path: Path) -> None:
    first = own(tmp_path / "first", {"a.png": scene(0), "b.png": scene(1), "c.png": scene(2)})
    second = own(tmp_path / "second", {"b.png": scene(3), "x.png": scene(0)}, sentences=2)
    shared = same_images(first, second)
    assert [Path(name).name for name in shared] == ["x.png"]
    assert same_images(first, first) == tuple(dict.fromkeys(ids.image for ids in first.ids))


def test_images_that_are_not_files_are_compared_by_ids_and_pixels() -> None:
    class Squares(tiny.Squares):  # type: ignore[misc]
        def __getitem__(self, position: int) -> Sample:
            sample: Sample = super().__getitem__(position)
            return replace(sample, visual=ImageArray(255 - sample.visual.read([0])[0]))

    assert same_images(tiny.Squares(4), tiny.Squares(2)) == ("image0", "image1")
    assert same_images(tiny.Squares(4), Squares(2)) == ()
