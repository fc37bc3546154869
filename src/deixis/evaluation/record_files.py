"""Records of single expressions as JSON lines, on disk after every batch, so that an evaluation can be resumed.

The first line is the header: what was scored and how; an evaluation resumes only with an equal header. Several
processes write one shard each, and the shards are merged in the order of the split.
"""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from ..errors import InputError
from ..files import replaced
from ..metrics.protocols import ScoringProtocol
from ..metrics.scored import Scored, from_fields, to_line

Header = dict[str, Any]  # protocol, dataset, split, ids_hash, model …: what must agree before records are merged


class RecordWriter:
    """Appends records: a batch is on disk when `append` returns, and the file is made with the first batch."""

    def __init__(self, path: Path, header: Header, rules: ScoringProtocol) -> None:
        self.path, self.header, self.rules = path, header, rules
        self._file: TextIO | None = None

    def __enter__(self) -> "RecordWriter":
        self._exists = self.path.exists()
        return self

    def append(self, batch: Sequence[Scored]) -> None:
        if self._file is None:
            self._file = self._opened()
        self._file.writelines(to_line(scored, self.rules) + "\n" for scored in batch)
        self._file.flush()
        os.fsync(self._file.fileno())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def _opened(self) -> TextIO:
        """Raises FileExistsError where another process has made the file in the meantime."""
        has_header = self._exists and mend(self.path)
        file = self.path.open("a" if self._exists else "x", encoding="utf-8")
        if not has_header:
            file.write(json.dumps({"header": self.header}) + "\n")
        return file


def read_header(path: Path) -> Header:
    with path.open("rb") as file:
        return _header(path, file.readline())


def read_records(path: Path) -> Iterator[Scored]:
    """The records of one file, one at a time; an incomplete last line is ignored."""
    with path.open("rb") as file:
        _header(path, file.readline())
        for number, line in enumerate(file, start=2):
            if not line.endswith(b"\n"):
                return
            yield _record(path, number, line)


def check_header(path: Path, header: Header) -> None:
    """Raises `InputError` with what differs between the file's header and this one."""
    found = read_header(path)
    expected = json.loads(json.dumps(header))
    for name in expected:
        if found.get(name) != expected[name]:
            raise InputError(
                f"{path} holds records of another evaluation ({name}: {found.get(name)!r}, now {expected[name]!r}); "
                "give another --out, or remove the file."
            )


def merge_shards(shards: Sequence[Path], out: Path, header: Header, order: Sequence[str]) -> list[str]:
    """Write the shards' records in the order of the sentences' ids; where ids are missing, return them instead.

    Lines are copied, so memory grows with the number of ids only. A sentence in two shards counts once.
    """
    places: dict[str, tuple[int, int]] = {}
    for number, shard in enumerate(shards):
        mend(shard)
        with shard.open("rb") as file:
            offset = len(file.readline())
            for line_number, line in enumerate(file, start=2):
                scored = _record(shard, line_number, line)
                places.setdefault(scored.ids.sentence, (number, offset))
                offset += len(line)
    missing = [sentence for sentence in order if sentence not in places]
    if missing:
        return missing
    files = [shard.open("rb") for shard in shards]
    try:
        with replaced(out) as beside, beside.open("wb") as merged:
            merged.write(json.dumps({"header": header}).encode() + b"\n")
            for sentence in order:
                number, offset = places[sentence]
                files[number].seek(offset)
                merged.write(files[number].readline())
    finally:
        for file in files:
            file.close()
    return []


def mend(path: Path) -> bool:
    """Cut a file after its last complete line, where a process died while writing; returns whether a line is left."""
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - 4096)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                file.truncate(start + newline + 1)
                return True
            end = start
        file.truncate(0)
    return False


def _header(path: Path, line: bytes) -> Header:
    try:
        return dict(json.loads(line)["header"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise InputError(f"{path} is not a file of records: its first line is not a header; evaluate again.") from None


def _record(path: Path, number: int, line: bytes) -> Scored:
    try:
        return from_fields(json.loads(line))
    except (ValueError, TypeError, KeyError, RecursionError):
        raise InputError(f"{path}, line {number}: not the record of a scored expression; evaluate again.") from None
