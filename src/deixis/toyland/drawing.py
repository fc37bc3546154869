"""Scenes become pictures: background, then things from far to near with shadows and light, then the camera.

Drawing is a pure function of scene, style and size. Everything that reaches a pixel is computed in whole numbers,
so the same scene gives the same bytes on every machine. A thing's mask holds the pixels that it covers by half or
more and that no nearer thing covers by half or more; its shadow is not part of it.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Int, UInt8
from PIL import Image, ImageFilter

from .backgrounds import NOISE_SIDE, background, grain, window
from .domains import PAINTED, Style
from .pen import Form, Pen
from .scenes import HORIZON, Scene, Thing
from .shading import OVERSAMPLING, Cutout, cut_out
from .things import FORMS

MARGIN = 2  # pixels of the finished picture around a thing's box
FAR = 0.3  # what is farther than this is softer


@dataclass(frozen=True)
class Picture:
    """A drawn scene: pixels, the visible pixels of each thing, and the share of each thing that they are."""

    pixels: UInt8[np.ndarray, "h w 3"]
    masks: Bool[np.ndarray, "k h w"]
    visible: tuple[float, ...]


@dataclass(frozen=True)
class _Window:
    """Where a patch lies in the picture: the rows and columns they share, on both."""

    rows: slice
    columns: slice
    patch_rows: slice
    patch_columns: slice

    @classmethod
    def of(cls, left: int, top: int, height: int, width: int, size: int) -> "_Window | None":
        right, bottom = min(left + width, size), min(top + height, size)
        first_column, first_row = max(left, 0), max(top, 0)
        if right <= first_column or bottom <= first_row:
            return None
        return cls(
            slice(first_row, bottom),
            slice(first_column, right),
            slice(first_row - top, bottom - top),
            slice(first_column - left, right - left),
        )


def draw(scene: Scene, style: Style = PAINTED, size: int = 256) -> Picture:
    """Draw a scene as a square picture of `size` pixels, with the mask of every thing in the scene's order."""
    pixels = background(scene, size)
    pixels.flags.writeable = True
    lines = np.zeros((size, size), dtype=np.uint8)
    masks = np.zeros((len(scene.things), size, size), dtype=bool)
    full = []
    light = -1 if scene.seed % 2 else 1
    is_soft = style.focus
    for index, thing in enumerate(scene.things):
        if is_soft and thing.depth > FAR:
            pixels, is_soft = _soft(pixels, size), False
        cutout, left, top = _cut(thing, style, light, size)
        full.append(int(np.count_nonzero(cutout.cover >= 128)))
        if style.shadow:
            _cast(pixels, scene, thing, cutout, style, light, left, top)
        _set(pixels, lines, masks, index, cutout, left, top, style_draws_lines=style.paper != "none")
    visible = tuple(
        float(np.count_nonzero(mask)) / whole if whole else 0.0 for mask, whole in zip(masks, full, strict=True)
    )
    return Picture(_developed(pixels, lines, scene, style), masks, visible)


def paint_patch(thing: Thing, height: int) -> Image.Image:
    """The thing's numbered paints in its box of `height` pixels, with a margin, facing as it does."""
    form: Form = FORMS[thing.kind]
    pen = Pen(height, form.aspect_of(thing), MARGIN * OVERSAMPLING)
    form.draw(pen, thing)
    patch = pen.patch
    # Whole finished pixels only, so that the reduced patch has no half-filled rows.
    width, height = (-(-side // OVERSAMPLING) * OVERSAMPLING for side in patch.size)
    patch = patch.crop((0, 0, width, height))
    return patch.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if thing.facing == "left" else patch


def _cut(thing: Thing, style: Style, light: int, size: int) -> tuple[Cutout, int, int]:
    """The shaded thing, and the picture's column and row of its patch's corner."""
    patch = paint_patch(thing, max(4, round(thing.scale * size * OVERSAMPLING)))
    cutout = cut_out(patch, thing, style, light)
    height, width = cutout.cover.shape
    return cutout, round(thing.x * size - width / 2), round(thing.y * size) - height + MARGIN


def _set(
    pixels: UInt8[np.ndarray, "h w 3"],
    lines: UInt8[np.ndarray, "h w"],
    masks: Bool[np.ndarray, "k h w"],
    index: int,
    cutout: Cutout,
    left: int,
    top: int,
    *,
    style_draws_lines: bool,
) -> None:
    """Lay a thing over the picture, and take what it covers from the masks of those behind."""
    height, width = cutout.cover.shape
    window = _Window.of(left, top, height, width, len(pixels))
    if window is None:
        return
    there = (window.rows, window.columns)
    here = (window.patch_rows, window.patch_columns)
    cover = cutout.cover[here].astype(np.uint16)
    through = pixels[there] * (255 - cover)[..., None]
    # Exact division by 255 for all products of two bytes.
    through = through + 1 + (through >> 8) >> 8
    pixels[there] = (through + cutout.colour[here]).astype(np.uint8)
    if style_draws_lines:
        seen = lines[there] * (255 - cover) >> 8
        lines[there] = np.maximum(seen, cutout.lines[here])
    solid = cover >= 128
    masks[:index, window.rows, window.columns] &= ~solid
    masks[index, window.rows, window.columns] = solid


def _cast(
    pixels: UInt8[np.ndarray, "h w 3"],
    scene: Scene,
    thing: Thing,
    cutout: Cutout,
    style: Style,
    light: int,
    left: int,
    top: int,
) -> None:
    """Darken the ground under a thing: its own cover, laid flat away from the light and softened."""
    size = len(pixels)
    height, width = cutout.cover.shape
    flies = thing.y < HORIZON[scene.setting] or thing.kind == "plane" or thing.state == "flying"
    if flies:
        return
    flat, pad = max(3, height // 4), 4
    lean = flat * 3 // 2
    wide, high = width + lean + 2 * pad, flat + 2 * pad
    # Maps the shadow's pixels back to the cover: rows are stretched, and each leans with its height over the foot.
    stretch = height / flat
    shift = lean / flat
    if light > 0:  # from the right: the shadow falls to the left
        corner = left - pad - lean
        terms = (1.0, -shift, -pad - lean + shift * (pad + flat), 0.0, stretch, -stretch * pad)
    else:
        terms = (1.0, shift, -pad - shift * (pad + flat), 0.0, stretch, -stretch * pad)
        corner = left - pad
    shadow = Image.fromarray(cutout.cover).transform((wide, high), Image.Transform.AFFINE, terms)
    shadow = shadow.filter(ImageFilter.BoxBlur(max(1, size // 128)))
    window = _Window.of(corner, top + height - MARGIN - flat - pad + max(1, flat // 8), high, wide, size)
    if window is None:
        return
    there = (window.rows, window.columns)
    dark = np.asarray(shadow)[window.patch_rows, window.patch_columns].astype(np.uint32) * style.shadow // 255
    pixels[there] = (pixels[there] * (256 - dark)[..., None] >> 8).astype(np.uint8)


def _soft(pixels: UInt8[np.ndarray, "h w 3"], size: int) -> UInt8[np.ndarray, "h w 3"]:
    """The picture so far, out of focus."""
    blurred = np.asarray(Image.fromarray(pixels).filter(ImageFilter.BoxBlur(max(1, size // 256))))
    return blurred.copy()


def _developed(
    pixels: UInt8[np.ndarray, "h w 3"], lines: UInt8[np.ndarray, "h w"], scene: Scene, style: Style
) -> UInt8[np.ndarray, "h w 3"]:
    """The last step: paper or tone, the lens, and the sensor's noise."""
    size = len(pixels)
    if style.softness:
        pixels = np.asarray(Image.fromarray(pixels).filter(ImageFilter.BoxBlur(style.softness * size / 2560)))
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
        lots = np.random.default_rng([scene.seed, 40])
        row, column = (int(value) for value in lots.integers(0, NOISE_SIDE, 2))
        work = work + window(grain(style.noise), row, column, size)
    return work.clip(0, 255).astype(np.uint8)


@lru_cache(maxsize=8)
def _vignette(size: int, strength: int) -> Int[np.ndarray, "h w 1"]:
    """How bright each pixel stays, in 256ths."""
    away = np.abs(2 * np.arange(size, dtype=np.int32) - size + 1) * 256 // size
    return (256 - ((away[:, None] ** 2 + away[None, :] ** 2 >> 9) * strength >> 8))[..., None]


def _on_paper(work: np.ndarray, lines: UInt8[np.ndarray, "h w"], style: Style) -> np.ndarray:
    """Pencil and a thin wash on white paper, or white lines on a blue one."""
    ink = (lines.astype(np.int32) * style.edges >> 8)[..., None]
    if style.paper == "white":
        wash = 250 - ((250 - work) * 200 >> 8)
        return wash * (256 - ink) // 256 + 40 * ink // 256
    sheet = np.array((24, 62, 134), dtype=np.int32)
    wash = (sheet * 150 + work * 106) >> 8
    return wash * (256 - ink) // 256 + 244 * ink // 256
