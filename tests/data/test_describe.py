"""Descriptions of instances, against a checker that reads the sentence's claims and COCO's boxes anew."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deixis.data.describe.coco import describe_coco
from deixis.data.describe.describing import DescribeOptions
from deixis.data.describe.nouns import GROUPS, NEUTRAL, PEOPLE, SYNONYMS
from deixis.data.describe.scene import colour_names
from deixis.data.readers.jsonl import JsonlDataset
from deixis.data.validation import Issues
from deixis.errors import InputError

PAINT = {"red": (200, 20, 20), "blue": (30, 40, 210), "green": (20, 160, 40), "white": (245, 245, 245)}
NAMES = ("person", "dog", "cup", "chair", "umbrella", "zebra")
WIDTH, HEIGHT = 300, 200


def write_coco(folder: Path, seed: int, photos: int) -> Path:
    """Photos of coloured boxes, with and without masks, as COCO's JSON."""
    draw = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    annotations: list[dict[str, Any]] = []
    images = []
    for number in range(photos):
        pixels = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
        for _ in range(int(draw.integers(1, 6))):
            width, height = (int(value) for value in draw.integers(25, 80, 2))
            left, top = int(draw.integers(0, WIDTH - width)), int(draw.integers(0, HEIGHT - height))
            colour = PAINT[list(PAINT)[int(draw.integers(4))]]
            pixels[top : top + height, left : left + width] = colour
            polygon = [left, top, left + width, top, left + width, top + height, left, top + height]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": int(draw.integers(len(NAMES))),
                    "iscrowd": 0,
                    "bbox": [left, top, width, height],
                    "area": width * height,
                    "segmentation": [polygon] if draw.random() < 0.7 else None,
                }
            )
        Image.fromarray(pixels).save(folder / "images" / f"{number:04}.png")
        images.append({"id": number, "file_name": f"{number:04}.png", "width": WIDTH, "height": HEIGHT})
    categories = [{"id": number, "name": name} for number, name in enumerate(NAMES)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "coco.json").write_text(json.dumps(content))
    return folder / "coco.json"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """COCO's JSON and the sentences about it."""
    folder = tmp_path_factory.mktemp("described")
    path = write_coco(folder, seed=5, photos=60)
    describe_coco(path, folder / "images", folder / "all.jsonl", DescribeOptions(absent=0.3), Issues(), quiet=True)
    return path, folder / "all.jsonl"


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The JSON of ten photos."""
    return write_coco(tmp_path_factory.mktemp("few"), seed=6, photos=10)


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def classes(noun: str) -> set[str]:
    """What the word may name, from the tables alone."""
    if noun in PEOPLE or noun in NEUTRAL:
        return {"person"}
    named = {category for category, words in SYNONYMS.items() if noun in words}
    return (
        named
        | set(GROUPS.get(noun, ()))
        | {noun}
        | (set(NAMES) if noun in ("one", "thing", "object", "item") else set())
    )


def candidates(record: dict[str, Any], content: dict[str, Any]) -> list[int]:
    """The annotations for which no claim about kind, side, order or size is wrong, by COCO's boxes alone."""
    photo = next(each for each in content["images"] if each["file_name"] == record["image"])
    inside = [each for each in content["annotations"] if each["image_id"] == photo["id"]]

    def noun_of(each: dict[str, Any]) -> str:
        return NAMES[each["category_id"]]

    def centre(each: dict[str, Any], side: str) -> float:
        left, top, width, height = each["bbox"]
        return {
            "left": (left + width / 2) / WIDTH,
            "right": 1 - (left + width / 2) / WIDTH,
            "top": (top + height / 2) / HEIGHT,
            "bottom": 1 - (top + height / 2) / HEIGHT,
        }[side]

    def fits(each: dict[str, Any], claim: list[str]) -> bool:
        kind, *arguments = claim
        group = [other for other in inside if noun_of(other) in classes(arguments[-1])]
        rivals = [other for other in group if other is not each]
        if kind == "is":
            return noun_of(each) in classes(arguments[0])
        if kind == "extreme":
            return all(
                all(centre(each, side) < centre(other, side) for other in rivals)
                and (rivals or centre(each, side) < 0.5)
                for side in arguments[:-1]
            )
        if kind == "ordinal":
            return (
                sum(centre(other, arguments[1]) < centre(each, arguments[1]) for other in rivals)
                == int(arguments[0]) - 1
            )
        if kind == "size":
            measure: Callable[[dict[str, Any]], float] = (
                (lambda one: one["bbox"][3]) if arguments[0] == "tall" else (lambda one: one["area"])
            )
            sign = -1 if arguments[0] == "small" else 1
            return all(sign * measure(each) > sign * measure(other) for other in rivals)
        return True

    return [each["id"] for each in inside if all(fits(each, claim) for claim in record["traits"]["atoms"])]


CHECKED = {"is", "extreme", "ordinal", "size"}


def test_an_independent_checker_finds_exactly_the_referent(written: tuple[Path, Path]) -> None:
    content = json.loads(written[0].read_text())
    counted = 0
    for record in records(written[1]):
        claims = {claim[0] for claim in record["traits"]["atoms"]}
        found = candidates(record, content)
        if record["mask"] == []:
            assert claims - CHECKED or found == [], record
            continue
        name = int(record["ids"]["object"].rpartition("-")[2])
        assert name in found, record
        if claims <= CHECKED:
            counted += 1
            assert found == [name], record
    assert counted > 150


def test_every_claimed_colour_covers_the_referent_and_no_rival(written: tuple[Path, Path]) -> None:
    content = json.loads(written[0].read_text())
    boxes = {each["id"]: each["bbox"] for each in content["annotations"]}
    counted = 0
    for record in records(written[1]):
        colours = [claim for claim in record["traits"]["atoms"] if claim[0] == "colour" and claim[1] == "whole"]
        if not colours or record["mask"] == []:
            continue
        pixels = np.asarray(Image.open(written[0].parent / "images" / record["image"]))
        left, top, width, height = boxes[int(record["ids"]["object"].rpartition("-")[2])]
        inner = pixels[top : top + height, left + width // 4 : left + 3 * width // 4].reshape(-1, 3)
        paint = PAINT.get(colours[0][2], (120, 120, 120))
        assert (np.abs(inner.astype(int) - paint).max(1) < 30).mean() > 0.2, record
        counted += 1
    assert counted > 20


def test_the_file_is_read_as_your_own_data_with_empty_masks_for_absent_referents(written: tuple[Path, Path]) -> None:
    reader = JsonlDataset(written[1])
    every = [reader[number] for number in range(0, len(reader), 5)]
    assert len({ids.sentence for ids in reader.ids}) == len(reader)
    for sample in every:
        assert sample.mask is not None
        assert (sample.traits["area"] == 0) == sample.traits["description"].startswith("absent")
    kinds = {sample.traits["description"] for sample in (reader[number] for number in range(len(reader)))}
    assert {"noun", "colour", "extreme", "relation", "absent-kind", "absent-colour", "absent-place"} <= kinds


def test_the_same_seed_writes_the_same_file_and_another_seed_another_one(few: Path) -> None:
    folder = few.parent
    for seed, name in ((0, "first.jsonl"), (0, "again.jsonl"), (1, "other.jsonl")):
        options = DescribeOptions(absent=0.3, seed=seed)
        describe_coco(few, folder / "images", folder / name, options, Issues(), quiet=True)
    assert (folder / "again.jsonl").read_bytes() == (folder / "first.jsonl").read_bytes()
    assert (folder / "other.jsonl").read_bytes() != (folder / "first.jsonl").read_bytes()


def test_absent_nouns_are_as_many_as_asked_for_and_as_frequent_as_their_classes(few: Path) -> None:
    """One photo has a zebra: no more absent zebras are drawn than photos show; words for a person are drawn, too."""
    content = json.loads(few.read_text())
    rare = content["categories"][NAMES.index("zebra")]["id"]
    seen = [each for each in content["annotations"] if each["category_id"] == rare]
    content["annotations"] = [each for each in content["annotations"] if each not in seen[1:]]
    path, out = few.with_name("rare.json"), few.parent / "nouns.jsonl"
    path.write_text(json.dumps(content))
    options = DescribeOptions(absent=0.5, absent_nouns=0.8, sentences_per_object=40)
    describe_coco(path, few.parent / "images", out, options, Issues(), quiet=True)
    absent = [record for record in records(out) if record["mask"] == []]
    nouns = [record for record in absent if record["traits"]["description"] == "absent-kind"]
    assert 0.75 < len(nouns) / len(absent) <= 1
    assert all(candidates(record, content) == [] for record in nouns)
    named = Counter(record["traits"]["atoms"][0][1] in SYNONYMS["zebra"] for record in nouns)
    assert 0 < named[True] < 0.15 * len(nouns)
    assert any(record["traits"]["atoms"][0][1] in PEOPLE for record in nouns)


def test_photos_with_another_license_are_left_out(few: Path) -> None:
    """They count for nothing: the file is that of a JSON without them."""
    content = json.loads(few.read_text())
    for number, photo in enumerate(content["images"][:8]):  # two have none
        photo["license"] = number % 4
    path, out = few.with_name("licensed.json"), few.parent / "licensed.jsonl"
    path.write_text(json.dumps(content))
    describe_coco(path, few.parent / "images", out, DescribeOptions(licenses=(1, 3)), Issues(), quiet=True)
    kept = [photo["id"] for photo in content["images"] if photo.get("license") in (1, 3)]
    content["images"] = [photo for photo in content["images"] if photo["id"] in kept]
    content["annotations"] = [each for each in content["annotations"] if each["image_id"] in kept]
    path.write_text(json.dumps(content))
    describe_coco(path, few.parent / "images", few.parent / "kept.jsonl", DescribeOptions(), Issues(), quiet=True)
    assert out.read_bytes() == (few.parent / "kept.jsonl").read_bytes()
    assert len({record["image"] for record in records(out)}) > 1
    with pytest.raises(InputError, match=r"no photo with license 7 or 8; its photos have 1 \(2\), 3 \(2\)\."):
        describe_coco(path, few.parent / "images", out, DescribeOptions(licenses=(7, 8)), Issues(), quiet=True)


def test_neutral_words_name_no_man_and_no_child(few: Path) -> None:
    out = few.parent / "neutral.jsonl"
    describe_coco(few, few.parent / "images", out, DescribeOptions(people="neutral"), Issues(), quiet=True)
    words = {word for record in records(out) for word in record["expression"].split()}
    assert not words & (PEOPLE.keys() - NEUTRAL.keys())


@pytest.mark.parametrize(
    ("colour", "name"),
    [((220, 20, 30), "red"), ((20, 30, 200), "blue"), ((128, 128, 130), "gray"), ((10, 10, 10), "black"),
     ((250, 250, 250), "white"), ((240, 220, 40), "yellow"), ((110, 70, 30), "brown"), ((250, 130, 20), "orange")],
)  # fmt: skip
def test_colours_have_their_names(colour: tuple[int, int, int], name: str) -> None:
    assert colour_names(np.full((4, 3), colour, np.uint8)) == {name: 1.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.pop("categories"), "has no lists of images, annotations and categories"),
        (lambda content: content["annotations"][0].pop("bbox"), "an annotation lacks one of id, image_id"),
        (lambda content: content["annotations"][0].update(category_id=99), "which the file does not list"),
        (lambda content: content["annotations"][0].update(bbox=[1, 2]), r"has the box \[1, 2\]; expected left, top"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    path = write_coco(tmp_path, seed=2, photos=1)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        describe_coco(path, tmp_path / "images", tmp_path / "out.jsonl", DescribeOptions(), Issues(), quiet=True)
    assert not (tmp_path / "out.jsonl").exists()


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="expected at least one sentence"):
        DescribeOptions(absent=1.0)
    with pytest.raises(InputError, match="expected all or neutral"):
        DescribeOptions(people="men")
    with pytest.raises(InputError, match="expected one from 0 to 1"):
        DescribeOptions(absent_nouns=1.5)
