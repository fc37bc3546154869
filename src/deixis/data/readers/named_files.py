"""Find the file that a record names: below the data set's own folder, however the name was written."""

import difflib
import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import unquote

from ...errors import InputError

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
ALLOW = "allow it with --allow-outside, in training --data.allow-outside True, in Python allow_outside=True"
_COMPARED = 5000  # names of a folder that a missing one is compared with


@dataclass(frozen=True, slots=True)
class SearchFolders:
    """Where files are looked for: in `places`, one after the other, which are folders below `root`.

    No file outside the root is read, unless `allow_outside`.
    """

    root: Path
    places: tuple[str, ...] = ("", "images")
    allow_outside: bool = False

    def find(self, name: object, record: str) -> Path:
        """The first file that exists, of the name as written and then as other systems write it.

        The other forms are: `\\` as `/`, percent-encoding decoded, the other Unicode normal forms, and without a
        leading folder that is the root or one of the places. Raises InputError, which names the record.
        """
        name = _checked(name, record)
        inside = [variant for variant in _variants(name) if self._stays_inside(variant)]
        if not inside:
            raise InputError(
                f"{record} names {name[:200]!r}, which leaves {self.root}; only files under it are read. Put the file "
                f"there and name it from there, or {ALLOW}."
            )
        for candidate in self._candidates(inside):
            try:
                if not candidate.is_file():
                    continue
                resolved, root = candidate.resolve(), self.root.resolve()
            except (OSError, RuntimeError, ValueError) as error:
                reason = getattr(error, "strerror", None) or error
                raise InputError(f"{record} names {name[:200]!a}, which cannot be a file ({reason}).") from error
            if not self.allow_outside and not resolved.is_relative_to(root):
                raise InputError(
                    f"{record} names {name[:200]!r}, a link that leaves {self.root}; put the file itself there, or "
                    f"{ALLOW}."
                )
            return candidate
        raise InputError(
            f"{self._shown(inside[0])} is missing, but {record} names it{self._nearest(inside)}; put the file there."
        )

    def _shown(self, name: str) -> Path:
        """Where the file would be: the first of the places that is a folder."""
        return next((path for path in self._candidates([name]) if path.parent.is_dir()), self.root / name)

    def _stays_inside(self, name: str) -> bool:
        if self.allow_outside:
            return True
        windows = PureWindowsPath(name)
        if ".." in PurePosixPath(name).parts or ".." in windows.parts or windows.drive:
            return False
        return not windows.root or Path(name).is_relative_to(self.root.absolute())

    def _candidates(self, names: list[str]) -> Iterator[Path]:
        layout = {part for place in self.places for part in PurePosixPath(place).parts} | {self.root.absolute().name}
        shortened = []
        for name in names:
            parts = list(PurePosixPath(name).parts)
            while len(parts) > 1 and parts[0] in layout:
                parts.pop(0)
                shortened.append("/".join(parts))
        for name in dict.fromkeys([*names, *shortened]):
            for place in self.places:
                yield self.root / place / name

    def _nearest(self, names: list[str]) -> str:
        """`; the nearest name there is …`, and how it differs where it looks alike; nothing where none is near."""
        name = PurePosixPath(names[-1]).name
        folders = dict.fromkeys(path.parent for path in self._candidates(names))
        listed = [each for folder in folders for each in _file_names(folder)][:_COMPARED]
        alike = [each for each in listed if _skeleton(each) == _skeleton(name)]
        near = alike or difflib.get_close_matches(name, listed, n=1, cutoff=0.7)
        if not near:
            return ""
        return f"; the nearest name there is {near[0]!r}{_difference(name, near[0])}"


def _checked(name: object, record: str) -> str:
    if not isinstance(name, str) or not name or "\0" in name:
        raise InputError(f"{record} names no file: found {type(name).__name__}, expected a text.")
    if _ADDRESS.match(name):
        raise InputError(f"{record} names the address {name[:200]!r}; download the file and name the copy.")
    try:
        os.fsencode(name)
    except UnicodeEncodeError as error:
        raise InputError(f"{record} names {name[:200]!a}, which cannot be a file name ({error.reason}).") from error
    return name


def _variants(name: str) -> list[str]:
    """The name as written first, then as other systems and tools write it."""
    forms = dict.fromkeys([name, name.replace("\\", "/")])
    forms |= dict.fromkeys(unquote(form) for form in [*forms] if "%" in form)
    forms |= dict.fromkeys(form.replace("\\", "/") for form in [*forms])
    forms |= dict.fromkeys(unicodedata.normalize(kind, form) for form in [*forms] for kind in ("NFC", "NFD"))
    return [form for form in forms if "\0" not in form]


def _file_names(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
    except OSError:
        return []


def _skeleton(name: str) -> str:
    """What two names share that look alike: without case, marks, spaces, and with look-alike letters as one."""
    plain = unicodedata.normalize("NFKD", name).casefold()
    kept = (each for each in plain if unicodedata.category(each)[0] not in "MZC")
    return "".join(kept).translate(_LOOK_ALIKE)


# Cyrillic and Greek letters, digits and dashes that look like a Latin letter or a hyphen.
_LOOK_ALIKE = str.maketrans("асеорхуіјѕԁһкмтвнαορτικνυ01l|–—−", "aceopxyijsdhkmtbhaoptikvuoiii---")


def _difference(name: str, found: str) -> str:
    if _skeleton(name) != _skeleton(found):
        return ""
    if name.casefold() == found.casefold():
        return ", which differs in upper and lower case"
    for number, (ours, theirs) in enumerate(zip(name, found, strict=False), 1):
        if ours != theirs and ours.casefold() != theirs.casefold():
            return f", whose character {number} is {_spelled(theirs)} instead of {_spelled(ours)}"
    longer, shorter = (name, found) if len(name) > len(found) else (found, name)
    extra = longer[len(shorter)]
    return f", which is {'without' if longer is name else 'with'} a {_spelled(extra)} at the end"


def _spelled(character: str) -> str:
    return unicodedata.name(character, f"U+{ord(character):04X}")
