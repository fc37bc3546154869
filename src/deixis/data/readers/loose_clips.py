"""Your own clips as lines of `data.jsonl`: a video file or a folder of frames, sentences, and masks at some frames.

A line is `{"video": "dog.mp4", "expression": "the dog in front", "masks": {"12": …, "40": …}}`. The keys of `masks` are
the names of frames without their endings (`"00012"`), of a video file their positions from 0; a value is a mask as for
photos: run lengths, polygons, or the name of an image file. `masks` may also be the name of a folder of such files.
Only frames with a mask are samples. Or a line has one `mask` and its `frame`, the position from 0; without any mask it
is one sample without a label at `frame`, by default the first. `frames` may list the names of a folder's frames.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from ... import masks
from ...errors import DeixisError, InputError
from ...records import Ids, Sample
from ..clips import Clip, FrameFolder, VideoFile
from ..frame_folders import image_names, numbered_frames
from ..validation import Issues
from .coco_layouts import NAMED_SPLITS, WHOLE
from .json_files import Span, check_text, read_span
from .jsonl import find_files, jsonl_lines
from .mask_images import ReadMask
from .named_files import SearchFolders
from .named_images import NamedImage
from .options import AS_WRITTEN, ReadOptions
from .record_masks import facts_of, mask_of
from .sentences import expected_keys, sentences_of

_PLACES = ("", "videos", "clips")


@dataclass(frozen=True, slots=True)
class Row:
    """One sentence at one frame: `frame` is a position, or the name of a frame that `masks` has a mask of."""

    file: Path
    number: int  # of the line
    span: Span | None
    record: Mapping[str, Any] | None  # where the line cannot be read from the file again
    image: str  # the video as the line names it
    expression: str
    ids: Ids
    split: str
    frame: int | str

    @property
    def where(self) -> str:
        return f"{self.file}, line {self.number}"


class LooseClips:
    """The samples of one split."""

    def __init__(self, root: Path, rows: Sequence[Row], split: str, issues: Issues, options: ReadOptions) -> None:
        self.root, self.rows, self.split = root, rows, split
        self.issues = issues
        self.folders = options.folders(root, _PLACES)
        self.ids = tuple(row.ids for row in rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> Sample:
        row = self.rows[position]
        line = row.record if row.record is not None else read_span(row.file, row.span or (0, 0), f"line {row.number}")
        clip = _clip(self.folders, line, row.where)
        height, width = clip.size
        frame = _position(clip, row.frame, row.where)
        mask = self._mask(line, row, NamedImage(self.folders, row.image, height, width, row.where))
        if not isinstance(traits := line.get("traits") or {}, Mapping):
            raise InputError(f"{row.where}: 'traits' is of type {type(traits).__name__}; expected an object.")
        return Sample(
            visual=clip,
            expression=row.expression,
            mask=mask.rle,
            ids=row.ids,
            dataset=str(line.get("dataset") or self.root.name),
            split=row.split,
            frame=frame,
            traits={**traits, **facts_of(mask)},
        )

    def __iter__(self) -> Iterator[Sample]:
        return (self[position] for position in range(len(self)))

    def _mask(self, line: Mapping[str, Any], row: Row, visual: NamedImage) -> ReadMask:
        value = line.get("mask")
        if isinstance(row.frame, str):
            value = _named_masks(line["masks"], self.folders, row.where)[row.frame]
        mask = mask_of({"mask": value, "label": line.get("label")}, "mask", visual, row.where, self.issues)
        if isinstance(value, str) and mask.rle is not None and not masks.area(mask.rle):
            raise InputError(
                f"{row.where}: the mask {value} has no pixel of the object; remove it, or draw the object."
            )
        return mask


def is_at(path: Path) -> bool:
    """Whether the first line of a JSONL file is about a video."""
    files = [file for file in find_files(path)[1] if file.suffix.lower() == ".jsonl"]
    line = next(jsonl_lines(files[0]), None) if files else None
    try:
        record = None if line is None else line.parse()
    except DeixisError:
        return False
    return isinstance(record, Mapping) and "video" in record and "image" not in record


def every_split(path: Path, issues: Issues | None = None, options: ReadOptions = AS_WRITTEN) -> dict[str, LooseClips]:
    """The splits that the lines, or the names of the files, say."""
    root, files = find_files(path)
    if not files:
        raise InputError(f"{path} holds no data.jsonl; write one record a line there.")
    issues = Issues() if issues is None else issues
    rows: dict[str, dict[str, Row]] = {}
    for row in _read_rows(files, issues, options.folders(root, _PLACES), options.text_key):
        first = rows.setdefault(row.split, {}).setdefault(row.ids.sentence, row)
        if first is not row:
            issues.add(
                f"{row.where} has the sentence id {row.ids.sentence!r} of line {first.number}; ids are unique within a "
                "split."
            )
    return {split: LooseClips(root, list(found.values()), split, issues, options) for split, found in rows.items()}


def _read_rows(files: Sequence[Path], issues: Issues, folders: SearchFolders, text_key: str | None) -> Iterator[Row]:
    for file in files:
        split = file.stem if file.stem in NAMED_SPLITS else WHOLE
        for line in jsonl_lines(file):
            try:
                record = line.parse()
                yield from _rows(record, file, line.number, line.span, split, folders, text_key)
            except DeixisError as error:
                issues.add(str(error))


def _rows(
    record: Any, file: Path, number: int, span: Span | None, split: str, folders: SearchFolders, text_key: str | None
) -> list[Row]:
    where = f"{file}, line {number}"
    if not isinstance(record, Mapping) or not isinstance(video := record.get("video"), str):
        raise InputError(f"{where} has no 'video'; expected the name of a video file or of a folder of frames.")
    texts = sentences_of(record, where, text_key)
    if not texts:
        raise InputError(f"{where} has no sentence; expected one under {expected_keys(text_key)}.")
    check_text([record.get(name) for name in ("video", "ids", "split", "dataset", "traits")], where)
    ids = record.get("ids") or {}
    if not isinstance(ids, Mapping):
        raise InputError(f"{where}: 'ids' is of type {type(ids).__name__}; expected 'image', 'object' and 'sentence'.")
    frames = _frames(record, folders, where)
    own = f"{split}:{number}" if split != WHOLE else str(number)
    image, referent, first = (str(ids.get(name, other)) for name, other in _defaults(video, own))
    belongs = str(record.get("split") or split)
    kept = record if span is None else None
    rows = []
    for at, text in enumerate(texts):
        name = first if len(texts) == 1 else f"{first}_{at}"
        for frame in frames:
            sentence = f"{name}/{frame}" if isinstance(frame, str) else name
            identity = Ids(image, referent, sentence)
            rows.append(Row(file, number, span, kept, video, text, identity, belongs, frame))
    return rows


def _defaults(video: str, own: str) -> tuple[tuple[str, str], ...]:
    return ("image", video), ("object", own), ("sentence", own)


def _frames(record: Mapping[str, Any], folders: SearchFolders, where: str) -> list[int | str]:
    """The names of the frames with masks, each of which is in the clip; or the one position."""
    named = record.get("masks")
    if named is None:
        frame = record.get("frame", 0)
        if isinstance(frame, bool) or not isinstance(frame, int) or frame < 0:
            raise InputError(f"{where} has the 'frame' {str(frame)[:40]!a}; expected its position, from 0.")
        return [frame]
    found = _named_masks(named, folders, where)
    if not found:
        raise InputError(f"{where}: 'masks' is empty; expected masks by frame, or leave 'masks' out.")
    clip = _clip(folders, record, where)
    if isinstance(clip, FrameFolder):
        for name in found:
            _position(clip, name, where)
    return [*sorted(found, key=lambda name: (len(name), name) if name.isdigit() else (0, name))]


def _named_masks(named: Any, folders: SearchFolders, where: str) -> dict[str, Any]:
    """Masks by the name of their frame; of a folder, the files' names without their endings."""
    if isinstance(named, Mapping):
        return {str(name): value for name, value in named.items()}
    if isinstance(named, str):
        folder = _folder(folders, named, where)
        if folder is None:
            raise InputError(f"{where} names the masks {named[:200]!r}, but there is no such folder.")
        return {Path(name).stem: f"{named.rstrip('/')}/{name}" for name in image_names(folder)}
    raise InputError(f"{where}: 'masks' is of type {type(named).__name__}; expected masks by frame, or a folder.")


def _clip(folders: SearchFolders, record: Mapping[str, Any], where: str) -> Clip:
    video = str(record["video"])
    folder = _folder(folders, video, where)
    if folder is None:
        return VideoFile(folders.find(video, where))
    names = record.get("frames")
    if names is None:
        return FrameFolder(folder, _listed(folder))
    if not isinstance(names, list) or not names or not all(_is_file_name(name) for name in names):
        raise InputError(f"{where}: 'frames' is {str(names)[:40]!a}; expected the names of the frames' files.")
    return FrameFolder(folder, tuple(names))


def _is_file_name(name: Any) -> bool:
    return isinstance(name, str) and name not in ("", "..", ".") and not {"/", "\\"} & {*name}


def _folder(folders: SearchFolders, name: str, where: str) -> Path | None:
    """The folder of that name below the root; None where there is none."""
    if not folders.allow_outside and (PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts):
        return None  # `find` says why a file of that name is not read
    for place in folders.places:
        path = folders.root / place / name
        if path.is_dir():
            if not folders.allow_outside and not path.resolve().is_relative_to(folders.root.resolve()):
                raise InputError(f"{where} names {name!r}, a link that leaves {folders.root}; put the folder there.")
            return path
    return None


@lru_cache(1024)
def _listed(folder: Path) -> tuple[str, ...]:
    return numbered_frames(folder)


def _position(clip: Clip, frame: int | str, where: str) -> int:
    """The position of a frame; raises InputError where the clip lacks it."""
    if isinstance(clip, FrameFolder) and isinstance(frame, str):
        stems = [Path(name).stem for name in clip.names]
        if frame not in stems:
            raise InputError(f"{where} has a mask of frame {frame!r}, which {clip.folder} lacks; remove the mask.")
        return stems.index(frame)
    if isinstance(frame, str) and not frame.isdigit():
        raise InputError(f"{where} has a mask of frame {frame!r}; the frames of a video are numbers, from 0.")
    if int(frame) >= clip.num_frames:
        raise InputError(
            f"{where} is about frame {int(frame)}, but {clip.path} has {clip.num_frames} frames, counted from 0."
        )
    return int(frame)
