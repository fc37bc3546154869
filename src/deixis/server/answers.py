"""Predictions as JSON: masks as run lengths, PNG or polygons, probability maps, and the evidence of each word."""

import base64
from io import BytesIO
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from .. import masks
from ..predict.prediction import Prediction
from ..toyland.export.outlines import outlines
from .requests import Asked

LARGEST_MAP = 2048  # pixels on the longer side of a probability map, which is smooth
LARGEST_TRACED = 1024  # the same of a mask whose outline is followed
MOST_POLYGONS = 100
BILLION = 1e9
TOLERANCE = 1.0  # pixels that an outline may leave its polygon by


def to_json(prediction: Prediction, asked: Asked, largest_map: int = LARGEST_MAP) -> dict[str, Any]:
    """What a caller asked for; probability maps and masks in PNG are in base64."""
    answer = prediction.to_json()
    if asked.mask != "rle":
        del answer["rle"]
    if asked.mask == "png":
        answer["png"] = in_base64(mask_png(prediction))
    if asked.mask == "polygon":
        answer["polygons"] = polygons(prediction.mask)
    if asked.probability:
        answer["probability"] = in_base64(probability_png(prediction, largest_map))
    if asked.evidence:
        answer["tokens"] = list(prediction.tokens)
        answer["evidence"] = {name: listed(maps) for name, maps in prediction.evidence.items()}
    return answer


def mask_png(prediction: Prediction) -> bytes:
    """The mask as 8 bits, 0 and 255."""
    return png(prediction.mask.astype(np.uint8) * 255)


def probability_png(prediction: Prediction, largest: int = LARGEST_MAP) -> bytes:
    """Probabilities times 255; of a large image at a smaller size."""
    levels = Image.fromarray((prediction.probability * 255).round().astype(np.uint8))
    levels.thumbnail((largest, largest), Image.Resampling.BILINEAR)
    return png(np.asarray(levels))


def png(grey: UInt8[np.ndarray, "h w"]) -> bytes:
    content = BytesIO()
    Image.fromarray(grey).save(content, format="PNG", compress_level=4)
    return content.getvalue()


def in_base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def listed(maps: np.ndarray) -> Any:
    """Nested lists; numbers with four digits behind the point, infinite ones as a billion, which JSON can write."""
    if maps.dtype == bool:
        return maps.tolist()
    return np.nan_to_num(maps.astype(float), posinf=BILLION, neginf=-BILLION).round(4).tolist()


def polygons(mask: Bool[np.ndarray, "h w"]) -> list[list[list[float]]]:
    """The outer outlines of the mask's parts, as points x, y in pixels, the largest first.

    They approximate the mask within a pixel (of a large mask, within a pixel at 1,024 pixels on the longer side) and
    have no holes; run lengths and PNG are exact.
    """
    height, width = mask.shape
    shrink = max(1.0, max(height, width) / LARGEST_TRACED)
    small = mask if shrink == 1 else masks.resize(mask, max(1, round(height / shrink)), max(1, round(width / shrink)))
    scale = np.array([width / small.shape[1], height / small.shape[0]])
    rings = [np.reshape(outline, (-1, 2)) for outline in outlines(small)]
    outer = sorted((ring for ring in rings if _area(ring) > 0), key=_area, reverse=True)[:MOST_POLYGONS]
    return [(simplified(ring, TOLERANCE) * scale).round(2).tolist() for ring in outer]


def simplified(ring: Float[np.ndarray, "n 2"], tolerance: float) -> Float[np.ndarray, "m 2"]:
    """Fewer points of a closed ring, by Douglas and Peucker from its two farthest corners; at least three of them."""
    far = int(np.linalg.norm(ring - ring[0], axis=1).argmax())
    kept = np.zeros(len(ring) + 1, dtype=bool)
    kept[[0, far, len(ring)]] = True
    closed = np.concatenate([ring, ring[:1]])
    todo = [(0, far), (far, len(ring))]
    while todo:
        start, end = todo.pop()
        if end - start < 2:
            continue
        chord = closed[end] - closed[start]
        offsets = closed[start + 1 : end] - closed[start]
        distances = np.abs(chord[0] * offsets[:, 1] - chord[1] * offsets[:, 0]) / np.linalg.norm(chord)
        if distances.max() > tolerance:
            middle = start + 1 + int(distances.argmax())
            kept[middle] = True
            todo += [(start, middle), (middle, end)]
    points = ring[kept[:-1]]
    return points if len(points) >= 3 else ring


def _area(ring: Float[np.ndarray, "n 2"]) -> float:
    """Positive for outlines around pixels, negative for those around holes."""
    x, y = ring[:, 0], ring[:, 1]
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
