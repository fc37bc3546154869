"""Where tools put COCO JSON and its photos: the files of a path, their splits, and the folders of their photos."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

WHOLE = "all"  # the split of records that name none
NAMED_SPLITS = ("train", "val", "test")
FILES = (
    *("data.json", "annotations.json", "instances.json", "annotations/instances.json"),
    "result.json",  # Label Studio
    "_annotations.coco.json",  # one split of Roboflow's
)

_SPLIT_FOLDERS = ("train", "valid", "val", "test")  # Roboflow's, with the file above in each
# CVAT's instances_default.json and COCO's own instances_train2017.json.
_OF_SPLIT = re.compile(r"instances_(?P<folder>(?P<split>.+?)(?:20\d\d)?)\.json")


@dataclass(frozen=True, slots=True)
class CocoFile:
    """One file, the split of its records, and the folders below `root` where their photos are looked for."""

    path: Path
    split: str
    root: Path
    places: tuple[str, ...]


def find_coco_files(path: Path) -> list[CocoFile]:
    """The COCO JSON that the path is or holds, or those of its splits; none where there is no such file."""
    if path.suffix == ".json":
        return [_described(path)] if path.is_file() else []
    if single := next((path / name for name in FILES if (path / name).is_file()), None):
        return [_described(single)]
    return [_described(file) for file in next((found for found in _of_splits(path) if found), [])]


def _of_splits(path: Path) -> Iterator[list[Path]]:
    """The files of several splits, for each layout that has one a split."""
    yield [file for split in NAMED_SPLITS if (file := path / f"{split}.json").is_file()]
    yield [file for split in _SPLIT_FOLDERS if (file := path / split / "_annotations.coco.json").is_file()]
    for folder in (path / "annotations", path):
        yield sorted(file for file in folder.glob("instances_*.json") if _OF_SPLIT.fullmatch(file.name))


def _described(file: Path) -> CocoFile:
    root, split, folder = file.parent, WHOLE, ""
    if named := _OF_SPLIT.fullmatch(file.name):
        split, folder = _common_name(named["split"]), named["folder"]
    elif file.name == "_annotations.coco.json" and root.name in _SPLIT_FOLDERS:
        split = _common_name(root.name)
    elif file.stem in NAMED_SPLITS:
        split = folder = file.stem
    if root.name == "annotations":
        root = root.parent
    of_split = (f"images/{folder}", folder) if folder else ()
    return CocoFile(file, split, root, (*of_split, "images", ""))


def _common_name(split: str) -> str:
    """`val` for what tools call valid or validation, in any case."""
    lower = split.lower()
    return {"valid": "val", "validation": "val", "training": "train", "testing": "test"}.get(lower, lower)
