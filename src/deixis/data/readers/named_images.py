"""The photo that a record names: found inside the data set's own folder, and held to the size it should have."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
from jaxtyping import UInt8

from ...errors import DeixisError, InputError
from ..images import ImageFile


def confined(root: Path, name: object, record: str) -> Path:
    """The file `name` under `root`; a name that leaves it (`..`, an absolute path, a symlink) is refused."""
    if not isinstance(name, str) or not name or "\0" in name:
        raise InputError(f"{record} names no file (a text was wanted, {type(name).__name__} came).")
    pure = PurePosixPath(name)
    if pure.is_absolute() or PureWindowsPath(name).anchor or ".." in pure.parts or ".." in PureWindowsPath(name).parts:
        raise InputError(f"{record} names {name[:200]!r}, which leaves {root}; only files under it are read.")
    path = root / name
    try:
        inside = path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{record} names {name[:200]!r}, which cannot be followed ({error}).") from error
    if not inside:
        raise InputError(f"{record} names {name[:200]!r}, a link that leaves {root}; put the file itself there.")
    return path


@dataclass(frozen=True, slots=True)
class NamedImage:
    """A photo whose size its record tells, so that masks can be scored where the pixels are absent."""

    root: Path
    name: str
    height: int
    width: int
    record: str  # the file and record that name it, for errors

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def path(self) -> Path:
        """Where the file is; raises DeixisError if it is absent or outside the root."""
        path = confined(self.root, self.name, self.record)
        try:
            is_there = path.is_file()
        except OSError as error:  # such as a name too long
            name = self.name[:200]
            raise InputError(f"{self.record} names {name!r}, which cannot be a file ({error.strerror}).") from error
        if not is_there:
            raise InputError(f"{path} is missing, but {self.record} names it; download the images into {self.root}.")
        return path

    @property
    def num_frames(self) -> int:
        return 1

    def read(self, frames: Sequence[int] | None = None) -> UInt8[np.ndarray, "t h w 3"]:
        try:
            pixels = ImageFile(self.path).read()
        except DeixisError as error:
            raise InputError(str(error) if self.record in str(error) else f"{self.record}: {error}") from error
        if pixels.shape[1:3] != self.size:
            came = f"{pixels.shape[1]}x{pixels.shape[2]}"
            raise InputError(
                f"{self.path} is {came} pixels (height x width), but {self.record} says {self.height}x{self.width}."
            )
        return pixels if frames is None else pixels[list(frames)]


def named_image(root: Path, name: object, size: tuple[int, int] | None, record: str) -> NamedImage:
    """The photo `name` under `root`; where its record tells no size, the file's header does and must be there."""
    confined(root, name, record)
    height, width = size or (0, 0)
    named = NamedImage(root, str(name), height, width, record)
    if size:
        return named
    try:
        height, width = ImageFile(named.path).size
    except DeixisError as error:
        raise InputError(str(error) if record in str(error) else f"{record}: {error}") from error
    return replace(named, height=height, width=width)
