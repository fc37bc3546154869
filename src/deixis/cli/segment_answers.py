"""The files of `deixis segment`: how an answer is named, and which answers a folder has already."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError

DEFAULT = Path("deixis-out")
PICTURES = ("overlay", "mask", "evidence")
_DIGITS = 8  # of the hash in a name: one in four billion pairs of one stem and slug share it
_LONGEST_STEM = 255 - len(f"---{'0' * _DIGITS}-evidence.png")  # bytes of stem and slug; file systems allow 255
_OWN = re.compile(rf"(?P<stem>.+-[0-9a-f]{{{_DIGITS}}})-({'|'.join(PICTURES)})\.png")


def answer_name(identity: str, stem: str, expression: str) -> str:
    """The start of an answer's files; it depends on the photo's path and the expression alone.

    Stem and slug are for people, the hash keeps apart photos of one stem and expressions of one slug.
    """
    from ..predict.prediction import slug

    sentence = slug(expression)
    digest = hashlib.sha256(f"{identity}\0{expression}".encode(errors="surrogateescape")).hexdigest()[:_DIGITS]
    return f"{_cut(stem, _LONGEST_STEM - len(sentence.encode()))}-{sentence}-{digest}"


def is_own_file(path: Path) -> bool:
    """Whether `segment` wrote the picture: its name has a hash, and its mask or record is beside it."""
    own = _OWN.fullmatch(path.name)
    return own is not None and any(
        path.with_name(f"{own['stem']}{ending}").is_file() for ending in (".json", "-mask.png", "-overlay.png")
    )


@dataclass(frozen=True)
class Answers:
    """The answers in a folder, each with a record that says how it was computed.

    `settings` are those of this command, which answers that are kept must have been computed with.
    """

    folder: Path
    settings: Mapping[str, Any]

    def files(self, name: str, *, explain: bool) -> dict[str, Path]:
        kinds = PICTURES if explain else PICTURES[:2]
        return {kind: self.folder / f"{name}-{kind}.png" for kind in kinds}

    def record(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def kept(self, name: str, stamp: list[int], *, explain: bool) -> dict[str, Any] | None:
        """The record of an answer that need not be computed again: it is complete, and its photo is unchanged.

        Raises `InputError` where another model or threshold has computed it.
        """
        try:
            record = json.loads(self.record(name).read_text(encoding="utf-8"))
            written, settings = record["photo"], record["settings"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if settings != self.settings:
            either = {**self.settings, **settings}
            differing = [key for key in either if settings.get(key) != self.settings.get(key)]
            raise InputError(
                f"{self.record(name)} was computed with another {' and '.join(differing)}; give another --out, or "
                "--overwrite to replace it."
            )
        whole = all(file.is_file() for file in self.files(name, explain=explain).values())
        return record if whole and written == stamp else None

    def write(self, name: str, record: Mapping[str, Any], stamp: list[int]) -> None:
        """The record, which is written last and so marks a complete answer."""
        from ..predict.prediction import write

        content = {**record, "photo": stamp, "settings": dict(self.settings)}
        write(self.record(name), (json.dumps(content, ensure_ascii=False) + "\n").encode(errors="replace"))


def printed(record: Mapping[str, Any]) -> dict[str, Any]:
    """What `--json` prints of a record."""
    return {key: value for key, value in record.items() if key not in ("photo", "settings")}


def _cut(name: str, num_bytes: int) -> str:
    """The start of a file's name, cut between letters."""
    while len(os.fsencode(name)) > num_bytes:
        name = name[:-1]
    return name
