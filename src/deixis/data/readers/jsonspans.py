"""The places of objects in a large JSON file, found by their braces, so that each can be parsed when it is wanted."""

import json
import re
from pathlib import Path
from typing import Any

from ...errors import InputError

Span = tuple[int, int]  # the first byte, and the byte after the last

_TEXT = rb'"(?:[^"\\]++|\\.)*+"'
_DEPTH = 8  # objects within objects that the patterns follow


def _nested(depth: int) -> bytes:
    inner = rb"|" + _nested(depth - 1) if depth else b""
    return rb"\{(?:[^{}\"]++|" + _TEXT + inner + rb")*+\}"


_OBJECT = re.compile(_nested(_DEPTH), re.DOTALL)
_KEY = re.compile(rb"\s*+(" + _TEXT + rb")\s*+:\s*+", re.DOTALL)
_SCALAR = re.compile(_TEXT + rb"|[^][{}\",\s]++", re.DOTALL)
_CLOSE = re.compile(rb"\s*+\]")
_BETWEEN = re.compile(rb"\s*+([,}])\s*+")


def read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error


def parse(data: bytes, path: Path, record: str = "") -> Any:
    """The JSON value; errors name the file, and the record where one is given."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        where = f"{path}, {record}," if record else f"{path}"
        raise InputError(f"{where} is no whole JSON ({error}); mend it, or get a whole copy.") from error


def check_text(value: Any, where: str) -> None:
    """Raises DeixisError where a text in the JSON value cannot be written: JSON can name half a surrogate pair."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError) as error:
        reason = error.reason if isinstance(error, UnicodeEncodeError) else str(error)
        raise InputError(f"{where} has a text that cannot be written as UTF-8 ({reason}); mend it.") from error


def read_span(path: Path, span: Span, record: str) -> Any:
    """The JSON value that lies there now."""
    try:
        with path.open("rb") as file:
            file.seek(span[0])
            return parse(file.read(span[1] - span[0]), path, record)
    except OSError as error:
        raise InputError(f"{path} cannot be read any more: {error.strerror}.") from error


def top_level(data: bytes) -> tuple[dict[bytes, Span], list[Span]]:
    """Key -> first byte of its value and the byte after the last, and the same of every annotation.

    Both are empty where the layout is another than COCO's: an object of lists of objects, and of smaller things.
    """
    spans: dict[bytes, Span] = {}
    annotations: list[Span] = []
    start = len(data) - len(data.lstrip())
    position = start + 1
    while data[start : start + 1] == b"{" and (key := _KEY.match(data, position)):
        value, name = key.end(), key[1][1:-1]
        if data[value : value + 1] == b"[":
            listed = objects(data, value)
            end = _past(_CLOSE, data, listed[-1][1] if listed else value + 1)
            annotations = listed if name == b"annotations" else annotations
        else:
            end = _past(_OBJECT if data[value : value + 1] == b"{" else _SCALAR, data, value)
        between = _BETWEEN.match(data, end) if end else None
        if between is None or name in spans:
            break
        spans[name] = (value, end)
        if between[1] == b"}":
            if between.end() == len(data):
                return spans, annotations
            break
        position = between.end()
    return {}, []


def _past(pattern: re.Pattern[bytes], data: bytes, start: int) -> int:
    """The byte after the match at `start`, or 0."""
    match = pattern.match(data, start)
    return match.end() if match else 0


def objects(data: bytes, start: int) -> list[Span]:
    """The spans of the objects of the list that starts at `start`, up to the first thing that is none."""
    spans: list[Span] = []
    has_escaped_quotes = b'\\"' in data
    position = start + 1
    first = data.find(b"{", position)
    while first >= 0 and not data[position:first].strip(b" \t\r\n,"):
        end = 0 if has_escaped_quotes else _past_plain(data, first)
        end = end or _past(_OBJECT, data, first)
        if not end:
            return spans
        spans.append((first, end))
        position, first = end, data.find(b"{", end)
    return spans


def _past_plain(data: bytes, first: int) -> int:
    """The byte after an object that holds one object at most, by counting; 0 where braces may be part of a text.

    A brace is outside of any text where the quotes before it are even in number, given that none is escaped.
    """
    find, count = data.find, data.count
    end = find(b"}", first) + 1
    inner = find(b"{", first + 1, end)
    if inner >= 0:
        if count(b'"', first, inner) % 2 or count(b'"', inner, end) % 2:
            return 0
        closed, end = end, find(b"}", end) + 1
        if find(b"{", inner + 1, end) >= 0 or count(b'"', closed, end) % 2:
            return 0
        return end
    return end if count(b'"', first, end) % 2 == 0 else 0
