"""The frames of a clip, asked one after another: decode, ask, yield, forget.

The memory holds the window of frames that the system reads and one more, whatever the clip's length.
"""

import math
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from jaxtyping import Float32

from ..data.clips import Clip, Frame, open_clip
from ..data.frame_streams import Pixels
from ..data.transforms import Preprocess
from ..errors import InputError
from .encoded import Maps, Question
from .prediction import Prediction

if TYPE_CHECKING:
    from .segmenter import Segmenter

T = TypeVar("T")
SLACK = 1e-6  # seconds; times are sums of floats
NEGLIGIBLE = 2.0**-24  # of a probability: half a step of single precision at 1


@dataclass(frozen=True, kw_only=True)
class FrameChoice:
    """Which frames are asked: from `start` to `end` in seconds, both included, every n-th or `fps` a second.

    The first frame from `start` on is always asked; `fps` goes by the frames' times, so a variable rate is respected.
    `indices` names the frames instead.
    """

    every: int = 1
    fps: float | None = None
    start: float | None = None
    end: float | None = None
    indices: frozenset[int] | None = None

    def __post_init__(self) -> None:
        if self.every < 1:
            raise InputError(f"every is {self.every}; expected 1 for each frame, 2 for every second one, and so on.")
        if self.fps is not None and not 0 < self.fps < math.inf:
            raise InputError(f"fps is {self.fps}; expected a positive number of frames a second.")
        if self.fps is not None and self.every != 1:
            raise InputError("Both every and fps are given; choose one of them.")
        for name, value in (("start", self.start), ("end", self.end)):
            if value is not None and not 0 <= value < math.inf:
                raise InputError(f"{name} is {value}; expected seconds from 0.")
        if self.start is not None and self.end is not None and self.start > self.end:
            raise InputError(f"start is {self.start:g} s and end is {self.end:g} s; expected a start before the end.")

    @property
    def needs_times(self) -> bool:
        return (self.fps, self.start, self.end) != (None, None, None)

    def expected(self, clip: Clip) -> int | None:
        """About how many frames are asked, by the clip's header; None where it does not say."""
        if self.indices is not None:
            return len(self.indices)
        count, rate = clip.expected_frames, clip.rate
        if count is None or (self.needs_times and not rate):
            return None
        if rate:
            first, last = (self.start or 0) * rate, count if self.end is None else min(count, self.end * rate + 1)
            count = max(1, int(last - first))
            if self.fps is not None and self.fps < rate:
                return max(1, math.ceil(count / rate * self.fps - SLACK))
        return math.ceil(count / self.every)

    def marked(self, frames: Iterable[Frame], path: Path | str, ahead: int = 0) -> Iterator[tuple[Frame, bool]]:
        """Each frame and whether it is asked, up to `ahead` frames behind the last one that can be."""
        number, first, slot, beyond = 0, 0.0, -1, 0
        for frame in frames:
            if self.needs_times and frame.time is None:
                raise InputError(
                    f"The frames of {path} have no times; give their rate in frames a second, or omit start, end and "
                    "fps."
                )
            beyond += self._is_beyond(frame)
            if beyond > ahead:
                return
            if beyond or not self._is_inside(frame):
                yield frame, False
                continue
            time = frame.time or 0.0
            first = first if number else time
            passed = math.floor((time - first) * self.fps + SLACK) if self.fps is not None else 0
            is_due = passed > slot if self.fps is not None else number % self.every == 0
            number, slot = number + 1, max(slot, passed)
            yield frame, is_due

    def _is_beyond(self, frame: Frame) -> bool:
        if self.indices is not None:
            return frame.index > max(self.indices)
        return self.end is not None and frame.time is not None and frame.time > self.end + SLACK

    def _is_inside(self, frame: Frame) -> bool:
        if self.indices is not None:
            return frame.index in self.indices
        return self.start is None or (frame.time is not None and frame.time >= self.start - SLACK)


@dataclass
class Smoother:
    """An exponential average over the asked frames of each expression's probability map.

    A map becomes `weight` times the average before it plus `1 - weight` times itself; the first one stays as it is.
    """

    weight: float | None
    averages: dict[int, Maps] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.weight is not None and not 0 < self.weight < 1:
            raise InputError(f"smooth is {self.weight}; expected a number between 0 and 1, or nothing.")

    @property
    def memory(self) -> int:
        """How many frames back an average depends on, beyond rounding."""
        return 0 if self.weight is None else math.ceil(math.log(NEGLIGIBLE) / math.log(self.weight))

    def __call__(self, number: int, probabilities: Maps) -> Maps:
        if self.weight is None:
            return probabilities
        if (average := self.averages.get(number)) is not None:
            probabilities = self.weight * average + (1 - self.weight) * probabilities
        self.averages[number] = probabilities
        return probabilities


def ask_clip(
    segmenter: "Segmenter",
    clip: Clip,
    asked: Question,
    choice: FrameChoice,
    smoother: Smoother,
    *,
    skip: int = 0,
) -> Iterator[Prediction]:
    """For each frame that is asked the Predictions of all expressions, in their order.

    `skip` frames that are asked are passed over without computing them, except those that the smoothing of the next
    one depends on. The last frame's notes say where a cut-off file ended.
    """
    segmenter = _chosen(segmenter, clip, choice)
    asked = asked.to(segmenter)
    with closing(_moments(clip, choice, segmenter.preprocess)) as moments:
        for position, (window, note) in enumerate(moments):
            if position < skip - smoother.memory:
                continue
            target = window[len(window) // 2]
            images = segmenter.placed([each.image for each in window])
            for prediction in segmenter.encode_window(target.pixels, images).ask(asked, smoother):
                if position >= skip:
                    notes = (*prediction.notes, *([f"{note}."] if note else []))
                    yield replace(prediction, frame=target.frame.index, time=target.frame.time, notes=notes)


def _chosen(segmenter: "Segmenter", clip: Clip, choice: FrameChoice) -> "Segmenter":
    """The model that the first frame calls for, for the whole clip."""
    if segmenter.alternatives is None:
        return segmenter
    with closing(_moments(clip, choice, segmenter.preprocess)) as moments:
        window, _ = next(moments)
    return segmenter.chosen_for(window[len(window) // 2].pixels)


def as_clip(source: "str | Path | Clip") -> Clip:
    """The clip of a path; a clip stays as it is."""
    return open_clip(source) if isinstance(source, str | Path) else source


def windows(frames: Iterable[T], num_frames: int) -> Iterator[tuple[T, ...]]:
    """For each frame in order the frames around it, it being at `num_frames // 2`; edge frames are repeated."""
    recent: deque[T] = deque(maxlen=num_frames)
    for frame in frames:
        recent.extend([frame] * (1 if recent else num_frames // 2 + 1))
        if len(recent) == num_frames:
            yield tuple(recent)
    for _ in range(num_frames - 1 - num_frames // 2 if recent else 0):
        recent.append(recent[-1])
        if len(recent) == num_frames:
            yield tuple(recent)


@dataclass(frozen=True, eq=False)
class _Seen:
    """A frame of the window, decoded when it is first needed and then only once."""

    frame: Frame
    is_asked: bool
    preprocess: Preprocess

    @cached_property
    def pixels(self) -> Pixels:
        return self.frame.pixels

    @cached_property
    def image(self) -> Float32[np.ndarray, "3 y x"]:
        return self.preprocess.image(self.pixels)


def _moments(
    clip: Clip, choice: FrameChoice, preprocess: Preprocess
) -> Generator[tuple[tuple[_Seen, ...], str], None, None]:
    """The window around each frame that is asked, and after the last one the clip's note, which is known then."""
    ahead = preprocess.num_frames - 1 - preprocess.num_frames // 2
    held, last = None, None
    with clip.frames() as frames:
        seen = (_Seen(frame, is_asked, preprocess) for frame, is_asked in choice.marked(frames, clip.path, ahead))
        for window in windows(seen, preprocess.num_frames):
            last = window[len(window) // 2]
            if last.is_asked:
                if held is not None:
                    yield held, ""
                held = window
    if held is None:
        raise InputError(_nothing(clip, choice, last))
    yield held, frames.note


def _nothing(clip: Clip, choice: FrameChoice, last: _Seen | None) -> str:
    if last is None or last.frame.time is None or choice.start is None:
        return f"No frame of {clip.path} was chosen; expected one or more."
    if choice.end is not None:
        return f"{clip.path} has no frame between {choice.start:g} and {choice.end:g} s; choose another part."
    return (
        f"start is {choice.start:g} s, but the last frame of {clip.path} is at {last.frame.time:.2f} s; start earlier."
    )
