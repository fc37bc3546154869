"""The table of formats: which one a path holds, and how its splits are opened."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import InputError, did_you_mean
from ...records import Reader
from ..segmentation import Overlaps
from ..validation import Issues
from . import (
    a2d,
    captions,
    grefcoco,
    jhmdb,
    jsonl,
    loose_clips,
    mevis,
    phrasecut,
    ref_davis,
    refcoco,
    refer_youtube_vos,
)
from .coco_layouts import find_coco_files
from .options import AS_WRITTEN, ReadOptions


@dataclass(frozen=True, kw_only=True)
class Format:
    """A layout on disk: how it is detected, and how its splits are opened."""

    title: str
    is_at: Callable[[Path], bool]
    open_splits: Callable[[Path, "_Request"], Mapping[str, Reader]]


@dataclass(frozen=True, kw_only=True)
class _Request:
    split_by: str | None
    issues: Issues | None
    overlaps: Overlaps
    options: ReadOptions


def _refcoco(dataset: str) -> Format:
    def is_at(path: Path) -> bool:
        named = (path / dataset).is_dir() and any((path / dataset).glob("refs(*).p"))
        # A renamed folder counts as plain RefCOCO.
        unnamed = dataset == "refcoco" and path.name not in refcoco.SPLIT_BY
        return named or ((path.name == dataset or unnamed) and any(path.glob("refs(*).p")))

    def open_splits(path: Path, asked: _Request) -> Mapping[str, Reader]:
        return refcoco.RefCOCO.every_split(
            path, dataset, asked.split_by, asked.issues, asked.overlaps, asked.options.sentences
        )

    return Format(title=dataset, is_at=is_at, open_splits=open_splits)


def _is_davis(path: Path) -> bool:
    """The original files, or the layout of Refer-YouTube-VOS with DAVIS's videos."""
    return ref_davis.is_at(path) or (refer_youtube_vos.is_at(path) and refer_youtube_vos.is_davis(path))


def _open_davis(path: Path, asked: _Request) -> Mapping[str, Reader]:
    if ref_davis.is_at(path) or not refer_youtube_vos.is_at(path):
        return ref_davis.every_split(path, asked.issues)
    return refer_youtube_vos.every_split(path, "ref-davis", asked.issues)


# Of the split that has labels and is not trained on.
_OTHER_NAMES = {"val": ("valid_u", "valid"), "valid": ("val",)}

FORMATS: dict[str, Format] = {
    "refcoco": _refcoco("refcoco"),
    "refcoco+": _refcoco("refcoco+"),
    "refcocog": _refcoco("refcocog"),
    "grefcoco": Format(
        title="gRefCOCO",
        is_at=lambda path: any(path.glob("grefs(*).json")) or any(path.glob("grefcoco/grefs(*).json")),
        open_splits=lambda path, asked: grefcoco.GRefCOCO.every_split(path, asked.split_by, asked.issues),
    ),
    "phrasecut": Format(
        title="PhraseCut",
        is_at=lambda path: any((path / f"refer_{split}.json").is_file() for split in phrasecut.SPLITS),
        open_splits=lambda path, asked: phrasecut.PhraseCut.every_split(path, asked.issues),
    ),
    "refer-youtube-vos": Format(
        title="Refer-YouTube-VOS",
        is_at=lambda path: refer_youtube_vos.is_at(path) and not refer_youtube_vos.is_davis(path),
        open_splits=lambda path, asked: refer_youtube_vos.every_split(path, "refer-youtube-vos", asked.issues),
    ),
    "ref-davis": Format(title="Ref-DAVIS17", is_at=_is_davis, open_splits=_open_davis),
    "mevis": Format(
        title="MeViS", is_at=mevis.is_at, open_splits=lambda path, asked: mevis.every_split(path, asked.issues)
    ),
    "a2d": Format(
        title="A2D-Sentences", is_at=a2d.is_at, open_splits=lambda path, asked: a2d.every_split(path, asked.issues)
    ),
    "jhmdb": Format(
        title="J-HMDB-Sentences",
        is_at=jhmdb.is_at,
        open_splits=lambda path, asked: jhmdb.every_split(path, asked.issues),
    ),
    "clips": Format(
        title="JSONL of clips",
        is_at=loose_clips.is_at,
        open_splits=lambda path, asked: loose_clips.every_split(path, asked.issues, asked.options),
    ),
    "folder": Format(
        title="JSONL or CSV",
        is_at=lambda path: bool(jsonl.find_files(path)[1]) and not loose_clips.is_at(path),
        open_splits=lambda path, asked: jsonl.JsonlDataset.every_split(path, asked.issues, asked.options),
    ),
    "coco": Format(
        title="COCO JSON with sentences",
        is_at=lambda path: bool(find_coco_files(path)),
        open_splits=lambda path, asked: captions.CaptionedInstances.every_split(path, asked.issues, asked.options),
    ),
}


def open_data(
    path: str | Path,
    split: str | None = None,
    dataset: str | None = None,
    split_by: str | None = None,
    issues: Issues | None = None,
    overlaps: Overlaps = "union",
    options: ReadOptions = AS_WRITTEN,
) -> Reader:
    """The reader of one split of the data set at the path, whatever its format.

    Without `split` it is `val`, or the only split. `test` is testA and testB together. Broken records raise, unless
    `issues` skips and counts them.
    """
    splits = open_splits(path, dataset, split_by, issues, overlaps, options)
    if split is None:
        if "val" not in splits and len(splits) != 1:
            raise InputError(f"{path} has several splits; name one of: {', '.join(splits)}.")
        return splits.get("val") or next(iter(splits.values()))
    return choose(splits, split, path)


def choose(splits: Mapping[str, Reader], split: str, path: str | Path) -> Reader:
    """The split of that name; `test` is testA and testB together. Raises InputError where there is none."""
    if split in splits:
        return splits[split]
    if found := next((name for name in _OTHER_NAMES.get(split, ()) if name in splits), None):
        return splits[found]
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
    options: ReadOptions = AS_WRITTEN,
) -> Mapping[str, Reader]:
    """Every split of the data set at the path, its files read once.

    `overlaps` and the `sentences` of `options` apply to RefCOCO's family, the other options to your own data. Raises
    InputError without any record.
    """
    asked = _Request(split_by=split_by, issues=issues, overlaps=overlaps, options=options)
    splits = FORMATS[detect_format(path, dataset)].open_splits(Path(path), asked)
    if not any(len(reader) for reader in splits.values()):
        found = (
            f"holds broken records only, {len(issues):,} of them: {issues.broken[0]}"
            if issues
            else "holds no records; expected at least one."
        )
        raise InputError(f"{path} {found}")
    return splits


def detect_format(path: str | Path, dataset: str | None = None) -> str:
    """The name in `FORMATS` of the data set at the path; raises InputError where there is none, or several."""
    path = Path(path)
    if dataset is not None and dataset not in FORMATS:
        raise InputError(f"There is no data set {dataset!r}. {did_you_mean(dataset, FORMATS)}")
    if dataset is not None and (path.exists() or dataset not in ("folder", "clips", "coco")):
        return dataset  # its reader says where to download what is missing
    if not path.exists():
        raise InputError(f"There is nothing at {path}; give the folder of a data set.")
    found = [name for name, layout in FORMATS.items() if layout.is_at(path)]
    # A COCO file beside an official layout is part of that layout.
    found = [name for name in found if name != "coco"] or found
    if found in ([], ["coco"]) and (missing := _half_there(path)):
        raise InputError(missing)
    if not found:
        titles = ", ".join(layout.title for layout in FORMATS.values())
        raise InputError(
            f"{path} has none of the layouts that are read: {titles}; docs/own-data.md describes your own."
        )
    if len(found) > 1:
        raise InputError(
            f"{path} holds {', '.join(found)}; choose one with --dataset, "
            "to train with --data.dataset or --target.dataset."
        )
    return found[0]


def _half_there(path: Path) -> str:
    """An error for a known folder whose refs file is missing, or nothing."""
    for name in (*refcoco.SPLIT_BY, grefcoco.DATASET):
        page = grefcoco.PAGE if name == grefcoco.DATASET else refcoco.PAGE
        for place in (path / name, path):
            if place.name == name and place.is_dir():
                return f"{place} has no refs file; download {name} as {page} says and put it there."
    return ""
