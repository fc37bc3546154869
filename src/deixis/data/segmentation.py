"""The mask of a record: COCO's polygons and run lengths, or an image file, as run lengths of its image's size."""

from collections.abc import Mapping
from typing import Any, Literal, cast

import numpy as np

from .. import masks
from ..errors import InputError
from ..masks import RLE
from .validation import Issues

Overlaps = Literal["union", "published"]  # pixels in any part, or in exactly one as the published code keeps them


class WrongSizeError(InputError):
    """A mask that is not of its image's size."""

    def __init__(self, what: str, found: tuple[int, int], size: tuple[int, int]) -> None:
        super().__init__(
            f"{what} is {found[0]}x{found[1]} pixels (height x width), but its image is {size[0]}x{size[1]}."
        )
        self.found = found


def says_nothing(segmentation: Any, record: Mapping[str, Any]) -> bool:
    """Whether a record has no mask: null, `[[]]`, or `[]` beside a box or an area that is not 0.

    `[]` alone, or beside an area of 0, is an empty mask.
    """
    if segmentation is None:
        return True
    if segmentation == []:
        return _is_positive(record.get("area")) or has_box(record.get("bbox"))
    return isinstance(segmentation, list) and all(part == [] for part in segmentation)


def has_box(box: Any) -> bool:
    """Whether it is COCO's left, top, width, height, with a positive area."""
    return isinstance(box, list) and len(box) == 4 and _is_positive(box[2]) and _is_positive(box[3])


def as_rle(
    segmentation: Any,
    height: int,
    width: int,
    where: str,
    overlaps: Overlaps = "union",
    issues: Issues | None = None,
    *,
    as_published: bool = False,
) -> RLE:
    """The mask; `where` names file and record for errors.

    A point or a line among polygons is refused, or dropped and noted where the issues skip. `as_published` skips the
    checks of polygons that published data sets need not pass. Overlaps `published` keeps only the pixels that exactly
    one part covers: the published readers sum an object's parts and compare the sum with 1.
    """
    try:
        if isinstance(segmentation, Mapping):
            return _run_lengths(segmentation, height, width)
        if not isinstance(segmentation, list):
            raise InputError(
                f"A mask is of type {type(segmentation).__name__}; expected a list of polygons or run lengths."
            )
        segmentation = _parts(segmentation)
        if not as_published:
            segmentation = _without_fragments(segmentation, height, width, where, issues)
        if len(segmentation) > 1 and overlaps == "published":
            parts = [masks.decode(_part(part, height, width)).astype(np.int32) for part in segmentation]
            return cast(RLE, masks.encode(sum(parts[1:], parts[0]) == 1))
        if all(isinstance(part, list) for part in segmentation):
            return cast(RLE, masks.from_polygons([_numbers(part) for part in segmentation], height, width))
        return cast(RLE, masks.union([_part(part, height, width) for part in segmentation]))
    except WrongSizeError as error:
        error.args = (f"{where}: {error}",)
        raise
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        text = str(error)
        raise InputError(text if text.startswith(where) else f"{where}: {text}") from error


def _parts(segmentation: list[Any]) -> list[Any]:
    """One polygon as a list of one, and points that are pairs as flat lists."""
    if segmentation and all(isinstance(number, int | float) for number in segmentation):
        return [segmentation]
    if len(segmentation) > 2 and all(map(_is_pair, segmentation)):
        segmentation = [segmentation]
    pairs = (isinstance(part, list) and len(part) > 0 and all(map(_is_pair, part)) for part in segmentation)
    return [
        [number for pair in part for number in pair] if is_paired else part
        for part, is_paired in zip(segmentation, pairs, strict=True)
    ]


def _is_pair(point: Any) -> bool:
    return isinstance(point, list) and len(point) == 2


def _part(part: Any, height: int, width: int) -> RLE:
    if isinstance(part, Mapping):
        return _run_lengths(part, height, width)
    return cast(RLE, masks.from_polygons([_numbers(part)], height, width))


def _numbers(polygon: Any) -> list[float]:
    if not isinstance(polygon, list) or not all(
        isinstance(number, int | float) and not isinstance(number, bool) for number in polygon
    ):
        raise InputError(f"A polygon is {str(polygon)[:40]!a}; expected a list of numbers x, y, x, y ….")
    return list(map(float, polygon))


def _without_fragments(parts: list[Any], height: int, width: int, where: str, issues: Issues | None) -> list[Any]:
    """The parts that have an area inside the image; without any of them it raises."""
    points = [np.array(_numbers(part)).reshape(-1, 2) if _is_even(part) else None for part in parts]
    polygons = [each for each in points if each is not None and np.isfinite(each).all()]
    if polygons and len(polygons) == len(parts):
        _check_extent(np.concatenate(polygons), height, width)
    wrong = [_wrong_with(each, height, width) if each is not None else "" for each in points]
    if len(parts) > 1 and any(wrong) and not all(wrong):
        noted = Issues() if issues is None else issues
        for number, reason in enumerate(wrong, 1):
            if reason:
                noted.drop(f"{where}: polygon {number} of {len(parts)} {reason}; remove it.")
        return [part for part, reason in zip(parts, wrong, strict=True) if not reason]
    if reason := next(filter(None, wrong), ""):
        raise InputError(f"The polygon {reason}; expected the outline of an area.")
    return parts


def _is_even(part: Any) -> bool:
    return isinstance(part, list) and len(part) > 0 and len(part) % 2 == 0


def _check_extent(points: np.ndarray, height: int, width: int) -> None:
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    if min(left, top) >= 0 and max(right, bottom) <= 1 and max(height, width) > 2:
        raise InputError(
            f"The polygon's coordinates look like fractions of the photo: all are between 0 and 1, and it is {height}x"
            f"{width} pixels (height x width); multiply x by {width} and y by {height}."
        )
    if _is_outside(points, height, width):
        raise InputError(
            f"The polygon is outside its photo: x {left:g} to {right:g}, y {top:g} to {bottom:g}, in {height}x"
            f"{width} pixels (height x width); check that it belongs to this photo, at this size."
        )


def _wrong_with(points: np.ndarray, height: int, width: int) -> str:
    """Why the polygon is not part of an object, or nothing."""
    if not np.isfinite(points).all():
        return ""  # rasterising refuses it
    distinct = len(np.unique(points, axis=0))
    if distinct < 3:
        return f"has {'one point' if distinct == 1 else 'two points'} only"
    x, y = (points - points[0]).T
    if not np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)) and np.linalg.matrix_rank(points - points[0]) < 2:
        return "is a line"
    return "is outside the photo" if _is_outside(points, height, width) else ""


def _is_outside(points: np.ndarray, height: int, width: int) -> bool:
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return bool(right <= 0 or bottom <= 0 or left >= width or top >= height)


def run_lengths(rle: Mapping[str, Any]) -> RLE:
    """Compressed run lengths, from JSON of either form. Raises InputError where they do not fill the mask."""
    size, counts = rle.get("size"), rle.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not isinstance(counts, str | list):
        raise InputError("Run lengths need 'size' (height, width) and 'counts'.")
    if not all(isinstance(side, int | float) and side == int(side) for side in size):
        raise InputError(f"Run lengths have the size {size}; expected height and width as whole numbers.")
    height, width = map(int, size)
    if isinstance(counts, list):
        return cast(RLE, masks.from_uncompressed(counts, height, width))
    masks.check_counts(counts, height * width)
    return {"size": [height, width], "counts": counts}


def _run_lengths(rle: Mapping[str, Any], height: int, width: int) -> RLE:
    size = rle.get("size")
    if (
        isinstance(size, list)
        and len(size) == 2
        and size != [height, width]
        and all(isinstance(side, int) for side in size)
    ):
        raise WrongSizeError("The mask", (size[0], size[1]), (height, width))
    return run_lengths(rle)


def _is_positive(number: Any) -> bool:
    return isinstance(number, int | float) and number > 0
