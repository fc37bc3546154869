"""Animals: cat, dog, bird, fish, rabbit, turtle and horse."""

from collections.abc import Mapping

from ...scene.scenes import Thing
from ..pen import Draw, Number, Pen, variant


def _eye(pen: Pen, x: Number, y: Number, radius: Number = 3.2) -> None:
    pen.circle("bright", x, y, radius + 1.2)
    pen.circle("eye", x + 0.6, y, radius)


def _cat_head(pen: Pen, x: Number, y: Number) -> None:
    for side in (-1, 1):
        pen.polygon("body", (x + side * 19, y - 3), (x + side * 17, y - 26), (x + side * 2, y - 14))
        pen.polygon("blush", (x + side * 15, y - 10), (x + side * 15, y - 20), (x + side * 7, y - 13))
    pen.ellipse("body", x, y, 20, 17)
    pen.ellipse("light", x + 2, y + 8, 9, 6)
    for side in (-1, 1):
        _eye(pen, x + 2 + side * 8, y - 2)
        pen.line("bright", 1, (x + 2 + side * 6, y + 7), (x + 2 + side * 20, y + 4))
        pen.line("bright", 1, (x + 2 + side * 6, y + 9), (x + 2 + side * 20, y + 10))
    pen.polygon("nose", (x - 1, y + 4), (x + 5, y + 4), (x + 2, y + 8))


def cat(pen: Pen, thing: Thing) -> None:
    if thing.state == "sitting":
        pen.curve("dark", 8, (28, 92), (2, 98), (6, 66))
        pen.ellipse("body", 36, 72, 24, 28)
        pen.ellipse("dark", 22, 88, 14, 11)
        pen.line("body", 10, (42, 62), (44, 94))
        pen.line("dark", 10, (54, 64), (56, 94))
        _cat_head(pen, 46, 30)
        return
    pen.curve("dark", 8, (22, 56), (2, 46), (8, 12))
    for x, paint in ((30, "dark"), (86, "dark"), (40, "body"), (96, "body")):
        pen.line(paint, 10, (x, 62), (x + 1, 95))
    pen.ellipse("body", 62, 58, 44, 19)
    _cat_head(pen, 104, 34)


def _dog_head(pen: Pen, x: Number, y: Number) -> None:
    pen.ellipse("body", x, y, 18, 16)
    pen.ellipse("light", x + 17, y + 6, 13, 8)
    pen.circle("eye", x + 28, y + 2, 4)
    pen.line("nose", 1.5, (x + 12, y + 11), (x + 26, y + 10))
    _eye(pen, x + 8, y - 4)
    pen.ellipse("dark", x - 9, y + 6, 7, 16, 12)


def dog(pen: Pen, thing: Thing) -> None:
    if thing.state == "sitting":
        pen.curve("body", 7, (18, 90), (2, 92), (6, 72))
        pen.polygon("body", (12, 96), (30, 40), (56, 36), (58, 70), (52, 98))
        pen.ellipse("dark", 25, 84, 19, 14)
        pen.line("body", 10, (50, 60), (52, 95))
        pen.line("dark", 10, (40, 66), (41, 95))
        pen.line("solid", 5, (34, 42), (56, 44))
        pen.line("ink", 4, (34, 41), (56, 43))
        _dog_head(pen, 46, 22)
        return
    pen.curve("body", 8, (18, 48), (4, 40), (6, 18))
    for x, paint in ((26, "dark"), (82, "dark"), (36, "body"), (92, "body")):
        pen.line(paint, 10, (x, 60), (x + 1, 95))
    pen.box("body", 14, 40, 100, 72, 15)
    pen.polygon("body", (78, 44), (92, 18), (108, 34), (100, 62))
    pen.line("ink", 4, (86, 40), (104, 46))
    _dog_head(pen, 102, 24)


def bird(pen: Pen, thing: Thing) -> None:
    if thing.state == "flying":
        pen.polygon("dark", (44, 66), (4, 54), (8, 80))
        pen.polygon("dark", (60, 60), (96, 8), (106, 12), (88, 62))
        pen.ellipse("body", 72, 68, 38, 20)
        pen.circle("body", 106, 56, 16)
        pen.polygon("beak", (119, 50), (138, 60), (118, 64))
        pen.polygon("light", (50, 66), (42, 4), (62, 8), (88, 66))
        pen.ellipse("light", 80, 80, 22, 8)
        _eye(pen, 110, 53)
        return
    pen.line("beak", 3.5, (50, 80), (48, 98), (58, 98))
    pen.line("beak", 3.5, (62, 80), (62, 98), (72, 98))
    pen.polygon("dark", (28, 58), (2, 82), (20, 84), (44, 74))
    pen.ellipse("body", 52, 58, 34, 27, -18)
    pen.circle("body", 72, 26, 20)
    pen.ellipse("light", 66, 66, 16, 16)
    pen.ellipse("dark", 42, 58, 24, 14, 20)
    pen.polygon("beak", (88, 20), (108, 29), (88, 34))
    _eye(pen, 76, 22, 3.6)


def fish(pen: Pen, thing: Thing) -> None:
    pen.polygon("dark", (48, 50), (6, 8), (16, 50), (6, 92))
    pen.polygon("dark", (62, 24), (84, 1), (116, 22))
    pen.polygon("dark", (80, 78), (76, 98), (104, 82))
    pen.ellipse("body", 94, 50, 58, 34)
    pen.wedge("light", 94, 50, 58, 34, -48, 48)
    pen.ellipse("body", 112, 50, 22, 30)
    pen.ellipse("dark", 88, 56, 14, 9, 20)
    pen.circle("bright", 132, 42, 9)
    pen.circle("eye", 134, 42, 5)
    pen.line("nose", 2, (144, 62), (150, 58))


def rabbit(pen: Pen, thing: Thing) -> None:
    pen.circle("bright", 12, 76, 10)
    pen.ellipse("body", 38, 76, 30, 23)
    pen.ellipse("dark", 24, 90, 18, 9)
    pen.ellipse("body", 58, 94, 12, 5.5)
    for x, paint in ((46, "dark"), (62, "body")):
        pen.ellipse(paint, x, 20, 7, 20, -6 if x < 50 else 6)
        pen.ellipse("blush", x, 20, 3, 14, -6 if x < 50 else 6)
    pen.circle("body", 56, 50, 18)
    pen.ellipse("light", 62, 58, 9, 7)
    _eye(pen, 60, 46)
    pen.circle("blush", 70, 54, 3)


def turtle(pen: Pen, thing: Thing) -> None:
    pen.polygon("dark_leaf", (12, 84), (0, 92), (22, 92))
    for x in (36, 104):
        pen.ellipse("leaf", x, 88, 12, 11)
    pen.line("leaf", 16, (112, 72), (136, 48))
    pen.ellipse("leaf", 140, 42, 17, 14)
    _eye(pen, 146, 38, 3.6)
    pen.wedge("body", 70, 82, 62, 78, 180, 360)
    pen.box("light", 6, 76, 134, 87, 5)
    for x in (38, 70, 102):
        top = 26 if x == 70 else 42
        pen.polygon("dark", (x - 12, top + 8), (x, top), (x + 12, top + 8), (x + 9, top + 24), (x - 9, top + 24))


def horse(pen: Pen, thing: Thing) -> None:
    stride = 16 if thing.state == "running" else 0
    pen.curve("hair", 8, (18, 46), (-2 - stride / 4, 48), (4, 78 - stride))
    for x, lean, paint in (
        (26, -stride, "dark"),
        (74, stride, "dark"),
        (34, stride / 2, "body"),
        (82, -stride / 2, "body"),
    ):
        foot = 93 - abs(lean) / 3
        pen.line(paint, 8, (x, 58), (x + lean / 2, 76), (x + lean, foot))
        pen.box("ink", x + lean - 5, foot, x + lean + 6, foot + 6)
    pen.ellipse("body", 54, 50, 38, 17)
    pen.polygon("body", (70, 52), (88, 12), (104, 16), (94, 58))
    pen.polygon("hair", (66, 42), (84, 8), (92, 8), (80, 44))
    pen.polygon("body", (88, 8), (93, 0), (98, 9))
    pen.ellipse("body", 102, 19, 19, 9, 24)
    pen.ellipse("light", 113, 25, 7, 6)
    pen.circle("eye", 100, 13, 2.6)
    if variant(thing.detail_seed, 1, 2):
        pen.ellipse("dark_wood", 50, 35, 13, 6)


DRAWINGS: Mapping[str, Draw] = {
    "cat": cat,
    "dog": dog,
    "bird": bird,
    "fish": fish,
    "rabbit": rabbit,
    "turtle": turtle,
    "horse": horse,
}
