"""MeViS in its official layout: sentences that may mean several objects, and masks as run lengths.

`<split>/JPEGImages/<video>/<frame>.jpg`, `<split>/meta_expressions.json`, and for train and valid_u
`<split>/mask_dict.json`: of each annotation a list, one entry for each frame of its video, null where it is absent.
The target is the union of a sentence's annotations. The split valid has sentences only.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from ... import masks
from ...errors import DeixisError, InputError
from ...masks import RLE
from ...records import Visual
from ..frame_folders import FrameFolder
from ..segmentation import as_rle
from ..validation import Issues
from .clip_splits import ClipExpression, ClipSplit, frame_sentence
from .expressions_json import read_expressions
from .json_files import parse
from .referents import without_garbage_collection
from .text_files import read_text_file

SPLITS = ("train", "valid_u", "valid")
PAGE = "https://github.com/henghuiding/MeViS"


@dataclass(frozen=True)
class MevisFiles:
    """One split on disk; `annotations` are the run lengths of every annotation by its number, as they were parsed."""

    folder: Path
    annotations: Mapping[str, Any]
    dataset: str = "mevis"
    notes: tuple[str, ...] = ()

    def clip(self, expression: ClipExpression) -> FrameFolder:
        folder = self.folder / "JPEGImages" / expression.video
        return FrameFolder(folder, tuple(f"{name}.jpg" for name in expression.names))

    def mask(self, expression: ClipExpression, number: int, clip: Visual) -> tuple[RLE | None, Mapping[str, Any]]:
        if not self.annotations or expression.object.startswith("expression"):
            return None, {}
        height, width = clip.size
        numbers = expression.object.split(",")
        where = f"{self.folder / 'mask_dict.json'}: annotation"
        shapes = [(each, self.annotations[each][number]) for each in numbers]
        parts = [as_rle(shape, height, width, f"{where} {each}") for each, shape in shapes if shape is not None]
        mask = masks.union(parts) if parts else masks.encode(np.zeros((height, width), dtype=bool))
        return cast(RLE, mask), {"num_instances": len(numbers)}

    def sentence_id(self, expression: ClipExpression, number: int) -> str:
        return frame_sentence(expression, number)


def is_at(path: Path) -> bool:
    return any((path / split / "meta_expressions.json").is_file() for split in SPLITS)


@without_garbage_collection()
def every_split(root: Path, issues: Issues | None = None) -> dict[str, ClipSplit]:
    """The splits that are there. Raises InputError without any."""
    found = [split for split in SPLITS if (root / split / "meta_expressions.json").is_file()]
    if not found:
        raise InputError(f"{root} has no train/meta_expressions.json; download MeViS as {PAGE} says.")
    readers = {}
    for split in found:
        source = MevisFiles(root / split, _annotations(root / split, split))
        readers[split] = ClipSplit(source, split, _expressions(source, Issues() if issues is None else issues))
    return readers


def _annotations(folder: Path, split: str) -> Mapping[str, Any]:
    file = folder / "mask_dict.json"
    if not file.is_file():
        if split == "valid":
            return {}
        raise InputError(f"{file} is missing; download it as {PAGE} says.")
    content = parse(read_text_file(file).data, file)
    if not isinstance(content, Mapping):
        raise InputError(f"{file} holds type {type(content).__name__}; expected an object of masks by annotation.")
    return content


def _expressions(source: MevisFiles, issues: Issues) -> Iterator[ClipExpression]:
    file = source.folder / "meta_expressions.json"
    for video in read_expressions(file, issues):
        for name, record in video.expressions:
            where = f"{file}: expression {name} of video {video.video}"
            try:
                numbers = _numbers(record, where) if source.annotations else []
                for number in numbers:
                    _check_length(source, number, len(video.frames), where)
            except DeixisError as error:
                issues.add(str(error))
                continue
            referent = ",".join(numbers) or f"expression {name}"
            yield ClipExpression(
                video.video, name, str(record["exp"]), referent, range(len(video.frames)), video.frames
            )


def _numbers(record: Mapping[str, Any], where: str) -> list[str]:
    numbers = record.get("anno_id")
    if not isinstance(numbers, list) or not numbers or not all(isinstance(each, int) for each in numbers):
        raise InputError(f"{where} has the anno_id {str(numbers)[:40]!a}; expected a list of numbers.")
    return [str(number) for number in numbers]


def _check_length(source: MevisFiles, number: str, frames: int, where: str) -> None:
    shapes = source.annotations.get(number)
    if not isinstance(shapes, list):
        raise InputError(f"{where} means annotation {number}, which {source.folder / 'mask_dict.json'} lacks.")
    if len(shapes) != frames:
        raise InputError(
            f"{where} means annotation {number}, which has masks of {len(shapes)} frames, but its video has {frames}; "
            "download both files again."
        )
