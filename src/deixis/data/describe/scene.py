"""The instances of a photo as facts: classes, boxes, sizes, and the colours of their parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Bool, UInt8

from .nouns import COLOURS

Box = tuple[float, float, float, float]  # left, top, right, bottom
# Rows of a person's box, as fractions of its height, in which a part lies, and the columns where there is no mask.
PARTS = {"torso": (0.22, 0.50), "legs": (0.58, 0.88)}
MIDDLE = (0.25, 0.75)


@dataclass(frozen=True)
class Instance:
    """One annotated object; `colours` are the fractions of a part's pixels by the name of their colour."""

    name: str  # of the annotation
    category: str
    box: Box
    area: float  # fraction of the photo
    colours: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def x(self) -> float:
        return (self.box[0] + self.box[2]) / 2

    @property
    def y(self) -> float:
        return (self.box[1] + self.box[3]) / 2

    @property
    def width(self) -> float:
        return self.box[2] - self.box[0]

    @property
    def height(self) -> float:
        return self.box[3] - self.box[1]


@dataclass(frozen=True)
class Scene:
    """A photo's instances, in a square of side 1: coordinates are fractions of its width and height.

    `annotated` are the classes of which every instance is annotated; `uncertain` are those with a crowd, about
    which no sentence is written. `shown` are the numbers of the file's photos that have a class.
    """

    instances: tuple[Instance, ...]
    annotated: frozenset[str]
    uncertain: frozenset[str] = frozenset()
    aspect: float = 1.0  # height over width of the photo
    shown: Mapping[str, int] = field(default_factory=dict)

    def of(self, categories: frozenset[str]) -> tuple[Instance, ...]:
        return tuple(each for each in self.instances if each.category in categories)

    @cached_property
    def present(self) -> frozenset[str]:
        return frozenset(each.category for each in self.instances) | self.uncertain


def colour_names(pixels: UInt8[np.ndarray, "n 3"]) -> dict[str, float]:
    """The fraction of the pixels of each named colour."""
    if not len(pixels):
        return {}
    values = pixels.astype(np.float32) / 255
    most, least = values.max(1), values.min(1)
    chroma = most - least
    saturation = chroma / np.maximum(most, 1e-6)
    red, green, blue = values.T
    safe = np.maximum(chroma, 1e-6)
    hue = np.where(
        most == red,
        (green - blue) / safe % 6,
        np.where(most == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    hue = hue * 60
    grey = (saturation < 0.2) | (chroma < 0.07)
    named = np.select(
        [
            most < 0.2,
            grey & (most > 0.72),
            grey & (most < 0.3),
            grey,
            ((hue < 40) & (most < 0.62) & (hue >= 12)),
            ((hue < 12) | (hue >= 345)) & (saturation < 0.5) & (most > 0.75),
            (hue < 12) | (hue >= 345),
            hue < 42,
            hue < 68,
            hue < 168,
            hue < 258,
            hue < 295,
        ],
        [COLOURS.index(name) for name in _RULED],
        default=COLOURS.index("pink"),
    )
    counts = np.bincount(named, minlength=len(COLOURS)) / len(pixels)
    return {COLOURS[number]: float(counts[number]) for number in np.flatnonzero(counts)}


_RULED = (
    "black", "white", "black", "gray", "brown", "pink", "red", "orange", "yellow", "green", "blue", "purple",
)  # fmt: skip


def part_colours(
    pixels: UInt8[np.ndarray, "h w 3"], box: Sequence[float], mask: Bool[np.ndarray, "h w"] | None, is_person: bool
) -> dict[str, dict[str, float]]:
    """The colours of the parts of a person, or of a whole object; `box` is left, top, right, bottom in pixels.

    Without a mask the middle columns of the box count. A part of fewer than 30 pixels has no colour.
    """
    left, top, right, bottom = box
    parts = PARTS if is_person else {"whole": (0.0, 1.0) if mask is not None else MIDDLE}
    found = {}
    for part, (first, last) in parts.items():
        rows = slice(max(0, round(top + first * (bottom - top))), max(0, round(top + last * (bottom - top))))
        inner = MIDDLE if mask is None else (0.0, 1.0)
        columns = slice(
            max(0, round(left + inner[0] * (right - left))), max(0, round(left + inner[1] * (right - left)))
        )
        area = pixels[rows, columns]
        chosen = area.reshape(-1, 3) if mask is None else area[mask[rows, columns]]
        if len(chosen) >= 30:
            found[part] = colour_names(chosen)
    return found
