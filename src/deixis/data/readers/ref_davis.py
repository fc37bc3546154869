"""Ref-DAVIS17 as its authors publish it: DAVIS 2017, and four text files with the sentences.

Two annotators described every object, by its first frame and by the full video: expression number
4 · (object - 1) + annotator, the annotators counted in the order of `TEXTS`. Objects are numbers, in masks too.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import DeixisError, InputError
from ...masks import RLE
from ...records import Visual
from ..frame_folders import FrameFolder, numbered_frames
from ..validation import Issues
from .clip_splits import ClipExpression, ClipSplit, frame_sentence
from .index_masks import VOID, index_mask, read_indices
from .text_files import read_bytes

PAGE = "https://davischallenge.org/davis2017/code.html"
# In the order of the annotators' numbers; the second annotator's files are Latin-1.
TEXTS = {
    "Davis17_annot1.txt": "utf-8",
    "Davis17_annot1_full_video.txt": "utf-8",
    "Davis17_annot2.txt": "latin-1",
    "Davis17_annot2_full_video.txt": "latin-1",
}
_NAMES = {"clasic-car": "classic-car", "dog-scale": "dogs-scale", "motor-bike": "motorbike"}  # misspelt in the texts
_SPLITS = {"train": "train", "valid": "val"}  # ours, and the name of DAVIS's list
_LINE = re.compile(r'(\S+)\s+(\d+)\s+"(.*)"\s*')  # quotes within the sentence stay


@dataclass(frozen=True)
class DavisFiles:
    """DAVIS 2017 at 480p, with the masks whose objects the sentences number."""

    folder: Path
    dataset: str = "ref-davis"
    notes: tuple[str, ...] = ()
    frames: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def frame_names(self, video: str) -> tuple[str, ...]:
        """The stems of a video's frames, which have no other list than their folder."""
        if video not in self.frames:
            names = numbered_frames(self.folder / "JPEGImages" / "480p" / video)
            self.frames[video] = tuple(Path(name).stem for name in names)
        return self.frames[video]

    def clip(self, expression: ClipExpression) -> FrameFolder:
        folder = self.folder / "JPEGImages" / "480p" / expression.video
        return FrameFolder(folder, tuple(f"{name}.jpg" for name in expression.names))

    def mask(self, expression: ClipExpression, number: int, clip: Visual) -> tuple[RLE | None, Mapping[str, Any]]:
        frame = expression.names[number]
        path = self.folder / "Annotations" / "480p" / expression.video / f"{frame}.png"
        indices = read_indices(path, clip.size, f"{self.folder}: frame {frame} of video {expression.video}")
        void = {"void": index_mask(indices, VOID)} if (indices == VOID).any() else {}
        return index_mask(indices, int(expression.object)), {"annotator": int(expression.id) % 4, **void}

    def sentence_id(self, expression: ClipExpression, number: int) -> str:
        return frame_sentence(expression, number)


def is_at(path: Path) -> bool:
    return _texts(path) is not None


def every_split(root: Path, issues: Issues | None = None) -> dict[str, ClipSplit]:
    """`train` and `valid`, as DAVIS's own lists of videos say."""
    issues = Issues() if issues is None else issues
    texts = _texts(root)
    folder = next((each for each in (root / "DAVIS", root) if (each / "JPEGImages" / "480p").is_dir()), None)
    if texts is None or folder is None:
        missing = "the folder davis_text_annotations" if texts is None else "DAVIS/JPEGImages/480p"
        raise InputError(f"{root} lacks {missing}; download DAVIS 2017 (480p) from {PAGE} and put the texts beside it.")
    source = DavisFiles(folder)
    expressions = list(_expressions(texts, source, issues))
    lists = {split: _videos(folder / "ImageSets" / "2017" / f"{name}.txt") for split, name in _SPLITS.items()}
    return {
        split: ClipSplit(source, split, [each for each in expressions if each.video in videos])
        for split, videos in lists.items()
        if videos
    }


def _texts(root: Path) -> Path | None:
    """The folder of the text files; None where none of them is there."""
    places = ("davis_text_annotations", "DAVIS/davis_text_annotations", ".")
    return next((root / each for each in places if any((root / each / name).is_file() for name in TEXTS)), None)


def _videos(file: Path) -> set[str]:
    return {*read_bytes(file).decode("utf-8", "replace").split()}


def _expressions(texts: Path, source: DavisFiles, issues: Issues) -> Iterator[ClipExpression]:
    """By video, object and annotator; the files list them in different orders."""
    found: dict[tuple[str, int, int], str] = {}
    for annotator, (name, encoding) in enumerate(TEXTS.items()):
        file = texts / name
        for number, line in enumerate(read_bytes(file).decode(encoding, "replace").splitlines(), 1):
            if not line.strip():
                continue
            match = _LINE.fullmatch(line)
            if match is None:
                issues.add(f'{file}, line {number}, is {line[:40]!a}; expected: video object "sentence".')
                continue
            video, referent = _NAMES.get(match[1], match[1]), int(match[2])
            if (video, referent, annotator) in found:
                issues.add(f"{file}, line {number}, describes object {referent} of {video} again; keep one line.")
                continue
            found[video, referent, annotator] = match[3]
    for (video, referent, annotator), sentence in sorted(found.items()):
        try:
            names = source.frame_names(video)
        except DeixisError as error:
            issues.add(str(error))
            continue
        expression = str(4 * (referent - 1) + annotator)
        yield ClipExpression(video, expression, sentence, str(referent), range(len(names)), names)
