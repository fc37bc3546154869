"""`meta_expressions.json` of Refer-YouTube-VOS, MeViS and the converted Ref-DAVIS17: frames and sentences."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import DeixisError, InputError
from ..validation import Issues
from .json_files import check_text, parse
from .text_files import read_text_file


@dataclass(frozen=True, slots=True)
class VideoExpressions:
    """One video: the names of its frames in order, and each expression's id and record."""

    video: str
    frames: tuple[str, ...]
    expressions: tuple[tuple[str, Mapping[str, Any]], ...]


def read_videos(file: Path) -> Mapping[str, Any]:
    """What the file says of each video; raises InputError where it is not of this form."""
    content = parse(read_text_file(file).data, file)
    videos = content.get("videos") if isinstance(content, Mapping) else None
    if not isinstance(videos, Mapping):
        raise InputError(f"{file} has no 'videos'; expected an object of videos by name.")
    return videos


def read_expressions(file: Path, issues: Issues) -> Iterator[VideoExpressions]:
    """The videos of the file; broken records are added to the issues.

    Frames are sorted as texts of equal length, as they may be listed in any order.
    """
    for video, record in read_videos(file).items():
        try:
            yield _video(video, record, file, issues)
        except DeixisError as error:
            issues.add(str(error))


def _video(video: str, record: Any, file: Path, issues: Issues) -> VideoExpressions:
    where = f"{file}: video {video}"
    if isinstance(record, Mapping) and "objects" in record and "expressions" not in record:
        raise InputError(f"{where} lists objects: the older variant of this file; download the one with expressions.")
    frames = record.get("frames") if isinstance(record, Mapping) else None
    if not isinstance(frames, list) or not frames or not all(isinstance(name, str) for name in frames):
        raise InputError(f"{where} has no list of 'frames'; expected names such as '00000'.")
    if len({len(name) for name in frames}) > 1 or len({*frames}) < len(frames):
        raise InputError(f"{where} has frames with names of several lengths, or twice the same; expected '00000' ….")
    if unsafe := next((name for name in (video, *frames) if "/" in name or "\\" in name or name in ("", "..")), None):
        raise InputError(f"{where} has the name {unsafe[:40]!a}, which cannot be a file's; expected '00000' ….")
    expressions = record.get("expressions")
    if not isinstance(expressions, Mapping):
        raise InputError(f"{where} has no 'expressions'; expected an object of expressions by id.")
    kept = []
    for name, expression in expressions.items():
        text = expression.get("exp") if isinstance(expression, Mapping) else None
        if not isinstance(text, str) or not text.strip():
            issues.add(f"{where}: expression {name} has no text 'exp'; expected a sentence.")
            continue
        check_text([text, name], f"{where}: expression {name}")
        kept.append((name, expression))
    return VideoExpressions(video, tuple(sorted(frames)), tuple(kept))
