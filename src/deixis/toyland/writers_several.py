"""Trees whose expressions may mean several things, or none: gRefCOCO's layout and PhraseCut's."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .. import masks
from ..files import complete_or_absent
from ..records import Sample
from .outlines import polygons
from .telling import Extras
from .world import NO_OBJECT
from .writers import IMAGES, Ledger, Progress, Tree, by_object, spoken, write_scene

SEVERAL = Extras(no_target=0.8, two_targets=0.8)


def write_grefcoco(root: Path, tree: Tree | None = None, progress: Progress | None = None) -> None:
    """gRefCOCO's layout: sentences for one thing, for two, and for none (annotation -1, `no_target`)."""
    tree = Tree() if tree is None else tree
    with complete_or_absent(root) as folder:
        ledger, records = Ledger(), []
        for split in tree.scenes:
            world = tree.world(split, "toyland", SEVERAL)
            for position in range(tree.scenes[split]):
                file_name = write_scene(folder / IMAGES, world, position, ledger)
                records += [_generalised(ledger, samples, file_name) for samples in by_object(world.scene(position))]
                if progress is not None:
                    progress(split, position + 1, tree.scenes[split])
        numbered = _numbered(records)
        (folder / "grefcoco").mkdir(parents=True)
        (folder / "grefcoco" / "grefs(unc).json").write_text(json.dumps(numbered), encoding="utf-8")
        (folder / "grefcoco" / "instances.json").write_text(json.dumps(ledger.instances()), encoding="utf-8")


def write_phrasecut(root: Path, tree: Tree | None = None, progress: Progress | None = None) -> None:
    """PhraseCut's layout: `refer_<split>.json`, where a phrase lists the polygons of every instance it means.

    Its split `test` is our testA and testB; what is in none of the pictures is not asked for.
    """
    tree = Tree() if tree is None else tree
    with complete_or_absent(root) as folder:
        (folder / "images").mkdir()
        tasks: dict[str, list[dict[str, Any]]] = {}
        images: list[dict[str, Any]] = []
        for split in tree.scenes:
            name = "test" if split.startswith("test") else split
            world = tree.world(split, "toyland+", Extras(two_targets=0.8))
            for position in range(tree.scenes[split]):
                drawn, number = world.drawn(position), len(images) + 1
                Image.fromarray(drawn.picture().pixels).save(folder / "images" / f"{number}.jpg", quality=95)
                height, width = drawn.size
                images.append({"image_id": number, "height": height, "width": width, "split": name, "coco_id": None})
                tasks.setdefault(name, []).extend(
                    _task(sample, drawn.picture().masks, number, place)
                    for place, sample in enumerate(world.scene(position))
                )
                if progress is not None:
                    progress(split, position + 1, tree.scenes[split])
        for name, records in tasks.items():
            (folder / f"refer_{name}.json").write_text(json.dumps(records), encoding="utf-8")
        (folder / "image_data_split.json").write_text(json.dumps(images), encoding="utf-8")


def _task(sample: Sample, pixels: np.ndarray, image: int, place: int) -> dict[str, Any]:
    """One phrase; PhraseCut's polygons are lists of corners, a list of polygons for each instance."""
    shapes = [np.asarray(pixels[target]) for target in sample.traits["targets"]]
    return {
        "task_id": f"{image}__{place}",
        "image_id": image,
        "phrase": sample.expression,
        "ann_ids": [f"{image}{target:02d}" for target in sample.traits["targets"]],
        "instance_boxes": [list(masks.box(masks.encode(shape))) for shape in shapes],
        "Polygons": [
            [[list(corner) for corner in zip(walk[::2], walk[1::2], strict=True)] for walk in polygons(shape)]
            for shape in shapes
        ],
    }


def _generalised(ledger: Ledger, samples: Sequence[Sample], file_name: str) -> dict[str, Any]:
    """One record of gRefCOCO, not yet numbered."""
    name = samples[0].ids.object
    seed, _, targets = name.partition("-")
    is_nothing = name.partition("-")[0] == NO_OBJECT
    numbers = [] if is_nothing else [ledger.annotation_of[f"{seed}-{index}"] for index in targets.split("+")]
    return {
        "image_id": len(ledger.images),
        "split": samples[0].split,
        "file_name": file_name,
        "ann_id": numbers or [-1],
        "category_id": [ledger.annotations[number - 1]["category_id"] for number in numbers] or [-1],
        "no_target": not numbers,
        "sentences": [sample.expression for sample in samples],
    }


def _numbered(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    numbered, first = [], 0
    for number, record in enumerate(records):
        sentences = spoken(record["sentences"], first)
        first += len(sentences)
        identity = {"ref_id": number, "sent_ids": [sentence["sent_id"] for sentence in sentences]}
        numbered.append(record | identity | {"sentences": sentences})
    return numbered
