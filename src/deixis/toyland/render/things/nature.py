"""Nature: tree, flower, mushroom, cactus and bush."""

from collections.abc import Mapping

from ...scene.scenes import Thing
from ..pen import CIRCLE, Draw, Pen, variant


def tree(pen: Pen, thing: Thing) -> None:
    pen.polygon("wood", (32, 99), (35, 52), (45, 52), (49, 99))
    pen.line("dark_wood", 3, (40, 70), (56, 56))
    for x, y, radius, paint in (
        (20, 44, 19, "dark"),
        (60, 46, 19, "dark"),
        (40, 50, 18, "dark"),
        (26, 28, 21, "body"),
        (55, 29, 21, "body"),
        (40, 20, 20, "body"),
        (40, 38, 20, "body"),
    ):
        pen.circle(paint, x, y, radius)
    pen.circle("light", 30 + variant(thing.detail_seed, 1, 16), 18 + variant(thing.detail_seed, 2, 10), 8)


def flower(pen: Pen, thing: Thing) -> None:
    pen.curve("leaf", 6, (32, 36), (28, 70), (34, 98))
    pen.ellipse("dark_leaf", 18, 78, 16, 6, 24)
    pen.ellipse("leaf", 48, 70, 15, 6, -28)
    for step in range(0, 28, 4):
        u, v = CIRCLE[step]
        pen.circle("body" if step % 8 else "dark", 32 + 19 * u, 31 + 19 * v, 11.5)
    pen.circle("body", 32, 31, 16)
    pen.circle("gold", 32, 31, 9)


def mushroom(pen: Pen, thing: Thing) -> None:
    pen.polygon("cream", (36, 46), (64, 46), (70, 97), (30, 97))
    pen.ellipse("cream", 50, 94, 20, 5.5)
    pen.wedge("body", 50, 54, 49, 54, 180, 360)
    pen.ellipse("dark", 50, 54, 49, 8)
    pen.ellipse("cream", 50, 56, 40, 5)
    for x, y, radius in ((30, 32, 6), (54, 16, 6.5), (74, 36, 5.5)):
        pen.circle("light", x, y, radius)


def cactus(pen: Pen, thing: Thing) -> None:
    pen.polygon("pot", (12, 78), (58, 78), (52, 99), (18, 99))
    pen.box("pot", 8, 72, 62, 81, 2)
    pen.line("dark", 12, (35, 52), (12, 50), (10, 34))
    pen.line("dark", 12, (35, 44), (58, 42), (60, 22))
    pen.box("body", 23, 2, 47, 74, 12)
    for x in (30, 40):
        for y in (14, 28, 42, 58):
            pen.line("cream", 1.6, (x - 2, y), (x + 2, y - 3))
    pen.circle("blush", 35, 4, 5)


def bush(pen: Pen, thing: Thing) -> None:
    for x, y, radius, paint in (
        (28, 70, 28, "dark"),
        (112, 72, 26, "dark"),
        (70, 74, 26, "dark"),
        (44, 44, 30, "body"),
        (92, 42, 32, "body"),
        (68, 34, 32, "body"),
        (68, 66, 28, "body"),
    ):
        pen.circle(paint, x, y, radius)
    for number in range(5):
        pen.circle(
            "light", 34 + variant(thing.detail_seed, number, 70), 24 + variant(thing.detail_seed, number + 9, 50), 5
        )


DRAWINGS: Mapping[str, Draw] = {
    "tree": tree,
    "flower": flower,
    "mushroom": mushroom,
    "cactus": cactus,
    "bush": bush,
}
