"""gRefCOCO: sentences that mean several objects, or none; `grefs(unc).json` beside `instances.json`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import DeixisError
from ..records import Sample
from .broken import Report
from .instances import Instances
from .referents import (
    Sentences,
    Tree,
    dataset_folder,
    entries,
    image_folder,
    read_referents,
    required,
    without_garbage_collection,
)

PAGE = "https://github.com/henghuiding/gRefCOCO"
DATASET = "grefcoco"


class GRefCOCO:
    """The sentences of one split; the target is the union of all that is meant, and empty where nothing is."""

    def __init__(
        self,
        root: str | Path,
        split_by: str | None = None,
        split: str = "val",
        sentences: Sentences = "raw",
        report: Report | None = None,
    ) -> None:
        self._open(read_tree(Path(root), split_by, sentences, report), split)

    @classmethod
    def every_split(
        cls, root: str | Path, split_by: str | None = None, report: Report | None = None
    ) -> dict[str, "GRefCOCO"]:
        """All splits of the tree, which is read once."""
        tree = read_tree(Path(root), split_by, "raw", report)
        readers = {split: cls.__new__(cls) for split in tree.splits}
        for split, reader in readers.items():
            reader._open(tree, split)
        return readers

    def sibling(self, split: str) -> "GRefCOCO":
        """Another split of the same tree, which is not read again."""
        reader = type(self).__new__(type(self))
        reader._open(self.tree, split)
        return reader

    @without_garbage_collection()
    def _open(self, tree: Tree, split: str) -> None:
        self.tree = tree
        self.split = split
        self._entries, self.ids = entries(tree.of_split(split))

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, position: int) -> Sample:
        return self.tree.sample(*self._entries[position], self.ids[position])

    def __iter__(self) -> Iterator[Sample]:
        return (self[position] for position in range(len(self)))


def read_tree(root: Path, split_by: str | None, sentences: Sentences, report: Report | None) -> Tree:
    """Raises DeixisError, or reports, where a file is missing or broken or a record is not whole."""
    report = Report() if report is None else report
    folder = dataset_folder(root, DATASET, PAGE)
    split_by = split_by or "unc"
    refs = required(folder / f"grefs({split_by}).json", "gRefCOCO", PAGE)
    file = required(folder / "instances.json", "gRefCOCO", PAGE)
    with without_garbage_collection():
        instances = Instances(file, report)
        referents = list(read_referents(_records(refs), refs, instances, sentences, report))
    return Tree(DATASET, split_by, refs, image_folder(root, folder), instances, referents, "union")


def _records(refs: Path) -> Any:
    try:
        return json.loads(refs.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DeixisError(f"{refs} is no whole JSON ({error}); download it again.") from error
