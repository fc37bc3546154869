"""Toyland in the layout of PhraseCut, where a phrase lists the polygons of every instance that it refers to."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ... import masks
from ...files import complete_or_absent
from ...records import Sample
from ..language.expressions import ExpressionOptions
from .outlines import polygons
from .trees import Progress, Tree

OPTIONS = ExpressionOptions(two_targets=0.8)


def write_phrasecut(root: Path, tree: Tree | None = None, progress: Progress | None = None) -> None:
    """PhraseCut's layout, `refer_<split>.json`; testA and testB together are its split `test`."""
    tree = Tree() if tree is None else tree
    with complete_or_absent(root) as folder:
        (folder / "images").mkdir()
        tasks: dict[str, list[dict[str, Any]]] = {}
        images: list[dict[str, Any]] = []
        for split in tree.scenes:
            name = "test" if split.startswith("test") else split
            world = tree.world(split, "toyland+", OPTIONS)
            for position in range(tree.scenes[split]):
                drawn, number = world.drawn(position), len(images) + 1
                Image.fromarray(drawn.image().pixels).save(folder / "images" / f"{number}.jpg", quality=95)
                height, width = drawn.size
                images.append({"image_id": number, "height": height, "width": width, "split": name, "coco_id": None})
                tasks.setdefault(name, []).extend(
                    _task(sample, drawn.image().masks, number, place)
                    for place, sample in enumerate(world.scene(position))
                )
                if progress is not None:
                    progress(split, position + 1, tree.scenes[split])
        for name, records in tasks.items():
            (folder / f"refer_{name}.json").write_text(json.dumps(records), encoding="utf-8")
        (folder / "image_data_split.json").write_text(json.dumps(images), encoding="utf-8")


def _task(sample: Sample, instance_masks: np.ndarray, image: int, place: int) -> dict[str, Any]:
    """One phrase; PhraseCut's polygons are lists of corners, with a list of polygons for each instance."""
    targets = sample.traits["targets"]
    shapes = [np.asarray(instance_masks[target]) for target in targets]
    return {
        "task_id": f"{image}__{place}",
        "image_id": image,
        "phrase": sample.expression,
        "ann_ids": [f"{image}{target:02d}" for target in targets],
        "instance_boxes": [list(masks.box(masks.encode(shape))) for shape in shapes],
        "Polygons": [
            [[list(corner) for corner in zip(outline[::2], outline[1::2], strict=True)] for outline in polygons(shape)]
            for shape in shapes
        ],
    }
