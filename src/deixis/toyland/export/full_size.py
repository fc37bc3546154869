"""A RefCOCO tree of the published size made of a few drawn scenes, to test how readers scale."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ... import masks
from ...files import complete_or_absent
from ..world import Toyland
from .refcoco import ref_record, write_annotations
from .trees import CATEGORY_OF, IMAGES, Annotations, Progress, sentence_records

# Split -> images, objects and sentences of RefCOCO (unc); 19,994, 50,000 and 142,209 in total.
PUBLISHED = {
    "train": (16_994, 42_404, 120_623),
    "val": (1_500, 3_811, 10_834),
    "testA": (750, 1_975, 5_657),
    "testB": (750, 1_810, 5_095),
}
MAX_OBJECTS, MAX_SENTENCES = 3, 3  # per image, per object


@dataclass(frozen=True, kw_only=True)
class Original:
    """A drawn scene that is repeated: its file, its annotations, and expressions for three of its things."""

    file_name: str
    shapes: tuple[tuple[int, Any], ...]  # category and run lengths, a tenth of the size of polygons
    referents: tuple[int, ...]  # positions in `shapes`
    expressions: tuple[tuple[str, ...], ...]  # of each referent


def write_full_size(
    root: Path, *, height: int = 480, width: int = 640, scenes: int = 24, progress: Progress | None = None
) -> None:
    """RefCOCO (unc) at its published size; every image is a hard link to one of a few drawn ones.

    It has 142,209 sentences, 50,000 objects and 19,994 images of `height` × `width` pixels, with an annotation for
    every visible thing; images and annotations take about 30 MB.
    """
    with complete_or_absent(root) as folder:
        (folder / IMAGES).mkdir(parents=True)
        originals = list(_originals(folder / IMAGES, height, width, scenes))
        annotations = Annotations()
        refs: list[dict[str, Any]] = []
        for split, counts in PUBLISHED.items():
            _add_split(folder / IMAGES, annotations, refs, split, originals, (height, width))
            if progress is not None:
                progress(split, counts[0], counts[0])
        for original in originals:
            (folder / IMAGES / original.file_name).unlink()
        write_annotations(folder / "refcoco", "refs(unc).p", refs, annotations.instances())


def _add_split(
    folder: Path,
    annotations: Annotations,
    refs: list[dict[str, Any]],
    split: str,
    originals: Sequence[Original],
    size: tuple[int, int],
) -> None:
    images, objects, sentences = PUBLISHED[split]
    sentence_counts = _spread(sentences, objects)
    sentence = refs[-1]["sent_ids"][-1] + 1 if refs else 0
    for num_objects in _spread(objects, images):
        original = originals[len(annotations.images) % len(originals)]
        added = _add_copy(folder, annotations, original, size)
        for referent, expressions in zip(original.referents[:num_objects], original.expressions, strict=False):
            records = sentence_records(expressions[: next(sentence_counts)], sentence)
            sentence += len(records)
            refs.append(
                ref_record(
                    number=len(refs),
                    annotation=added[referent],
                    split=split,
                    file_name=annotations.images[-1]["file_name"],
                    sentences=records,
                )
            )


def _spread(total: int, parts: int) -> Iterator[int]:
    """The total as integers that differ by at most one, evenly mixed."""
    return ((part + 1) * total // parts - part * total // parts for part in range(parts))


def _originals(folder: Path, height: int, width: int, number: int) -> Iterator[Original]:
    """Scenes with three things that have three expressions each, drawn, stretched and saved."""
    world = Toyland(num_scenes=50 * number, size=min(height, width))
    found = 0
    for position in range(world.num_scenes):
        if found == number:
            return
        expressions_of: dict[int, list[str]] = {}
        for sample in world.scene(position):
            expressions_of.setdefault(sample.traits["targets"][0], []).append(sample.expression)
        ready = [target for target, expressions in expressions_of.items() if len(expressions) >= MAX_SENTENCES]
        if len(ready) < MAX_OBJECTS:
            continue
        chosen = {target: expressions_of[target] for target in ready[:MAX_OBJECTS]}
        yield _original(folder, world, position, chosen, (height, width))
        found += 1


def _original(
    folder: Path, world: Toyland, position: int, expressions_of: dict[int, list[str]], size: tuple[int, int]
) -> Original:
    height, width = size
    drawn = world.drawn(position)
    image, view = drawn.image(), drawn.view()
    name = f"original_{position}.jpg"
    stretched = Image.fromarray(image.pixels).resize((width, height), Image.Resampling.BILINEAR)
    stretched.save(folder / name, quality=95)
    place_of: dict[int, int] = {}
    shapes: list[tuple[int, Any]] = []
    for index, thing in enumerate(view.things):
        if view.seen[index].visibility != "hidden":
            mask = masks.resize(np.asarray(image.masks[index]), height, width)
            place_of[index] = len(shapes)
            shapes.append((CATEGORY_OF[thing.kind], masks.encode(mask)))
    return Original(
        file_name=name,
        shapes=tuple(shapes),
        referents=tuple(place_of[index] for index in expressions_of),
        expressions=tuple(tuple(expressions[:MAX_SENTENCES]) for expressions in expressions_of.values()),
    )


def _add_copy(
    folder: Path, annotations: Annotations, original: Original, size: tuple[int, int]
) -> list[dict[str, Any]]:
    """Add an image that links to the original, and return its annotations in the order of the shapes."""
    name = f"COCO_train2014_{len(annotations.images) + 1:012d}.jpg"
    os.link(folder / original.file_name, folder / name)
    image_id = annotations.add_image(name, *size)
    numbers = [annotations.add_annotation(image_id, category, rle, rle) for category, rle in original.shapes]
    return [annotations.annotations[number - 1] for number in numbers]
