"""Colours, patterns and light: turns a patch of numbered paints into colour and cover, in whole numbers only."""

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image, ImageFilter

from .domains import Style
from .pen import FIXED_PAINTS, PAINTS, lot
from .scenes import Colour, Pattern, Thing

COLOUR_VALUES: Mapping[Colour, tuple[int, int, int]] = {
    "red": (212, 32, 36),
    "orange": (250, 130, 14),
    "yellow": (250, 222, 34),
    "green": (42, 162, 58),
    "blue": (36, 84, 214),
    "purple": (128, 44, 178),
    "pink": (252, 142, 186),
    "brown": (122, 72, 34),
    "black": (38, 36, 42),
    "white": (244, 244, 242),
    "grey": (138, 142, 146),
}
# What a pattern is drawn with: nothing that could be taken for the colour of another thing.
PATTERN_VALUES: Mapping[Colour, tuple[int, int, int]] = {
    "red": (252, 236, 230),
    "orange": (255, 242, 220),
    "yellow": (116, 92, 24),
    "green": (228, 246, 214),
    "blue": (222, 234, 252),
    "purple": (240, 222, 250),
    "pink": (156, 44, 96),
    "brown": (240, 218, 184),
    "black": (196, 196, 200),
    "white": (84, 88, 104),
    "grey": (52, 54, 60),
}
SKINS = ((242, 204, 172), (226, 178, 138), (188, 134, 94), (138, 92, 62), (100, 66, 46))
HAIRS = ((40, 30, 26), (92, 60, 34), (198, 158, 84), (120, 58, 34), (128, 124, 120))
OVERSAMPLING = 2


class Cutout(NamedTuple):
    """A drawn thing before it is set into a picture."""

    colour: UInt8[np.ndarray, "h w 3"]
    cover: UInt8[np.ndarray, "h w"]  # 255 where the thing is, less at its edge
    lines: UInt8[np.ndarray, "h w"]  # how much of the pixel is an edge between parts


@lru_cache(maxsize=8192)
def _table(thing_colour: Colour, shade: int, skin: int, hair: int) -> UInt8[np.ndarray, "n 3"]:
    """The colour of every paint, first without and then with the pattern."""
    table = np.zeros((2, 64, 3), dtype=np.int32)
    base = np.array(COLOUR_VALUES[thing_colour]) * (244 + shade) // 256
    over = np.array(PATTERN_VALUES[thing_colour])
    for name, (share, lift) in {"body": (256, 0), "dark": (196, 0), "light": (212, 44), "solid": (256, 0)}.items():
        table[0, PAINTS[name]] = base * share // 256 + lift
        table[1, PAINTS[name]] = (base if name == "solid" else over) * share // 256 + (0 if name == "solid" else lift)
    for name, value in FIXED_PAINTS.items():
        table[:, PAINTS[name]] = value
    table[:, PAINTS["skin"]] = SKINS[skin]
    table[:, PAINTS["skin_shade"]] = np.array(SKINS[skin]) * 216 // 256
    table[:, PAINTS["hair"]] = HAIRS[hair]
    return table.clip(0, 255).astype(np.uint8).reshape(128, 3)


def cut_out(patch: Image.Image, thing: Thing, style: Style, light: int) -> Cutout:
    """Colour and shade a patch of paints; `light` is -1 where light comes from the left and 1 from the right."""
    paints = np.asarray(patch)
    table = _table(
        thing.colour, lot(thing.tint, 90, 13), lot(thing.tint, 91, len(SKINS)), lot(thing.tint, 92, len(HAIRS))
    )
    numbers = paints
    if thing.pattern != "plain":
        numbers = paints + 64 * _pattern(thing.pattern, paints.shape, lot(thing.tint, 93, 8))
    picture = Image.fromarray(table[numbers])
    cover = patch.point(_COVER)
    edges = _edges(paints)
    small = Image.merge("RGBA", (*picture.split(), cover)).reduce(OVERSAMPLING)
    pixels = np.asarray(small)
    alpha = pixels[..., 3]
    lines = np.asarray(Image.fromarray(edges).reduce(OVERSAMPLING))
    # The empty paint is black: what it took from the mean at the edge is given back.
    whole = np.maximum(alpha, 1).astype(np.int32)[..., None]
    colour = np.minimum(pixels[..., :3].astype(np.int32) * 255 // whole, 255)
    colour = colour * _relief(small.getchannel("A"), style.relief, light)[..., None] >> 8
    if style.edges and style.paper == "none":
        colour = colour * (256 - (lines.astype(np.int32) * style.edges >> 8))[..., None] >> 8
    return Cutout(np.minimum(colour, 255).astype(np.uint8), alpha, lines)


_COVER = [0] + [255] * 255


def _pattern(pattern: Pattern, shape: tuple[int, ...], phase: int) -> UInt8[np.ndarray, "h w"]:
    """1 where the pattern's second colour is, less than half of all."""
    height, width = shape
    period = max(6, min(height, width) // 5)
    rows, columns = np.arange(height)[:, None] + phase, np.arange(width)[None, :] + phase
    if pattern == "striped":
        marks = (3 * columns + rows) // 3 % period * 20 < 9 * period + 0 * rows
    elif pattern == "dotted":
        row, column = rows % period * 2 - period, (columns + rows // period % 2 * (period // 2)) % period * 2 - period
        marks = 10 * (row * row + column * column) < 4 * period * period
    else:
        marks = (rows // (period // 2) + columns // (period // 2)) % 2 == 1
    return marks.astype(np.uint8)


def _edges(paints: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """255 where two paints meet, and along the outline."""
    edges = np.zeros(paints.shape, dtype=np.uint8)
    across, along = paints[:, 1:] != paints[:, :-1], paints[1:] != paints[:-1]
    edges[:, 1:][across] = 255
    edges[1:][along] = 255
    return edges


def _relief(cover: Image.Image, strength: int, light: int) -> Int[np.ndarray, "h w"]:
    """How bright each pixel is, in 256ths: the cover, blurred, is taken for a hill that the light falls on."""
    radius = max(2, min(cover.size) // 7)
    # A slope against the light is read from two shifted copies of the hill.
    hill = np.asarray(cover.filter(ImageFilter.BoxBlur(radius))).astype(np.int32)
    step = max(1, radius // 2)
    padded = np.pad(hill, step, mode="edge")
    height, width = hill.shape
    left, right = padded[step : step + height, :width], padded[step : step + height, 2 * step :]
    above, below = padded[:height, step : step + width], padded[2 * step :, step : step + width]
    slope = (below - above) + light * (left - right)
    fall = 20 - np.arange(height, dtype=np.int32)[:, None] * 40 // height
    return np.clip(256 + ((slope * strength) >> 8) + (fall * strength >> 8), 120, 330)
