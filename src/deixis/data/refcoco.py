"""RefCOCO, RefCOCO+ and RefCOCOg (G-Ref) in their official layout: `refs(unc).p` beside `instances.json`."""

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .. import masks
from ..errors import DeixisError, did_you_mean
from ..records import Ids, Sample
from .broken import Report
from .instances import Instances
from .photos import Photo
from .pickles import read_plain
from .segmentation import Overlaps, as_rle

Sentences = Literal["raw", "sent"]

ANNOTATIONS_PAGE = "https://github.com/lichengunc/refer"
IMAGES_PAGE = "https://cocodataset.org/#download (2014 Train images)"
SPLIT_BY = {"refcoco": ("unc", "google"), "refcoco+": ("unc",), "refcocog": ("umd", "google")}
# Sentences, objects and images of the whole sets, counted over all splits.
PUBLISHED = {
    ("refcoco", "unc"): (142_209, 50_000, 19_994),
    ("refcoco+", "unc"): (141_564, 49_856, 19_992),
    ("refcocog", "google"): (104_560, 54_822, 26_711),
}
_IMAGE_FOLDERS = (
    "images/mscoco/images/train2014",
    "mscoco/images/train2014",
    "images/train2014",
    "train2014",
    "images",
)


@dataclass(frozen=True, slots=True)
class Referent:
    """An object of one split and the sentences that mean it: what is kept of a record of the refs file."""

    id: int
    split: str
    image: int
    annotations: tuple[int, ...]
    sentences: tuple[tuple[int, str], ...]  # id and text


class RefCOCO:
    """The sentences of one split, in the order in which the published code reads them.

    `sentences`: `raw` as the published code of LAVT and its followers uses them, or the cleaned `sent`.
    `overlaps`: `published` drops the pixels where parts of one object overlap, as that code does.
    """

    def __init__(
        self,
        root: str | Path,
        dataset: str = "refcoco",
        split_by: str | None = None,
        split: str = "val",
        sentences: Sentences = "raw",
        overlaps: Overlaps = "union",
        report: Report | None = None,
    ) -> None:
        tree = Tree.read(root, dataset, split_by, sentences, overlaps, report)
        self._open(tree, split, tree.of_split(split))

    @classmethod
    def every_split(
        cls, root: str | Path, dataset: str = "refcoco", split_by: str | None = None, report: Report | None = None
    ) -> dict[str, "RefCOCO"]:
        """All splits of the tree, read once."""
        tree = Tree.read(root, dataset, split_by, "raw", "union", report)
        readers = {}
        for split in tree.splits:
            readers[split] = cls.__new__(cls)
            readers[split]._open(tree, split, tree.of_split(split))
        return readers

    def _open(self, tree: "Tree", split: str, referents: Sequence[Referent]) -> None:
        self.tree = tree
        self.split = split
        self._entries = [(referent, number) for referent in referents for number in range(len(referent.sentences))]
        self.ids = tuple(
            Ids(str(referent.image), str(referent.id), str(sentence))
            for referent in referents
            for sentence, _ in referent.sentences
        )

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, position: int) -> Sample:
        referent, number = self._entries[position]
        tree, annotation = self.tree, referent.annotations[0]
        picture = tree.instances.images[referent.image]
        where = f"{tree.instances.path}: annotation {annotation}"
        segmentation = tree.instances.annotation(annotation).get("segmentation")
        category = tree.instances.category_of(annotation)
        mask = as_rle(segmentation, picture.height, picture.width, where, tree.overlaps)
        return Sample(
            visual=tree.photo(referent.image),
            expression=referent.sentences[number][1],
            mask=mask,
            ids=self.ids[position],
            dataset=tree.dataset,
            split=referent.split,
            traits={
                "annotation": annotation,
                "category": tree.instances.categories.get(category, str(category)),
                "same_category_count": tree.instances.same_category(referent.image, category),
                "area": masks.area(mask),
            },
        )

    def __iter__(self) -> Iterator[Sample]:
        return (self[position] for position in range(len(self)))


@dataclass(frozen=True)
class Tree:
    """A refs file, its instances file and where the images are."""

    dataset: str
    split_by: str
    folder: Path
    images: Path
    instances: Instances
    referents: Sequence[Referent]
    overlaps: Overlaps

    @classmethod
    def read(
        cls,
        root: str | Path,
        dataset: str,
        split_by: str | None,
        sentences: Sentences,
        overlaps: Overlaps,
        report: Report | None,
    ) -> "Tree":
        """Raises DeixisError, or reports, where a file is missing or broken or a record is not whole."""
        report = Report() if report is None else report
        if dataset not in SPLIT_BY:
            raise DeixisError(f"There is no data set {dataset!r} of this kind. {did_you_mean(dataset, SPLIT_BY)}")
        folder = dataset_folder(Path(root), dataset)
        refs, split_by = _refs_file(folder, dataset, split_by)
        instances_file = required(folder / "instances.json", dataset, ANNOTATIONS_PAGE)
        with without_garbage_collection():
            instances = Instances(instances_file, report)
            referents = list(read_referents(read_plain(refs), refs, instances, sentences, report))
        images = image_folder(Path(root), folder)
        tree = cls(dataset, split_by, folder, images, instances, referents, overlaps)
        tree._check_published(refs)
        return tree

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(referent.split for referent in self.referents))

    def of_split(self, split: str) -> list[Referent]:
        """The objects of a split; `test` is every split with test in its name, as the published code takes it."""
        known = {*self.splits, *(["test"] if any("test" in name for name in self.splits) else [])}
        if split not in known:
            raise DeixisError(f"{self.folder} ({self.split_by}) has no split {split!r}; {known_sentence(known)}")
        chosen = split if split in self.splits else "test"
        return [referent for referent in self.referents if _belongs(referent.split, chosen)]

    def photo(self, image: int) -> Photo:
        picture = self.instances.images[image]
        record = f"{self.instances.path} (image {image})"
        return Photo(self.images, picture.name, picture.height, picture.width, record)

    def counts(self) -> tuple[int, int, int]:
        """Sentences, objects and images that sentences speak about, over all splits."""
        sentences = sum(len(referent.sentences) for referent in self.referents)
        return sentences, len(self.referents), len({referent.image for referent in self.referents})

    def _check_published(self, refs: Path) -> None:
        published = PUBLISHED.get((self.dataset, self.split_by))
        counts = self.counts()
        if published and counts[1] == published[1] and counts != published:
            raise DeixisError(
                f"{refs} holds all {counts[1]:,} objects of the published set, but {counts[0]:,} sentences on "
                f"{counts[2]:,} images instead of {published[0]:,} on {published[2]:,}: download it again."
            )


def dataset_folder(root: Path, dataset: str) -> Path:
    """The folder with the annotation files: `<root>/<dataset>`, or the root itself."""
    if not root.is_dir():
        raise DeixisError(f"There is no folder {root}; give the one that holds {dataset}/, from {ANNOTATIONS_PAGE}.")
    return root / dataset if (root / dataset).is_dir() else root


def image_folder(root: Path, folder: Path) -> Path:
    """The first of the usual places of COCO's training images that is there."""
    for base in dict.fromkeys((root, folder, folder.parent, root.parent)):
        for place in _IMAGE_FOLDERS:
            if (base / place).is_dir() and (place != "images" or not (base / "images/mscoco").is_dir()):
                return base / place
    return (root if root != folder else folder.parent) / _IMAGE_FOLDERS[0]


def required(path: Path, dataset: str, page: str) -> Path:
    if not path.is_file():
        raise DeixisError(f"{path} is missing; download {dataset} from {page} and put it there.")
    return path


def known_sentence(known: set[str]) -> str:
    return f"the splits there are: {', '.join(sorted(known))}."


def read_referents(
    records: Any, file: Path, instances: Instances, sentences: Sentences, report: Report
) -> Iterator[Referent]:
    """What is kept of each record of a refs file; broken ones are refused through the report."""
    if not isinstance(records, list):
        raise DeixisError(f"{file} holds a {type(records).__name__}; a list of records is wanted.")
    seen: set[int] = set()
    seen_sentences: set[int] = set()
    for number, record in enumerate(records):
        try:
            referent = _referent(record, sentences)
        except (KeyError, TypeError, ValueError):
            report.refuse(f"{file}: record number {number} has no whole ref_id, ann_id, image_id, split and sentences.")
            continue
        wrong = _wrong(referent, instances, seen, seen_sentences)
        if wrong:
            report.refuse(f"{file}: ref {referent.id} {wrong}")
            continue
        seen.add(referent.id)
        seen_sentences.update(sentence for sentence, _ in referent.sentences)
        yield referent


def _referent(record: Mapping[str, Any], sentences: Sentences) -> Referent:
    annotations = record["ann_id"]
    return Referent(
        int(record["ref_id"]),
        _text(record["split"]),
        int(record["image_id"]),
        tuple(map(int, annotations)) if isinstance(annotations, list) else (int(annotations),),
        tuple([(int(sentence["sent_id"]), _text(sentence[sentences])) for sentence in record["sentences"]]),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is wanted")
    return value


def _wrong(referent: Referent, instances: Instances, seen: set[int], seen_sentences: set[int]) -> str:
    if referent.id in seen:
        return "comes twice; ids must be unique."
    if any(sentence in seen_sentences for sentence, _ in referent.sentences):
        return "has a sentence whose id another ref has; ids must be unique."
    if referent.image not in instances.images:
        return f"is on image {referent.image}, which {instances.path} lacks."
    for annotation in referent.annotations:
        if annotation not in instances:
            return f"means annotation {annotation}, which {instances.path} lacks."
        if instances.image_of(annotation) != referent.image:
            return f"is on image {referent.image}, but its annotation {annotation} is on another."
    return ""


def _belongs(name: str, split: str) -> bool:
    # The published reader takes testA and testB by their last letter, and test as any part of the name.
    if split in ("testA", "testB", "testC"):
        return split[-1] in name
    return "test" in name if split == "test" else name == split


def _refs_file(folder: Path, dataset: str, split_by: str | None) -> tuple[Path, str]:
    choices = (split_by,) if split_by else SPLIT_BY[dataset]
    if split_by and split_by not in SPLIT_BY[dataset]:
        raise DeixisError(f"{dataset} is not split by {split_by!r}. {did_you_mean(split_by, SPLIT_BY[dataset])}")
    for choice in choices:
        if (folder / f"refs({choice}).p").is_file():
            return folder / f"refs({choice}).p", choice
    return required(folder / f"refs({choices[0]}).p", dataset, ANNOTATIONS_PAGE), choices[0]


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Millions of records that all stay would be searched for garbage again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
