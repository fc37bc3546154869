"""Draws scenes: the background, things from far to near with shadows and light, then the effects of the style.

Drawing is a pure function of scene, style and size, in integers: the same scene gives the same bytes on every machine.
A thing's mask holds the pixels that it covers by half or more and that no nearer thing covers by half or more; its
shadow is not part of the mask.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageFilter

from ..scene.domains import PAINTED, Style
from ..scene.kinds import aspect_of, is_flying
from ..scene.scenes import HORIZON, Scene, Thing
from .backgrounds import background
from .camera import apply_style, blurred
from .pen import Pen
from .shading import OVERSAMPLING, Cutout, cut_out
from .things import DRAWINGS

FAR = 0.3  # things of a smaller depth are blurred
BACKGROUND = 255  # in an instance map: no thing is visible
COVERED = 128  # of 255: the opacity from which a pixel belongs to a thing


@dataclass(frozen=True)
class DrawnImage:
    """A drawn scene: pixels, the visible pixels of each thing, and which fraction of the thing these are."""

    pixels: UInt8[np.ndarray, "h w 3"]
    masks: Bool[np.ndarray, "k h w"]
    visible: tuple[float, ...]


class Patch(NamedTuple):
    """A thing's numbered paints, supersampled, and its corner relative to the middle of its foot, in output pixels."""

    paints: Image.Image
    left: int
    top: int


def draw(
    scene: Scene,
    style: Style = PAINTED,
    size: int = 256,
    *,
    ground: UInt8[np.ndarray, "h w 3"] | None = None,
    noise_seed: int | None = None,
) -> DrawnImage:
    """Draw a scene as a square image of `size` pixels, with the mask of every thing in the scene's order.

    A frame of a clip gives its own `ground`, which it changes, and the seed of its noise.
    """
    ground = background(scene, size) if ground is None else ground
    canvas = _Canvas(ground, len(scene.things), style, light=-1 if scene.seed % 2 else 1)
    full = []
    is_sharp = not style.focus
    for index, thing in enumerate(scene.things):
        if not is_sharp and thing.depth > FAR:
            canvas.pixels, is_sharp = blurred(canvas.pixels, max(1, size // 256)), True
        patch = paint_patch(thing, max(4, round(thing.scale * size * OVERSAMPLING)))
        cutout = cut_out(patch.paints, thing, style, canvas.light)
        left, top = round(thing.x * size) + patch.left, round(thing.y * size) + patch.top
        if style.shadow and thing.y >= HORIZON[scene.setting] and not is_flying(thing):
            canvas.cast_shadow(cutout, left, top)
        canvas.paste(index, cutout, left, top)
        full.append(np.count_nonzero(cutout.cover >= COVERED))
    visible = tuple(
        float(np.count_nonzero(mask) / whole) if whole else 0.0 for mask, whole in zip(canvas.masks, full, strict=True)
    )
    seed = scene.seed if noise_seed is None else noise_seed
    return DrawnImage(apply_style(canvas.pixels, canvas.lines, seed, style), canvas.masks, visible)


def instance_map(masks: Bool[np.ndarray, "k h w"]) -> UInt8[np.ndarray, "h w"]:
    """The index of the mask that covers each pixel, 255 for none; masks do not overlap."""
    covered = masks.any(axis=0) if len(masks) else np.zeros(masks.shape[1:], dtype=bool)
    index = masks.argmax(axis=0) if len(masks) else covered
    return np.where(covered, index, BACKGROUND).astype(np.uint8)


def paint_patch(thing: Thing, height: int) -> Patch:
    """Draw the paints of a thing whose box is `height` supersampled pixels high, facing its side."""
    pen = Pen(height, aspect_of(thing))
    DRAWINGS[thing.kind](pen, thing)
    sheet = pen.sheet.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if thing.facing == "left" else pen.sheet
    across, along = pen.foot
    left, top, right, bottom = sheet.getbbox() or (across, along, across, along)
    # Whole output pixels only, with an empty one on every side.
    left, top = (left - across) // OVERSAMPLING - 1, (top - along) // OVERSAMPLING - 1
    right, bottom = -((across - right) // OVERSAMPLING) + 1, -((along - bottom) // OVERSAMPLING) + 1
    corners = (left * OVERSAMPLING, top * OVERSAMPLING, right * OVERSAMPLING, bottom * OVERSAMPLING)
    box = (corners[0] + across, corners[1] + along, corners[2] + across, corners[3] + along)
    return Patch(sheet.crop(box), left, top)


class _Window(NamedTuple):
    """The intersection of a patch and the image, as slices of the image and slices of the patch."""

    on_image: tuple[slice, slice]
    on_patch: tuple[slice, slice]

    @classmethod
    def of(cls, shape: tuple[int, ...], left: int, top: int, size: int) -> "_Window | None":
        first_row, first_column = max(top, 0), max(left, 0)
        last_row, last_column = min(top + shape[0], size), min(left + shape[1], size)
        if last_row <= first_row or last_column <= first_column:
            return None
        return cls(
            (slice(first_row, last_row), slice(first_column, last_column)),
            (slice(first_row - top, last_row - top), slice(first_column - left, last_column - left)),
        )


class _Canvas:
    """The image while things are pasted into it, from far to near."""

    def __init__(self, pixels: UInt8[np.ndarray, "h w 3"], num_things: int, style: Style, light: int) -> None:
        self.pixels, self.style, self.light = pixels, style, light
        self.size = len(pixels)
        self.lines = np.zeros((self.size, self.size), dtype=np.uint8)
        self.masks = np.zeros((num_things, self.size, self.size), dtype=bool)

    def paste(self, index: int, cutout: Cutout, left: int, top: int) -> None:
        """Paste a thing, and remove what it covers from the masks of the things behind it."""
        window = _Window.of(cutout.cover.shape, left, top, self.size)
        if window is None:
            return
        on_image, on_patch = window
        cover = cutout.cover[on_patch].astype(np.uint16)
        product = self.pixels[on_image] * (255 - cover)[..., None]
        # Exact division by 255 for all products of two bytes.
        self.pixels[on_image] = (product + 1 + (product >> 8) >> 8) + cutout.colour[on_patch]
        if self.style.paper != "none":
            self.lines[on_image] = np.maximum(self.lines[on_image] * (255 - cover) >> 8, cutout.lines[on_patch])
        own = cover >= COVERED
        self.masks[(slice(index), *on_image)] &= ~own
        self.masks[(index, *on_image)] = own

    def cast_shadow(self, cutout: Cutout, left: int, top: int) -> None:
        """Darken the ground under a thing: its cover, flattened, sheared away from the light, and blurred."""
        height, width = cutout.cover.shape
        flat, pad = max(3, height // 4), 4
        lean = flat * 3 // 2
        # The affine map from pixels of the shadow to pixels of the cover.
        stretch, shift = height / flat, self.light * lean / flat
        before = pad + lean if self.light > 0 else pad
        terms = (1.0, -shift, shift * (pad + flat) - before, 0.0, stretch, -stretch * pad)
        wide, high = width + lean + 2 * pad, flat + 2 * pad
        shadow = Image.fromarray(cutout.cover).transform((wide, high), Image.Transform.AFFINE, terms)
        shadow = shadow.filter(ImageFilter.BoxBlur(max(1, self.size // 128)))
        foot = top + height - 1 + max(1, flat // 8)
        window = _Window.of((high, wide), left - before, foot - flat - pad, self.size)
        if window is None:
            return
        on_image, on_patch = window
        dark = np.asarray(shadow)[on_patch].astype(np.uint16) * np.uint16(self.style.shadow) >> 8
        self.pixels[on_image] = (self.pixels[on_image] * (256 - dark)[..., None] >> 8).astype(np.uint8)
