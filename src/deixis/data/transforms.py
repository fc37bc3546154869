"""From a photo to the square of normalised pixels that a system reads, and back to the photo's size."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Shaped, UInt8
from PIL import Image

from .. import masks
from ..errors import InputError

Fit = Literal["stretch", "pad"]


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """The size that a system reads, how a photo is fitted to it, and the longest sentence in tokens.

    `stretch` resizes the photo to the square and changes its aspect ratio, as published for LAVT, VEGA and MagNet.
    `pad` keeps the aspect ratio: the longer side fills the square, the photo lies in the upper left corner, and the
    rest holds the mean colour. The photo's first pixel is then the square's first, and nothing is shifted by half a
    pixel. Images are resized bilinearly by Pillow on 8-bit pixels, as for LAVT's published numbers.

    Of a clip, `num_frames` frames around the one that is asked about are read (8 for SDA: four before, three after);
    beyond the ends the first or last frame is repeated. With 1 the system sees the frame alone.
    """

    image_size: int = 480
    max_tokens: int = 20
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    fit: Fit = "stretch"
    num_frames: int = 1

    def __post_init__(self) -> None:
        if self.image_size < 1:
            raise InputError(f"The image size is {self.image_size}; expected a positive number of pixels.")
        if self.num_frames < 1:
            raise InputError(f"The number of frames is {self.num_frames}; expected a positive number.")
        if self.max_tokens < 3:
            raise InputError(
                f"The longest sentence has {self.max_tokens} tokens; expected 3 or more: [CLS], a word and [SEP]."
            )
        if min(self.std) <= 0:
            raise InputError(f"The channels' standard deviations are {self.std}; expected positive numbers.")

    def image(self, pixels: UInt8[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "3 height width"]:
        """The normalised square; a padded border is 0 in every channel."""
        height, width = self.filled(pixels.shape[:2])
        if pixels.shape[:2] != (height, width):
            pixels = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
        square = np.zeros((3, self.image_size, self.image_size), np.float32)
        channels = pixels.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
        square[:, :height, :width] = (channels - _per_channel(self.mean)) / _per_channel(self.std)
        return square

    def mask(self, mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "height width"]:
        """The mask as `image` places its pixels, resized to its nearest neighbours."""
        height, width = self.filled(mask.shape)
        square = np.zeros((self.image_size, self.image_size), dtype=bool)
        square[:height, :width] = mask if mask.shape == (height, width) else masks.resize(mask, height, width)
        return square

    def pixels(self, image: Float[np.ndarray, "3 h w"]) -> UInt8[np.ndarray, "h w 3"]:
        """The 8-bit pixels of a normalised image."""
        channels = image.astype(np.float32) * _per_channel(self.std) + _per_channel(self.mean)
        return np.ascontiguousarray((channels * 255).round().clip(0, 255).astype(np.uint8).transpose(1, 2, 0))

    def filled(self, size: tuple[int, ...]) -> tuple[int, int]:
        """Height and width of the part of the square that a photo of this height and width fills."""
        if self.fit == "stretch":
            return self.image_size, self.image_size
        longer = max(size)
        height, width = (max(1, round(side * self.image_size / longer)) for side in size)
        return height, width

    def cut(self, maps: Shaped[np.ndarray, "*axes"], size: tuple[int, int]) -> Shaped[np.ndarray, "*cut"]:
        """The part of maps `[… y x]` over the square that the photo of this size fills, in whole cells."""
        rows, columns = (
            -(-cells * part // self.image_size) for cells, part in zip(maps.shape[-2:], self.filled(size), strict=True)
        )
        return maps[..., :rows, :columns]

    def restore(
        self, values: Float[np.ndarray, "y x"], size: tuple[int, int], *, to: tuple[int, int] | None = None
    ) -> Float32[np.ndarray, "h w"]:
        """A map over the square as a map over the photo of this height and width, at the photo's size or at `to`.

        The padded border is cut off first. The resizing is bilinear, and averages where it shrinks. Probabilities are
        resized rather than masks, so that outlines are smooth and a threshold applies to the values that are returned.
        """
        height, width = size if to is None else to
        part = Image.fromarray(np.ascontiguousarray(self.cut(values, size), np.float32))
        return np.array(part.resize((width, height), Image.Resampling.BILINEAR))


def _per_channel(values: tuple[float, float, float]) -> Float32[np.ndarray, "3 1 1"]:
    return np.array(values, np.float32)[:, None, None]
