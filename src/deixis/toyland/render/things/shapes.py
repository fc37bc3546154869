"""Shapes, as toys: ball, cube, star, heart, ring and pyramid."""

import math
from collections.abc import Mapping

from ...scene.scenes import Thing
from ..pen import Draw, Pen


def ball(pen: Pen, thing: Thing) -> None:
    pen.circle("body", 50, 50, 49)
    pen.ellipse("light", 34, 26, 13, 8, -30)


def cube(pen: Pen, thing: Thing) -> None:
    pen.polygon("body", (2, 28), (70, 28), (70, 98), (2, 98))
    pen.polygon("light", (2, 28), (28, 2), (98, 2), (70, 28))
    pen.polygon("dark", (70, 28), (98, 2), (98, 72), (70, 98))


def star(pen: Pen, thing: Thing) -> None:
    points = []
    for step in range(10):
        reach = 52 if step % 2 == 0 else 23
        turn = math.radians(36 * step)
        points.append((50 + reach * math.sin(turn), 54 - reach * math.cos(turn)))
    pen.polygon("body", *points)
    for step in range(0, 10, 2):
        pen.polygon("light", (50, 54), points[step], points[step + 1])


def heart(pen: Pen, thing: Thing) -> None:
    pen.circle("body", 29, 30, 27)
    pen.circle("body", 75, 30, 27)
    pen.polygon("body", (5, 42), (52, 24), (99, 42), (52, 98))
    pen.ellipse("light", 22, 22, 9, 6, -36)


def ring(pen: Pen, thing: Thing) -> None:
    pen.circle("body", 50, 50, 49)
    pen.circle("dark", 50, 50, 29)
    pen.circle("none", 50, 50, 25)


def pyramid(pen: Pen, thing: Thing) -> None:
    pen.polygon("body", (50, 1), (2, 86), (66, 99))
    pen.polygon("dark", (50, 1), (66, 99), (104, 80))


DRAWINGS: Mapping[str, Draw] = {
    "ball": ball,
    "cube": cube,
    "star": star,
    "heart": heart,
    "ring": ring,
    "pyramid": pyramid,
}
