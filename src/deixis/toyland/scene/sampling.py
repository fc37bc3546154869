"""Random scenes: a few groups of one kind and some single things, each placed where its kind may stand."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, NamedTuple, TypeVar

import numpy as np

from ...errors import InputError
from .domains import EVERYTHING, Content, held_out_colour, is_held_out
from .kinds import (
    CARRIED,
    FAMILY_OF,
    HEIGHTS,
    INDOORS,
    STATES,
    USUAL_COLOURS,
    WATER_KINDS,
    aspect_of,
    is_flying,
    settings_of,
)
from .scenes import COLOURS, HORIZON, WATERLINE, Colour, Facing, Pattern, Scene, Setting, Size, Thing

Combinations = Literal["seen", "held-out", "all"]
Choice = TypeVar("Choice")
Box = tuple[float, float, float, float]  # left, top, right, bottom


class Position(NamedTuple):
    """A possible position of a thing, in the fields of `Thing`, and the box that it would fill."""

    x: float
    y: float
    scale: float
    depth: float
    box: Box


SIZE_FACTORS: Mapping[Size, float] = {"small": 0.66, "medium": 1.0, "large": 1.5}
SIZE_WEIGHTS: tuple[tuple[Size, float], ...] = (("small", 0.28), ("medium", 0.44), ("large", 0.28))
PATTERN_WEIGHTS: tuple[tuple[Pattern, float], ...] = (
    ("plain", 0.64),
    ("striped", 0.13),
    ("dotted", 0.12),
    ("checkered", 0.11),
)
# How many groups a scene has and how many things a group has, each with its probability. A thing in a group has 3.9
# things of its kind in its scene on average, itself included, as in RefCOCO; over all things the average is 3.1.
NUM_GROUPS: tuple[tuple[int, float], ...] = ((1, 0.42), (2, 0.46), (3, 0.12))
GROUP_SIZES: tuple[tuple[int, float], ...] = ((2, 0.27), (3, 0.31), (4, 0.22), (5, 0.12), (6, 0.06), (7, 0.02))
MIN_THINGS, MAX_THINGS = 4, 14
PLACEMENT_ATTEMPTS = 14


def sample_scene(seed: int, content: Content = EVERYTHING, combinations: Combinations = "seen") -> Scene:
    """The scene of this seed: the same on every machine, and independent of the scenes of other seeds.

    `seen` never shows a held-out pair of kind and colour, `held-out` shows at least one, `all` may show any.
    """
    for attempt in range(100):
        rng = np.random.default_rng([seed, 20, attempt])
        setting = content.settings[int(rng.integers(len(content.settings)))]
        things = _things(rng, content, setting, combinations)
        if combinations != "held-out" or any(is_held_out(thing.kind, thing.colour) for thing in things):
            return Scene(seed=seed, setting=setting, things=tuple(sorted(things, key=lambda thing: thing.depth)))
    raise InputError(f"Content {content.name!r} has no kind with a held-out colour; choose other combinations.")


def perspective(depth: float) -> float:
    """The apparent size at a depth, relative to the middle distance."""
    return 0.64 + 0.72 * depth


def _things(rng: np.random.Generator, content: Content, setting: Setting, combinations: Combinations) -> list[Thing]:
    weights = {kind: weight for kind, weight in content.weights.items() if weight > 0 and setting in settings_of(kind)}
    kinds = _kinds(rng, weights)
    held_out = int(rng.integers(len(kinds)))
    things: list[Thing] = []
    boxes: list[Box] = []
    for number, kind in enumerate(kinds):
        thing = _unplaced(rng, kind, _colour(rng, kind, combinations, must_hold_out=number == held_out), setting)
        position = _position(rng, thing, setting, boxes)
        things.append(replace(thing, x=position.x, y=position.y, scale=position.scale, depth=position.depth))
        boxes.append(position.box)
    return things


def _kinds(rng: np.random.Generator, weights: Mapping[str, float]) -> list[str]:
    """The kinds of a scene, one entry per thing: first the groups, then single things of other kinds."""
    left = dict(weights)
    kinds: list[str] = []
    for _ in range(min(_weighted(rng, NUM_GROUPS), len(left))):
        kind = _weighted(rng, tuple(left.items()))
        del left[kind]
        kinds += [kind] * min(_weighted(rng, GROUP_SIZES), MAX_THINGS - len(kinds))
        if len(kinds) >= MAX_THINGS - 1 or not left:
            break
    num_singles = int(rng.integers(0, 5))
    num_singles = max(MIN_THINGS - len(kinds), min(num_singles, MAX_THINGS - len(kinds)))
    for _ in range(num_singles):
        if not left:
            kinds.append(kinds[0])
            continue
        kind = _weighted(rng, tuple(left.items()))
        del left[kind]
        kinds.append(kind)
    return kinds


def _weighted(rng: np.random.Generator, weights: tuple[tuple[Choice, float], ...]) -> Choice:
    """One of the choices, with a probability in proportion to its weight."""
    rest = rng.random() * sum(weight for _, weight in weights)
    for choice, weight in weights:
        rest -= weight
        if rest < 0:
            return choice
    return weights[-1][0]


def _colour(rng: np.random.Generator, kind: str, combinations: Combinations, must_hold_out: bool) -> Colour:
    """A random colour, usual ones preferred; with `held-out`, half of the things get their held-out colour."""
    usual = USUAL_COLOURS.get(kind, ())
    choices = usual if usual and rng.random() < 0.4 else COLOURS
    held_out = held_out_colour(kind)
    if combinations == "held-out" and held_out and (must_hold_out or rng.random() < 0.5):
        return held_out
    if combinations != "all":
        choices = tuple(c for c in choices if c != held_out) or tuple(c for c in COLOURS if c != held_out)
    return choices[int(rng.integers(len(choices)))]


def _unplaced(rng: np.random.Generator, kind: str, colour: Colour, setting: Setting) -> Thing:
    """A thing with all its attributes, still without a position."""
    states = STATES.get(kind, ("",))
    if kind == "bird" and setting in INDOORS:
        states = ("standing",)
    facings: tuple[Facing, Facing] = ("left", "right")
    carried: tuple[str, ...] = ()
    if FAMILY_OF[kind] == "people":
        carried = tuple(name for name in CARRIED if rng.random() < (0.28 if kind == "adult" or name != "bag" else 0))
    return Thing(
        kind=kind,
        colour=colour,
        size=_weighted(rng, SIZE_WEIGHTS),
        pattern=_weighted(rng, PATTERN_WEIGHTS),
        facing=facings[int(rng.integers(2))],
        state=states[int(rng.integers(len(states)))],
        carried=carried,
        x=0.5,
        y=1.0,
        scale=0.2,
        depth=0.5,
        detail_seed=int(rng.integers(1 << 16)),
    )


def _position(rng: np.random.Generator, thing: Thing, setting: Setting, others: list[Box]) -> Position:
    """The least overlapped of a few random positions; some overlap is accepted, so that things occlude each other."""
    tolerance = 0.12 + 0.4 * rng.random()
    best, least = None, 2.0
    for _ in range(PLACEMENT_ATTEMPTS):
        candidate = _candidate(rng, thing, setting)
        overlap = max((_overlap(candidate.box, other) for other in others), default=0.0)
        if best is None or overlap < least:
            best, least = candidate, overlap
        if overlap <= tolerance:
            break
    assert best is not None
    return best


def _candidate(rng: np.random.Generator, thing: Thing, setting: Setting) -> Position:
    horizon = HORIZON[setting]
    across, near = rng.random(), rng.random()
    flying = is_flying(thing)
    if flying:
        depth = 0.1 + 0.8 * near
    elif setting == "beach":
        shore = (WATERLINE - horizon) / (1 - horizon)
        depth = 0.06 + (shore - 0.06) * near if thing.kind in WATER_KINDS else shore + 0.04 + (0.96 - shore) * near
    else:
        depth = 0.1 + 0.9 * near
    scale = HEIGHTS[thing.kind] * SIZE_FACTORS[thing.size] * perspective(depth)
    y = scale + (horizon + 0.08 - scale) * rng.random() if flying else horizon + (1 - horizon) * depth
    half = scale * aspect_of(thing) / 2
    # The image's border may cut one thing in eight, by up to half of its width.
    margin = 0.0 if rng.random() < 0.125 else min(half, 0.45)
    x = margin + (1 - 2 * margin) * across
    return Position(round(x, 4), round(y, 4), round(scale, 4), round(depth, 4), (x - half, y - scale, x + half, y))


def _overlap(one: Box, two: Box) -> float:
    """The intersection of two boxes over the area of the smaller one."""
    wide, high = min(one[2], two[2]) - max(one[0], two[0]), min(one[3], two[3]) - max(one[1], two[1])
    if wide <= 0 or high <= 0:
        return 0.0
    return wide * high / min((one[2] - one[0]) * (one[3] - one[1]), (two[2] - two[0]) * (two[3] - two[1]))
