"""COCO's `instances.json`: images, categories, and an index of annotations that are parsed when asked for.

The published file of RefCOCO holds twelve million polygon coordinates; parsing them takes most of a minute's
tenth and half a gigabyte, and a reader needs a few hundred of them at a time. So the annotations are found by
their braces and only their three ids are read at first.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DeixisError, InputError
from ..validation import Issues
from .jsonspans import Span, parse, read_bytes, read_span, top_level

_IDS = re.compile(rb'"(id|image_id|category_id)"\s*+:\s*+(\d{1,18})(?=[\s,}])')


@dataclass(frozen=True, slots=True)
class Picture:
    """What the file says of an image."""

    name: str
    height: int
    width: int


class Instances:
    """The images, categories and annotations of one file, by id."""

    def __init__(self, path: Path, issues: Issues | None = None) -> None:
        """Raises DeixisError, or reports, where an id is doubled or an annotation's image is absent."""
        self.path = path
        issues = Issues() if issues is None else issues
        data = read_bytes(path)
        spans, annotations = top_level(data)
        if not {b"images", b"categories"} <= spans.keys():
            images, categories, self._index = self._parsed(data, issues)
        else:
            images, categories = (parse(data[slice(*spans[key])], path) for key in (b"images", b"categories"))
            self._index = _Index.of_spans(data, annotations, path, issues)
        self.images = self._pictures(images, issues)
        self.categories = self._names(categories or [], issues)
        self._position = self._positions(issues)
        pairs = zip(self._index.image_ids, self._index.category_ids, strict=True)
        self._peers = Counter(pairs)

    def __len__(self) -> int:
        return len(self._position)

    def __contains__(self, annotation: int) -> bool:
        return annotation in self._position

    def __iter__(self) -> Iterator[int]:
        return iter(self._position)

    def image_of(self, annotation: int) -> int:
        return self._index.image_ids[self._position[annotation]]

    def category_of(self, annotation: int) -> int:
        return self._index.category_ids[self._position[annotation]]

    def same_category(self, image: int, category: int) -> int:
        """How many annotations of the category the image has."""
        return self._peers[image, category]

    def annotation(self, annotation: int) -> Mapping[str, Any]:
        """The whole record, read from the file now."""
        record = self._index.record(self._position[annotation], self.path)
        if not isinstance(record, dict) or record.get("id") != annotation:
            raise InputError(f"{self.path} has changed since it was opened: annotation {annotation} has moved.")
        return record

    def records(self, issues: Issues) -> Iterator[Mapping[str, Any]]:
        """Every whole record, in the order of the file; the others are refused through the issues."""
        data = b"" if self._index.records else read_bytes(self.path)
        for annotation, position in self._position.items():
            if self._index.records:
                yield self._index.records[position]
                continue
            try:
                record = parse(data[slice(*self._index.spans[position])], self.path, f"annotation {annotation}")
            except DeixisError as error:
                issues.add(str(error))
            else:
                yield record

    def _parsed(self, data: bytes, issues: Issues) -> tuple[Any, Any, "_Index"]:
        """The whole file at once, for files laid out in ways the index does not know."""
        whole = parse(data, self.path)
        if not isinstance(whole, dict):
            raise InputError(f"{self.path} holds a {type(whole).__name__}; an object with 'images' is wanted.")
        index = _Index.of_records(whole.get("annotations", []), self.path, issues)
        return whole.get("images", []), whole.get("categories", []), index

    def _pictures(self, images: Any, issues: Issues) -> dict[int, Picture]:
        pictures: dict[int, Picture] = {}
        if not isinstance(images, list) or not images:
            raise InputError(f"{self.path} lists no images; is it COCO's instances file?")
        for number, image in enumerate(images):
            try:
                identity = int(image["id"])
                picture = Picture(_text(image["file_name"]), int(image["height"]), int(image["width"]))
            except (KeyError, TypeError, ValueError, OverflowError):
                issues.add(f"{self.path}: image number {number} has no whole id, file_name, height and width.")
                continue
            if identity in pictures:
                issues.add(f"{self.path}: two images have the id {identity}; ids must be unique.")
            else:
                pictures[identity] = picture
        return pictures

    def _names(self, categories: Any, issues: Issues) -> dict[int, str]:
        if not isinstance(categories, list):
            raise InputError(f"{self.path}: 'categories' is a {type(categories).__name__}; a list is wanted.")
        names: dict[int, str] = {}
        for number, category in enumerate(categories):
            try:
                names[int(category["id"])] = _text(category.get("name", ""))
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
                issues.add(f"{self.path}: category number {number} has no whole id and name.")
        return names

    def _positions(self, issues: Issues) -> dict[int, int]:
        index = self._index
        positions = dict(zip(index.ids, range(len(index.ids)), strict=True))
        if len(positions) != len(index.ids):
            doubled = [identity for identity, count in Counter(index.ids).items() if count > 1]
            for identity in doubled:
                issues.add(f"{self.path}: two annotations have the id {identity}; ids must be unique.")
        if not set(index.image_ids) <= self.images.keys():
            for identity, image in zip(index.ids, index.image_ids, strict=True):
                if image not in self.images and positions.pop(identity, None) is not None:
                    issues.add(f"{self.path}: annotation {identity} is on image {image}, which the file lacks.")
        return positions


@dataclass(frozen=True)
class _Index:
    """Annotations in the order of the file: their ids, and how to get at the rest."""

    ids: list[int]
    image_ids: list[int]
    category_ids: list[int]
    spans: np.ndarray  # first byte and the byte after the last, one row an annotation; empty where `records` has all
    records: list[Any]

    @classmethod
    def of_spans(cls, data: bytes, spans: list[Span], path: Path, issues: Issues) -> "_Index":
        rows, kept = [], []
        read_ids = _IDS.findall
        for number, (start, end) in enumerate(spans):
            found = read_ids(data, start, end)
            facts = dict(found)
            try:
                if len(found) == 3 and len(facts) == 3:
                    rows.append((int(facts[b"id"]), int(facts[b"image_id"]), int(facts[b"category_id"])))
                else:
                    rows.append(_three_ids(parse(data[start:end], path, f"annotation number {number}"), number, path))
                kept.append((start, end))
            except DeixisError as error:
                issues.add(str(error))
        return cls(*_columns(rows), np.array(kept, dtype=np.int64), [])

    @classmethod
    def of_records(cls, records: Any, path: Path, issues: Issues) -> "_Index":
        if not isinstance(records, list):
            raise InputError(f"{path}: 'annotations' is a {type(records).__name__}; a list is wanted.")
        rows, kept = [], []
        for number, record in enumerate(records):
            try:
                rows.append(_three_ids(record, number, path))
                kept.append(record)
            except DeixisError as error:
                issues.add(str(error))
        return cls(*_columns(rows), np.zeros((0, 2), dtype=np.int64), kept)

    def record(self, position: int, path: Path) -> Any:
        if self.records:
            return self.records[position]
        start, end = self.spans[position].tolist()
        return read_span(path, (start, end), f"annotation {self.ids[position]}")


def _columns(rows: list[tuple[int, int, int]]) -> tuple[list[int], list[int], list[int]]:
    return [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]


def _three_ids(record: Any, number: int, path: Path) -> tuple[int, int, int]:
    try:
        return int(record["id"]), int(record["image_id"]), int(record.get("category_id", -1))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise InputError(f"{path}: annotation number {number} has no whole id and image_id.") from None


def _text(value: Any) -> str:
    """Raises ValueError where it could not be written: JSON can name half a surrogate pair."""
    text = str(value)
    text.encode()
    return text
