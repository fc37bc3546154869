"""The frames of a clip one after another, so that a clip of any length needs the memory of a few frames."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from ..records import Visual

Pixels = UInt8[np.ndarray, "h w 3"]


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: its position in presentation order from 0, and its time in seconds after the first frame."""

    index: int
    time: float | None  # None where the clip has no times, as a folder of images without a rate
    decode: Callable[[], Pixels]

    @property
    def pixels(self) -> Pixels:
        """RGB, upright; decoded or converted at each access, so that frames that are passed over cost little."""
        return self.decode()


class FrameStream(Iterator[Frame]):
    """The frames in order, once. After the last one `note` says where the clip ended early, or is empty."""

    def __init__(self, frames: Generator[Frame, None, str]) -> None:
        """The generator returns the note."""
        self._frames = frames
        self.note = ""

    def __next__(self) -> Frame:
        try:
            return next(self._frames)
        except StopIteration as end:
            self.note = end.value or self.note
            raise StopIteration from None

    def close(self) -> None:
        """Closes the file, also before the last frame."""
        self._frames.close()

    def __enter__(self) -> "FrameStream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@runtime_checkable
class Streamed(Protocol):
    """A clip whose frames can be read one after another."""

    def frames(self) -> FrameStream: ...


def each_frame(visual: Visual) -> Iterator[Pixels]:
    """The pixels of every frame, one in memory at a time."""
    if isinstance(visual, Streamed):
        with visual.frames() as frames:
            for frame in frames:
                yield frame.pixels
    else:
        yield from visual.read()
