"""J-HMDB-Sentences: one sentence for each of 928 videos, scored at three frames of each.

`Rename_Images/<action>/<video>/<frame>.png`, `puppet_mask/<action>/<video>/puppet_mask.mat`, and the published list of
samples, `jhmdb_sentences_samples_metadata.json`: the three frames were drawn at random, so they are read, not drawn.
Frames count from 1; those beyond the number of masks do not exist for the benchmark. There is one split, `test`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, cast

import numpy as np
from jaxtyping import Bool

from ... import masks
from ...errors import DeixisError, InputError
from ...masks import RLE
from ...records import Visual
from ..frame_folders import FrameFolder
from ..validation import Issues
from .clip_splits import ClipExpression, ClipSplit
from .json_files import parse
from .mat_masks import read_puppet_masks
from .text_files import read_text_file

LIST = "jhmdb_sentences_samples_metadata.json"
_SIGNS = ("jhmdb_annotation.txt", LIST)


@dataclass(frozen=True)
class JhmdbFiles:
    """The data set on disk; `videos` are each video's action and its number of frames with masks."""

    root: Path
    videos: Mapping[str, tuple[str, int]]
    dataset: str = "jhmdb"
    notes: tuple[str, ...] = ()

    def clip(self, expression: ClipExpression) -> FrameFolder:
        action, frames = self.videos[expression.video]
        names = tuple(f"{number:05d}.png" for number in range(1, frames + 1))
        return FrameFolder(self.root / "Rename_Images" / action / expression.video, names)

    def mask(self, expression: ClipExpression, number: int, clip: Visual) -> tuple[RLE | None, Mapping[str, Any]]:
        action, _ = self.videos[expression.video]
        path = self.root / "puppet_mask" / action / expression.video / "puppet_mask.mat"
        found, frame = _masks(path), expression.frames[number]
        if frame >= found.shape[2]:
            raise InputError(f"{path} has masks of {found.shape[2]} frames, but {LIST} asks for frame {frame + 1}.")
        if found.shape[:2] != clip.size:
            raise InputError(
                f"{path} has masks of {found.shape[0]}x{found.shape[1]} pixels (height x width), but the frames of its "
                f"video are {clip.size[0]}x{clip.size[1]}."
            )
        return cast(RLE, masks.encode(found[..., frame])), {"file_frame": frame + 1, "action": action}

    def sentence_id(self, expression: ClipExpression, number: int) -> str:
        return f"v_{expression.video}_f_{int(expression.names[number])}"


def is_at(path: Path) -> bool:
    return any((path / sign).is_file() for sign in _SIGNS)


def every_split(root: Path, issues: Issues | None = None) -> dict[str, ClipSplit]:
    """`test` alone. Raises InputError without the published list."""
    issues = Issues() if issues is None else issues
    file = next((place / LIST for place in (root, root.parent) if (place / LIST).is_file()), None)
    if file is None:
        raise InputError(
            f"{root / LIST} is missing; it is published with MTTR, and its frames were drawn at random, so they cannot "
            "be found anew."
        )
    rows = list(_rows(file, issues))
    videos = {row.video: (row.action, row.num_frames) for row in rows}
    return {"test": ClipSplit(JhmdbFiles(root, videos), "test", _expressions(rows))}


@dataclass(frozen=True, slots=True)
class _Row:
    video: str
    action: str
    frame: str
    num_frames: int
    text: str


def _rows(file: Path, issues: Issues) -> Iterator[_Row]:
    records = parse(read_text_file(file).data, file)
    if not isinstance(records, list):
        raise InputError(f"{file} holds type {type(records).__name__}; expected a list of samples.")
    for number, record in enumerate(records):
        try:
            yield _row(record, f"{file}: sample number {number}")
        except DeixisError as error:
            issues.add(str(error))


def _row(record: Any, where: str) -> _Row:
    """Paths are relative to the parent of somebody's folder, so that only their last parts count."""
    try:
        video, image, _, frames, text = record
        _, action, folder, name = PurePosixPath("x", image).parts[-4:]
        frame = Path(name).stem
        complete = isinstance(text, str) and text.strip() and isinstance(frames, int) and not isinstance(frames, bool)
        if not complete or folder != video or {".."} & {action, folder}:
            raise ValueError
        inside = 1 <= int(frame) <= frames
    except (TypeError, ValueError):
        raise InputError(
            f"{where} is {str(record)[:60]!a}; expected video, path of the frame, path of the masks, number of masks, "
            "and sentence."
        ) from None
    if not inside:
        raise InputError(f"{where} asks for frame {int(frame)} of {video}, which has masks of {frames} frames.")
    return _Row(video, action, frame, frames, text)


def _expressions(rows: list[_Row]) -> Iterator[ClipExpression]:
    of_video: dict[tuple[str, str], list[_Row]] = {}
    for row in rows:
        of_video.setdefault((row.video, row.text), []).append(row)
    for (video, text), samples in of_video.items():
        names = tuple(sample.frame for sample in samples)
        yield ClipExpression(video, "0", text, "0", [int(name) - 1 for name in names], names)


@lru_cache(4)
def _masks(path: Path) -> Bool[np.ndarray, "h w t"]:
    """The last files stay in memory: the samples of a video follow each other."""
    return read_puppet_masks(path)
