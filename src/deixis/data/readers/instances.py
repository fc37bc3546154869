"""COCO's `instances.json`: images, categories, and an index of annotations that are parsed when asked for."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import DeixisError, InputError
from ..validation import Issues
from .identity import Identity, identity, required_identity
from .json_files import JsonRecords


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """What the file says of an image; `size` is None where the photo's header counts."""

    name: str
    size: tuple[int, int] | None  # height, width
    ignore_exif: bool = False


class Instances:
    """The images, categories and annotations of one file, by id."""

    def __init__(
        self,
        path: Path,
        issues: Issues | None = None,
        visit: Callable[[Identity, Mapping[str, Any]], None] | None = None,
    ) -> None:
        """Raises InputError, or adds to the issues, where an id is doubled or an annotation's image is absent.

        `visit` is called with every annotation that has ids, while the file is read.
        """
        self.path, self._visit = path, visit
        issues = Issues() if issues is None else issues
        self._ids: list[Identity] = []
        self._image_ids: list[Identity] = []
        self._category_ids: list[Identity] = []
        self._records = JsonRecords(path, "annotations", lambda number, record: self._keep(number, record, issues))
        self._visit = None
        self.images = self._read_images(self._records.members.get("images"), issues)
        self.categories = self._read_categories(self._records.members.get("categories") or [], issues)
        self._position = self._positions(issues)
        self._peers = Counter(zip(self._image_ids, self._category_ids, strict=True))

    def __len__(self) -> int:
        return len(self._position)

    def __contains__(self, annotation: Identity) -> bool:
        return annotation in self._position

    def __iter__(self) -> Iterator[Identity]:
        return iter(self._position)

    def image_of(self, annotation: Identity) -> Identity:
        return self._image_ids[self._position[annotation]]

    def category_of(self, annotation: Identity) -> Identity:
        return self._category_ids[self._position[annotation]]

    def same_category(self, image: Identity, category: Identity) -> int:
        """How many annotations of the category the image has."""
        return self._peers[image, category]

    def annotation(self, annotation: Identity) -> Mapping[str, Any]:
        """The whole record, read from the file now."""
        record = self._records.read(self._position[annotation], f"annotation {annotation}")
        if not isinstance(record, dict) or identity(record.get("id")) != annotation:
            raise InputError(f"{self.path} has changed since it was opened: annotation {annotation} has moved.")
        return record

    def _keep(self, number: int, record: Any, issues: Issues) -> bool:
        try:
            name, image, category = record["id"], record["image_id"], record["category_id"]
            plain = type(name) is type(image) is type(category) is int  # nearly all; the others take longer
        except (KeyError, TypeError):
            plain = False
        if not plain:
            try:
                name, image, category = self._three_ids(record, f"{self.path}: annotation number {number}")
            except DeixisError as error:
                issues.add(str(error))
                return False
        self._ids.append(name)
        self._image_ids.append(image)
        self._category_ids.append(category)
        if self._visit is not None:
            self._visit(name, record)
        return True

    def _three_ids(self, record: Any, where: str) -> tuple[Identity, Identity, Identity]:
        name, image = required_identity(record, "id", where), required_identity(record, "image_id", where)
        return name, image, -1 if record.get("category_id") is None else required_identity(record, "category_id", where)

    def _read_images(self, images: Any, issues: Issues) -> dict[Identity, ImageRecord]:
        found: dict[Identity, ImageRecord] = {}
        if not isinstance(images, list) or not images:
            raise InputError(f"{self.path} lists no images; expected COCO's instances with a list 'images'.")
        for number, image in enumerate(images):
            where = f"{self.path}: image number {number}"
            try:
                name = required_identity(image, "id", where)
                record = ImageRecord(_file_name(image, where), _size(image, where), image.get("exif") == "ignore")
            except DeixisError as error:
                issues.add(str(error))
                continue
            if name in found:
                issues.add(f"{self.path}: two images have the id {name}; ids must be unique.")
            else:
                found[name] = record
        return found

    def _read_categories(self, categories: Any, issues: Issues) -> dict[Identity, str]:
        if not isinstance(categories, list):
            raise InputError(f"{self.path}: 'categories' is of type {type(categories).__name__}; expected a list.")
        names: dict[Identity, str] = {}
        for number, category in enumerate(categories):
            where = f"{self.path}: category number {number}"
            try:
                name = required_identity(category, "id", where)
                names[name] = _text(category.get("name", ""), "name", where)
            except DeixisError as error:
                issues.add(str(error))
        return names

    def _positions(self, issues: Issues) -> dict[Identity, int]:
        positions = {name: position for position, name in enumerate(self._ids)}
        if len(positions) != len(self._ids):
            for name in [name for name, count in Counter(self._ids).items() if count > 1]:
                issues.add(f"{self.path}: two annotations have the id {name}; ids must be unique.")
        if not set(self._image_ids) <= self.images.keys():
            for name, image in zip(self._ids, self._image_ids, strict=True):
                if image not in self.images and positions.pop(name, None) is not None:
                    issues.add(f"{self.path}: annotation {name} is on image {image}, which the file lacks.")
        return positions


def _file_name(image: Mapping[str, Any], where: str) -> str:
    if not image.get("file_name"):
        raise InputError(f"{where} has no 'file_name'; expected a text.")
    return _text(image["file_name"], "file_name", where)


def _size(image: Mapping[str, Any], where: str) -> tuple[int, int] | None:
    """Height and width; None where one of them is absent or 0."""
    sides = []
    for key in ("height", "width"):
        try:
            sides.append(int(image.get(key) or 0))
        except (TypeError, ValueError, OverflowError):
            raise InputError(f"{where} has the {key!r} {str(image[key])[:40]!a}; expected a number.") from None
    return (sides[0], sides[1]) if all(sides) else None


def _text(value: Any, key: str, where: str) -> str:
    """Raises InputError for half a surrogate pair, which JSON can name and no file can hold."""
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{where} has a {key!r} that cannot be written as UTF-8 ({error.reason}).") from None
    return text
