"""Masks as run lengths, polygons, boxes and pixels; the only file that imports pycocotools."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, TypedDict, cast

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image
from pycocotools import mask as coco

from .errors import InputError


class RLE(TypedDict):
    """A mask as COCO's compressed run lengths."""

    size: list[int]  # height, width
    counts: str


RunLengths = dict[str, Any]
MOST_PIXELS = 2**32 - 1  # COCO's C code counts in 32 bits
FARTHEST = 1e5  # a polygon's coordinate; the C code walks its edges pixel by pixel


def encode(mask: Bool[np.ndarray, "h w"]) -> RunLengths:
    """The mask as COCO's compressed run lengths, ready for JSON."""
    return _text(coco.encode(np.asfortranarray(mask, dtype=np.uint8)))


def decode(rle: Any) -> Bool[np.ndarray, "h w"]:
    """The pixels of run lengths, compressed or not. Raises InputError where they do not fill the mask."""
    return cast(np.ndarray, coco.decode(_checked(rle))).astype(bool)


def from_polygons(polygons: Sequence[Sequence[float]], height: int, width: int) -> RunLengths:
    """The union of COCO polygons `[x0, y0, x1, y1, …]`, rasterised as COCO does; without polygons an empty mask."""
    _check_size(height, width)
    for polygon in polygons:
        if len(polygon) < 6 or len(polygon) % 2:
            raise InputError(f"A polygon has {len(polygon)} numbers; expected at least three points of two numbers.")
        if not all(map(math.isfinite, polygon)):
            raise InputError("A polygon has a coordinate that is not finite; expected numbers of pixels.")
        if not all(abs(number) < FARTHEST for number in polygon):
            raise InputError(f"A polygon leaves its image by more than {FARTHEST:,.0f} pixels.")
    if not polygons:
        return from_uncompressed([height * width], height, width)
    return _text(coco.merge(coco.frPyObjects([list(polygon) for polygon in polygons], height, width)))


def from_uncompressed(counts: Sequence[int], height: int, width: int) -> RunLengths:
    """COCO's uncompressed run lengths (column by column, background first) in compressed form."""
    _check_size(height, width)
    if not all(isinstance(count, int | np.integer) and count >= 0 for count in counts):
        raise InputError("Uncompressed run lengths must be whole numbers from 0.")
    if sum(counts) != height * width:
        raise InputError(f"Run lengths sum to {sum(counts)}, but the mask has {height}x{width} pixels.")
    return _text(coco.frPyObjects({"size": [height, width], "counts": list(map(int, counts))}, height, width))


def area(rle: Any) -> int:
    return int(coco.area(_checked(rle)))


def box(rle: Any) -> tuple[float, float, float, float]:
    """Left, top, width, height in pixels; all zero for an empty mask."""
    left, top, width, height = coco.toBbox(_checked(rle))
    return float(left), float(top), float(width), float(height)


def union(rles: Iterable[Any]) -> RunLengths:
    checked = [_checked(rle) for rle in rles]
    if len(sizes := {tuple(rle["size"]) for rle in checked}) > 1:
        raise InputError(f"Masks of the sizes {', '.join(f'{h}x{w}' for h, w in sorted(sizes))} cannot be joined.")
    return _text(coco.merge(checked))


def intersection_and_union(prediction: Any, target: Any) -> tuple[int, int]:
    """Pixels in both masks and pixels in either, by run-length arithmetic: nothing is decoded."""
    if list(prediction["size"]) != list(target["size"]):
        raise InputError(f"Masks of sizes {list(prediction['size'])} and {list(target['size'])} cannot be compared.")
    first, second = _checked(prediction), _checked(target)
    both = int(coco.area(coco.merge([first, second], intersect=True)))
    return both, int(coco.area(first)) + int(coco.area(second)) - both


def check_counts(counts: str, pixels: int) -> None:
    """Raises InputError unless COCO's compressed run lengths fill the mask exactly.

    The C code that reads them does not check them, so they are unpacked here first: five bits a character, each run
    after the second as the difference to the run before the last.
    """
    if pixels > MOST_PIXELS:
        raise InputError(f"A mask has {pixels:,} pixels; run lengths hold at most {MOST_PIXELS:,}.")
    codes = np.frombuffer(counts.encode("utf-8", "replace"), dtype=np.uint8).astype(np.int64) - 48
    if not counts.isascii() or codes.size == 0 or codes.min() < 0 or codes.max() > 63 or codes[-1] & 0x20:
        raise InputError("The run lengths are not COCO run lengths.")
    last = np.flatnonzero((codes & 0x20) == 0)  # the closing character of every run
    first = np.concatenate([[0], last[:-1] + 1])
    if (last - first).max() > 7:
        raise InputError("The run lengths are not COCO run lengths: a run is too long.")
    place = np.arange(codes.size) - np.repeat(first, last - first + 1)
    values = np.add.reduceat((codes & 0x1F) << (5 * place), first)
    values -= np.where(codes[last] & 0x10, np.int64(1) << (5 * (last - first + 1)), 0)
    # From the third run on each is a difference, so the odd and the even runs are two running sums.
    if values.size > 2:
        values[1::2] = np.cumsum(values[1::2])
        values[2::2] = np.cumsum(values[2::2])
    if values.min() < 0 or values.sum() != pixels:
        raise InputError(f"The run lengths do not fill the mask's {pixels:,} pixels.")


def resize(mask: Bool[np.ndarray, "h w"], height: int, width: int) -> Bool[np.ndarray, "height width"]:
    """Nearest-neighbour resizing, as Pillow does it."""
    picture = Image.fromarray(mask.astype(np.uint8)).resize((width, height), Image.Resampling.NEAREST)
    return np.asarray(picture, dtype=bool)


def paint(
    image: UInt8[np.ndarray, "h w 3"],
    mask: Bool[np.ndarray, "h w"],
    colour: tuple[int, int, int] = (255, 64, 64),
    strength: float = 0.5,
) -> UInt8[np.ndarray, "h w 3"]:
    """The image with the mask tinted and outlined: a simple picture of a prediction."""
    tint = np.asarray(colour, dtype=np.float32)
    values = np.arange(256, dtype=np.float32)[:, None]
    tinted = ((1 - strength) * values + strength * tint).round().astype(np.uint8)  # of every value, by channel
    painted = image.copy()
    for channel in range(3):
        painted[..., channel][mask] = tinted[image[..., channel][mask], channel]
    thickness = max(1, round(min(image.shape[:2]) / 240))
    painted[outline(mask, thickness)] = tint.round().astype(np.uint8)
    return painted


def outline(mask: Bool[np.ndarray, "h w"], thickness: int = 1) -> Bool[np.ndarray, "h w"]:
    """The cells of the mask within `thickness` steps of its outside; beyond the picture's border is not outside."""
    inner = mask.copy()
    for _ in range(thickness):
        padded = np.pad(inner, 1, mode="edge")
        inner = inner & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def _check_size(height: int, width: int) -> None:
    if min(height, width) < 0 or height * width > MOST_PIXELS:
        raise InputError(f"A mask cannot be {height}x{width} pixels; run lengths hold at most {MOST_PIXELS:,}.")


def _checked(rle: Any) -> RunLengths:
    """Run lengths as the C code reads them, which returns uninitialised memory where they do not fill the mask."""
    size, counts = rle["size"], rle["counts"]
    if len(size) != 2 or not all(isinstance(side, int | np.integer) and side >= 0 for side in size):
        raise InputError(f"A mask has the size {size!r}; expected height and width.")
    height, width = map(int, size)
    if isinstance(counts, list | tuple):
        counts = from_uncompressed(counts, height, width)["counts"]
    elif isinstance(counts, bytes):
        counts = counts.decode("latin1")
    if counts or height * width:
        check_counts(counts, height * width)
    return {"size": [height, width], "counts": counts.encode("ascii")}


def _text(rle: Any) -> RunLengths:
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}
