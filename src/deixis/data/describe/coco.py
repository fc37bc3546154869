"""From COCO's JSON to sentences: scenes are read, described, and written as JSONL beside a report."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ... import masks
from ...errors import DeixisError, InputError
from ...files import replaced
from ...progress import ProgressBar
from ..images import ImageFile
from ..readers.json_files import parse
from ..segmentation import as_rle, has_box, says_nothing
from ..tools.contact_sheet import Panel
from ..validation import Issues
from .describing import DescribeOptions, Description, describe
from .scene import Instance, Scene, part_colours

SHOWN = 24  # examples that are kept for a contact sheet


@dataclass
class Report:
    """How many sentences of each kind were written, of how many photos and instances."""

    photos: int = 0
    objects: int = 0
    sentences: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    panels: list[Panel] = field(default_factory=list)


def describe_coco(
    path: Path,
    images: Path,
    out: Path,
    options: DescribeOptions,
    issues: Issues,
    quiet: bool = False,
) -> Report:
    """Write the descriptions of all photos of COCO's JSON as JSONL; the file appears whole or not at all.

    Names of photos are those of the JSON. Raises `InputError` for a file that is not COCO's JSON, and for a broken
    record unless the issues skip it.
    """
    photos, annotations, names = _read(path, options.licenses)
    report = Report()
    pairs = {(each.get("image_id"), each["category_id"]) for each in annotations if each["category_id"] in names}
    shown = Counter(names[category] for _, category in pairs)
    of_photo: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for annotation in annotations:
        of_photo[annotation.get("image_id")].append(annotation)
    every = max(1, len(photos) // SHOWN)
    bar = ProgressBar("describing", len(photos), quiet=quiet)
    with bar, replaced(out) as beside, beside.open("w", encoding="utf-8") as file:
        for number, photo in enumerate(photos):
            try:
                lines = _describe_photo(photo, of_photo[photo["id"]], names, shown, images, options, path)
            except DeixisError as error:
                issues.add(str(error))
                continue
            finally:
                bar.advance()
            _count(report, lines)
            for record, _ in lines:
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
            if lines and number % every == 0 and len(report.panels) < SHOWN:
                report.panels.append(_panel(images, photo, *lines[number % len(lines)]))
    return report


def _read(path: Path, licenses: tuple[int, ...]) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[Any, str]]:
    """Photos, their annotations and the names of categories; where licenses are given, photos with one of these."""
    if not path.is_file():
        raise InputError(f"There is no file {path}; give COCO's JSON of instances.")
    content = parse(path.read_bytes(), path, "the file")
    parts = [content.get(name) for name in ("images", "annotations", "categories")] if isinstance(content, dict) else []
    lists = [part for part in parts if isinstance(part, list)]
    if len(lists) != 3:
        raise InputError(f"{path} has no lists of images, annotations and categories; give COCO's JSON of instances.")
    images, annotations, categories = lists
    for name, records, keys in (
        ("image", images, ("id", "file_name")),
        ("annotation", annotations, ("id", "image_id", "category_id", "bbox")),
        ("category", categories, ("id", "name")),
    ):
        for record in records:
            if not isinstance(record, dict) or any(key not in record for key in keys):
                raise InputError(f"{path}: an {name} lacks one of {', '.join(keys)}: {str(record)[:60]}.")
    if licenses:
        found = Counter(str(each.get("license")) for each in images)
        images = [each for each in images if each.get("license") in licenses]
        if not images:
            counts = ", ".join(f"{name} ({count:,})" for name, count in sorted(found.items()))
            raise InputError(
                f"{path} has no photo with license {' or '.join(map(str, licenses))}; its photos have {counts}."
            )
        kept = {each["id"] for each in images}
        annotations = [each for each in annotations if each["image_id"] in kept]
    return images, annotations, {each["id"]: str(each["name"]) for each in categories}


Line = tuple[dict[str, Any], Description]


def _describe_photo(
    photo: Mapping[str, Any],
    records: list[dict[str, Any]],
    names: Mapping[Any, str],
    shown: Mapping[str, int],
    images: Path,
    options: DescribeOptions,
    path: Path,
) -> list[Line]:
    visual = ImageFile(images / str(photo["file_name"]))
    pixels = visual.read()[0]
    height, width = pixels.shape[:2]
    shapes: dict[str, Any] = {}
    instances, crowds = [], set()
    for record in records:
        where = f"{path}: annotation {record['id']}"
        if record["category_id"] not in names:
            raise InputError(f"{where} has the category {record['category_id']}, which the file does not list.")
        category = names[record["category_id"]]
        if record.get("iscrowd"):
            crowds.add(category)
            continue
        box = _box(record, where)
        segmentation = record.get("segmentation")
        rle = (
            None
            if says_nothing(segmentation, record)
            else as_rle(segmentation, height, width, where, as_published=True)
        )
        mask = None if rle is None else masks.decode(rle)
        colours = part_colours(pixels, box, mask, category == "person")
        left, top, right, bottom = box
        scaled = (left / width, top / height, right / width, bottom / height)
        area = masks.area(rle) if rle is not None else (right - left) * (bottom - top)
        instance = Instance(str(record["id"]), category, scaled, area / (width * height), colours)
        instances.append(instance)
        corners = [left, top, right, top, right, bottom, left, bottom]
        shapes[instance.name] = rle if rle is not None else [corners]
    scene = Scene(tuple(instances), frozenset(shown), frozenset(crowds), height / width, shown)
    draw = np.random.default_rng([options.seed, *str(photo["id"]).encode()])
    stem = Path(str(photo["file_name"])).stem
    return [
        (_record(photo, stem, number, each, shapes, scene), each)
        for number, each in enumerate(describe(scene, options, draw))
    ]


def _record(
    photo: Mapping[str, Any], stem: str, number: int, one: Description, shapes: Mapping[str, Any], scene: Scene
) -> dict[str, Any]:
    category = "" if one.referent is None else one.referent.category
    name = f"absent-{number}" if one.referent is None else one.referent.name
    return {
        "image": photo["file_name"],
        "expression": one.expression,
        "mask": [] if one.referent is None else shapes[one.referent.name],
        "ids": {"image": str(photo["file_name"]), "object": f"{stem}-{name}", "sentence": f"{stem}-{name}-{number}"},
        "traits": {
            "description": one.kind,
            "atoms": [list(atom) for atom in one.atoms],
            "category": category,
            "same_category_count": len(scene.of(frozenset({category}))),
        },
    }


def _box(record: Mapping[str, Any], where: str) -> tuple[float, float, float, float]:
    if not has_box(record["bbox"]):
        raise InputError(f"{where} has the box {record['bbox']}; expected left, top, width and height in pixels.")
    left, top, width, height = map(float, record["bbox"])
    return left, top, left + width, top + height


def _count(report: Report, lines: list[Line]) -> None:
    report.photos += 1
    report.objects += len({one.referent.name for _, one in lines if one.referent is not None})
    report.sentences += len(lines)
    report.kinds.update(one.kind for _, one in lines)


def _panel(images: Path, photo: Mapping[str, Any], record: dict[str, Any], one: Description) -> Panel:
    pixels = ImageFile(images / str(photo["file_name"])).read()[0]
    rle = as_rle(record["mask"], pixels.shape[0], pixels.shape[1], "the example")
    caption = one.expression if one.referent is not None else f"{one.expression} (absent)"
    return Panel(pixels, caption, masks.decode(rle), outlined=True)
