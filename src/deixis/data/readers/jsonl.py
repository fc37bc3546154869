"""Your own data as lines: `data.jsonl`, one record a line, or `data.csv`, one row each.

A line is `{"image": "cat.jpg", "expression": "the cat on the left", "mask": …}`. The mask is COCO run lengths, a
polygon or several, the name of an image file, or absent. A line may also have `label` (which value of the mask file is
the object), `exif` (`ignore`), `split`, `ids` (`image`, `object`, `sentence`), `size` (height, width), `dataset` and
`traits`. The columns of a CSV are `image` and `expression`, and `mask`, `label`, `split` and `exif` if there are any.
"""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...errors import DeixisError, InputError
from ...records import Ids, Sample
from ..validation import Issues
from .coco_layouts import NAMED_SPLITS, WHOLE
from .json_files import Span, check_text, parse, read_span
from .named_files import SearchFolders
from .named_images import named_image
from .options import AS_WRITTEN, ReadOptions
from .record_masks import NO_MASK, facts_of, mask_of
from .referents import unknown_split
from .sentences import TEXT_KEYS, expected_keys, sentences_of
from .text_files import read_text_file

_TEXTS = ("image", "ids", "split", "dataset", "traits")  # what a line says in words, beside its sentences
_CSV_KEYS = ("image", "mask", "label", "split", "exif")


@dataclass(frozen=True, slots=True)
class Row:
    """What is kept of a sentence: its line is at `span` in the file, or here where it cannot be read from there."""

    file: Path
    number: int  # of the line
    image: str
    expression: str
    ids: Ids
    split: str
    span: Span | None
    record: Mapping[str, Any] | None

    @property
    def where(self) -> str:
        return f"{self.file}, line {self.number}"


class JsonlDataset:
    """The sentences of one split, or of all without a split."""

    reads_masks = True

    def __init__(
        self,
        path: str | Path,
        split: str | None = None,
        issues: Issues | None = None,
        options: ReadOptions = AS_WRITTEN,
    ) -> None:
        self.root, files = find_files(Path(path))
        if not files:
            raise InputError(f"{path} holds no data.jsonl and no data.csv; write one record a line there.")
        self.issues, self.options = Issues() if issues is None else issues, options
        self.folders = options.folders(self.root, ("", "images"))
        self._choose(list(_unique(read_rows(files, self.issues, options.text_key), self.issues)), split)

    @classmethod
    def every_split(
        cls, path: str | Path, issues: Issues | None = None, options: ReadOptions = AS_WRITTEN
    ) -> dict[str, "JsonlDataset"]:
        """All splits, read once."""
        whole = cls(path, None, issues, options)
        readers = {}
        for split in dict.fromkeys(row.split for row in whole.rows):
            readers[split] = cls.__new__(cls)
            vars(readers[split]).update(vars(whole))
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
        line = row.record or {}
        if row.span is not None:
            line = read_span(row.file, row.span, f"line {row.number}")
        folders = self._folders_of(row.split)
        ignore_exif = line.get("exif") == "ignore" or self.options.exif == "ignore"
        visual = named_image(folders, row.image, _size(line, row.where), row.where, ignore_exif)
        key = "mask" if "mask" in line else "segmentation"
        mask = mask_of(line, key, visual, row.where, self.issues) if self.reads_masks else NO_MASK
        if not isinstance(traits := line.get("traits") or {}, Mapping):
            raise InputError(f"{row.where}: 'traits' is of type {type(traits).__name__}; expected an object.")
        return Sample(
            visual=visual,
            expression=row.expression,
            mask=mask.rle,
            ids=row.ids,
            dataset=str(line.get("dataset") or self.root.name),
            split=row.split,
            traits={**traits, **facts_of(mask)},
        )

    def _folders_of(self, split: str) -> SearchFolders:
        return replace(self.folders, places=(*self.folders.places, split, f"images/{split}"))

    def __iter__(self) -> Iterator[Sample]:
        return (self[position] for position in range(len(self)))


def find_files(path: Path) -> tuple[Path, list[Path]]:
    """The root that records may not leave, and the files with the records; no files where it is another format."""
    if path.suffix.lower() in (".jsonl", ".csv", ".tsv"):
        return path.parent, [path] if path.is_file() else []
    for ending in ("jsonl", "csv", "tsv"):
        if (path / f"data.{ending}").is_file():
            return path, [path / f"data.{ending}"]
        named = [path / f"{split}.{ending}" for split in NAMED_SPLITS if (path / f"{split}.{ending}").is_file()]
        if named:
            return path, named
    return path, []


def read_rows(files: Sequence[Path], issues: Issues, text_key: str | None = None) -> Iterator[Row]:
    """The sentences of every record that has an image and sentences; the others are added to the issues."""
    for file in files:
        split = file.stem if file.stem in NAMED_SPLITS else WHOLE
        lines = jsonl_lines(file) if file.suffix.lower() == ".jsonl" else _csv_lines(file, text_key)
        for line in lines:
            try:
                yield from _rows(line, split, text_key)
            except DeixisError as error:
                issues.add(str(error))


@dataclass(frozen=True, slots=True)
class Line:
    """One record as it is in the file."""

    file: Path
    number: int
    span: Span | None
    parse: Callable[[], Any]


def jsonl_lines(file: Path) -> Iterator[Line]:
    """The lines that are not blank, not parsed yet."""
    text = read_text_file(file)
    start = text.start or 0
    for number, line in enumerate(io.BytesIO(text.data), 1):
        span = None if text.start is None else (start, start + len(line))
        start += len(line)
        if line.strip():
            yield Line(file, number, span, lambda line=line, number=number: parse(line, file, f"line {number}"))  # type: ignore[misc]


def _csv_lines(file: Path, text_key: str | None) -> Iterator[Line]:
    """The rows; cells are separated by commas, semicolons or tabs."""
    text = read_text_file(file).text
    heading = text.lstrip("\r\n").partition("\n")[0]
    delimiter = max(",;\t", key=heading.count)
    table = csv.DictReader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    try:
        columns = {(name or "").strip().lower() for name in table.fieldnames or []}
        texts = {text_key.lower()} if text_key else set(TEXT_KEYS)
        if "image" not in columns or not columns & texts:
            raise InputError(
                f"{file} has the columns {sorted(columns)}; expected 'image' and {expected_keys(text_key)}, separated "
                "by commas, semicolons or tabs."
            )
        for record in table:
            cells = {(name or "").strip().lower(): cell for name, cell in record.items()}
            kept = {key: cells[key] for key in _CSV_KEYS if cells.get(key)}
            kept |= {key: cells[key] for key in texts if cells.get(key) is not None}
            if (label := kept.get("label", "")).lstrip("-").isdigit():
                kept["label"] = int(label)
            kept = {text_key if text_key and key == text_key.lower() else key: cell for key, cell in kept.items()}
            yield Line(file, table.line_num, None, lambda kept=kept: kept)  # type: ignore[misc]
    except csv.Error as error:
        raise InputError(f"{file}, line {table.line_num}, is not valid CSV ({error}).") from error


def _rows(line: Line, split: str, text_key: str | None) -> list[Row]:
    where = f"{line.file}, line {line.number}"
    record = line.parse()
    if not isinstance(record, Mapping):
        raise InputError(
            f"{where} is of type {type(record).__name__}; expected an object with 'image' and 'expression'."
        )
    if record.get("video") is not None:
        raise InputError(f"{where} is of a video, but the file begins with images; put clips into a file of their own.")
    if not isinstance(image := record.get("image"), str):
        raise InputError(f"{where} has no 'image'; expected the name of a file.")
    texts = sentences_of(record, where, text_key)
    if not texts and (empty := next((key for key in (text_key, *TEXT_KEYS) if record.get(key) == ""), None)):
        raise InputError(f"{where} has an empty {empty!r}; expected a text.")
    if not texts:
        raise InputError(
            f"{where} has no {text_key or 'expression'!r}; expected a text. Its keys are {', '.join(map(str, record))}"
            ": name the key of the sentences with --text-key."
        )
    check_text([record.get(name) for name in _TEXTS], where)
    ids = record.get("ids") or {}
    if not isinstance(ids, Mapping):
        raise InputError(f"{where}: 'ids' is of type {type(ids).__name__}; expected 'image', 'object' and 'sentence'.")
    # Lines of several files may have the same numbers, so their ids begin with the file's split.
    own = f"{split}:{line.number}" if split != WHOLE else str(line.number)
    referent, first = str(ids.get("object", own)), str(ids.get("sentence", own))
    names = [first] if len(texts) == 1 else [f"{first}_{number}" for number in range(len(texts))]
    belongs = str(record.get("split") or split)
    return [
        Row(
            *(
                line.file,
                line.number,
                image,
                text,
                Ids(str(ids.get("image", image)), referent, name),
                belongs,
                line.span,
            ),
            None if line.span else record,
        )
        for text, name in zip(texts, names, strict=True)
    ]


def _size(line: Mapping[str, Any], where: str) -> tuple[int, int] | None:
    if (size := line.get("size")) is None:
        return None
    if not isinstance(size, list) or len(size) != 2 or not all(isinstance(side, int) for side in size):
        raise InputError(f"{where}: 'size' is {str(size)[:40]!a}; expected height and width.")
    return size[0], size[1]


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
