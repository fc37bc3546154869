"""Maps over a photo: heat maps, and highlights of chosen cells."""

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from .. import masks
from .layout import ACCENT, Pixels

RAMP = np.array(
    [(18, 8, 60), (92, 18, 110), (178, 44, 96), (238, 104, 50), (252, 178, 44), (250, 250, 160)], np.float32
)


def heat(image: Pixels, values: Float[np.ndarray, "y x"], low: float = 0.0, high: float = 1.0) -> Pixels:
    """The photo in grey, coloured where the values are high; the colours span `low` to `high`."""
    height, width = image.shape[:2]
    spread = Image.fromarray(values.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    level = np.clip((np.asarray(spread) - low) / max(high - low, 1e-9), 0, 1)[..., None]
    grey = image.mean(axis=2, keepdims=True, dtype=np.float32)
    strength = 0.35 + 0.4 * level
    return ((1 - strength) * grey + strength * _ramp(level[..., 0])).round().astype(np.uint8)


def highlight(image: Pixels, cells: Bool[np.ndarray, "y x"]) -> Pixels:
    """The photo in its own colours where the cells are True, pale elsewhere, with the border between them."""
    chosen = masks.resize(cells, *image.shape[:2])
    pale = (0.25 * image.mean(axis=2, keepdims=True, dtype=np.float32) + 0.75 * 255).repeat(3, axis=2)
    lit = np.where(chosen[..., None], image, pale)
    lit[masks.outline(chosen)] = ACCENT
    return lit.round().astype(np.uint8)


def colour_ends(values: Float[np.ndarray, "..."]) -> tuple[float, float]:
    """The ends of the colours: the first and the 99th percentile."""
    low, high = np.percentile(values, (1, 99)).tolist()
    return low, high


def _ramp(level: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w 3"]:
    """Dark violet, red, yellow: the brightness rises with the level, so the map is readable in grey as well."""
    stops = np.linspace(0, 1, len(RAMP))
    return np.stack([np.interp(level, stops, RAMP[:, channel]) for channel in range(3)], axis=-1)
