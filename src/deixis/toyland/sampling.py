"""Scenes by lot: a few crowded kinds and some loners, each where such a thing may be."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, NamedTuple, TypeVar

import numpy as np

from .domains import EVERYTHING, Content, held_out_colour
from .domains import is_held_out as is_held_out
from .scenes import (
    CARRIED,
    COLOURS,
    FAMILY_OF,
    HORIZON,
    STATES,
    WATERLINE,
    Colour,
    Facing,
    Pattern,
    Scene,
    Setting,
    Size,
    Thing,
)
from .things import FORMS

Combinations = Literal["seen", "held-out", "all"]
Choice = TypeVar("Choice")
Box = tuple[float, float, float, float]  # left, top, right, bottom


class Place(NamedTuple):
    """Where a thing may stand, as `Thing` says it, and the box that it then fills."""

    x: float
    y: float
    scale: float
    depth: float
    box: Box


OUTDOORS: tuple[Setting, ...] = ("meadow", "beach", "street", "snow")
INDOORS: tuple[Setting, ...] = ("room", "kitchen")
# Where the kinds of a family may be, and the kinds that are choosier than their family.
PLACES: Mapping[str, tuple[Setting, ...]] = {
    "animals": (*OUTDOORS, "room"),
    "vehicles": ("street", "meadow", "snow", "beach"),
    "food": ("kitchen", "room", "meadow"),
    "household": INDOORS,
    "people": (*OUTDOORS, "room"),
    "nature": OUTDOORS,
    "shapes": (*OUTDOORS, *INDOORS),
    "boat": ("beach",),
    "fish": ("beach", "kitchen"),
    "horse": OUTDOORS,
    "train": ("street", "meadow", "snow"),
    "umbrella": ("beach", "street", "room"),
    "chair": ("room", "kitchen", "beach"),
    "sofa": ("room",),
    "flower": ("meadow", "room", "kitchen"),
    "cactus": ("meadow", "beach", "room", "kitchen"),
    "mushroom": ("meadow", "kitchen"),
}
WATER_KINDS = frozenset({"boat", "fish"})

# The height of a medium thing in the middle distance, as a fraction of the picture: kinds keep their order of
# size, but a toy world's apple may be as big as a cat.
HEIGHTS: Mapping[str, float] = {
    "cat": 0.2, "dog": 0.21, "bird": 0.16, "fish": 0.13, "rabbit": 0.18, "turtle": 0.13, "horse": 0.3,
    "car": 0.17, "bus": 0.22, "truck": 0.22, "boat": 0.24, "plane": 0.15, "train": 0.2, "bicycle": 0.2,
    "apple": 0.14, "banana": 0.14, "pear": 0.17, "cherry": 0.15, "carrot": 0.14, "cake": 0.18,
    "cup": 0.16, "bottle": 0.24, "chair": 0.27, "table": 0.2, "lamp": 0.27, "book": 0.17, "key": 0.1,
    "clock": 0.18, "umbrella": 0.25, "sofa": 0.22, "adult": 0.38, "baby": 0.22,
    "tree": 0.4, "flower": 0.2, "mushroom": 0.17, "cactus": 0.25, "bush": 0.17,
    "ball": 0.15, "cube": 0.16, "star": 0.17, "heart": 0.16, "ring": 0.16, "pyramid": 0.18,
}  # fmt: skip
GROWTH: Mapping[Size, float] = {"small": 0.66, "medium": 1.0, "large": 1.5}

# A thing's own colours are a little likelier than the others; every colour is possible.
NATURAL: Mapping[str, tuple[Colour, ...]] = {
    "cat": ("orange", "grey", "black", "white", "brown"), "dog": ("brown", "black", "white", "yellow"),
    "horse": ("brown", "black", "white"), "rabbit": ("white", "grey", "brown"), "fish": ("orange", "blue", "yellow"),
    "turtle": ("green", "brown"), "apple": ("red", "green", "yellow"), "banana": ("yellow", "green", "brown"),
    "pear": ("green", "yellow"), "cherry": ("red", "purple", "black"), "carrot": ("orange", "purple", "yellow"),
    "tree": ("green", "orange", "red"), "bush": ("green", "brown"), "cactus": ("green",), "mushroom": ("red", "brown"),
}  # fmt: skip

# How many of one kind a crowd has, and how many crowds and loners a scene has, each with its share. Who has company of
# its kind has 3.9 on average, itself counted, as in RefCOCO's images; with the loners, who are spoken of too, 3.1.
CROWD_SIZES: tuple[tuple[int, float], ...] = ((2, 0.27), (3, 0.31), (4, 0.22), (5, 0.12), (6, 0.06), (7, 0.02))
CROWDS: tuple[tuple[int, float], ...] = ((1, 0.42), (2, 0.46), (3, 0.12))
MOST, LEAST = 14, 4
TRIES = 14


def sample_scene(seed: int, content: Content = EVERYTHING, combinations: Combinations = "seen") -> Scene:
    """The scene of this seed: the same on every machine, and independent of the scenes of other seeds.

    `seen` never shows a held-out pair of kind and colour, `held-out` shows at least one, `all` does not care.
    """
    for attempt in range(100):
        lots = np.random.default_rng([seed, 20, attempt])
        setting = content.settings[int(lots.integers(len(content.settings)))]
        things = _things(lots, content, setting, combinations)
        if combinations != "held-out" or any(is_held_out(thing.kind, thing.colour) for thing in things):
            return Scene(seed=seed, setting=setting, things=tuple(sorted(things, key=lambda thing: thing.depth)))
    raise ValueError(f"Content {content.name!r} has no kind with a held-out colour; choose other combinations.")


def _things(lots: np.random.Generator, content: Content, setting: Setting, combinations: Combinations) -> list[Thing]:
    weights = {kind: weight for kind, weight in content.weights.items() if weight > 0 and setting in places_of(kind)}
    kinds = _kinds(lots, weights)
    wanted = int(lots.integers(len(kinds)))
    things: list[Thing] = []
    boxes: list[Box] = []
    for number, kind in enumerate(kinds):
        described = _described(lots, kind, _colour(lots, kind, combinations, must=number == wanted), setting)
        place = _placed(lots, described, setting, boxes)
        things.append(replace(described, x=place.x, y=place.y, scale=place.scale, depth=place.depth))
        boxes.append(place.box)
    return things


def places_of(kind: str) -> tuple[Setting, ...]:
    return PLACES.get(kind) or PLACES[FAMILY_OF[kind]]


def _kinds(lots: np.random.Generator, weights: Mapping[str, float]) -> list[str]:
    """The kinds of a scene, one entry a thing: crowds first, then loners of other kinds."""
    left = dict(weights)
    kinds: list[str] = []
    for _ in range(min(_pick(lots, CROWDS), len(left))):
        kind = _pick(lots, tuple(left.items()))
        del left[kind]
        kinds += [kind] * min(_pick(lots, CROWD_SIZES), MOST - len(kinds))
        if len(kinds) >= MOST - 1 or not left:
            break
    loners = int(lots.integers(0, 5))
    loners = max(LEAST - len(kinds), min(loners, MOST - len(kinds)))
    for _ in range(loners):
        if not left:
            kinds.append(kinds[0])
            continue
        kind = _pick(lots, tuple(left.items()))
        del left[kind]
        kinds.append(kind)
    return kinds


def _pick(lots: np.random.Generator, shares: tuple[tuple[Choice, float], ...]) -> Choice:
    rest = lots.random() * sum(share for _, share in shares)
    for choice, share in shares:
        rest -= share
        if rest < 0:
            return choice
    return shares[-1][0]


def _colour(lots: np.random.Generator, kind: str, combinations: Combinations, must: bool) -> Colour:
    """A colour by lot, its own likelier; `held-out` gives every other thing its held-out colour."""
    natural = NATURAL.get(kind, ())
    choices = natural if natural and lots.random() < 0.4 else COLOURS
    kept = held_out_colour(kind)
    if combinations == "held-out" and kept and (must or lots.random() < 0.5):
        return kept
    if combinations != "all":
        choices = tuple(colour for colour in choices if colour != kept) or tuple(c for c in COLOURS if c != kept)
    return choices[int(lots.integers(len(choices)))]


def _described(lots: np.random.Generator, kind: str, colour: Colour, setting: Setting) -> Thing:
    states = STATES.get(kind, ("",))
    if kind == "bird" and setting in INDOORS:
        states = ("standing",)
    patterns: tuple[tuple[Pattern, float], ...] = (
        ("plain", 0.64), ("striped", 0.13), ("dotted", 0.12), ("checkered", 0.11)
    )  # fmt: skip
    sizes: tuple[tuple[Size, float], ...] = (("small", 0.28), ("medium", 0.44), ("large", 0.28))
    facings: tuple[Facing, Facing] = ("left", "right")
    carried: tuple[str, ...] = ()
    if FAMILY_OF[kind] == "people":
        carried = tuple(name for name in CARRIED if lots.random() < (0.28 if kind == "adult" or name != "bag" else 0))
    return Thing(
        kind=kind,
        colour=colour,
        size=_pick(lots, sizes),
        pattern=_pick(lots, patterns),
        facing=facings[int(lots.integers(2))],
        state=states[int(lots.integers(len(states)))],
        carried=carried,
        x=0.5,
        y=1.0,
        scale=0.2,
        depth=0.5,
        tint=int(lots.integers(1 << 16)),
    )


def _placed(lots: np.random.Generator, thing: Thing, setting: Setting, others: list[Box]) -> Place:
    """The least crowded of a few places; some crowding is left in, for occlusion."""
    tolerance = 0.12 + 0.4 * lots.random()
    aspect = FORMS[thing.kind].aspect_of(thing)
    best, least = None, 2.0
    for _ in range(TRIES):
        tried = _somewhere(lots, thing, setting, aspect)
        overlap = max((_overlap(tried.box, other) for other in others), default=0.0)
        if best is None or overlap < least:
            best, least = tried, overlap
        if overlap <= tolerance:
            break
    assert best is not None
    return best


def _somewhere(lots: np.random.Generator, thing: Thing, setting: Setting, aspect: float) -> Place:
    horizon = HORIZON[setting]
    across, near = lots.random(), lots.random()
    flies = thing.kind == "plane" or thing.state == "flying"
    if flies:
        depth = 0.1 + 0.8 * near
    elif setting == "beach":
        shore = (WATERLINE - horizon) / (1 - horizon)
        depth = 0.06 + (shore - 0.06) * near if thing.kind in WATER_KINDS else shore + 0.04 + (0.96 - shore) * near
    else:
        depth = 0.1 + 0.9 * near
    scale = HEIGHTS[thing.kind] * GROWTH[thing.size] * perspective(depth)
    y = scale + (horizon + 0.08 - scale) * lots.random() if flies else horizon + (1 - horizon) * depth
    half = scale * aspect / 2
    # One thing in eight may be cut by the border, by up to half of itself.
    margin = 0.0 if lots.random() < 0.125 else min(half, 0.45)
    x = margin + (1 - 2 * margin) * across
    return Place(round(x, 4), round(y, 4), round(scale, 4), round(depth, 4), (x - half, y - scale, x + half, y))


def perspective(depth: float) -> float:
    """How big a thing looks at a depth, against the middle distance."""
    return 0.64 + 0.72 * depth


def _overlap(one: Box, two: Box) -> float:
    """The part of the smaller box that lies in the other box."""
    wide, high = min(one[2], two[2]) - max(one[0], two[0]), min(one[3], two[3]) - max(one[1], two[1])
    if wide <= 0 or high <= 0:
        return 0.0
    return wide * high / min((one[2] - one[0]) * (one[3] - one[1]), (two[2] - two[0]) * (two[3] - two[1]))
