"""Text files as people save them: UTF-8 with or without a byte order mark, UTF-16 and UTF-32."""

import codecs
import json
from dataclasses import dataclass
from pathlib import Path

from ...errors import InputError

_MARKS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file's text as UTF-8 bytes, without a byte order mark.

    `start` is where these bytes begin in the file; None where the file has another encoding, so that its bytes differ.
    """

    path: Path
    data: bytes
    start: int | None

    @property
    def text(self) -> str:
        """Raises InputError with the line where the file is not UTF-8."""
        try:
            return self.data.decode()
        except UnicodeDecodeError as error:
            line = self.data.count(b"\n", 0, error.start) + 1
            raise InputError(
                f"{self.path}, line {line}: byte {error.start:,} is not UTF-8 text ({error.reason}); save the file as "
                "UTF-8."
            ) from error


def read_text_file(path: Path) -> TextFile:
    """The text of the file; UTF-16 and UTF-32 are recognised by their marks or by the zeros of their first letters."""
    data = read_bytes(path)
    if data.startswith(codecs.BOM_UTF8):
        return TextFile(path, data[3:], 3)
    encoding = json.detect_encoding(data[:4])  # for two or more ASCII letters, with which every format here begins
    if not data.startswith(_MARKS) and encoding == "utf-8":
        return TextFile(path, data, 0)
    try:
        return TextFile(path, data.decode(encoding).encode(), None)
    except UnicodeError as error:
        raise InputError(f"{path} is not valid {encoding.upper()} text ({error}); save it as UTF-8.") from error


def read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
