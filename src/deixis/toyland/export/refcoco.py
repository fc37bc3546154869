"""Toyland in the official layout of RefCOCO, RefCOCO+ and RefCOCOg, one folder per subset."""

import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...files import complete_or_absent
from ..world import Toyland
from .trees import IMAGES, Annotations, Progress, Tree, by_object, sentence_records, write_scene

# Subset -> folder, refs file, and the official name of each of our splits.
_UNC = {"train": "train", "val": "val", "testA": "testA", "testB": "testB"}
_UMD = {"train": "train", "val": "val", "testA": "test", "testB": "test"}
LAYOUTS: dict[str, tuple[str, str, dict[str, str]]] = {
    "toyland": ("refcoco", "refs(unc).p", _UNC),
    "toyland+": ("refcoco+", "refs(unc).p", _UNC),
    "toyland-g": ("refcocog", "refs(umd).p", _UMD),
}


def write_refcoco(root: Path, tree: Tree | None = None, progress: Progress | None = None) -> None:
    """RefCOCO's official layout: one folder per subset, all about the same images.

    The tree appears when it is complete; raises InputError if the folder is not empty.
    """
    tree = Tree() if tree is None else tree
    with complete_or_absent(root) as folder:
        annotations = Annotations()
        for split in tree.scenes:
            worlds = [tree.world(split, subset) for subset in tree.subsets]
            for position in range(tree.scenes[split]):
                file_name = write_scene(folder / IMAGES, worlds[0], position, annotations)
                for world in worlds:
                    _add_refs(annotations, world, position, file_name)
                if progress is not None:
                    progress(split, position + 1, tree.scenes[split])
        for subset in tree.subsets:
            name, refs_file, _ = LAYOUTS[subset]
            write_annotations(folder / name, refs_file, annotations.refs.get(subset, []), annotations.instances())


def write_annotations(folder: Path, refs_file: str, refs: Sequence[dict[str, Any]], instances: dict[str, Any]) -> None:
    """One refs file, pickled with protocol 2 as the official ones, and its `instances.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / refs_file).open("wb") as file:
        pickle.dump(list(refs), file, protocol=2)
    with (folder / "instances.json").open("w", encoding="utf-8") as file:
        json.dump(instances, file, separators=(",", ":"))


def ref_record(
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


def _add_refs(annotations: Annotations, world: Toyland, position: int, file_name: str) -> None:
    refs = annotations.refs.setdefault(world.subset, [])
    first_sentence = refs[-1]["sent_ids"][-1] + 1 if refs else 0
    for samples in by_object(world.scene(position)):
        annotation = annotations.annotations[annotations.annotation_of[samples[0].ids.object] - 1]
        sentences = sentence_records([sample.expression for sample in samples], first_sentence)
        first_sentence += len(sentences)
        refs.append(
            ref_record(
                number=len(refs),
                annotation=annotation,
                split=LAYOUTS[world.subset][2][world.split],
                file_name=file_name,
                sentences=sentences,
            )
        )
