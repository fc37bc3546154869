"""COCO's ways to write a mask (polygons, run lengths, several of either) as one run-length mask of its image's size."""

from collections.abc import Mapping
from typing import Any, Literal, cast

import numpy as np

from .. import masks
from ..errors import InputError
from ..masks import RLE

Overlaps = Literal["union", "published"]  # pixels in any part, or in exactly one as the published code keeps them


def as_rle(segmentation: Any, height: int, width: int, where: str, overlaps: Overlaps = "union") -> RLE:
    """The mask; `where` names file and record for errors.

    `published` keeps only the pixels that exactly one part covers: the published readers sum an object's parts and
    compare the sum with 1.
    """
    try:
        if isinstance(segmentation, Mapping):
            return _run_lengths(segmentation, height, width)
        if not isinstance(segmentation, list):
            raise ValueError(f"A mask is a list of polygons or run lengths, but {type(segmentation).__name__} came.")
        if segmentation and all(isinstance(number, int | float) for number in segmentation):
            segmentation = [segmentation]
        if len(segmentation) > 1 and overlaps == "published":
            parts = [masks.decode(_part(part, height, width)).astype(np.int32) for part in segmentation]
            return cast(RLE, masks.encode(sum(parts[1:], parts[0]) == 1))
        if all(isinstance(part, list) for part in segmentation):
            return cast(RLE, masks.from_polygons([_numbers(part) for part in segmentation], height, width))
        return cast(RLE, masks.union([_part(part, height, width) for part in segmentation]))
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise InputError(f"{where}: {error}") from error


def _part(part: Any, height: int, width: int) -> RLE:
    if isinstance(part, Mapping):
        return _run_lengths(part, height, width)
    return cast(RLE, masks.from_polygons([_numbers(part)], height, width))


def _numbers(polygon: Any) -> list[float]:
    if not isinstance(polygon, list) or not all(isinstance(number, int | float) for number in polygon):
        raise ValueError("A polygon is a list of numbers x, y, x, y …, but something else came.")
    # Coordinates far outside would be walked pixel by pixel.
    if not all(abs(number) < 1e5 for number in polygon):
        raise ValueError("A polygon leaves its image by more than 100,000 pixels.")
    return list(map(float, polygon))


def _run_lengths(rle: Mapping[str, Any], height: int, width: int) -> RLE:
    size, counts = rle.get("size"), rle.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not isinstance(counts, str | list):
        raise ValueError("Run lengths need 'size' (height, width) and 'counts'.")
    if [int(side) for side in size] != [height, width]:
        raise ValueError(f"The mask is {size[0]}x{size[1]} pixels (height x width), but its image is {height}x{width}.")
    if isinstance(counts, list):
        if not all(isinstance(count, int) and count >= 0 for count in counts):
            raise ValueError("Uncompressed run lengths are whole numbers from 0.")
        return cast(RLE, masks.from_uncompressed(counts, height, width))
    masks.check_counts(counts, height * width)
    return {"size": [height, width], "counts": counts}
