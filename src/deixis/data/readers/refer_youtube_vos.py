"""Refer-YouTube-VOS in its official layout, and Ref-DAVIS17 as it is usually converted to that layout.

`<split>/JPEGImages/<video>/<frame>.jpg`, `<split>/Annotations/<video>/<frame>.png` (palette images), and
`meta_expressions/<split>/meta_expressions.json`, which lists the frames of a video: every fifth one, not always from
00000, sometimes with gaps. Every frame of every expression is a sample; where the object is absent its mask is empty.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...masks import RLE
from ...records import Visual
from ..frame_folders import FrameFolder
from ..validation import Issues
from .clip_splits import ClipExpression, ClipSplit, frame_sentence
from .expressions_json import VideoExpressions, read_expressions, read_videos
from .identity import identity
from .index_masks import VOID, index_mask, read_indices
from .referents import without_garbage_collection

SPLITS = ("train", "valid", "test")
PAGE = "https://youtube-vos.org/dataset/rvos"
_DAVIS_VIDEOS = (b'"blackswan"', b'"classic-car"', b'"bear"')  # one of them is in every split of DAVIS


@dataclass(frozen=True)
class YouTubeVOSFiles:
    """One split on disk."""

    dataset: str
    folder: Path
    notes: list[str] = field(default_factory=list)

    def clip(self, expression: ClipExpression) -> FrameFolder:
        return FrameFolder(
            self.folder / "JPEGImages" / expression.video, tuple(f"{name}.jpg" for name in expression.names)
        )

    def mask(self, expression: ClipExpression, number: int, clip: Visual) -> tuple[RLE | None, Mapping[str, Any]]:
        """Without a label where the expression names no object, or where the split has no masks."""
        folder = self.folder / "Annotations"
        if not expression.object.isdigit() or not folder.is_dir():
            return None, {}
        frame = expression.names[number]
        where = f"{self.folder}: frame {frame} of video {expression.video}"
        indices = read_indices(folder / expression.video / f"{frame}.png", clip.size, where)
        void = {"void": index_mask(indices, VOID)} if (indices == VOID).any() else {}
        return index_mask(indices, int(expression.object)), void

    def sentence_id(self, expression: ClipExpression, number: int) -> str:
        return frame_sentence(expression, number)


def is_at(path: Path) -> bool:
    return any(_file(path, split).is_file() for split in SPLITS)


def is_davis(path: Path) -> bool:
    """Whether the videos of this layout are DAVIS's."""
    files = [_file(path, split) for split in SPLITS if _file(path, split).is_file()]
    return any(name in file.read_bytes() for file in files for name in _DAVIS_VIDEOS)


@without_garbage_collection()
def every_split(root: Path, dataset: str, issues: Issues | None = None) -> dict[str, ClipSplit]:
    """The splits whose expressions are there. Raises InputError without any."""
    found = [split for split in SPLITS if _file(root, split).is_file()]
    if not found:
        raise InputError(f"{_file(root, 'train')} is missing; download Refer-YouTube-VOS as {PAGE} says.")
    return {split: _split(root, split, dataset, Issues() if issues is None else issues) for split in found}


def _file(root: Path, split: str) -> Path:
    return root / "meta_expressions" / split / "meta_expressions.json"


def _split(root: Path, split: str, dataset: str, issues: Issues) -> ClipSplit:
    source = YouTubeVOSFiles(dataset, root / split)
    videos = list(read_expressions(_file(root, split), issues))
    if split == "valid" and dataset == "refer-youtube-vos":
        videos = _without_test(root, videos, source.notes)
    expressions = []
    for video in videos:
        for name, record in video.expressions:
            try:
                referent = "" if record.get("obj_id") is None else str(identity(record["obj_id"]))
            except ValueError:
                issues.add(
                    f"{_file(root, split)}: expression {name} of video {video.video} has the obj_id "
                    f"{str(record['obj_id'])[:40]!a}; expected a number."
                )
                continue
            referent = referent or f"expression {name}"
            positions = range(len(video.frames))
            expressions.append(ClipExpression(video.video, name, str(record["exp"]), referent, positions, video.frames))
    return ClipSplit(source, split, expressions)


def _without_test(root: Path, videos: list[VideoExpressions], notes: list[str]) -> list[VideoExpressions]:
    """The file of the validation split lists the videos of the test split too: 507, of which 202 remain."""
    test = _file(root, "test")
    if test.is_file():
        others = read_videos(test).keys()
        kept = [video for video in videos if video.video not in others]
        how = f"{test} lists them"
    else:
        kept = [video for video in videos if (root / "valid" / "JPEGImages" / video.video).is_dir()]
        how = "valid/JPEGImages has no folder of theirs"
    if len(kept) < len(videos):
        notes.append(
            f"{len(videos) - len(kept)} of {len(videos)} videos in the expressions of valid are test videos ({how})."
        )
    return kept
