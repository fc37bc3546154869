"""The scenes, images and annotations that all writers of official layouts write."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ... import masks
from ...records import Sample
from ..language.expressions import ExpressionOptions
from ..scene.domains import SUBSETS
from ..scene.kinds import FAMILY_OF, KINDS
from ..world import Toyland
from .outlines import segmentation

Progress = Callable[[str, int, int], None]  # the split, the number of scenes done, the number of all scenes

IMAGES = Path("images/mscoco/images/train2014")
CATEGORY_OF = {kind: number for number, kind in enumerate(KINDS, 1)}


@dataclass(frozen=True, kw_only=True)
class Tree:
    """What to write: how many scenes per split, which subsets, and how the scenes look."""

    scenes: dict[str, int] = field(default_factory=lambda: {"train": 40, "val": 10, "testA": 10, "testB": 10})
    subsets: tuple[str, ...] = SUBSETS
    style: str = "painted"
    content: str = "everything"
    size: int = 256
    sentences_per_object: int = 3
    objects_per_scene: int | None = 3

    def world(self, split: str, subset: str, options: ExpressionOptions | None = None) -> Toyland:
        return Toyland(
            split=split,
            subset=subset,
            num_scenes=self.scenes[split],
            style=self.style,
            content=self.content,
            size=self.size,
            sentences_per_object=self.sentences_per_object,
            objects_per_scene=self.objects_per_scene,
            expression_options=ExpressionOptions() if options is None else options,
        )


@dataclass(kw_only=True)
class Annotations:
    """The images, annotations and referring expressions written so far; each image is written once for all subsets."""

    images: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    annotation_of: dict[str, int] = field(default_factory=dict)  # a Sample's object -> annotation id
    refs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # by subset

    def add_image(self, file_name: str, height: int, width: int) -> int:
        number = len(self.images) + 1
        self.images.append({"id": number, "file_name": file_name, "height": height, "width": width, "license": 1})
        return number

    def add_annotation(self, image: int, category: int, shape: Any, rle: Any) -> int:
        number = len(self.annotations) + 1
        self.annotations.append(
            {
                "id": number,
                "image_id": image,
                "category_id": category,
                "segmentation": shape,
                "area": float(masks.area(rle)),
                "bbox": list(masks.box(rle)),
                "iscrowd": 0,
            }
        )
        return number

    def instances(self) -> dict[str, Any]:
        """The content of `instances.json`."""
        categories = [
            {"id": number, "name": kind, "supercategory": FAMILY_OF[kind]} for kind, number in CATEGORY_OF.items()
        ]
        return {
            "info": {"description": "Toyland, drawn and written by deixis"},
            "licenses": [{"id": 1, "name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"}],
            "images": self.images,
            "annotations": self.annotations,
            "categories": categories,
        }


def write_scene(folder: Path, world: Toyland, position: int, annotations: Annotations) -> str:
    """Write a scene's image, annotate each visible thing, and return the image's file name."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = world.drawn(position)
    image, view = drawn.image(), drawn.view()
    name = f"COCO_train2014_{len(annotations.images) + 1:012d}.jpg"
    Image.fromarray(image.pixels).save(folder / name, quality=95)
    image_id = annotations.add_image(name, *drawn.size)
    for index, thing in enumerate(view.things):
        if view.seen[index].visibility != "hidden":
            mask = np.asarray(image.masks[index])
            rle = masks.encode(mask)
            number = annotations.add_annotation(image_id, CATEGORY_OF[thing.kind], segmentation(mask), rle)
            annotations.annotation_of[f"{drawn.seed}-{index}"] = number
    return name


def by_object(samples: Sequence[Sample]) -> list[list[Sample]]:
    """A scene's Samples, grouped by object."""
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.ids.object, []).append(sample)
    return list(groups.values())


def sentence_records(expressions: Sequence[str], first: int) -> list[dict[str, Any]]:
    """Sentences as in the official files, numbered from `first`."""
    return [
        {"tokens": text.split(), "raw": text, "sent_id": number, "sent": text.lower()}
        for number, text in enumerate(expressions, first)
    ]
