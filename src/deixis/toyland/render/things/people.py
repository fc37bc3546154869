"""People: adult and baby, in clothes of a colour, with what they wear or hold."""

from collections.abc import Mapping

from ...scene.scenes import Thing
from ..pen import Draw, Number, Pen, variant


def _head(pen: Pen, thing: Thing, x: Number, y: Number, radius: Number) -> None:
    long_hair = variant(thing.detail_seed, 3, 2) == 1 and thing.kind == "adult"
    if long_hair:
        pen.box("hair", x - radius * 1.1, y - radius * 0.3, x + radius * 0.7, y + radius * 1.7, radius * 0.5)
    pen.circle("skin", x, y, radius)
    pen.wedge("hair", x, y, radius * 1.08, radius * 1.08, 170, 330)
    pen.polygon(
        "hair",
        (x - radius, y - radius * 0.2),
        (x - radius * 0.9, y + radius * (0.9 if long_hair else 0.3)),
        (x - radius * 0.4, y - radius * 0.2),
    )
    pen.circle("eye", x + radius * 0.34, y, radius * 0.11)
    pen.circle("eye", x + radius * 0.8, y, radius * 0.11)
    pen.line("mouth", radius * 0.14, (x + radius * 0.45, y + radius * 0.52), (x + radius * 0.78, y + radius * 0.48))
    if "hat" in thing.carried:
        pen.box("dark_wood", x - radius * 0.9, y - radius * 1.75, x + radius * 0.9, y - radius * 0.5, radius * 0.35)
        pen.box("wood", x - radius * 1.5, y - radius * 0.72, x + radius * 1.6, y - radius * 0.45, radius * 0.1)


def _held(pen: Pen, thing: Thing, near: tuple[Number, Number], far: tuple[Number, Number]) -> None:
    """What is in the hands: a ball in the near one, a bag in the far one."""
    if "bag" in thing.carried:
        x, y = far
        pen.line("dark_wood", 2, (x - 5, y + 7), (x, y - 1), (x + 5, y + 7))
        pen.box("wood", x - 9, y + 5, x + 9, y + 21, 2)
        pen.box("gold", x - 2, y + 9, x + 2, y + 12)
    if "ball" in thing.carried:
        x, y = near
        pen.circle("bright", x + 4, y, 9)
        pen.wedge("trousers", x + 4, y, 9, 9, 20, 80)
        pen.wedge("trousers", x + 4, y, 9, 9, 140, 200)
        pen.wedge("trousers", x + 4, y, 9, 9, 260, 320)


def adult(pen: Pen, thing: Thing) -> None:
    lift = 16 if thing.state == "sitting" else 0
    head = 16.0 if lift == 0 else 20.0
    grow = 1.0 if lift == 0 else 1.25
    shoulder, hip = head + 10 * grow, head + 40 * grow
    if lift:
        pen.box("wood", 8, 72, 36, 98, 3)
        pen.line("trousers", 13, (22, 68), (50, 70), (50, 93))
        pen.line("shoe", 9, (50, 95), (60, 95))
    else:
        pen.line("trousers", 9.5, (19, hip - 2), (17, 94))
        pen.line("trousers", 9.5, (28, hip - 2), (31, 94))
        pen.line("shoe", 6, (17, 97), (23, 97))
        pen.line("shoe", 6, (31, 97), (37, 97))
    far = (7.0, hip)
    pen.line("dark", 7, (14, shoulder + 4), far)
    pen.circle("skin", far[0], far[1] + 2, 3.6)
    pen.box("skin_shade", 20, head + 6, 27, shoulder + 4)
    pen.box("body", 11, shoulder, 36, hip + 2, 6)
    pen.box("body", 12, hip - 12, 35, hip + 4, 2)
    _head(pen, thing, 24, head, 10 * grow)
    near = (43.0, head - 12) if thing.state == "waving" else (43.0, hip - 8)
    elbow = (42.0, shoulder + 2) if thing.state == "waving" else (36.0, shoulder + 20)
    pen.line("dark", 7.5, (33, shoulder + 5), elbow, near)
    pen.line("body", 6, (33, shoulder + 5), elbow, near)
    pen.circle("skin", near[0] + 1, near[1] + (-2 if thing.state == "waving" else 1), 4)
    _held(pen, thing, (near[0], near[1]), far)


def baby(pen: Pen, thing: Thing) -> None:
    if thing.state == "crawling":
        pen.line("dark", 13, (30, 72), (44, 90), (20, 92))
        pen.line("dark", 11, (80, 66), (88, 92))
        pen.ellipse("body", 52, 64, 38, 24, -6)
        pen.ellipse("bright", 26, 70, 18, 16)
        pen.line("body", 12, (76, 66), (80, 92))
        pen.circle("skin", 83, 94, 5.5)
        pen.circle("skin", 92, 94, 5)
        pen.circle("skin", 16, 93, 5.5)
        _head(pen, thing, 96, 36, 24)
        _held(pen, thing, (104, 88), (10, 74))
        return
    pen.line("bright", 18, (34, 86), (62, 90))
    pen.line("dark", 14, (30, 84), (64, 90))
    pen.circle("skin", 70, 91, 7)
    pen.ellipse("body", 34, 70, 22, 27)
    pen.line("dark", 10, (24, 60), (12, 76))
    pen.circle("skin", 11, 78, 5)
    _head(pen, thing, 38, 27, 22)
    pen.line("body", 11, (44, 60), (62, 70))
    pen.circle("skin", 65, 71, 5)
    _held(pen, thing, (68, 70), (12, 78))


DRAWINGS: Mapping[str, Draw] = {
    "adult": adult,
    "baby": baby,
}
