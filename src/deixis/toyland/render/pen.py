"""A pen for vector shapes: draws numbered paints into a small supersampled patch, one thing at a time.

A thing is drawn facing right in a box 100 units high; x runs from 0 to 100 times its aspect, y downward with the
foot at 100. Pixels hold the numbers of paints; `shading` replaces them by colours.
"""

import math
from collections.abc import Callable, Mapping

from PIL import Image, ImageDraw

from ..scene.scenes import Thing

# Body paints take the thing's colour; fixed paints have their own, as red, green, blue.
BODY_PAINTS = ("body", "dark", "light", "solid")
FIXED_PAINTS: Mapping[str, tuple[int, int, int]] = {
    "ink": (28, 24, 26),
    "bright": (250, 248, 240),
    "eye": (20, 16, 18),
    "nose": (70, 44, 44),
    "skin": (234, 188, 152),
    "skin_shade": (206, 156, 120),
    "hair": (74, 48, 30),
    "wood": (140, 98, 58),
    "dark_wood": (98, 66, 40),
    "metal": (178, 182, 188),
    "dark_metal": (98, 102, 110),
    "glass": (176, 212, 226),
    "dark_glass": (72, 96, 116),
    "rubber": (42, 42, 46),
    "leaf": (74, 132, 58),
    "dark_leaf": (52, 98, 46),
    "beak": (236, 160, 44),
    "cream": (246, 232, 200),
    "liquid": (110, 66, 38),
    "glow": (255, 242, 170),
    "shoe": (58, 44, 40),
    "trousers": (74, 84, 110),
    "flame": (252, 190, 60),
    "blush": (226, 128, 122),
    "mouth": (164, 72, 68),
    "paper": (244, 238, 222),
    "gold": (214, 168, 62),
    "pot": (178, 98, 64),
}
PAINTS: dict[str, int] = {name: number for number, name in enumerate(("none", *BODY_PAINTS, *FIXED_PAINTS))}
CIRCLE = tuple((math.cos(math.tau * step / 28), math.sin(math.tau * step / 28)) for step in range(28))

Number = int | float
Draw = Callable[["Pen", Thing], None]


class Pen:
    """Shapes in a thing's own coordinates, on a sheet with a margin around the box for a hat or a raised hand."""

    def __init__(self, height: Number, aspect: Number) -> None:
        self.unit = height / 100
        margin = math.ceil(height * 0.3) + 2
        half = math.ceil(height * aspect / 2) + margin
        # The middle of the foot lies between two pixels, so that flipping the sheet mirrors the thing exactly.
        self.foot = (half, margin + math.ceil(height))
        self._left = half - height * aspect / 2
        self._top = self.foot[1] - height
        self.sheet = Image.new("L", (2 * half, self.foot[1] + margin))
        self._draw = ImageDraw.Draw(self.sheet)

    def _at(self, x: Number, y: Number) -> tuple[int, int]:
        return round(x * self.unit + self._left), round(y * self.unit + self._top)

    def polygon(self, paint: str, *points: tuple[Number, Number]) -> None:
        self._draw.polygon([self._at(x, y) for x, y in points], fill=PAINTS[paint])

    def box(self, paint: str, left: Number, top: Number, right: Number, bottom: Number, radius: Number = 0) -> None:
        corners = [*self._at(left, top), *self._at(right, bottom)]
        if corners[2] < corners[0] or corners[3] < corners[1]:
            return
        if radius:
            self._draw.rounded_rectangle(corners, round(radius * self.unit), fill=PAINTS[paint])
        else:
            self._draw.rectangle(corners, fill=PAINTS[paint])

    def ellipse(self, paint: str, x: Number, y: Number, across: Number, along: Number, angle: Number = 0) -> None:
        """An ellipse by its middle and half-axes, turned clockwise by `angle` degrees."""
        if not angle:
            self._draw.ellipse([*self._at(x - across, y - along), *self._at(x + across, y + along)], fill=PAINTS[paint])
            return
        turn = math.radians(angle)
        cosine, sine = math.cos(turn), math.sin(turn)
        self.polygon(
            paint,
            *(
                (x + cosine * across * u - sine * along * v, y + sine * across * u + cosine * along * v)
                for u, v in CIRCLE
            ),
        )

    def circle(self, paint: str, x: Number, y: Number, radius: Number) -> None:
        self.ellipse(paint, x, y, radius, radius)

    def line(self, paint: str, width: Number, *points: tuple[Number, Number]) -> None:
        """A stroke with round ends and joints."""
        thick = max(1, round(width * self.unit))
        path = [self._at(x, y) for x, y in points]
        self._draw.line(path, fill=PAINTS[paint], width=thick)
        if thick > 2:
            for x, y in path:
                half = thick // 2
                self._draw.ellipse([x - half, y - half, x - half + thick - 1, y - half + thick - 1], fill=PAINTS[paint])

    def curve(self, paint: str, width: Number, *points: tuple[Number, Number]) -> None:
        """A stroke along the quadratic Bézier curve of three points."""
        (ax, ay), (bx, by), (cx, cy) = points
        path = []
        for step in range(9):
            t = step / 8
            s = 1 - t
            path.append((s * s * ax + 2 * s * t * bx + t * t * cx, s * s * ay + 2 * s * t * by + t * t * cy))
        self.line(paint, width, *path)

    def wedge(
        self, paint: str, x: Number, y: Number, across: Number, along: Number, start: Number, end: Number
    ) -> None:
        """The slice of an ellipse between two angles, clockwise from the right, in degrees."""
        self._draw.pieslice(
            [*self._at(x - across, y - along), *self._at(x + across, y + along)], start, end, PAINTS[paint]
        )


def variant(detail_seed: int, number: int, choices: int) -> int:
    """A pseudo-random number below `choices`, for the detail with this number of the thing with this seed."""
    mixed = (detail_seed * 2654435761 + number * 40503 + 12345) & 0xFFFFFFFF
    mixed ^= mixed >> 15
    return ((mixed * 2246822519) & 0xFFFFFFFF) % 65536 * choices // 65536
