"""A folder of images as a clip: its frames by a list of names, or all of them in the order of their numbers."""

import re
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ..errors import InputError
from .frame_streams import Frame, FrameStream, Pixels
from .image_folders import is_image_name
from .images import ImageFile, open_image

_NUMBERED = re.compile(r"(.*?)(\d+)(\D*)")  # the last number of a stem, and what is around it
_SYSTEM_FILES = {"thumbs.db", "desktop.ini"}


@dataclass(frozen=True, slots=True)
class FrameFolder:
    """The images of a folder with these names, in this order; all must have the size of the first one."""

    folder: Path
    names: tuple[str, ...]
    rate: float | None = None  # frames per second; without it frames have no times

    @property
    def path(self) -> Path:
        return self.folder

    @property
    def size(self) -> tuple[int, int]:
        first = self.folder / self.names[0]
        if not first.is_file():
            raise self._missing(first)
        return ImageFile(first).size

    @property
    def num_frames(self) -> int:
        return len(self.names)

    @property
    def expected_frames(self) -> int:
        return len(self.names)

    def read(self, frames: Sequence[int] | None = None) -> UInt8[np.ndarray, "t h w 3"]:
        positions = range(len(self.names)) if frames is None else frames
        decoded = {position: self._pixels(position) for position in dict.fromkeys(positions)}
        return np.stack([decoded[position] for position in positions])

    def frames(self) -> FrameStream:
        return FrameStream(self._stream())

    def _stream(self) -> Generator[Frame, None, str]:
        for index in range(len(self.names)):
            time = None if self.rate is None else index / self.rate
            yield Frame(index, time, partial(self._pixels, index))
        return ""

    def _pixels(self, position: int) -> Pixels:
        if not 0 <= position < len(self.names):
            raise InputError(f"{self.folder} has {len(self.names)} frames; frame {position + 1} was requested.")
        file = self.folder / self.names[position]
        if not file.is_file():
            raise self._missing(file)
        pixels = open_image(file)
        if pixels.shape[:2] != self.size:
            height, width = self.size
            raise InputError(
                f"{file} is {pixels.shape[0]}x{pixels.shape[1]} pixels (height x width), "
                f"but the first frame of its clip, {self.names[0]}, is {height}x{width}; all must have one size."
            )
        return pixels

    def _missing(self, file: Path) -> InputError:
        return InputError(f"{file} is missing, but it is a frame of its clip; put the file there.")


def frame_folder(folder: Path, rate: float | None = None) -> FrameFolder:
    """All images of the folder as a clip; raises InputError where their order or number is not certain."""
    return FrameFolder(folder, numbered_frames(folder), rate)


def numbered_frames(folder: Path) -> tuple[str, ...]:
    """The names of the folder's images in the order of their numbers; hidden files are ignored.

    Numbers are padded to one width with zeros (00001), or not padded (1), and have equal steps. Raises InputError
    without an image, for other names, for two images of one number, and for a gap.
    """
    found = image_names(folder)
    if not found:
        raise InputError(f"{folder} holds no images; expected the frames of a clip, such as 00001.jpg, 00002.jpg.")
    numbers = _numbers(found, folder)
    names = sorted(found, key=numbers.__getitem__)
    _check_steps([numbers[name] for name in names], names, folder)
    return tuple(names)


def image_names(folder: Path) -> list[str]:
    """The images of a folder by the order of their names, without what operating systems leave there."""
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}; expected the frames of a clip there.")
    return sorted(_visible(folder))


def _visible(folder: Path) -> Iterator[str]:
    for path in folder.iterdir():
        if is_image_name(path.name) and path.name.lower() not in _SYSTEM_FILES:
            yield path.name


def _numbers(names: Sequence[str], folder: Path) -> dict[str, int]:
    parts = {name: _NUMBERED.fullmatch(Path(name).stem) for name in names}
    if odd := next((name for name, match in parts.items() if match is None), None):
        raise InputError(f"{folder} holds {odd!r}, which has no number; frames are named as 00001.jpg, 00002.jpg.")
    found = {name: (match[1], match[2], match[3]) for name, match in parts.items() if match}
    around = Counter((before, after) for before, _, after in found.values())
    if len(around) > 1:
        several = " and ".join(f"'{before}N{after}'" for before, after in list(around)[:2])
        raise InputError(f"{folder} mixes names of the kinds {several}; expected the frames of one clip.")
    numbers = {name: int(digits) for name, (_, digits, _) in found.items()}
    width = min(len(digits) for _, digits, _ in found.values())
    if mixed := next((name for name, (_, digits, _) in found.items() if digits != f"{int(digits):0{width}d}"), None):
        raise InputError(
            f"{folder} mixes padded and plain numbers, such as {mixed!r} and {min(names, key=len)!r}; rename the "
            "frames to one style, such as 00001.jpg."
        )
    if twice := next((number for number, count in Counter(numbers.values()).items() if count > 1), None):
        both = " and ".join(repr(name) for name in names if numbers[name] == twice)
        raise InputError(f"{folder} holds {both}, two images of one number; keep one image a frame.")
    return numbers


def _check_steps(numbers: Sequence[int], names: Sequence[str], folder: Path) -> None:
    steps = np.diff(numbers)
    if len(steps) and (steps != steps.min()).any():
        at = int(np.flatnonzero(steps != steps.min())[0])
        raise InputError(
            f"{folder} has a gap: after {names[at]} comes {names[at + 1]}, where other numbers are {steps.min()} apart;"
            " add the missing frames, or number them anew."
        )
