"""The photo that a record names: found below the data set's folder, and checked against the size it should have."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ...errors import DeixisError, InputError
from ..images import ImageFile
from .named_files import SearchFolders


@dataclass(frozen=True, slots=True)
class NamedImage:
    """A photo whose size its record gives, so that masks can be scored where the pixels are absent."""

    folders: SearchFolders
    name: str
    height: int
    width: int
    record: str  # the file and record that name it, for errors
    ignore_exif: bool = False

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def path(self) -> Path:
        """Where the file is; raises InputError if it is absent or outside the root."""
        return self.folders.find(self.name, self.record)

    @property
    def num_frames(self) -> int:
        return 1

    def read(self, frames: Sequence[int] | None = None) -> UInt8[np.ndarray, "t h w 3"]:
        with _naming(self.record):
            pixels = ImageFile(self.path, self.ignore_exif).read()
        if pixels.shape[1:3] != self.size:
            raise InputError(
                f"{self.path} is {pixels.shape[1]}x{pixels.shape[2]} pixels (height x width), but {self.record} says "
                f"{self.height}x{self.width}.{self.exif_hint((pixels.shape[1], pixels.shape[2]), self.size)}"
            )
        return pixels if frames is None else pixels[list(frames)]

    def exif_hint(self, photo: tuple[int, int], other: tuple[int, int]) -> str:
        """A sentence where the photo is turned by EXIF, and a size that does not fit is the unturned one."""
        if photo != other[::-1] or self.ignore_exif or not self._is_turned():
            return ""
        return (
            f" EXIF turns this photo to {photo[0]}x{photo[1]}, and {other[0]}x{other[1]} is the unturned one: write "
            '"exif": "ignore" in the record, or give --exif ignore, to read the photo unturned.'
        )

    def _is_turned(self) -> bool:
        try:
            return ImageFile(self.path).is_turned
        except DeixisError:
            return False


def named_image(
    folders: SearchFolders, name: object, size: tuple[int, int] | None, record: str, ignore_exif: bool = False
) -> NamedImage:
    """The photo `name`; where its record has no size, the file must exist and its header gives the size."""
    height, width = size or (0, 0)
    named = NamedImage(folders, str(name), height, width, record, ignore_exif)
    if size:
        return named
    with _naming(record):
        height, width = ImageFile(folders.find(name, record), ignore_exif).size
    return replace(named, height=height, width=width)


@contextmanager
def _naming(record: str) -> Iterator[None]:
    """Errors inside name the record."""
    try:
        yield
    except DeixisError as error:
        raise InputError(str(error) if record in str(error) else f"{record}: {error}") from error
