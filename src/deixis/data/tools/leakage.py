"""Images that are in one set's training split and in another's test split, which inflates scores.

Two images are the same if they have the same COCO id or the same Visual Genome id, or if they look the same: by a
perceptual hash, which resizing and recompressing hardly change. PhraseCut lists the COCO ids of Visual Genome's images.
Two clips are the same if their data sets name them the same, or if the frames of their first samples look the same.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from ...errors import DeixisError
from ...records import Reader
from ..readers.clip_splits import ClipSplit
from ..readers.grefcoco import GRefCOCO
from ..readers.phrasecut import PhraseCut
from ..readers.refcoco import RefCOCO
from ..subsets import Subset
from ..validation import Issues

Match = Literal["coco", "genome", "video", "looks"]

NEAR = 16  # of 128 bits: resized and recompressed copies differ in 0 to 11, any two of 155 photos in 35 or more
# COCO's ids have six digits, so a name without its prefix that fills all twelve is something else, such as a date.
_COCO_NAME = re.compile(
    r"(?:^|[/\\])(?:COCO_(?:train|val|test)\d{4}_|(?=0000))(\d{12})\.(?:jpg|jpeg|png)$", re.IGNORECASE
)
_COCO_DATASETS = {"refcoco", "refcoco+", "refcocog", "grefcoco"}


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """One image of a split, with its id in every known numbering."""

    id: str
    position: int  # of the first of its sentences
    sentences: int
    coco: int | None
    genome: int | None
    coco_known: bool  # whether `coco` is known, also where it is None
    video: str | None = None  # the name of a video in a published data set


@dataclass(frozen=True, slots=True)
class SharedImage:
    """An image of both splits."""

    first: str
    second: str
    match: Match
    sentences: int  # of the second split, about this image
    distance: int = 0  # bits of the perceptual hash


@dataclass(frozen=True)
class Audit:
    """What two splits share."""

    shared: tuple[SharedImage, ...]
    first_images: int
    second_images: int
    second_sentences: int
    compared_looks: bool

    @property
    def leaked_images(self) -> int:
        """Images of the second split that the first has too."""
        return len({one.second for one in self.shared})

    @property
    def leaked_sentences(self) -> int:
        return sum({one.second: one.sentences for one in self.shared}.values())


def audit(
    first: Reader,
    second: Reader,
    looks: bool = False,
    issues: Issues | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Audit:
    """The images of `second` that `first` has too.

    Looks are compared with `looks`, or where ids are not known; that reads every image once, and calls `advance` after
    each. An image that cannot be read raises, unless the issues skip it.
    """
    issues = Issues() if issues is None else issues
    ours, theirs = list(images_of(first)), list(images_of(second))
    shared = [*_by_ids(ours, theirs)]
    compare_looks = looks or needs_looks(ours, theirs)
    if compare_looks:
        found = {(one.first, one.second) for one in shared}
        hashes = [_hashes(reader, images, issues, advance) for reader, images in ((first, ours), (second, theirs))]
        shared += [one for one in _by_looks(ours, theirs, *hashes) if (one.first, one.second) not in found]
    sentences = sum(image.sentences for image in theirs)
    return Audit(tuple(shared), len(ours), len(theirs), sentences, compare_looks)


def shared_images(train: Reader, held: Reader) -> tuple[str, ...]:
    """The images of `held` that `train` has too, by ids only: for splits of one data set, which share their ids."""
    known = {ids.image for ids in train.ids}
    return tuple(dict.fromkeys(ids.image for ids in held.ids if ids.image in known))


def same_images(first: Reader, second: Reader) -> tuple[str, ...]:
    """The images of `second` that are, to the last byte of their files, images of `first`, whatever their ids are.

    Images that are not files are the same if they share their ids, and the first that does so its pixels.
    """
    ours, theirs = _files(first), _files(second)
    if not ours or not theirs:
        shared = shared_images(first, second)
        return shared if shared and np.array_equal(_pixels(first, shared[0]), _pixels(second, shared[0])) else ()
    by_size: dict[int, set[Path]] = {}
    for path in ours.values():
        by_size.setdefault(path.stat().st_size, set()).add(path)
    digest = cache(lambda path: hashlib.sha256(path.read_bytes()).digest())  # only of files of one size
    return tuple(
        image
        for image, path in theirs.items()
        if (equal := by_size.get(path.stat().st_size))
        and (path in equal or any(digest(path) == digest(each) for each in equal))
    )


def _files(reader: Reader) -> dict[str, Path]:
    """The file of each image, {} where the first is not a file of its own."""
    found: dict[str, Path] = {}
    for position, ids in enumerate(reader.ids):
        if ids.image not in found:
            path = getattr(reader[position].visual, "path", None)
            if path is not None and Path(path).is_file():  # what is missing is reported where it is read
                found[ids.image] = Path(path)
            elif not found:
                return {}
    return found


def _pixels(reader: Reader, image: str) -> UInt8[np.ndarray, "h w 3"]:
    position = next(position for position, ids in enumerate(reader.ids) if ids.image == image)
    return reader[position].visual.read([0])[0]


def leaks(train: Reader, held: Reader) -> list[str]:
    """A sentence for each split that shares images with training: validation, and the test splits of its data set."""
    readers, source = {"validation": held}, held.reader if isinstance(held, Subset) else held
    if isinstance(source, RefCOCO | GRefCOCO):
        readers |= {split: source.sibling(split) for split in source.tree.splits if "test" in split}
    return [
        f"The {name} split shares {len(shared):,} of its images with training (such as {shared[0]}): its scores will "
        "be too high."
        for name, reader in readers.items()
        if (shared := shared_images(train, reader))
    ]


def images_of(reader: Reader) -> Iterator[ImageFacts]:
    """Every image of a reader once, by its first sample."""
    counts = Counter(ids.image for ids in reader.ids)
    seen: set[str] = set()
    for position, ids in enumerate(reader.ids):
        if ids.image not in seen:
            seen.add(ids.image)
            yield _facts(reader, position, counts[ids.image])


def needs_looks(first: Sequence[ImageFacts], second: Sequence[ImageFacts]) -> bool:
    """Whether some image's ids do not show if it is in the other split."""
    genome = all(image.genome is not None for image in (*first, *second))
    return not genome and not all(image.coco_known for image in (*first, *second))


def _facts(reader: Reader, position: int, sentences: int) -> ImageFacts:
    image = reader.ids[position].image
    if isinstance(reader, PhraseCut):
        facts = reader.genome.get(int(image))
        return ImageFacts(image, position, sentences, facts.coco if facts else None, int(image), facts is not None)
    if isinstance(reader, ClipSplit):
        return ImageFacts(image, position, sentences, None, None, False, image)
    tree = getattr(reader, "tree", None)
    if tree is not None and getattr(tree, "dataset", "") in _COCO_DATASETS:
        name = tree.instances.images[int(image)].name
    else:
        name = _name(reader, position)
    match = _COCO_NAME.search(name)
    return ImageFacts(image, position, sentences, int(match[1]) if match else None, None, match is not None)


def _name(reader: Reader, position: int) -> str:
    """The name of the image's file, which holds COCO's id in copies of COCO."""
    rows = getattr(reader, "rows", None)
    if rows is not None:
        return str(rows[position].image)
    try:
        visual = reader[position].visual
    except DeixisError:
        return ""
    return str(getattr(visual, "name", "") or getattr(visual, "path", ""))


def _by_ids(first: Sequence[ImageFacts], second: Sequence[ImageFacts]) -> Iterator[SharedImage]:
    coco = {image.coco: image.id for image in first if image.coco is not None}
    genome = {image.genome: image.id for image in first if image.genome is not None}
    videos = {image.video for image in first if image.video is not None}
    for image in second:
        if image.video in videos:
            yield SharedImage(image.id, image.id, "video", image.sentences)
        elif image.coco is not None and image.coco in coco:
            yield SharedImage(coco[image.coco], image.id, "coco", image.sentences)
        elif image.genome is not None and image.genome in genome:
            yield SharedImage(genome[image.genome], image.id, "genome", image.sentences)


def perceptual_hash(pixels: UInt8[np.ndarray, "h w 3"]) -> Bool[np.ndarray, "128"]:
    """64 bits for which of neighbouring patches is brighter, 64 for which low frequencies are strong."""
    grey = Image.fromarray(pixels).convert("L")
    patches = np.asarray(grey.resize((9, 8), Image.Resampling.BOX), dtype=np.float32)
    small = np.asarray(grey.resize((32, 32), Image.Resampling.BOX), dtype=np.float32)
    waves = _COSINES @ small @ _COSINES.T
    flat = waves.reshape(-1)[1:]  # the first is the brightness of the whole
    strong = np.concatenate([[waves[0, 0] > 0], flat > np.median(flat)])
    return np.concatenate([(patches[:, 1:] > patches[:, :-1]).reshape(-1), strong])


_COSINES = np.cos(np.pi * np.arange(8)[:, None] * (2 * np.arange(32)[None, :] + 1) / 64).astype(np.float32)


def _hashes(
    reader: Reader, images: Sequence[ImageFacts], issues: Issues, advance: Callable[[], None]
) -> Bool[np.ndarray, "i 128"]:
    """One row for each image; the row of an image that cannot be read is all False, and matches nothing."""
    rows = np.zeros((len(images), 128), dtype=bool)
    for row, image in enumerate(images):
        try:
            sample = reader[image.position]
            rows[row] = perceptual_hash(sample.visual.read([sample.frame])[0])
        except DeixisError as error:
            issues.add(str(error))
        advance()
    return rows


def _by_looks(
    first: Sequence[ImageFacts],
    second: Sequence[ImageFacts],
    first_hashes: Bool[np.ndarray, "i 128"],
    second_hashes: Bool[np.ndarray, "j 128"],
) -> Iterator[SharedImage]:
    if not first:
        return
    signs = np.where(first_hashes, np.float32(1), np.float32(-1))
    for image, hashed in zip(second, second_hashes, strict=True):
        # Equal signs add one, unequal signs subtract one: a product gives the distances of all pairs.
        distances = ((128 - signs @ np.where(hashed, np.float32(1), np.float32(-1))) / 2).round().astype(int)
        nearest = int(distances.argmin())
        if hashed.any() and first_hashes[nearest].any() and distances[nearest] <= NEAR:
            yield SharedImage(first[nearest].id, image.id, "looks", image.sentences, int(distances[nearest]))
