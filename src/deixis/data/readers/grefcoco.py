"""gRefCOCO: sentences that mean several objects, or none; `grefs(unc).json` beside `instances.json`."""

import json
from pathlib import Path
from typing import Any

from ...errors import InputError
from ..validation import Issues
from .instances import Instances
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

PAGE = "https://github.com/henghuiding/gRefCOCO"
DATASET = "grefcoco"


class GRefCOCO(TreeSplit):
    """The sentences of one split; the target is the union of all that is meant, and empty where nothing is."""

    def __init__(
        self,
        root: str | Path,
        split_by: str | None = None,
        split: str = "val",
        sentences: Sentences = "raw",
        issues: Issues | None = None,
    ) -> None:
        super().__init__(read_tree(Path(root), split_by, sentences, issues), split)

    @classmethod
    def every_split(
        cls, root: str | Path, split_by: str | None = None, issues: Issues | None = None
    ) -> dict[str, TreeSplit]:
        """All splits of the tree, which is read once."""
        tree = read_tree(Path(root), split_by, "raw", issues)
        return {split: cls.of(tree, split) for split in tree.splits}


def read_tree(root: Path, split_by: str | None, sentences: Sentences, issues: Issues | None) -> Tree:
    """Raises DeixisError, or reports, where a file is missing or broken or a record is not whole."""
    issues = Issues() if issues is None else issues
    folder = dataset_folder(root, DATASET, PAGE)
    split_by = split_by or "unc"
    refs = required(folder / f"grefs({split_by}).json", "gRefCOCO", PAGE)
    file = required(folder / "instances.json", "gRefCOCO", PAGE)
    with without_garbage_collection():
        instances = Instances(file, issues)
        referents = list(read_referents(_records(refs), refs, instances, sentences, issues))
    return Tree(DATASET, split_by, refs, image_folder(root, folder), instances, referents, "union")


def _records(refs: Path) -> Any:
    try:
        return json.loads(refs.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{refs} is no whole JSON ({error}); download it again.") from error
