"""JSON files, and the records of large ones: each is parsed once at opening, and again when it is read.

COCO's instances hold fifty million coordinates, three gigabytes as Python objects, of which a reader needs a few
hundred at a time. So what is kept of a record at opening is the position of its first and last byte.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError
from .text_files import TextFile, read_text_file

Span = tuple[int, int]  # the first byte, and the byte after the last

_SPACE = re.compile(r"[ \t\r\n]*")


def parse(data: bytes | str, path: Path, record: str = "") -> Any:
    """The JSON value; errors name the file, and the record where one is given."""
    try:
        return json.loads(data)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{_place(path, record)} is not UTF-8 text ({error.reason} at byte {error.start}); save the file as UTF-8."
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{_place(path, record)} is not valid JSON ({error}); get a complete copy.") from error


def check_text(values: Iterable[Any], where: str) -> None:
    """Raises InputError where a text in the JSON values is half a surrogate pair, which no file can hold."""
    try:
        for value in values:
            if value is not None:
                (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)).encode()
    except (UnicodeEncodeError, RecursionError) as error:
        reason = error.reason if isinstance(error, UnicodeEncodeError) else str(error)
        raise InputError(f"{where} has a text that cannot be written as UTF-8 ({reason}); correct it.") from error


def read_span(path: Path, span: Span, record: str) -> Any:
    """The JSON value at these bytes of the file."""
    try:
        with path.open("rb") as file:
            file.seek(span[0])
            return parse(file.read(span[1] - span[0]), path, record)
    except OSError as error:
        raise InputError(f"{path} cannot be read any more: {error.strerror}.") from error


class JsonRecords:
    """The records of a JSON file: of the list that the file is, or of the list `key` in the object that it is."""

    def __init__(self, path: Path, key: str | None, visit: Callable[[int, Any], bool]) -> None:
        """`visit(number, record)` sees every record once, in order, and returns whether `read` will need it."""
        self.path = path
        self.members: dict[str, Any] = {}  # of the object, without the list of records
        file = read_text_file(path)
        self._held = file.data if file.start is None else b""
        text = file.text
        scanner = _Scanner(text)
        kept: list[Span] = []
        try:
            for number, record in enumerate(self._walk(scanner, key)):
                if visit(number, record):
                    kept.append(scanner.last)
            if scanner.peek():
                raise json.JSONDecodeError("Extra data", text, scanner.at)
        except (json.JSONDecodeError, RecursionError) as error:
            raise InputError(f"{path} is not valid JSON ({error}); get a complete copy.") from error
        self._spans = _bytes(kept, text, file)

    def read(self, position: int, record: str) -> Any:
        """The record that was kept as number `position`, from the file as it is now."""
        start, end = self._spans[position].tolist()
        return (
            parse(self._held[start:end], self.path, record)
            if self._held
            else read_span(self.path, (start, end), record)
        )

    def _walk(self, scanner: "_Scanner", key: str | None) -> Iterator[Any]:
        if key is None:
            yield from self._listed(scanner, "a list of records")
        elif not scanner.takes("{"):
            raise self._unexpected(scanner.value(), "an object")
        else:
            for name in scanner.elements("}"):
                if not isinstance(name, str) or not scanner.takes(":"):
                    raise json.JSONDecodeError("Expecting a name and ':'", scanner.text, scanner.at)
                if name == key:
                    yield from self._listed(scanner, f"a list as {key!r}")
                else:
                    self.members[name] = scanner.value()

    def _listed(self, scanner: "_Scanner", expected: str) -> Iterator[Any]:
        if not scanner.takes("["):
            raise self._unexpected(scanner.value(), expected)
        yield from scanner.elements("]")

    def _unexpected(self, found: Any, expected: str) -> InputError:
        return InputError(f"{self.path} holds type {type(found).__name__}; expected {expected}.")


class _Scanner:
    """Python's own JSON decoder, moved over a text value by value."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.last: Span = (0, 0)  # of the last value
        self._decode = json.JSONDecoder().raw_decode

    def peek(self) -> str:
        """The next character that is not space."""
        self.at = _SPACE.match(self.text, self.at).end()  # type: ignore[union-attr]
        return self.text[self.at : self.at + 1]

    def takes(self, mark: str) -> bool:
        if self.peek() != mark:
            return False
        self.at += 1
        return True

    def value(self) -> Any:
        start = _SPACE.match(self.text, self.at).end()  # type: ignore[union-attr]
        value, self.at = self._decode(self.text, start)
        self.last = (start, self.at)
        return value

    def elements(self, close: str) -> Iterator[Any]:
        """The values up to the closing mark, with a comma between them."""
        if self.takes(close):
            return
        yield self.value()
        while (mark := self.peek()) == ",":
            self.at += 1
            yield self.value()
        if mark != close:
            raise json.JSONDecodeError("Expecting ',' delimiter", self.text, self.at)
        self.at += 1


def _bytes(spans: list[Span], text: str, file: TextFile) -> np.ndarray:
    """Positions in the text as positions in the file; in the held bytes where the file has another encoding."""
    ends = np.array(spans, dtype=np.int64).reshape(-1, 2)
    if not text.isascii():
        before, at, found = 0, 0, []
        for position in ends.reshape(-1).tolist():
            before += len(text[at:position].encode())
            at = position
            found.append(before)
        ends = np.array(found, dtype=np.int64).reshape(-1, 2)
    return ends + (file.start or 0)


def _place(path: Path, record: str) -> str:
    return f"{path}, {record}," if record else f"{path}"
