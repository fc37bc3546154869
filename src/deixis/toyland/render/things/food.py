"""Food: apple, banana, pear, cherry, carrot and cake."""

from collections.abc import Mapping

from ...scene.scenes import Thing
from ..pen import Draw, Pen, variant


def apple(pen: Pen, thing: Thing) -> None:
    pen.ellipse("body", 34, 60, 32, 37)
    pen.ellipse("body", 62, 60, 32, 37)
    pen.ellipse("dark", 48, 29, 12, 5)
    pen.curve("dark_wood", 5, (48, 30), (47, 16), (54, 6))
    pen.ellipse("leaf", 68, 14, 16, 7, -24)
    pen.ellipse("light", 24, 48, 6, 12, 18)


def banana(pen: Pen, thing: Thing) -> None:
    outer = ((12, 6), (10, 40), (26, 72), (62, 94), (104, 96), (138, 80))
    inner = ((132, 72), (104, 74), (74, 64), (48, 44), (36, 22), (30, 8))
    pen.polygon("body", *outer, *inner)
    pen.polygon("dark", (12, 30), (26, 72), (62, 94), (104, 96), (136, 80), (104, 88), (64, 84), (34, 62))
    pen.polygon("dark_wood", (12, 10), (16, 0), (28, 2), (31, 12))
    pen.circle("dark_wood", 134, 77, 6)


def pear(pen: Pen, thing: Thing) -> None:
    pen.circle("body", 38, 66, 34)
    pen.ellipse("body", 40, 34, 19, 24)
    pen.polygon("body", (10, 48), (24, 26), (56, 26), (68, 50))
    pen.curve("dark_wood", 5, (40, 14), (40, 6), (47, 2))
    pen.ellipse("leaf", 55, 8, 12, 5, 18)
    pen.ellipse("light", 22, 60, 6, 13, 14)


def cherry(pen: Pen, thing: Thing) -> None:
    pen.curve("leaf", 4, (26, 62), (34, 26), (62, 6))
    pen.curve("leaf", 4, (76, 70), (74, 30), (62, 6))
    pen.ellipse("dark_leaf", 82, 10, 20, 8, 12)
    pen.circle("body", 26, 72, 25)
    pen.circle("body", 77, 75, 24)
    pen.ellipse("light", 18, 64, 5, 8, 24)
    pen.ellipse("light", 69, 66, 5, 8, 24)


def carrot(pen: Pen, thing: Thing) -> None:
    for x, y in ((14, 4), (4, 26), (30, 2), (2, 42)):
        pen.curve("leaf", 8, (44, 40), ((x + 44) / 2 - 4, (y + 40) / 2), (x + 4, y + 4))
    pen.polygon("body", (34, 46), (50, 28), (66, 32), (136, 96), (118, 94), (50, 70))
    pen.circle("body", 48, 47, 18)
    for x, y in ((62, 50), (82, 68), (98, 80)):
        pen.line("dark", 2.5, (x, y), (x + 10, y - 6))


def cake(pen: Pen, thing: Thing) -> None:
    pen.ellipse("metal", 60, 92, 59, 7.5)
    pen.box("body", 8, 46, 112, 88, 5)
    pen.ellipse("dark", 60, 88, 52, 6)
    pen.box("body", 8, 60, 112, 86)
    pen.ellipse("cream", 60, 46, 52, 11)
    for x in (18, 36, 56, 78, 98):
        pen.line("cream", 11, (x, 48), (x, 55 + variant(thing.detail_seed, x, 12)))
    for x in (38, 60, 82):
        pen.box("blush", x - 3, 18, x + 3, 44)
        pen.ellipse("flame", x, 11, 4, 8)


DRAWINGS: Mapping[str, Draw] = {
    "apple": apple,
    "banana": banana,
    "pear": pear,
    "cherry": cherry,
    "carrot": carrot,
    "cake": cake,
}
