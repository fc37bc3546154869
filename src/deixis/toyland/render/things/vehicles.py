"""Vehicles: car, bus, truck, boat, plane, train and bicycle."""

from collections.abc import Mapping

from ...scene.scenes import Thing
from ..pen import Draw, Number, Pen, variant


def _wheel(pen: Pen, x: Number, y: Number, radius: Number) -> None:
    pen.circle("rubber", x, y, radius)
    pen.circle("metal", x, y, radius * 0.52)
    pen.circle("dark_metal", x, y, radius * 0.2)


def car(pen: Pen, thing: Thing) -> None:
    pen.polygon("body", (38, 48), (62, 6), (134, 6), (162, 48))
    pen.polygon("dark_glass", (52, 46), (68, 14), (94, 14), (94, 46))
    pen.polygon("glass", (101, 46), (101, 14), (130, 14), (150, 46))
    pen.box("body", 4, 44, 208, 82, 14)
    pen.box("dark", 4, 70, 208, 84, 6)
    pen.line("dark", 2, (97, 48), (97, 70))
    pen.box("metal", 84, 54, 93, 57)
    pen.ellipse("glow", 203, 58, 6, 7)
    pen.box("blush", 3, 52, 9, 62)
    for x in (48, 164):
        pen.circle("ink", x, 80, 23)
        _wheel(pen, x, 80, 20)


def bus(pen: Pen, thing: Thing) -> None:
    pen.box("body", 2, 3, 198, 88, 10)
    pen.box("dark", 2, 72, 198, 90, 4)
    for x in range(12, 150, 34):
        pen.box("dark_glass", x, 14, x + 26, 44, 3)
    pen.box("glass", 176, 14, 197, 52, 3)
    pen.box("dark_glass", 150, 14, 170, 82, 2)
    pen.line("metal", 2, (160, 14), (160, 82))
    pen.ellipse("glow", 194, 70, 4, 6)
    for x in (46, 130):
        _wheel(pen, x, 86, 14)


def truck(pen: Pen, thing: Thing) -> None:
    pen.box("dark_metal", 6, 74, 190, 84)
    pen.box("body", 2, 4, 128, 76, 3)
    pen.box("dark", 2, 66, 128, 76)
    pen.polygon("body", (134, 30), (170, 30), (186, 54), (196, 58), (196, 80), (134, 80))
    pen.polygon("glass", (146, 36), (166, 36), (178, 54), (146, 54))
    pen.box("metal", 190, 74, 199, 82)
    pen.ellipse("glow", 193, 66, 4, 5)
    for x in (32, 62, 164):
        _wheel(pen, x, 84, 16)


def boat(pen: Pen, thing: Thing) -> None:
    pen.line("dark_wood", 4, (58, 2), (58, 72))
    pen.polygon("bright", (62, 6), (62, 62), (108, 62))
    pen.polygon("cream", (54, 14), (54, 62), (22, 62))
    pen.polygon("solid", (58, 2), (58, 12), (40, 7))
    pen.polygon("body", (2, 64), (122, 64), (104, 98), (22, 98))
    pen.polygon("dark", (18, 92), (108, 92), (104, 98), (22, 98))
    pen.box("wood", 0, 62, 124, 67)
    for x in (42, 62, 82):
        pen.circle("glass", x, 79, 4)


def plane(pen: Pen, thing: Thing) -> None:
    pen.polygon("dark", (92, 46), (58, 8), (72, 6), (122, 44))
    pen.polygon("body", (30, 48), (2, 6), (20, 4), (54, 44))
    pen.ellipse("body", 106, 54, 92, 19)
    pen.polygon("body", (24, 44), (60, 38), (60, 68))
    pen.ellipse("light", 106, 66, 66, 6)
    for x in range(58, 158, 14):
        pen.circle("dark_glass", x, 48, 3.6)
    pen.polygon("dark_glass", (168, 42), (180, 42), (192, 52), (170, 52))
    pen.polygon("dark", (100, 60), (50, 98), (68, 98), (134, 62))
    pen.polygon("dark", (30, 56), (8, 74), (20, 74), (48, 58))
    pen.ellipse("metal", 94, 80, 12, 6)


def train(pen: Pen, thing: Thing) -> None:
    pen.box("dark", 134, 4, 154, 40)
    pen.box("ink", 130, 2, 158, 10, 2)
    pen.wedge("gold", 106, 40, 12, 18, 180, 360)
    pen.box("body", 4, 12, 74, 82, 4)
    pen.box("dark", 0, 6, 80, 16, 3)
    pen.box("dark_glass", 16, 24, 60, 48, 3)
    pen.box("body", 68, 36, 170, 80, 14)
    pen.box("light", 120, 36, 128, 80)
    pen.circle("glow", 168, 46, 7)
    pen.polygon("dark_metal", (160, 78), (184, 98), (160, 98))
    pen.box("dark_metal", 2, 78, 166, 86)
    _wheel(pen, 34, 82, 17)
    for x in (82, 112, 142):
        _wheel(pen, x, 87, 12)
    pen.line("metal", 4, (34, 86), (112, 90))


def bicycle(pen: Pen, thing: Thing) -> None:
    for x in (30, 126):
        pen.circle("rubber", x, 70, 29)
        pen.circle("none", x, 70, 23)
        for dx, dy in ((23, 0), (12, 20), (12, -20)):
            pen.line("metal", 1.5, (x - dx, 70 - dy), (x + dx, 70 + dy))
        pen.circle("dark_metal", x, 70, 4)
    frame = ((30, 70), (72, 72), (112, 28), (54, 30), (72, 72))
    pen.line("body", 10, *frame)
    pen.line("body", 10, (30, 70), (54, 30), (50, 18))
    pen.line("body", 9, (126, 70), (108, 14))
    pen.line("rubber", 5, (108, 12), (124, 6))
    pen.line("rubber", 7, (40, 14), (62, 14))
    pen.circle("dark_metal", 72, 72, 8)
    pen.line("metal", 3.5, (72, 72), (80, 88), (86, 88))
    if variant(thing.detail_seed, 1, 2):
        pen.box("wood", 110, 22, 134, 42, 3)


DRAWINGS: Mapping[str, Draw] = {
    "car": car,
    "bus": bus,
    "truck": truck,
    "boat": boat,
    "plane": plane,
    "train": train,
    "bicycle": bicycle,
}
