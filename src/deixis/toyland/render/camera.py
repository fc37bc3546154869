"""The last step of drawing: paper, colour grading, lens and sensor noise, in integers only."""

from functools import lru_cache

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image, ImageFilter

from ..scene.domains import Style
from .backgrounds import NOISE_SIDE, grain, window

BLUE_PAPER = (24, 62, 134)


def apply_style(
    pixels: UInt8[np.ndarray, "h w 3"], lines: UInt8[np.ndarray, "h w"], seed: int, style: Style
) -> UInt8[np.ndarray, "h w 3"]:
    """The image in its style; `lines` are the edges of things and parts, for styles that draw on paper."""
    size = len(pixels)
    if style.softness:
        pixels = blurred(pixels, style.softness * size / 2560)
    work = pixels.astype(np.int16)
    if style.saturation != 256:
        grey = (pixels @ np.array((77, 150, 29), dtype=np.int32) >> 8).astype(np.int16)[..., None]
        work = grey + ((work - grey) * np.int16(style.saturation // 2) >> 7)
    if style.paper != "none":
        work = _on_paper(work.astype(np.int32), lines, style)
    if style.tone != (256, 256, 256) or style.lift != (0, 0, 0):
        work = (work * np.array(style.tone, dtype=np.int32) >> 8) + np.array(style.lift, dtype=np.int32)
    if style.vignette:
        work = work * _vignette(size, style.vignette) >> 8
    if style.noise:
        rng = np.random.default_rng([seed, 40])
        row, column = (int(value) for value in rng.integers(0, NOISE_SIDE, 2))
        work = work + window(grain(style.noise), row, column, size)
    return work.clip(0, 255).astype(np.uint8)


def blurred(pixels: UInt8[np.ndarray, "h w 3"], radius: int | float) -> UInt8[np.ndarray, "h w 3"]:
    """A blurred copy."""
    return np.array(Image.fromarray(pixels).filter(ImageFilter.BoxBlur(radius)))


@lru_cache(maxsize=8)
def _vignette(size: int, strength: int) -> Int[np.ndarray, "h w 1"]:
    """The brightness that remains at each pixel, in 256ths."""
    away = np.abs(2 * np.arange(size, dtype=np.int32) - size + 1) * 256 // size
    return (256 - ((away[:, None] ** 2 + away[None, :] ** 2 >> 9) * strength >> 8))[..., None]


def _on_paper(
    work: Int[np.ndarray, "h w 3"], lines: UInt8[np.ndarray, "h w"], style: Style
) -> Int[np.ndarray, "h w 3"]:
    """Pencil lines and a light wash on white paper, or white lines on blue paper."""
    ink = (lines.astype(np.int32) * style.edges >> 8)[..., None]
    if style.paper == "white":
        wash = 250 - ((250 - work) * 200 >> 8)
        return wash * (256 - ink) // 256 + 40 * ink // 256
    wash = (np.array(BLUE_PAPER, dtype=np.int32) * 150 + work * 106) >> 8
    return wash * (256 - ink) // 256 + 244 * ink // 256
