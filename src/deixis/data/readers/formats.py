"""Which reader fits a path: the one table of formats, and the one way to open any of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import InputError, did_you_mean
from ...records import Reader
from ..segmentation import Overlaps
from ..validation import Issues
from . import captions, grefcoco, jsonl, phrasecut, refcoco


@dataclass(frozen=True, kw_only=True)
class Format:
    """A layout on disk: how it is recognised, and how its splits are opened."""

    title: str
    is_at: Callable[[Path], bool]
    # Of a path, divided by someone.
    open_splits: Callable[[Path, str | None, Issues | None, Overlaps], Mapping[str, Reader]]


def _refcoco(dataset: str) -> Format:
    def is_at(path: Path) -> bool:
        named = (path / dataset).is_dir() and any((path / dataset).glob("refs(*).p"))
        # The folder itself may have been renamed; then it passes for plain RefCOCO.
        unnamed = dataset == "refcoco" and path.name not in refcoco.SPLIT_BY
        return named or ((path.name == dataset or unnamed) and any(path.glob("refs(*).p")))

    def open_splits(
        path: Path, split_by: str | None, issues: Issues | None, overlaps: Overlaps
    ) -> Mapping[str, Reader]:
        return refcoco.RefCOCO.every_split(path, dataset, split_by, issues, overlaps)

    return Format(title=dataset, is_at=is_at, open_splits=open_splits)


def _video(title: str, marks: tuple[str, ...]) -> Format:
    def open_splits(
        path: Path, split_by: str | None, issues: Issues | None, overlaps: Overlaps
    ) -> Mapping[str, Reader]:
        raise InputError(f"{path} is {title}, which is recognised but not supported yet; only sets of stills are.")

    return Format(
        title=title, is_at=lambda path: any((path / mark).exists() for mark in marks), open_splits=open_splits
    )


FORMATS: dict[str, Format] = {
    "refcoco": _refcoco("refcoco"),
    "refcoco+": _refcoco("refcoco+"),
    "refcocog": _refcoco("refcocog"),
    "grefcoco": Format(
        title="gRefCOCO",
        is_at=lambda path: any(path.glob("grefs(*).json")) or any(path.glob("grefcoco/grefs(*).json")),
        open_splits=lambda path, split_by, issues, _overlaps: grefcoco.GRefCOCO.every_split(path, split_by, issues),
    ),
    "phrasecut": Format(
        title="PhraseCut",
        is_at=lambda path: any((path / f"refer_{split}.json").is_file() for split in phrasecut.SPLITS),
        open_splits=lambda path, _, issues, _overlaps: phrasecut.PhraseCut.every_split(path, issues),
    ),
    "youtube-vos": _video("Refer-YouTube-VOS", ("meta_expressions",)),
    "a2d": _video("A2D-Sentences", ("a2d_annotation.txt", "a2d_annotation_with_instances")),
    "jhmdb": _video("J-HMDB-Sentences", ("jhmdb_annotation.txt",)),
    "folder": Format(
        title="a folder of your own",
        is_at=lambda path: bool(jsonl.find_files(path)[1]),
        open_splits=lambda path, _, issues, _overlaps: jsonl.JsonlDataset.every_split(path, issues),
    ),
    "coco": Format(
        title="COCO JSON with captions",
        is_at=lambda path: bool(captions.find_files(path)),
        open_splits=lambda path, _, issues, _overlaps: captions.CaptionedInstances.every_split(path, issues),
    ),
}


def open_data(
    path: str | Path,
    split: str | None = None,
    dataset: str | None = None,
    split_by: str | None = None,
    issues: Issues | None = None,
    overlaps: Overlaps = "union",
) -> Reader:
    """The reader of one split of whatever data set lies at the path.

    Without `split` it is `val`, or the only one there is. `test` takes testA and testB together. Records that are
    broken raise, unless `issues` skips and counts them.
    """
    splits = open_splits(path, dataset, split_by, issues, overlaps)
    if split is None:
        if "val" not in splits and len(splits) != 1:
            raise InputError(f"Say which split of {path} is meant; there are: {', '.join(splits)}.")
        return splits.get("val") or next(iter(splits.values()))
    return choose(splits, split, path)


def choose(splits: Mapping[str, Reader], split: str, path: str | Path) -> Reader:
    """The split of that name, `test` being testA and testB together. Raises DeixisError where there is none."""
    if split in splits:
        return splits[split]
    reader = next(iter(splits.values()), None)
    if split == "test" and isinstance(reader, refcoco.RefCOCO | grefcoco.GRefCOCO):
        return reader.sibling(split)
    raise InputError(f"{path} has no split {split!r}; the splits there are: {', '.join(sorted(splits))}.")


def open_splits(
    path: str | Path,
    dataset: str | None = None,
    split_by: str | None = None,
    issues: Issues | None = None,
    overlaps: Overlaps = "union",
) -> Mapping[str, Reader]:
    """Every split of the data set at the path, its files read once; `overlaps` is RefCOCO's family's.

    Raises DeixisError where not one has a record.
    """
    splits = FORMATS[detect_format(path, dataset)].open_splits(Path(path), split_by, issues, overlaps)
    if not any(len(reader) for reader in splits.values()):
        came = f"holds none but broken records, {len(issues):,} of them" if issues else "holds no records"
        raise InputError(f"{path} {came}; a data set with at least one is wanted.")
    return splits


def detect_format(path: str | Path, dataset: str | None = None) -> str:
    """The name in `FORMATS` of what lies at the path; raises DeixisError where that is nothing, or several things."""
    path = Path(path)
    if dataset is not None and dataset not in FORMATS:
        raise InputError(f"There is no data set {dataset!r}. {did_you_mean(dataset, FORMATS)}")
    if dataset is not None and (path.exists() or dataset not in ("folder", "coco")):
        return dataset  # whose reader says, where nothing is there, where to get it
    if not path.exists():
        raise InputError(f"There is nothing at {path}; give the folder of a data set.")
    found = [name for name, layout in FORMATS.items() if layout.is_at(path)]
    # A COCO file beside an official layout is part of that layout.
    found = [name for name in found if name != "coco"] or found
    if found in ([], ["coco"]) and (missing := _half_there(path)):
        raise InputError(missing)
    if not found:
        titles = ", ".join(layout.title for layout in FORMATS.values())
        raise InputError(f"{path} is none of the layouts that are read: {titles}.")
    if len(found) > 1:
        raise InputError(f"{path} holds {', '.join(found)}; say which with --dataset.")
    return found[0]


def _half_there(path: Path) -> str:
    """A sentence about a known folder whose refs file is missing."""
    for name in (*refcoco.SPLIT_BY, grefcoco.DATASET):
        page = grefcoco.PAGE if name == grefcoco.DATASET else refcoco.PAGE
        for place in (path / name, path):
            if place.name == name and place.is_dir():
                return f"{place} has no refs file; download {name} as {page} says and put it there."
    return ""
