"""RefCOCO, RefCOCO+ and RefCOCOg (G-Ref) in their official layout: `refs(unc).p` beside `instances.json`."""

from pathlib import Path

from ...errors import InputError, did_you_mean
from ..segmentation import Overlaps
from ..validation import Issues
from .instances import Instances
from .pickles import read_plain
from .referents import (
    Sentences,
    Tree,
    dataset_folder,
    image_folder,
    read_referents,
    required,
    without_garbage_collection,
)
from .tree_splits import TreeSplit

PAGE = "https://github.com/lichengunc/refer"  # its README gives the addresses of annotations and images
SPLIT_BY = {"refcoco": ("unc", "google"), "refcoco+": ("unc",), "refcocog": ("umd", "google")}
# Sentences, objects and images of the whole sets, counted over all splits.
PUBLISHED = {
    ("refcoco", "unc"): (142_209, 50_000, 19_994),
    ("refcoco+", "unc"): (141_564, 49_856, 19_992),
    ("refcocog", "google"): (104_560, 54_822, 26_711),
}


class RefCOCO(TreeSplit):
    """The sentences of one split, in the order in which the published code reads them.

    `sentences`: `raw` as the published code of LAVT and its followers uses them, or the cleaned `sent`.
    `overlaps`: `published` drops the pixels where parts of one object overlap, as the published code does.
    """

    def __init__(
        self,
        root: str | Path,
        dataset: str = "refcoco",
        split_by: str | None = None,
        split: str = "val",
        sentences: Sentences = "raw",
        overlaps: Overlaps = "union",
        issues: Issues | None = None,
    ) -> None:
        super().__init__(read_tree(Path(root), dataset, split_by, sentences, overlaps, issues), split)

    @classmethod
    def every_split(
        cls,
        root: str | Path,
        dataset: str = "refcoco",
        split_by: str | None = None,
        issues: Issues | None = None,
        overlaps: Overlaps = "union",
        sentences: Sentences = "raw",
    ) -> dict[str, TreeSplit]:
        """All splits of the tree, which is read once."""
        tree = read_tree(Path(root), dataset, split_by, sentences, overlaps, issues)
        return {split: cls.of(tree, split) for split in tree.splits}


def read_tree(
    root: Path, dataset: str, split_by: str | None, sentences: Sentences, overlaps: Overlaps, issues: Issues | None
) -> Tree:
    """Raises InputError where a file is missing or broken; incomplete records are added to the issues."""
    issues = Issues() if issues is None else issues
    if dataset not in SPLIT_BY:
        raise InputError(f"There is no data set {dataset!r} of this kind. {did_you_mean(dataset, SPLIT_BY)}")
    folder = dataset_folder(root, dataset, PAGE)
    refs, split_by = _refs_file(folder, dataset, split_by)
    file = required(folder / "instances.json", dataset, PAGE)
    with without_garbage_collection():
        instances = Instances(file, issues)
        referents = list(read_referents(read_plain(refs), refs, instances, sentences, issues))
    tree = Tree(dataset, split_by, refs, image_folder(root, folder), instances, referents, overlaps)
    if not issues:
        _check_published(tree)
    return tree


def _refs_file(folder: Path, dataset: str, split_by: str | None) -> tuple[Path, str]:
    if split_by and split_by not in SPLIT_BY[dataset]:
        raise InputError(f"{dataset} is not split by {split_by!r}. {did_you_mean(split_by, SPLIT_BY[dataset])}")
    choices = (split_by,) if split_by else SPLIT_BY[dataset]
    for choice in choices:
        if (folder / f"refs({choice}).p").is_file():
            return folder / f"refs({choice}).p", choice
    return required(folder / f"refs({choices[0]}).p", dataset, PAGE), choices[0]


def _check_published(tree: Tree) -> None:
    published, counts = PUBLISHED.get((tree.dataset, tree.split_by)), tree.counts()
    if published and counts[1] == published[1] and counts != published:
        raise InputError(
            f"{tree.refs} holds all {counts[1]:,} objects of the published set, but {counts[0]:,} sentences on "
            f"{counts[2]:,} images instead of {published[0]:,} on {published[2]:,}: download it again."
        )
