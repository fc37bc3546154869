"""From pixels to what a system sees: one size, bilinear for images and nearest for masks, ImageNet's statistics."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor

from .. import masks
from ..errors import InputError


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """The size a system reads and the longest sentence; the aspect ratio is not kept, as published.

    Images are resized by Pillow on 8-bit pixels: LAVT's numbers were made that way.
    """

    image_size: int = 480
    max_tokens: int = 20
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        if self.image_size < 1:
            raise InputError(f"The image size is {self.image_size}; a positive number of pixels is wanted.")
        if self.max_tokens < 3:
            raise InputError(f"At most {self.max_tokens} words are allowed; [CLS], a word and [SEP] need 3.")
        if min(self.std) <= 0:
            raise InputError(f"The channels' deviations are {self.std}; positive numbers are wanted.")

    def image(self, pixels: UInt8[np.ndarray, "h w 3"]) -> Float[Tensor, "3 height width"]:
        side = (self.image_size, self.image_size)
        if pixels.shape[:2] != side:
            pixels = np.asarray(Image.fromarray(pixels).resize(side, Image.Resampling.BILINEAR))
        channels = torch.tensor(pixels).permute(2, 0, 1).float().div_(255)
        return channels.sub_(_per_channel(self.mean)).div_(_per_channel(self.std)).contiguous()

    def mask(self, mask: Bool[np.ndarray, "h w"]) -> Bool[Tensor, "height width"]:
        side = self.image_size
        return torch.tensor(mask if mask.shape == (side, side) else masks.resize(mask, side, side))

    def pixels(self, image: Float[Tensor, "3 h w"]) -> UInt8[np.ndarray, "h w 3"]:
        """The way back from a normalised image, for looking at."""
        channels = image.detach().float().cpu() * _per_channel(self.std) + _per_channel(self.mean)
        return (channels * 255).round().clamp(0, 255).byte().permute(1, 2, 0).contiguous().numpy()


def _per_channel(values: tuple[float, float, float]) -> Float[Tensor, "3 1 1"]:
    return torch.tensor(values)[:, None, None]
