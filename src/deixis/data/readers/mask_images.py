"""Masks as image files: which pixels are the object, or a refusal where the file does not say it for certain.

- one colour beside black, in any mode: the pixels of that colour
- `label`: the pixels with this grey value or palette index, or of this colour; `"any"`: all that is not black
- transparency: a shape of one colour is its alpha; a cut-out is what is not transparent
- edges blurred by resampling or lossy compression: cut at half of the largest value
- several labels without a rule, a photo, or nothing that could be the background: refused
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from jaxtyping import Bool, Shaped
from PIL import Image

from ... import masks
from ...errors import InputError
from ...masks import RLE
from ..images import opened, reading, upright
from ..segmentation import WrongSizeError

FEW = 16  # values of a label map, an antialiased edge has as few; a lossy or a resampled mask has more
_RANGE = 128  # a lossy mask's largest value; labels are counted from 0
_BLUR = 2  # pixels over which an antialiased edge extends
_BLEED = 3  # and over which a lossy one does in part
_BLOCK = 8  # pixels within which lossy compression rings


class ReadMask(NamedTuple):
    """A mask, None where the record has none; `cut` says that blurred edges were cut at half of the largest value."""

    rle: RLE | None
    cut: bool = False


@dataclass(frozen=True)
class _Picture:
    """A mask file's pixels: `values` are grey values `[h w]` or colours `[h w 3]`."""

    values: Shaped[np.ndarray, "h w *c"]
    alpha: Shaped[np.ndarray, "h w"] | None
    index: Shaped[np.ndarray, "h w"] | None  # of the palette
    lossy: bool  # the file's format is

    @property
    def size(self) -> tuple[int, int]:
        return self.values.shape[0], self.values.shape[1]


class _UnclearError(Exception):
    """Why it is not certain which pixels are the object."""


def read_mask_image(
    path: Path, size: tuple[int, int], where: str, label: Any = None, ignore_exif: bool = False
) -> ReadMask:
    """The mask in the file. Raises InputError with the record where it is not certain, or not of the image's size."""
    name = f"{where}: the mask {path.name}"
    picture = _read(path, where, ignore_exif)
    if picture.size != size:
        raise WrongSizeError(name, picture.size, size)
    try:
        pixels, cut = (_labelled(picture, label), False) if label is not None else _object(picture)
    except _UnclearError as error:
        raise InputError(f"{name} {error}.") from None
    return ReadMask(cast(RLE, masks.encode(pixels)), cut)


def _read(path: Path, where: str, ignore_exif: bool) -> _Picture:
    name = f"{where}: the mask {path}"
    with reading(name), opened(path, name) as image:
        image.load()
        return _pixels(image if ignore_exif else upright(image), _is_lossy(image.format, path))


def _is_lossy(kind: str | None, path: Path) -> bool:
    if kind != "WEBP":
        return kind in {"JPEG", "MPO", "AVIF", "HEIF"}
    with path.open("rb") as file:
        return b"VP8L" not in file.read(4096)  # the lossless kind of its image


def _pixels(image: Image.Image, lossy: bool) -> _Picture:
    index = np.asarray(image) if image.mode == "P" else None
    if image.mode in {"LA", "La"}:
        both = np.asarray(image.convert("LA"))
        return _Picture(both[..., 0], both[..., 1], index, lossy)
    if image.mode in {"RGBA", "RGBa", "PA"} or "transparency" in image.info:
        four = np.asarray(image.convert("RGBA"))
        return _Picture(_grey_if_equal(four[..., :3]), four[..., 3], index, lossy)
    if image.mode in {"1", "L", "I", "F"} or image.mode.startswith("I;"):
        grey = np.asarray(image)
        return _Picture(grey.astype(np.uint8) * 255 if image.mode == "1" else grey, None, index, lossy)
    return _Picture(_grey_if_equal(np.asarray(image.convert("RGB"))), None, index, lossy)


def _grey_if_equal(colours: Shaped[np.ndarray, "h w 3"]) -> Shaped[np.ndarray, "h w *c"]:
    return colours[..., 0] if (colours == colours[..., :1]).all() else colours


def _labelled(picture: _Picture, label: Any) -> Bool[np.ndarray, "h w"]:
    """The pixels with the label: a grey value, a palette index or a colour."""
    coloured = picture.values.ndim == 3
    if label == "any":
        found = picture.values.any(axis=-1) if coloured else picture.values > 0
    elif isinstance(label, list) and len(label) == 3:
        found = (
            (picture.values == label).all(axis=-1) if coloured else (picture.values == label[0]) & (len({*label}) == 1)
        )
    elif isinstance(label, bool) or not isinstance(label, int):
        raise _UnclearError(f'has the label {label!r} in its record; expected a number, a colour [r, g, b] or "any"')
    elif picture.index is not None:
        found = picture.index == label
    elif coloured:
        raise _UnclearError(f"has colours, but its record has the label {label}; give a colour: {_listed(picture)}")
    else:
        found = picture.values == label
    if label != "any" and not found.any():
        raise _UnclearError(f"has no pixel with the label {label}; there are {_listed(picture)}")
    return np.asarray(found if picture.alpha is None else found & (picture.alpha > 0))


def _object(picture: _Picture) -> tuple[Bool[np.ndarray, "h w"], bool]:
    """The object's pixels, and whether blurred edges were cut."""
    alpha, values = picture.alpha, picture.values
    one_colour = bool((values == values[:1, :1]).all())
    if alpha is None or alpha.min() == alpha.max() > 0:
        return _of_values(picture, values)
    if one_colour:
        return _of_values(picture, alpha)
    if not alpha.any():
        raise _UnclearError("is wholly transparent, but has several colours below; save it without transparency")
    # A cut-out. Where a mask was cut out rather than a photo, its own black is background too.
    opaque = alpha > float(alpha.max()) / 2
    inside = np.unique(values[opaque], axis=0)
    blurred = bool(((alpha > 0) & (alpha < alpha.max())).any())
    if len(inside) == 1 or len(inside) > FEW:
        return opaque, blurred
    if len(inside) == 2 and not inside[0].any():
        shape = values.any(axis=-1) if values.ndim == 3 else values > 0
        return opaque & shape, blurred
    raise _several(picture)


def _of_values(picture: _Picture, values: Shaped[np.ndarray, "h w *c"]) -> tuple[Bool[np.ndarray, "h w"], bool]:
    """By brightness, once it is certain that the colours are one object's on black."""
    if values.ndim == 3:
        packed = values.astype(np.uint32) @ np.array([65536, 256, 1], dtype=np.uint32)
        colours = np.unique(packed)
        if len(colours[colours > 0]) == 1:
            return packed > 0, False
        if not _one_hue(values, colours):
            raise _several(picture)
        values = values.max(axis=-1)
    levels = np.unique(values)
    if len(levels[levels != 0]) <= 1:
        return values != 0, False
    if not _is_blurred(values, levels, picture.lossy):
        raise _several(picture)
    return values > float(levels[-1]) / 2, True


def _one_hue(values: Shaped[np.ndarray, "h w 3"], packed: np.ndarray) -> bool:
    """Whether all colours are between black and one colour, as those of a blurred mask do."""
    if len(packed) <= FEW:
        colours = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=-1).astype(float)
        brightest = colours[colours.sum(axis=-1).argmax()]
        scale = colours @ brightest / (brightest @ brightest)
        return bool(np.abs(colours - scale[:, None] * brightest).max() <= 3)
    level = values.max(axis=-1)
    bright = level > float(level.max()) * 3 / 4
    inside = ~_grown(~bright, _BLEED)  # lossy compression mixes the hues at edges
    chosen = values[inside if inside.any() else bright].astype(int)
    near = np.abs(chosen - np.median(chosen, axis=0)).max(axis=-1) <= 64
    return bool(near.mean() >= (0.98 if inside.any() else 0.9))


def _is_blurred(values: Shaped[np.ndarray, "h w"], levels: np.ndarray, lossy: bool) -> bool:
    """Whether nearly all values are close to black or to the largest, and those between them are at edges.

    Labels differ from that: their values are close together, fill areas, or are close to one end only.
    """
    smallest, largest = float(levels[0]), float(levels[-1])
    if smallest < 0 or (largest < _RANGE and values.dtype.kind != "f"):
        return False
    low, high = values <= largest / 8, values >= largest * 7 / 8
    between = ~(low | high)
    at_ends = (values <= largest / 16) | (values >= largest * 15 / 16)
    if not low.any() or at_ends.mean() < 0.75:  # no background, or a photo
        return False
    if len(levels) == 2:
        return True
    flat = _is_flat(values)
    if len(levels) > FEW or lossy:
        return not between.any() or bool(flat[between].mean() <= 0.5)
    edges = [_grown(low, steps) & _grown(high, steps) for steps in (_BLUR, _BLOCK)]
    if (between & (flat | ~edges[0])).any():
        return False
    dark, bright = low & (values != smallest), high & (values != largest)
    if dark.any() and bright.any():  # rings on both sides of an edge
        return True
    rings = dark | bright
    return not rings.any() or bool(edges[1][rings].all() and flat[rings].mean() <= 0.1)


def _is_flat(values: Shaped[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Pixels whose eight neighbours have their value; none at the border."""
    flat = np.zeros(values.shape, dtype=bool)
    if min(values.shape) < 3:
        return flat
    beside, below = values[:, 1:] == values[:, :-1], values[1:] == values[:-1]
    rows = beside[:, 1:] & beside[:, :-1]  # three equal values in a row
    flat[1:-1, 1:-1] = rows[:-2] & rows[1:-1] & rows[2:] & below[1:, 1:-1] & below[:-1, 1:-1]
    return flat


def _grown(mask: Bool[np.ndarray, "h w"], steps: int) -> Bool[np.ndarray, "h w"]:
    """The pixels within a square of `steps` around any pixel of the mask."""
    grown = mask.copy()
    for axis in (0, 1):
        along = np.moveaxis(grown, axis, 0)
        start = along.copy()
        for step in range(1, min(steps, len(start) - 1) + 1):
            along[step:] |= start[:-step]
            along[:-step] |= start[step:]
    return grown


def _several(picture: _Picture) -> _UnclearError:
    return _UnclearError(
        f'has several values: {_listed(picture)}; say which is the object with "label" in its record '
        '(a value, or "any" for all that is not black), or save the mask as black and white'
    )


def _listed(picture: _Picture, most: int = 8) -> str:
    """The first values that a label can name."""
    if picture.index is not None:
        return _first(np.unique(picture.index).tolist(), most)
    found = picture.values.reshape(-1, *picture.values.shape[2:])
    return _first(np.unique(found, axis=0).tolist(), most)


def _first(values: Sequence[Any], most: int) -> str:
    return ", ".join(map(str, values[:most])) + (f" and {len(values) - most:,} more" if len(values) > most else "")
