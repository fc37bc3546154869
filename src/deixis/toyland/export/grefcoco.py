"""Toyland in the layout of gRefCOCO, where an expression may refer to one thing, to two, or to none."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...files import complete_or_absent
from ...records import Sample
from ..language.expressions import ExpressionOptions
from ..world import NO_OBJECT
from .trees import IMAGES, Annotations, Progress, Tree, by_object, sentence_records, write_scene

OPTIONS = ExpressionOptions(no_target=0.8, two_targets=0.8)


def write_grefcoco(root: Path, tree: Tree | None = None, progress: Progress | None = None) -> None:
    """gRefCOCO's layout; an expression without a referent has annotation -1 and `no_target`."""
    tree = Tree() if tree is None else tree
    with complete_or_absent(root) as folder:
        annotations, records = Annotations(), []
        for split in tree.scenes:
            world = tree.world(split, "toyland", OPTIONS)
            for position in range(tree.scenes[split]):
                file_name = write_scene(folder / IMAGES, world, position, annotations)
                records += [_record(annotations, samples, file_name) for samples in by_object(world.scene(position))]
                if progress is not None:
                    progress(split, position + 1, tree.scenes[split])
        numbered = _numbered(records)
        (folder / "grefcoco").mkdir(parents=True)
        (folder / "grefcoco" / "grefs(unc).json").write_text(json.dumps(numbered), encoding="utf-8")
        (folder / "grefcoco" / "instances.json").write_text(json.dumps(annotations.instances()), encoding="utf-8")


def _record(annotations: Annotations, samples: Sequence[Sample], file_name: str) -> dict[str, Any]:
    """One record of gRefCOCO, not yet numbered."""
    seed, _, targets = samples[0].ids.object.partition("-")
    indices = [] if seed == NO_OBJECT else targets.split("+")
    numbers = [annotations.annotation_of[f"{seed}-{index}"] for index in indices]
    return {
        "image_id": len(annotations.images),
        "split": samples[0].split,
        "file_name": file_name,
        "ann_id": numbers or [-1],
        "category_id": [annotations.annotations[number - 1]["category_id"] for number in numbers] or [-1],
        "no_target": not numbers,
        "sentences": [sample.expression for sample in samples],
    }


def _numbered(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    numbered, first = [], 0
    for number, record in enumerate(records):
        sentences = sentence_records(record["sentences"], first)
        first += len(sentences)
        identity = {"ref_id": number, "sent_ids": [sentence["sent_id"] for sentence in sentences]}
        numbered.append(record | identity | {"sentences": sentences})
    return numbered
