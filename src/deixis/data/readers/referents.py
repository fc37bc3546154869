"""The records of RefCOCO's family: the referents of each image, their sentences and their masks."""

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ... import masks
from ...errors import InputError
from ...masks import RLE
from ...records import Ids, Sample
from ..segmentation import Overlaps, as_rle, says_nothing
from ..validation import Issues
from .instances import Instances
from .named_files import SearchFolders
from .named_images import named_image
from .options import Sentences as Sentences

NOTHING = -1  # the annotation id of gRefCOCO's sentences without a referent in the image

_IMAGE_FOLDERS = (
    "images/mscoco/images/train2014",
    "mscoco/images/train2014",
    "images/train2014",
    "train2014",
    "images",
)


@dataclass(frozen=True, slots=True)
class Referent:
    """One or several objects of a split and the sentences that refer to them: what is kept of a record."""

    id: int
    split: str
    image: int
    annotations: tuple[int, ...]  # none where the sentences have no referent in the image
    sentences: tuple[tuple[int, str], ...]  # id and text


@dataclass(frozen=True)
class Tree:
    """The records of a refs file, its instances file and the folder of the images."""

    dataset: str
    split_by: str
    refs: Path
    images: Path
    instances: Instances
    referents: Sequence[Referent]
    overlaps: Overlaps

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(referent.split for referent in self.referents))

    def of_split(self, split: str) -> list[Referent]:
        """The objects of a split; `test` is every split with test in its name, as in the published code."""
        known = {*self.splits, *(["test"] if any("test" in name for name in self.splits) else [])}
        if split not in known:
            raise unknown_split(split, known, f"{self.refs}")
        return [referent for referent in self.referents if _belongs(referent.split, split)]

    def counts(self) -> tuple[int, int, int]:
        """Sentences, objects and images with sentences, over all splits."""
        sentences = sum(len(referent.sentences) for referent in self.referents)
        return sentences, len(self.referents), len({referent.image for referent in self.referents})

    def sample(self, referent: Referent, number: int, ids: Ids, *, reads_mask: bool = True) -> Sample:
        image = self.instances.images[referent.image]
        record = f"{self.instances.path} (image {referent.image})"
        visual = named_image(SearchFolders(self.images, ("",)), image.name, image.size, record)
        mask = self.mask(referent, visual.size) if reads_mask else None
        return Sample(
            visual=visual,
            expression=referent.sentences[number][1],
            mask=mask,
            ids=ids,
            dataset=self.dataset,
            split=referent.split,
            traits={**self._facts(referent), **({} if mask is None else {"area": masks.area(mask)})},
        )

    def mask(self, referent: Referent, size: tuple[int, int]) -> RLE | None:
        """All annotations as one mask, empty without any; None where one of them has no mask."""
        parts = []
        for annotation in referent.annotations:
            record = self.instances.annotation(annotation)
            if says_nothing(segmentation := record.get("segmentation"), record):
                return None
            where = f"{self.instances.path}: annotation {annotation}"
            parts.append(as_rle(segmentation, *size, where, self.overlaps, as_published=True))
        if len(parts) > 1:
            return cast(RLE, masks.union(parts))
        return parts[0] if parts else as_rle([], *size, "")

    def _facts(self, referent: Referent) -> dict[str, Any]:
        if not referent.annotations:
            return {"annotations": [], "category": "", "same_category_count": 0}
        instances = self.instances
        kinds = {instances.category_of(annotation) for annotation in referent.annotations}
        return {
            "annotations": list(referent.annotations),
            "category": ", ".join(sorted(instances.categories.get(kind, str(kind)) for kind in kinds)),
            "same_category_count": sum(instances.same_category(referent.image, kind) for kind in kinds),
        }


def entries(referents: Sequence[Referent]) -> tuple[list[tuple[Referent, int]], tuple[Ids, ...]]:
    """Each sentence as its referent and its number there, in the published order, and its ids."""
    positions = [(referent, number) for referent in referents for number in range(len(referent.sentences))]
    ids = tuple(
        Ids(str(referent.image), str(referent.id), str(sentence))
        for referent in referents
        for sentence, _ in referent.sentences
    )
    return positions, ids


def dataset_folder(root: Path, dataset: str, page: str) -> Path:
    """The folder of the annotation files: `<root>/<dataset>`, or the root itself."""
    if not root.is_dir():
        raise InputError(f"There is no folder {root}; give the one that holds {dataset}/, from {page}")
    return root / dataset if (root / dataset).is_dir() else root


def image_folder(root: Path, folder: Path) -> Path:
    """The first of the usual folders of COCO's training images that exists."""
    for base in dict.fromkeys((root, folder, folder.parent)):
        for place in _IMAGE_FOLDERS:
            if (base / place).is_dir():
                return base / place
    return (root if root != folder else folder.parent) / _IMAGE_FOLDERS[0]


def required(path: Path, dataset: str, page: str) -> Path:
    if not path.is_file():
        raise InputError(f"{path} is missing; download {dataset} as {page} says and put it there.")
    return path


def unknown_split(split: str, known: set[str], place: str) -> InputError:
    return InputError(f"{place} has no split {split!r}; the splits there are: {', '.join(sorted(known))}.")


def read_referents(
    records: Any, file: Path, instances: Instances, sentences: Sentences, issues: Issues
) -> Iterator[Referent]:
    """What is kept of each record of a refs file; broken ones are added to the issues."""
    if not isinstance(records, list):
        raise InputError(f"{file} holds type {type(records).__name__}; expected a list of records.")
    seen: set[int] = set()
    seen_sentences: set[int] = set()
    for number, record in enumerate(records):
        try:
            referent = _referent(record, sentences)
        except (KeyError, TypeError, ValueError, OverflowError):
            issues.add(
                f"{file}: record number {number} lacks a valid ref_id, ann_id, image_id, split or sentences; download "
                "the file again."
            )
            continue
        wrong = _wrong(referent, instances, seen, seen_sentences)
        if wrong:
            issues.add(f"{file}: ref {referent.id} {wrong}")
            continue
        seen.add(referent.id)
        seen_sentences.update(sentence for sentence, _ in referent.sentences)
        yield referent


def _referent(record: Mapping[str, Any], sentences: Sentences) -> Referent:
    annotations = record["ann_id"] if isinstance(record["ann_id"], list) else [record["ann_id"]]
    return Referent(
        int(record["ref_id"]),
        _text(record["split"]),
        int(record["image_id"]),
        tuple([int(annotation) for annotation in annotations if annotation != NOTHING]),
        tuple([(int(sentence["sent_id"]), _text(sentence[sentences])) for sentence in record["sentences"]]),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("expected a text")
    value.encode()  # raises a ValueError for half a surrogate pair, which JSON can name and nothing can write
    return value


def _wrong(referent: Referent, instances: Instances, seen: set[int], seen_sentences: set[int]) -> str:
    if referent.id in seen:
        return "is there twice; ids must be unique."
    if any(sentence in seen_sentences for sentence, _ in referent.sentences):
        return "has a sentence whose id another ref has; ids must be unique."
    if referent.image not in instances.images:
        return f"is on image {referent.image}, which {instances.path} lacks."
    for annotation in referent.annotations:
        if annotation not in instances:
            return f"refers to annotation {annotation}, which {instances.path} lacks."
        if instances.image_of(annotation) != referent.image:
            return f"is on image {referent.image}, but its annotation {annotation} is on another."
    return ""


def _belongs(name: str, split: str) -> bool:
    # The published reader recognises testA and testB by their last letter, and test as any part of the name.
    if split in ("testA", "testB", "testC"):
        return split[-1] in name
    return "test" in name if split == "test" else name == split


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """The garbage collector would search the millions of records that all stay, again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
