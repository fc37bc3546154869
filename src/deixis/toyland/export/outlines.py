"""Masks as COCO segmentations that decode to exactly the same pixels: polygons if possible, otherwise run lengths."""

from typing import Any

import numpy as np
from jaxtyping import Bool

from ... import masks

Corner = tuple[int, int]


def segmentation(mask: Bool[np.ndarray, "h w"]) -> list[list[float]] | dict[str, Any]:
    """Polygons along the edges of the mask's pixels, or run lengths where polygons would decode to other pixels."""
    exact = masks.encode(mask)
    found = outlines(mask)
    if found and masks.from_polygons(found, *mask.shape) == exact:
        return found
    return exact


def polygons(mask: Bool[np.ndarray, "h w"]) -> list[list[float]]:
    """Polygons whose union is the mask, pixel for pixel; a mask that decodes to other pixels is cut in two."""
    found = outlines(mask)
    if not found or masks.from_polygons(found, *mask.shape) == masks.encode(mask):
        return found
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    first, second = mask.copy(), mask.copy()
    if np.ptp(rows) >= np.ptp(columns):
        middle = (rows[0] + rows[-1] + 1) // 2
        first[middle:], second[:middle] = False, False
    else:
        middle = (columns[0] + columns[-1] + 1) // 2
        first[:, middle:], second[:, :middle] = False, False
    return polygons(first) + polygons(second)


def outlines(mask: Bool[np.ndarray, "h w"]) -> list[list[float]]:
    """Clockwise outlines of the mask's pixels, as `[x0, y0, x1, y1, …]`."""
    leaving = _edges(mask)
    found = []
    while leaving:
        start = next(iter(leaving))
        corner, heading, outline = start, (0, 0), []
        while True:
            following = _turn(leaving, corner, heading)
            step = (following[0] - corner[0], following[1] - corner[1])
            if step != heading:
                outline += [float(corner[0]), float(corner[1])]
            corner, heading = following, step
            if corner == start:
                break
        found.append(outline)
    return found


def _edges(mask: Bool[np.ndarray, "h w"]) -> dict[Corner, list[Corner]]:
    """Each corner on the mask's border with the corners that follow it, clockwise around the mask."""
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    sides = (
        (inside & ~padded[:-2, 1:-1], (0, 0), (1, 0)),  # above: to the right
        (inside & ~padded[1:-1, 2:], (1, 0), (1, 1)),  # right: downward
        (inside & ~padded[2:, 1:-1], (1, 1), (0, 1)),  # below: to the left
        (inside & ~padded[1:-1, :-2], (0, 1), (0, 0)),  # left: upward
    )
    leaving: dict[Corner, list[Corner]] = {}
    for border, start, end in sides:
        for y, x in zip(*(index.tolist() for index in np.nonzero(border)), strict=True):
            leaving.setdefault((x + start[0], y + start[1]), []).append((x + end[0], y + end[1]))
    return leaving


def _turn(leaving: dict[Corner, list[Corner]], corner: Corner, heading: Corner) -> Corner:
    """Remove the next edge and return its end; where two pixels touch at a corner only, turn right."""
    options = leaving[corner]
    right = (corner[0] - heading[1], corner[1] + heading[0])
    following = right if right in options else options[0]
    options.remove(following)
    if not options:
        del leaving[corner]
    return following
