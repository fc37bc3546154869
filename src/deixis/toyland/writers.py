"""Toyland in the clothes of other data sets: trees in their official layouts, read by the readers of the real ones."""

import json
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .. import masks
from ..files import complete_or_absent
from ..records import Sample
from .outlines import segmentation
from .scenes import FAMILY_OF, KINDS
from .telling import Extras
from .world import Toyland

Progress = Callable[[str, int, int], None]  # what is written, how many scenes are done, of how many

IMAGES = Path("images/mscoco/images/train2014")
# Register -> folder, refs file, and the official name of each of our splits.
LAYOUTS: dict[str, tuple[str, str, dict[str, str]]] = {
    "toyland": (
        "refcoco",
        "refs(unc).p",
        {"train": "train", "val": "val", "testA": "testA", "testB": "testB"},
    ),
    "toyland+": (
        "refcoco+",
        "refs(unc).p",
        {"train": "train", "val": "val", "testA": "testA", "testB": "testB"},
    ),
    "toyland-g": (
        "refcocog",
        "refs(umd).p",
        {"train": "train", "val": "val", "testA": "test", "testB": "test"},
    ),
}
CATEGORY_OF = {kind: number for number, kind in enumerate(KINDS, 1)}


@dataclass(frozen=True, kw_only=True)
class Tree:
    """What to write: how many scenes a split, which registers, and how the scenes look."""

    scenes: dict[str, int] = field(default_factory=lambda: {"train": 40, "val": 10, "testA": 10, "testB": 10})
    registers: tuple[str, ...] = ("toyland", "toyland+", "toyland-g")
    style: str = "painted"
    content: str = "everything"
    size: int = 256
    sentences_per_object: int = 3
    objects_per_scene: int | None = 3

    def world(self, split: str, register: str, extras: Extras | None = None) -> Toyland:
        return Toyland(
            split=split,
            register=register,
            num_scenes=self.scenes[split],
            style=self.style,
            content=self.content,
            size=self.size,
            sentences_per_object=self.sentences_per_object,
            objects_per_scene=self.objects_per_scene,
            extras=Extras() if extras is None else extras,
        )


@dataclass(kw_only=True)
class Ledger:
    """The annotations and referents written so far; every image is written once, whoever speaks about it."""

    images: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    annotation_of: dict[str, int] = field(default_factory=dict)  # a Sample's object -> annotation id
    refs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

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


def write_refcoco(root: Path, tree: Tree | None = None, progress: Progress | None = None) -> None:
    """RefCOCO's official layout: a folder a register, all of them about the same images.

    The tree appears only when it is complete; a folder that holds something already is refused.
    """
    tree = Tree() if tree is None else tree
    with complete_or_absent(root) as folder:
        ledger = Ledger()
        for split in tree.scenes:
            worlds = [tree.world(split, register) for register in tree.registers]
            for position in range(tree.scenes[split]):
                file_name = write_scene(folder / IMAGES, worlds[0], position, ledger)
                for world in worlds:
                    _add_refs(ledger, world, position, file_name)
                if progress is not None:
                    progress(split, position + 1, tree.scenes[split])
        for register in tree.registers:
            name, refs_file, _ = LAYOUTS[register]
            write_annotations(folder / name, refs_file, ledger.refs.get(register, []), ledger.instances())


def write_annotations(folder: Path, refs_file: str, refs: Sequence[dict[str, Any]], instances: dict[str, Any]) -> None:
    """One refs file and its `instances.json`; pickled with protocol 2, which Python 2 and 3 read."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / refs_file).open("wb") as file:
        pickle.dump(list(refs), file, protocol=2)
    with (folder / "instances.json").open("w", encoding="utf-8") as file:
        json.dump(instances, file, separators=(",", ":"))


def write_scene(folder: Path, world: Toyland, position: int, ledger: Ledger) -> str:
    """Write a scene's image and annotate everything that shows in it."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = world.drawn(position)
    picture, view = drawn.picture(), drawn.view()
    name = f"COCO_train2014_{len(ledger.images) + 1:012d}.jpg"
    Image.fromarray(picture.pixels).save(folder / name, quality=95)
    image = ledger.add_image(name, *drawn.size)
    for index, thing in enumerate(view.things):
        if view.seen[index].clarity != "hidden":
            mask = np.asarray(picture.masks[index])
            number = ledger.add_annotation(image, CATEGORY_OF[thing.kind], segmentation(mask), masks.encode(mask))
            ledger.annotation_of[f"{drawn.seed}-{index}"] = number
    return name


def by_object(samples: Sequence[Sample]) -> list[list[Sample]]:
    """A scene's Samples, those about the same things together."""
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.ids.object, []).append(sample)
    return list(groups.values())


def _add_refs(ledger: Ledger, world: Toyland, position: int, file_name: str) -> None:
    refs = ledger.refs.setdefault(world.register, [])
    first_sentence = refs[-1]["sent_ids"][-1] + 1 if refs else 0
    for samples in by_object(world.scene(position)):
        annotation = ledger.annotations[ledger.annotation_of[samples[0].ids.object] - 1]
        sentences = spoken([sample.expression for sample in samples], first_sentence)
        first_sentence += len(sentences)
        refs.append(
            reference(
                number=len(refs),
                annotation=annotation,
                split=LAYOUTS[world.register][2][world.split],
                file_name=file_name,
                sentences=sentences,
            )
        )


def reference(
    *, number: int, annotation: dict[str, Any], split: str, file_name: str, sentences: list[dict[str, Any]]
) -> dict[str, Any]:
    """One record of an official refs file."""
    return {
        "sent_ids": [sentence["sent_id"] for sentence in sentences],
        "file_name": f"{file_name.removesuffix('.jpg')}_{annotation['id']}.jpg",
        "ann_id": annotation["id"],
        "ref_id": number,
        "image_id": annotation["image_id"],
        "split": split,
        "sentences": sentences,
        "category_id": annotation["category_id"],
    }


def spoken(expressions: Sequence[str], first: int) -> list[dict[str, Any]]:
    """Sentences as the official files hold them, numbered from `first`."""
    return [
        {"tokens": text.split(), "raw": text, "sent_id": number, "sent": text.lower()}
        for number, text in enumerate(expressions, first)
    ]
