"""Your own data: a folder with `data.jsonl`, one record a line, or with `data.csv`, images and sentences alone.

A line is `{"image": "cat.jpg", "expression": "the cat on the left", "mask": …}`. The mask is COCO run lengths, a
polygon or several, the path of a PNG, or absent; absent masks make the set weak. A line may also have `split`, `ids`
(`image`, `object`, `sentence`), `size` (height, width), `dataset` and `traits`. The columns of a CSV are `image` and
`expression` (or `sentence`), and `split` if there is one.
"""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from ... import masks
from ...errors import DeixisError, InputError
from ...masks import RLE
from ...records import Ids, Sample
from ..images import BROKEN, opened
from ..segmentation import as_rle
from ..validation import Issues
from .jsonspans import Span, check_text, parse, read_bytes, read_span
from .named_images import confined, named_image
from .referents import unknown_split

WHOLE = "all"  # the split of records that name none
_NAMED_SPLITS = ("train", "val", "test")
_TEXTS = ("image", "expression", "ids", "split", "dataset", "traits")  # what a line says in words


@dataclass(frozen=True, slots=True)
class Row:
    """What is kept of a line; `span` is where the line lies, None where the format has no masks."""

    file: Path
    number: int
    image: str
    expression: str
    ids: Ids
    split: str
    span: Span | None

    @property
    def where(self) -> str:
        return f"{self.file}, line {self.number}"


class JsonlDataset:
    """The records of one split, or of all where none is named."""

    def __init__(self, path: str | Path, split: str | None = None, issues: Issues | None = None) -> None:
        self.root, files = find_files(Path(path))
        if not files:
            raise InputError(f"{path} holds no data.jsonl and no data.csv; write one record a line there.")
        issues = Issues() if issues is None else issues
        self._choose(list(_unique(read_rows(files, issues), issues)), split)

    @classmethod
    def every_split(cls, path: str | Path, issues: Issues | None = None) -> dict[str, "JsonlDataset"]:
        """All splits, read once."""
        whole = cls(path, None, issues)
        readers = {}
        for split in dict.fromkeys(row.split for row in whole.rows):
            readers[split] = cls.__new__(cls)
            readers[split].root = whole.root
            readers[split]._choose(whole.rows, split)
        return readers

    def _choose(self, rows: Sequence[Row], split: str | None) -> None:
        known = {row.split for row in rows}
        if split is not None and split not in known:
            raise unknown_split(split, known, f"{self.root}")
        self.rows = [row for row in rows if split in (None, row.split)]
        self.ids = tuple(row.ids for row in self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> Sample:
        row = self.rows[position]
        line = read_span(row.file, row.span, f"line {row.number}") if row.span else {}
        size = line.get("size")
        if size is not None and not (isinstance(size, list) and len(size) == 2 and all(type(n) is int for n in size)):
            raise InputError(f"{row.where}: 'size' is height and width, two whole numbers.")
        visual = named_image(self.root, row.image, tuple(size) if size else None, row.where)
        mask = _mask(line.get("mask"), self.root, visual.size, row.where)
        traits = line.get("traits") or {}
        if not isinstance(traits, dict):
            raise InputError(f"{row.where}: 'traits' is an object, facts by name.")
        return Sample(
            visual=visual,
            expression=row.expression,
            mask=mask,
            ids=row.ids,
            dataset=str(line.get("dataset") or self.root.name),
            split=row.split,
            traits=traits if mask is None else {**traits, "area": masks.area(mask)},
        )

    def __iter__(self) -> Iterator[Sample]:
        return (self[position] for position in range(len(self)))


def find_files(path: Path) -> tuple[Path, list[Path]]:
    """The root that records may not leave, and the files with the records; no files where it is another format."""
    if path.suffix in (".jsonl", ".csv"):
        return path.parent, [path] if path.is_file() else []
    for ending in ("jsonl", "csv"):
        if (path / f"data.{ending}").is_file():
            return path, [path / f"data.{ending}"]
        named = [path / f"{split}.{ending}" for split in _NAMED_SPLITS if (path / f"{split}.{ending}").is_file()]
        if named:
            return path, named
    return path, []


def read_rows(files: Sequence[Path], issues: Issues) -> Iterator[Row]:
    """Every record that can be told what it is of and what it says; the others are refused through the issues."""
    for file in files:
        default = file.stem if file.stem in _NAMED_SPLITS else WHOLE
        numbered = _csv_records(file) if file.suffix == ".csv" else _jsonl_records(file)
        for number, span, read in numbered:
            try:
                yield _row(file, number, span, read(), default)
            except DeixisError as error:
                issues.add(str(error))


def _jsonl_records(file: Path) -> Iterator[tuple[int, Span | None, Callable[[], Any]]]:
    start = 0
    for number, line in enumerate(io.BytesIO(read_bytes(file)), 1):
        span = (start, start + len(line))
        start += len(line)
        if line.strip():
            yield number, span, lambda line=line, number=number: parse(line, file, f"line {number}")  # type: ignore[misc]


def _csv_records(file: Path) -> Iterator[tuple[int, Span | None, Callable[[], Any]]]:
    try:
        text = read_bytes(file).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8 text ({error.reason} at byte {error.start}).") from error
    table = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = {(name or "").strip().lower() for name in table.fieldnames or []}
        if "image" not in columns or not columns & {"expression", "sentence"}:
            raise InputError(f"{file} has the columns {sorted(columns)}; 'image' and 'expression' are wanted.")
        for record in table:
            cells = {(name or "").strip().lower(): cell for name, cell in record.items()}
            cells["expression"] = cells.get("expression") or cells.get("sentence")
            yield table.line_num, None, lambda cells=cells: cells  # type: ignore[misc]
    except csv.Error as error:
        raise InputError(f"{file}, line {table.line_num}, is no CSV ({error}).") from error


def _row(file: Path, number: int, span: Span | None, record: Any, split: str) -> Row:
    where = f"{file}, line {number}"
    if not isinstance(record, Mapping):
        raise InputError(f"{where}: an object with 'image' and 'expression' is wanted.")
    if record.get("video") is not None:
        raise InputError(f"{where} is of a video; videos are recognised but not supported yet.")
    for key in ("image", "expression"):
        if not isinstance(record.get(key), str):
            raise InputError(f"{where} has no {key!r}; a text is wanted.")
    check_text([record.get(name) for name in _TEXTS], where)
    ids = record.get("ids") or {}
    if not isinstance(ids, Mapping):
        raise InputError(f"{where}: 'ids' is an object with 'image', 'object' and 'sentence'.")
    # Lines of several files may share their numbers, so a line is called after its file's split too.
    own = f"{split}:{number}" if split != WHOLE else str(number)
    image, thing, sentence = ids.get("image", record["image"]), ids.get("object", own), ids.get("sentence", own)
    who = Ids(str(image), str(thing), str(sentence))
    return Row(file, number, record["image"], record["expression"], who, str(record.get("split") or split), span)


def _unique(rows: Iterator[Row], issues: Issues) -> Iterator[Row]:
    """One split may be part of another, so a sentence may come again in another split."""
    seen: dict[tuple[str, str], Row] = {}
    for row in rows:
        first = seen.setdefault((row.split, row.ids.sentence), row)
        if first is row:
            yield row
        else:
            issues.add(
                f"{row.where} has the sentence id {row.ids.sentence!r} of line {first.number}; ids are unique within a "
                "split."
            )


def _mask(mask: Any, root: Path, size: tuple[int, int], where: str) -> RLE | None:
    if mask is None:
        return None
    if isinstance(mask, str):
        return _picture_mask(confined(root, mask, where), size, where)
    if isinstance(mask, list) and len(mask) > 2 and all(isinstance(point, list) and len(point) == 2 for point in mask):
        mask = [[coordinate for point in mask for coordinate in point]]  # one polygon, written as pairs
    return as_rle(mask, *size, where)


def _picture_mask(path: Path, size: tuple[int, int], where: str) -> RLE:
    try:
        with opened(path, f"{where}: the mask {path}") as picture:
            pixels = np.asarray(picture)
    except DeixisError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path} is missing, but {where} names it as its mask.") from None
    except BROKEN as error:
        raise InputError(f"{where}: the mask {path} is no whole picture ({error}).") from error
    if pixels.shape[:2] != size:
        came = f"{pixels.shape[0]}x{pixels.shape[1]}"
        raise InputError(f"{where}: the mask {path.name} is {came} pixels, but its image is {size[0]}x{size[1]}.")
    channels = pixels.reshape(*size, -1)
    colours = channels[..., :-1] if channels.shape[-1] in (2, 4) else channels  # the last of two or four is alpha
    return cast(RLE, masks.encode(np.any(colours != 0, axis=-1)))
