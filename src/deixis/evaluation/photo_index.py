"""Expressions by their photo's path and their text, for masks that have no id of a sentence."""

import os

from ..errors import DeixisError, InputError
from ..records import Reader


class PhotoIndex:
    """The positions of a reader's expressions by photo and text; reads no pixels."""

    def __init__(self, reader: Reader) -> None:
        self._positions: dict[tuple[str, str], list[int]] = {}  # by the real path
        self._paths: dict[str, set[str]] = {}  # by the file's name
        for position in range(len(reader)):
            sample = reader[position]
            try:
                path = os.path.realpath(getattr(sample.visual, "path"))  # noqa: B009  # not every visual is a file
            except (AttributeError, DeixisError):
                continue
            self._positions.setdefault((path, sample.expression.strip()), []).append(position)
            self._paths.setdefault(os.path.basename(path), set()).add(path)

    def positions(self, photo: str, expression: str) -> list[int]:
        """All expressions of that text about that photo; none where the photo is in the split and the text is not.

        Where the path does not exist on this machine, the only photo of its name counts. Raises `InputError` where the
        split has no such photo.
        """
        path = os.path.realpath(photo)
        named = self._paths.get(os.path.basename(path), set())
        if path not in named and not os.path.exists(path) and len(named) == 1:
            path = next(iter(named))
        if path not in named:
            raise InputError(
                f"no 'id', and the photo {photo!r} is not one of this split; check --data and --split, or add the 'id' "
                "of the sentence."
            )
        return self._positions.get((path, expression.strip()), [])
