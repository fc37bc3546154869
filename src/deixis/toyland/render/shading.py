"""Colours, patterns and light: turns a patch of numbered paints into colour and opacity, in integers only."""

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8, UInt16, UInt32
from PIL import Image, ImageFilter

from ..scene.domains import Style
from ..scene.scenes import Colour, Pattern, Thing
from .pen import FIXED_PAINTS, PAINTS, variant

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
    "white": (250, 250, 248),
    "grey": (138, 142, 146),
}
# The second colour of a pattern; none of them looks like one of the named colours.
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
    """A shaded thing before it is pasted into an image."""

    colour: UInt8[np.ndarray, "h w 3"]  # premultiplied by the cover
    cover: UInt8[np.ndarray, "h w"]  # opacity: 255 inside, less at the edge
    lines: UInt8[np.ndarray, "h w"]  # how much of the pixel is an edge between parts


@lru_cache(maxsize=8192)
def _table(thing_colour: Colour, shade: int, skin: int, hair: int) -> UInt32[np.ndarray, "n"]:
    """The colour and opacity of every paint, first without and then with the pattern."""
    table = np.zeros((2, 64, 4), dtype=np.int32)
    base = np.array(COLOUR_VALUES[thing_colour]) * (244 + shade) // 256
    over = np.array(PATTERN_VALUES[thing_colour])
    table[:, 1:, 3] = 255
    for name, (factor, lift) in {"body": (256, 0), "dark": (196, 0), "light": (212, 44), "solid": (256, 0)}.items():
        table[0, PAINTS[name], :3] = base * factor // 256 + lift
        table[1, PAINTS[name], :3] = (base if name == "solid" else over) * factor // 256 + (
            0 if name == "solid" else lift
        )
    for name, value in FIXED_PAINTS.items():
        table[:, PAINTS[name], :3] = value
    table[:, PAINTS["skin"], :3] = SKINS[skin]
    table[:, PAINTS["skin_shade"], :3] = np.array(SKINS[skin]) * 216 // 256
    table[:, PAINTS["hair"], :3] = HAIRS[hair]
    return table.clip(0, 255).astype(np.uint8).reshape(128, 4).view(np.uint32)[:, 0]


def cut_out(patch: Image.Image, thing: Thing, style: Style, light: int) -> Cutout:
    """Colour and shade a patch of paints; `light` is -1 for light from the left and 1 for light from the right."""
    paints = np.asarray(patch)
    skin, hair = variant(thing.detail_seed, 91, len(SKINS)), variant(thing.detail_seed, 92, len(HAIRS))
    table = _table(thing.colour, variant(thing.detail_seed, 90, 13), skin, hair)
    numbers = paints
    if thing.pattern != "plain":
        numbers = paints + 64 * _pattern(thing.pattern, paints.shape, variant(thing.detail_seed, 93, 8))
    height, width = paints.shape
    coloured = Image.frombuffer("RGBa", (width, height), table[numbers], "raw", "RGBa", 0, 1)
    small = coloured.reduce(OVERSAMPLING)
    pixels = np.asarray(small)
    lines = np.asarray(Image.fromarray(_edges(paints)).reduce(OVERSAMPLING))
    brightness = _relief(pixels[..., 3], style.relief, light)
    if style.edges and style.paper == "none":
        brightness = brightness * (256 - (lines.astype(np.uint16) * np.uint16(style.edges) >> 8)) >> 8
    colour = pixels[..., :3] * brightness[..., None] >> 7
    return Cutout(np.minimum(colour, pixels[..., 3:]).astype(np.uint8), pixels[..., 3], lines)


def _pattern(pattern: Pattern, shape: tuple[int, ...], phase: int) -> UInt8[np.ndarray, "h w"]:
    """1 where the pattern has its second colour, which is less than half of the pixels."""
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
    """255 along borders between paints and along the outline; highlights have no edges."""
    edges = np.zeros(paints.shape, dtype=np.uint8)
    paints = np.where(paints == PAINTS["light"], np.uint8(PAINTS["body"]), paints)
    across, along = paints[:, 1:] != paints[:, :-1], paints[1:] != paints[:-1]
    edges[:, 1:][across] = 255
    edges[1:][along] = 255
    return edges


def _relief(cover: UInt8[np.ndarray, "h w"], strength: int, light: int) -> UInt16[np.ndarray, "h w"]:
    """The brightness of each pixel, in 128ths: bump shading with the blurred cover as the height map."""
    height, width = cover.shape
    radius = max(2, min(height, width) // 7)
    bump = np.asarray(Image.fromarray(cover).filter(ImageFilter.BoxBlur(radius)))
    # The slope is the difference of shifted copies of the height map.
    step = max(1, radius // 2)
    padded = np.pad(bump, step, mode="edge").astype(np.int16)
    left, right = padded[step : step + height, :width], padded[step : step + height, 2 * step :]
    above, below = padded[:height, step : step + width], padded[2 * step :, step : step + width]
    slope = (below - above) + light * (left - right)
    fall = 10 - np.arange(height, dtype=np.int16)[:, None] * 20 // height
    shade = ((slope >> 2) * np.int16(strength) >> 7) + (fall * np.int16(strength) >> 8)
    return (128 + shade.clip(-48, 37)).astype(np.uint16)
