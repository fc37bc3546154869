"""Household things: cup, bottle, chair, table, lamp, book, key, clock, umbrella and sofa."""

import math
from collections.abc import Mapping

from ...scene.scenes import Thing
from ..pen import Draw, Pen, variant


def cup(pen: Pen, thing: Thing) -> None:
    pen.ellipse("body", 84, 52, 22, 24)
    pen.ellipse("none", 84, 52, 12, 14)
    pen.polygon("body", (6, 18), (84, 18), (74, 96), (16, 96))
    pen.ellipse("body", 45, 93, 29, 6)
    pen.ellipse("light", 45, 18, 40, 13)
    if thing.state == "full":
        pen.ellipse("liquid", 45, 19, 35, 10)
    else:
        pen.ellipse("dark", 45, 19, 35, 10)
        pen.ellipse("solid", 45, 24, 26, 4.5)


def bottle(pen: Pen, thing: Thing) -> None:
    pen.box("dark_wood", 14, 0, 28, 10)
    pen.box("body", 13, 8, 29, 34, 2)
    pen.polygon("body", (13, 26), (29, 26), (41, 46), (1, 46))
    pen.box("body", 1, 44, 41, 99, 7)
    # A window in the glass shows how much is in it.
    pen.box("bright", 8, 54, 34, 92, 4)
    pen.box("glass" if thing.state == "empty" else "liquid", 10, 58, 32, 90, 3)
    if thing.state == "empty":
        pen.box("liquid", 10, 85, 32, 90, 2)
    pen.line("light", 3, (7, 50), (7, 92))


def chair(pen: Pen, thing: Thing) -> None:
    for x in (8, 56):
        pen.line("dark_wood", 6, (x, 60), (x, 97))
    for x in (20, 66):
        pen.line("wood", 6, (x, 64), (x, 97))
    pen.box("body", 4, 2, 18, 62, 4)
    pen.box("dark", 6, 10, 14, 48, 2)
    pen.polygon("body", (4, 52), (60, 52), (72, 64), (14, 64))
    pen.box("dark", 13, 63, 72, 70, 2)


def table(pen: Pen, thing: Thing) -> None:
    for x in (26, 134):
        pen.box("dark", x - 4, 30, x + 4, 86)
    pen.polygon("body", (22, 4), (138, 4), (160, 28), (0, 28))
    pen.box("dark", 0, 28, 160, 38, 2)
    for x in (10, 150):
        pen.box("solid", x - 5, 36, x + 5, 99)


def lamp(pen: Pen, thing: Thing) -> None:
    pen.ellipse("dark_metal", 34, 93, 22, 6)
    pen.box("metal", 31, 50, 37, 92)
    if thing.state == "lit":
        pen.ellipse("glow", 34, 50, 25, 8)
    else:
        pen.circle("dark_metal", 34, 50, 5)
    pen.polygon("body", (20, 2), (48, 2), (67, 50), (1, 50))
    if thing.state == "lit":
        pen.polygon("glow", (26, 18), (42, 18), (48, 44), (20, 44))
        pen.ellipse("glow", 34, 50, 31, 5)


def book(pen: Pen, thing: Thing) -> None:
    if thing.state == "open":
        pen.polygon("body", (0, 12), (74, 26), (148, 12), (148, 90), (74, 100), (0, 90))
        pen.polygon("dark", (68, 24), (80, 24), (80, 100), (68, 100))
        pen.polygon("paper", (15, 14), (46, 8), (74, 24), (74, 84), (46, 72), (15, 78))
        pen.polygon("bright", (133, 14), (102, 8), (74, 24), (74, 84), (102, 72), (133, 78))
        for y in (28, 42, 56):
            pen.line("dark_metal", 2, (22, y), (44, y - 4), (66, y + 8))
            pen.line("dark_metal", 2, (126, y), (104, y - 4), (82, y + 8))
        return
    pen.box("dark", 2, 4, 76, 99, 4)
    pen.box("paper", 10, 88, 76, 96)
    pen.box("body", 2, 2, 76, 88, 4)
    pen.box("dark", 2, 2, 12, 96, 3)
    pen.box("bright", 24, 18, 66, 36, 2)
    pen.line("ink", 3, (30, 27), (60, 27))


def key(pen: Pen, thing: Thing) -> None:
    pen.line("solid", 18, (76, 50), (186, 50))
    for x, length in ((150, 34), (180, 40)):
        pen.box("dark", x - 8, 50, x + 8, 56 + length)
    pen.circle("body", 48, 50, 47)
    pen.circle("none", 36, 50, 17)
    pen.box("dark", 92, 38, 104, 62)


def clock(pen: Pen, thing: Thing) -> None:
    for x in (20, 72):
        pen.line("dark_metal", 8, (46 + (x - 46) * 0.7, 84), (x, 97))
        pen.circle("solid", x, 16, 14)
    pen.line("dark_metal", 5, (46, 4), (46, 18))
    pen.circle("body", 46, 54, 42)
    pen.circle("paper", 46, 54, 29)
    hour = variant(thing.detail_seed, 1, 12) / 12 * math.tau
    pen.line("ink", 4, (46, 54), (46 + 15 * math.sin(hour), 54 - 15 * math.cos(hour)))
    pen.line("ink", 3, (46, 54), (46, 32))
    for x, y in ((46, 28), (72, 54), (46, 80), (20, 54)):
        pen.circle("ink", x, y, 2)


def umbrella(pen: Pen, thing: Thing) -> None:
    if thing.state == "closed":
        pen.line("dark_metal", 4, (18, 0), (18, 90))
        pen.polygon("body", (18, 4), (28, 20), (31, 70), (18, 76), (5, 70), (8, 20))
        pen.line("dark", 2.5, (18, 8), (18, 74))
        pen.curve("dark_wood", 5, (18, 84), (18, 100), (29, 95))
        return
    pen.line("dark_metal", 4, (58, 4), (58, 86))
    pen.curve("dark_wood", 6, (58, 84), (58, 104), (74, 92))
    pen.wedge("body", 58, 56, 57, 51, 180, 360)
    pen.wedge("dark", 58, 56, 19, 51, 180, 360)
    pen.wedge("body", 58, 56, 4, 51, 180, 360)
    for x in (20, 58, 96):
        pen.ellipse("none", x, 58, 18.5, 7)
    pen.box("dark_metal", 57, 50, 59, 86)


def sofa(pen: Pen, thing: Thing) -> None:
    for x in (18, 162):
        pen.box("dark_wood", x - 6, 88, x + 6, 99)
    pen.box("body", 12, 4, 168, 70, 14)
    pen.line("dark", 2.5, (90, 8), (90, 54))
    pen.box("light", 24, 50, 90, 76, 7)
    pen.box("light", 90, 50, 156, 76, 7)
    pen.box("dark", 12, 72, 168, 90, 4)
    pen.box("body", 0, 34, 26, 91, 10)
    pen.box("body", 154, 34, 180, 91, 10)


DRAWINGS: Mapping[str, Draw] = {
    "cup": cup,
    "bottle": bottle,
    "chair": chair,
    "table": table,
    "lamp": lamp,
    "book": book,
    "key": key,
    "clock": clock,
    "umbrella": umbrella,
    "sofa": sofa,
}
