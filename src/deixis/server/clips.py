"""Short clips: which frames are asked, within the server's limits, and what is answered about each of them."""

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from ..data.clips import Frame, FrameStream, VideoFile
from ..errors import InputError
from ..predict.prediction import Prediction
from ..predict.video import FrameChoice
from . import answers
from .answering import Answerer, Model, Task
from .failures import TimeLimit, TooLarge, WrongType
from .limits import Limits
from .requests import AskedOfClip

FASTEST = 8.0  # frames a second, unless a caller chooses
LONGEST_SIDE = 640  # pixels of a frame's picture and of its probability map
NAME = "The clip"
LIMIT = "At most {} frames are answered; what follows this one was not asked."


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipTask(Task):
    """A clip, whose bytes are `content`, and the sentences about each of its frames."""

    fps: float | None = None
    start: float | None = None
    end: float | None = None
    can_share_a_pass: ClassVar[bool] = False

    def predictions(self, answerer: Answerer) -> Iterator[Prediction]:
        """Of each frame and sentence. Raises `WrongType` where this is not a video, and what `Segmenter.video` raises.

        The file is on disk, under a name of our own, while its frames are read.
        """
        with TemporaryDirectory(prefix="deixis-") as folder:
            path = Path(folder) / "clip"
            path.write_bytes(self.content)
            clip = _TimedClip(path, time.monotonic() + answerer.limits.seconds)
            try:
                _check_size(clip, answerer.limits)
                yield from _predictions(self, answerer.model, clip, answerer.limits.frames)
            except InputError as error:  # without the path, which is nobody's business
                raise type(error)(str(error).replace(str(path), NAME)) from error


def render(prediction: Prediction, asked: AskedOfClip) -> dict[str, Any]:
    """What a caller asked for; the first sentence of a frame brings its picture."""
    answer = answers.to_json(prediction, asked, largest_map=LONGEST_SIDE)
    if asked.images and prediction.expression == asked.sentences[0]:
        answer["image"] = answers.in_base64(jpeg(prediction.image))
    return answer


def jpeg(frame: UInt8[np.ndarray, "h w 3"]) -> bytes:
    picture, content = Image.fromarray(frame), BytesIO()
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.BILINEAR)
    picture.save(content, format="JPEG", quality=85)
    return content.getvalue()


def by_frame(found: list[dict[str, Any]], num_sentences: int) -> list[dict[str, Any]]:
    """The answers about each frame together, with what belongs to the frame above them."""
    frames = []
    for first in range(0, len(found), num_sentences):
        several = found[first : first + num_sentences]
        own: dict[str, Any] = {name: several[0][name] for name in ("frame", "time", "image") if name in several[0]}
        rest = [{name: value for name, value in one.items() if name not in own} for one in several]
        frames.append(own | {"answers": rest})
    return frames


def _predictions(task: ClipTask, model: Model, clip: VideoFile, most: int) -> Iterator[Prediction]:
    """Of at most `most` frames and each sentence."""
    count = len(task.sentences)
    found = model.video(
        clip,
        list(task.sentences),
        fps=_rate(clip, task, most),
        start=task.start,
        end=task.end,
        threshold=task.threshold,
        presence_threshold=task.presence_threshold,
    )
    for number, one in enumerate(islice(found, most * count)):
        is_last = number >= (most - 1) * count
        yield replace(one, notes=(*one.notes, LIMIT.format(most))) if is_last else one


def _rate(clip: VideoFile, task: ClipTask, most: int) -> float:
    """Frames a second: as the caller chose, or so many that fewer than `most` frames are spread over the clip."""
    fps = task.fps or FASTEST
    count = FrameChoice(fps=fps, start=task.start, end=task.end).expected(clip)
    if count is None or count <= most:  # a header that does not say how many there are may have more
        return fps
    if task.fps is not None:
        raise InputError(
            f"At {fps:g} frames a second {count:,} frames of the clip are asked; at most {most} are answered: choose a "
            "lower fps, or a start and an end."
        )
    return min(fps, clip.rate or fps) * max(1, most - 2) / count


def _check_size(clip: VideoFile, limits: Limits) -> None:
    """By the header, before a frame is decoded."""
    try:
        height, width = clip.stored_size
    except InputError as error:
        raise WrongType(str(error)) from error
    if height * width > limits.pixels:
        raise TooLarge(
            f"The frames of the clip have {width}x{height} pixels (width x height); at most {limits.megapixels:g} "
            "megapixels are read: make it smaller first."
        )


@dataclass(frozen=True)
class _TimedClip(VideoFile):
    """A video whose frames are read until `deadline`: passing over frames takes time, too."""

    deadline: float

    def frames(self) -> FrameStream:
        return FrameStream(self._in_time(super().frames()))

    def _in_time(self, frames: FrameStream) -> Generator[Frame, None, str]:
        with frames:
            for frame in frames:
                if time.monotonic() > self.deadline:
                    raise TimeLimit("Reading the clip takes too long; cut it, or make it smaller first.")
                yield frame
        return frames.note.replace(str(self.path), NAME)
