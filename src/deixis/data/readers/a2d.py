"""A2D-Sentences: sentences about actors in clips, with masks at three to five frames of each.

`a2d_annotation.txt` (video, instance, sentence) and `a2d_annotation_with_instances/<video>/<frame>.h5` are the text
part, in `text_annotations/` or elsewhere below the root; `videoset.csv` and `clips320H/<video>.mp4`, or a folder of
frames for each video, are A2D itself, in `Release/` or at the root. Frames are numbered from 1 in files. A sample is a
sentence at an annotated frame whose file lists its instance; a frame without the instance is none.
"""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from ... import masks
from ...errors import DeixisError, InputError
from ...masks import RLE
from ...records import Visual
from ..clips import Clip, FrameFolder, VideoFile
from ..frame_folders import frame_folder
from ..validation import Issues, counted
from .clip_splits import ClipExpression, ClipSplit, first_folder
from .h5_masks import read_instances, read_mask
from .text_files import read_text_file

PAGE = "https://kgavrilyuk.github.io/publication/actor_action/"
_TEXTS = ("text_annotations", "Release/text_annotations", "Release", ".", "Release/Annotations")
_ANNOTATIONS = "a2d_annotation_with_instances"
_VIDEOS = ("clips320H", "CLIPS320", "clips320")
_FRAMES = ("pngs320H", "Rename_Images")
_SPLITS = {"0": "train", "1": "test"}  # column 8 of videoset.csv


@dataclass(frozen=True)
class A2DFiles:
    """The data set on disk; `notes` say which layout was found and what the data set itself leaves out."""

    clips: Path
    annotations: Path
    notes: list[str]
    dataset: str = "a2d"

    def clip(self, expression: ClipExpression) -> Clip:
        return self.clip_of(expression.video)

    def clip_of(self, video: str) -> Clip:
        if self.clips.name in _FRAMES:
            return _frames_of(self.clips / video)
        return VideoFile(self.clips / f"{video}.mp4")

    def mask(self, expression: ClipExpression, number: int, clip: Visual) -> tuple[RLE | None, Mapping[str, Any]]:
        file = self.annotations / expression.video / f"{expression.names[number]}.h5"
        # Masks belong to ids by position. Of several equal ids the first counts.
        mask = read_mask(file, read_instances(file).index(int(expression.object)))
        if mask.shape != clip.size:
            height, width = clip.size
            raise InputError(
                f"{file}: its masks are {mask.shape[0]}x{mask.shape[1]} pixels (height x width), but the frames of the "
                f"video are {height}x{width}; get A2D's clips of height 320."
            )
        frame = int(expression.names[number])
        _check_frame(clip, frame, file)
        return cast(RLE, masks.encode(mask)), {"file_frame": frame}

    def sentence_id(self, expression: ClipExpression, number: int) -> str:
        return f"v_{expression.video}_f_{int(expression.names[number])}_i_{expression.object}"


def is_at(path: Path) -> bool:
    return _text_file(path) is not None


def every_split(root: Path, issues: Issues | None = None) -> dict[str, ClipSplit]:
    """`train` and `test`; there is no validation split. The instances of every annotation file are read once.

    Raises InputError where a part of the data set is missing.
    """
    issues = Issues() if issues is None else issues
    text = _text_file(root)
    annotations = first_folder(root, [f"{place}/{_ANNOTATIONS}" for place in _TEXTS])
    bases = (root / "Release", root)
    videoset = next((base / "videoset.csv" for base in bases if (base / "videoset.csv").is_file()), None)
    clips = next((base / name for base in bases for name in (*_VIDEOS, *_FRAMES) if (base / name).is_dir()), None)
    parts = {"a2d_annotation.txt": text, _ANNOTATIONS: annotations, "videoset.csv": videoset, _VIDEOS[0]: clips}
    if text is None or annotations is None or videoset is None or clips is None:
        missing = " and ".join(name for name, place in parts.items() if place is None)
        raise InputError(f"{root} lacks {missing}; download A2D-Sentences as {PAGE} says.")
    source = A2DFiles(clips, annotations, [f"A2D's clips are read from {clips}."])
    split_of = _splits(videoset)
    rows = [each for each in _rows(text, source.notes, issues) if _is_listed(each, split_of, text, issues)]
    expressions = list(_expressions(rows, source, issues))
    return {
        split: ClipSplit(source, split, [each for each in expressions if split_of[each.video] == split])
        for split in _SPLITS.values()
    }


def _text_file(root: Path) -> Path | None:
    places = (root / place / "a2d_annotation.txt" for place in _TEXTS)
    return next((place for place in places if place.is_file()), None)


def _splits(file: Path) -> dict[str, str]:
    """The split of each video: columns 0 and 8 of a table without a heading."""
    found = {}
    for number, row in enumerate(csv.reader(io.StringIO(read_text_file(file).text, newline="")), 1):
        if not row:
            continue
        if len(row) < 9 or row[8].strip() not in _SPLITS:
            raise InputError(f"{file}, line {number}, has no split 0 or 1 in its ninth column; get the original.")
        found[row[0].strip()] = _SPLITS[row[8].strip()]
    return found


@dataclass(frozen=True, slots=True)
class _Row:
    number: int
    video: str
    instance: int
    text: str


def _rows(file: Path, notes: list[str], issues: Issues) -> Iterator[_Row]:
    """The rows with sentences that count; columns are read by name, and one published row is a copy."""
    missed = file.with_name("a2d_missed_videos.txt")
    left_out = {*read_text_file(missed).text.split()} if missed.is_file() else set()
    table = csv.DictReader(io.StringIO(read_text_file(file).text, newline=""))
    if not {"video_id", "instance_id", "query"} <= {*(table.fieldnames or [])}:
        raise InputError(f"{file} has the columns {table.fieldnames}; expected video_id, instance_id and query.")
    copies, without_masks = [], []
    for record in table:
        video, instance, text = (str(record[name] or "") for name in ("video_id", "instance_id", "query"))
        if not video or "/" in video or not text.strip():
            issues.add(f"{file}, line {table.line_num}, has no video or no sentence; expected both.")
        elif video in left_out:
            without_masks.append(video)
        elif not instance.strip().isdigit():
            copies.append(f"{video}, {instance!r}")
        else:
            yield _Row(table.line_num, video, int(instance), text)
    if copies:
        rows = counted(len(copies), "row", "rows")
        notes.append(f"{rows} left out: the instance is not a number ({'; '.join(copies)}).")
    if without_masks:
        notes.append(f"{counted(len(without_masks), 'row', 'rows')} left out: {missed.name} lists the video.")


def _is_listed(row: _Row, split_of: Mapping[str, str], file: Path, issues: Issues) -> bool:
    if row.video not in split_of:
        issues.add(f"{file}, line {row.number}, is about video {row.video}, which videoset.csv lacks.")
    return row.video in split_of


def _expressions(rows: list[_Row], source: A2DFiles, issues: Issues) -> Iterator[ClipExpression]:
    annotated: dict[str, dict[str, tuple[int, ...]]] = {}
    absent = 0
    for row in rows:
        try:
            if row.video not in annotated:
                annotated[row.video] = _annotated(source, row.video, issues)
            frames = annotated[row.video]
            names = tuple(name for name, instances in frames.items() if row.instance in instances)
            absent += len(frames) - len(names)
            positions = [_position(source, row.video, int(name)) for name in names]
        except DeixisError as error:
            annotated.setdefault(row.video, {})
            issues.add(str(error))
            continue
        yield ClipExpression(row.video, f"i_{row.instance}", row.text, str(row.instance), positions, names)
    if absent:
        pairs = counted(absent, "pair", "pairs")
        source.notes.append(f"{pairs} of a sentence and an annotated frame left out: the frame lacks the instance.")


def _annotated(source: A2DFiles, video: str, issues: Issues) -> dict[str, tuple[int, ...]]:
    """The annotated frames of a video by name, and the instances at each; a broken file costs its frame only."""
    folder = source.annotations / video
    files = sorted(path for path in folder.glob("*.h5") if not path.name.startswith("."))
    if not files:
        raise InputError(f"{folder} has no annotated frame; expected files such as 00010.h5.")
    if odd := next((path for path in files if not path.stem.isdigit() or int(path.stem) < 1), None):
        raise InputError(f"{odd} has no frame's number as its name; expected numbers from 1, such as 00010.h5.")
    found = {}
    for path in files:
        try:
            found[path.stem] = read_instances(path)
        except DeixisError as error:
            issues.add(str(error))
    return found


def _position(source: A2DFiles, video: str, frame: int) -> int:
    """The position of a frame, which files number from 1: of a folder of frames by its name."""
    if source.clips.name not in _FRAMES:
        return frame - 1
    frames = _frames_of(source.clips / video)
    found = next((at for at, name in enumerate(frames.names) if int(Path(name).stem) == frame), None)
    if found is None:
        raise InputError(f"{source.clips / video} has no frame {frame}, but {source.annotations / video} has a mask.")
    return found


@lru_cache(8192)
def _frames_of(folder: Path) -> FrameFolder:
    """The folder is listed once, as a sample needs its clip again and again."""
    return frame_folder(folder)


def _check_frame(clip: Visual, frame: int, file: Path) -> None:
    if isinstance(clip, VideoFile) and frame > clip.num_frames:
        raise InputError(f"{file} is the mask of frame {frame}, but {clip.path} has {clip.num_frames} frames.")
