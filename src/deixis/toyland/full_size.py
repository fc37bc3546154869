"""A RefCOCO tree of the published size out of a few drawn scenes, to test how readers scale."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .. import masks
from ..files import complete_or_absent
from .world import Toyland
from .writers import CATEGORY_OF, IMAGES, Ledger, Progress, reference, spoken, write_annotations

# Split -> images, objects and sentences of RefCOCO (unc); in all 19,994, 50,000 and 142,209.
PUBLISHED = {
    "train": (16_994, 42_404, 120_623),
    "val": (1_500, 3_811, 10_834),
    "testA": (750, 1_975, 5_657),
    "testB": (750, 1_810, 5_095),
}
MOST_OBJECTS, MOST_SENTENCES = 3, 3  # an image, an object


@dataclass(frozen=True, kw_only=True)
class Original:
    """A drawn scene, ready to be repeated: its file, its annotations, and what is said about three of its things."""

    file_name: str
    shapes: tuple[tuple[int, Any], ...]  # category and run lengths: polygons along pixels would weigh ten times as much
    referents: tuple[int, ...]  # places in `shapes`
    expressions: tuple[tuple[str, ...], ...]  # of each referent


def write_full_size(
    root: Path, *, height: int = 480, width: int = 640, scenes: int = 24, progress: Progress | None = None
) -> None:
    """RefCOCO (unc) at its published size: every image is a link to one of a few drawn ones.

    142,209 sentences, 50,000 objects and 19,994 images of `height` × `width` pixels, with an annotation for every
    thing that shows; in a minute or two, for some 30 MB of pictures and annotations.
    """
    with complete_or_absent(root) as folder:
        (folder / IMAGES).mkdir(parents=True)
        originals = list(_originals(folder / IMAGES, height, width, scenes))
        ledger = Ledger()
        refs: list[dict[str, Any]] = []
        for split, counts in PUBLISHED.items():
            _add_split(folder / IMAGES, ledger, refs, split, originals, (height, width))
            if progress is not None:
                progress(split, counts[0], counts[0])
        for original in originals:
            (folder / IMAGES / original.file_name).unlink()
        write_annotations(folder / "refcoco", "refs(unc).p", refs, ledger.instances())


def _add_split(
    folder: Path,
    ledger: Ledger,
    refs: list[dict[str, Any]],
    split: str,
    originals: Sequence[Original],
    size: tuple[int, int],
) -> None:
    images, objects, sentences = PUBLISHED[split]
    numbers = _spread(sentences, objects)
    sentence = refs[-1]["sent_ids"][-1] + 1 if refs else 0
    for wanted in _spread(objects, images):
        original = originals[len(ledger.images) % len(originals)]
        annotations = _add_copy(folder, ledger, original, size)
        for referent, expressions in zip(original.referents[:wanted], original.expressions, strict=False):
            said = spoken(expressions[: next(numbers)], sentence)
            sentence += len(said)
            refs.append(
                reference(
                    number=len(refs),
                    annotation=annotations[referent],
                    split=split,
                    file_name=ledger.images[-1]["file_name"],
                    sentences=said,
                )
            )


def _spread(total: int, parts: int) -> Iterator[int]:
    """The total as whole numbers that differ by at most one, evenly mixed."""
    return ((part + 1) * total // parts - part * total // parts for part in range(parts))


def _originals(folder: Path, height: int, width: int, number: int) -> Iterator[Original]:
    """Scenes with three things that three sentences each are said about, drawn, stretched and saved."""
    world = Toyland(num_scenes=50 * number, size=min(height, width))
    found = 0
    for position in range(world.num_scenes):
        if found == number:
            return
        said: dict[int, list[str]] = {}
        for sample in world.scene(position):
            said.setdefault(sample.traits["targets"][0], []).append(sample.expression)
        ready = [target for target, expressions in said.items() if len(expressions) >= MOST_SENTENCES]
        if len(ready) < MOST_OBJECTS:
            continue
        chosen = {target: said[target] for target in ready[:MOST_OBJECTS]}
        yield _original(folder, world, position, chosen, (height, width))
        found += 1


def _original(
    folder: Path, world: Toyland, position: int, said: dict[int, list[str]], size: tuple[int, int]
) -> Original:
    height, width = size
    drawn = world.drawn(position)
    picture, view = drawn.picture(), drawn.view()
    name = f"original_{position}.jpg"
    stretched = Image.fromarray(picture.pixels).resize((width, height), Image.Resampling.BILINEAR)
    stretched.save(folder / name, quality=95)
    place_of: dict[int, int] = {}
    shapes: list[tuple[int, Any]] = []
    for index, thing in enumerate(view.things):
        if view.seen[index].clarity != "hidden":
            mask = masks.resize(np.asarray(picture.masks[index]), height, width)
            place_of[index] = len(shapes)
            shapes.append((CATEGORY_OF[thing.kind], masks.encode(mask)))
    return Original(
        file_name=name,
        shapes=tuple(shapes),
        referents=tuple(place_of[index] for index in said),
        expressions=tuple(tuple(expressions[:MOST_SENTENCES]) for expressions in said.values()),
    )


def _add_copy(folder: Path, ledger: Ledger, original: Original, size: tuple[int, int]) -> list[dict[str, Any]]:
    """Annotate one more image that is a link to the original; its annotations, in the order of the shapes."""
    name = f"COCO_train2014_{len(ledger.images) + 1:012d}.jpg"
    os.link(folder / original.file_name, folder / name)
    image = ledger.add_image(name, *size)
    numbers = [ledger.add_annotation(image, category, rle, rle) for category, rle in original.shapes]
    return [ledger.annotations[number - 1] for number in numbers]
