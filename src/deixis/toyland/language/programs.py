"""Small functional programs that select things of a view, and report where the selection is ambiguous.

Every node returns two sets: the things that it certainly selects and those that it possibly selects. A relation is
certain only by a margin, and a faintly visible thing is never selected with certainty. A program is unambiguous where
both sets are equal. `text` and `parse` convert a program to one line and back.
"""

import re
from dataclasses import dataclass, fields
from typing import Any, Literal, cast, get_args

from ..scene.kinds import FAMILY_OF
from ..scene.view import View
from .relations import POSITION_MARGIN, Order, Relation, distance, holds, precedes

Attribute = Literal["kind", "family", "colour", "size", "pattern", "state", "facing", "carried"]
Side = Literal["left", "right", "top", "bottom", "middle"]
Event = Literal[
    "moves", "rests", "stops", "starts", "turns", "leaves", "departs", "nearer", "jumps", "to_left", "to_right"
]
Passing = Literal["behind", "in_front_of"]

DISTANCE_RATIO = 1.35


@dataclass(frozen=True, slots=True)
class Selection:
    """What a program selects; `certain` is a subset of `possible`."""

    certain: frozenset[int]
    possible: frozenset[int]

    @property
    def is_unambiguous(self) -> bool:
        return self.certain == self.possible

    @property
    def is_single(self) -> bool:
        return self.is_unambiguous and len(self.certain) == 1


@dataclass(frozen=True)
class Everything:
    """All visible things."""

    def select(self, view: View) -> Selection:
        return Selection(view.certain, view.possible)


@dataclass(frozen=True)
class Is:
    """Things of a kind, family, colour, size, pattern, state or facing, or people who carry something."""

    attribute: Attribute
    value: str

    def select(self, view: View) -> Selection:
        if self not in view.cache:
            view.cache[self] = self._selection(view)
        return cast(Selection, view.cache[self])

    def _selection(self, view: View) -> Selection:
        certain = frozenset(index for index in view.certain if self._holds(view, index))
        possible = frozenset(index for index in view.possible if self._holds(view, index))
        if self.attribute == "kind":
            # A carried ball is not a thing of its own, but "the ball" could refer to it.
            carriers = frozenset(index for index in view.possible if self.value in view.things[index].carried)
            if carriers:
                return Selection(frozenset(), possible | carriers)
        return Selection(certain, possible)

    def _holds(self, view: View, index: int) -> bool:
        thing = view.things[index]
        if self.attribute == "family":
            return FAMILY_OF[thing.kind] == self.value
        if self.attribute == "carried":
            return self.value in thing.carried
        return bool(getattr(thing, self.attribute) == self.value)


@dataclass(frozen=True)
class And:
    """Things that both programs select."""

    one: "Program"
    two: "Program"

    def select(self, view: View) -> Selection:
        one, two = self.one.select(view), self.two.select(view)
        return Selection(one.certain & two.certain, one.possible & two.possible)


@dataclass(frozen=True)
class Or:
    """Things that either program selects."""

    one: "Program"
    two: "Program"

    def select(self, view: View) -> Selection:
        one, two = self.one.select(view), self.two.select(view)
        return Selection(one.certain | two.certain, one.possible | two.possible)


@dataclass(frozen=True)
class Not:
    """Things that the program does not select."""

    of: "Program"

    def select(self, view: View) -> Selection:
        of = self.of.select(view)
        return Selection(view.certain - of.possible, view.possible - of.certain)


@dataclass(frozen=True)
class At:
    """Things in one part of the image: its left, right, top, bottom, or the middle."""

    side: Side

    def select(self, view: View) -> Selection:
        distances = {index: self._distance(view, index) for index in view.possible}
        certain, possible = (0.14, 0.22) if self.side == "middle" else (0.4, 0.5)
        return Selection(
            frozenset(index for index in view.certain if distances[index] <= certain),
            frozenset(index for index in view.possible if distances[index] <= possible),
        )

    def _distance(self, view: View, index: int) -> float:
        """From the thing's centre to the given side or, for the middle, to the image's vertical centre line."""
        seen = view.seen[index]
        distances = {
            "left": seen.x,
            "right": 1 - seen.x,
            "top": seen.y,
            "bottom": 1 - seen.y,
            "middle": abs(seen.x - 0.5),
        }
        return distances[self.side]


@dataclass(frozen=True)
class Rank:
    """The thing in the given place, counted from 1, of the selected things in order."""

    of: "Program"
    order: Order
    place: int = 1

    def select(self, view: View) -> Selection:
        of = self.of.select(view)
        bounds = {index: _num_before(view, of, index, self.order) for index in of.possible}
        before = self.place - 1
        return Selection(
            frozenset(index for index in of.certain if bounds[index] == (before, before)),
            frozenset(index for index, (least, most) in bounds.items() if least <= before <= most),
        )


@dataclass(frozen=True)
class Middle:
    """The thing with as many of the selected things to its left as to its right, at least one of them."""

    of: "Program"

    def select(self, view: View) -> Selection:
        of = self.of.select(view)
        certain, possible = set(), set()
        for index in of.possible:
            left = _num_before(view, of, index, "leftmost")
            right = _num_before(view, of, index, "rightmost")
            if left[0] <= right[1] and right[0] <= left[1] and left[1] and right[1]:
                possible.add(index)
            if left[0] == left[1] == right[0] == right[1] > 0 and index in of.certain:
                certain.add(index)
        return Selection(frozenset(certain), frozenset(possible))


@dataclass(frozen=True)
class Related:
    """Those of the selected things that stand in a relation to any thing of another program."""

    of: "Program"
    relation: Relation
    to: "Program"

    def select(self, view: View) -> Selection:
        of, to = self.of.select(view), self.to.select(view)
        certain = frozenset(
            index
            for index in of.certain
            if any(other != index and holds(view, index, self.relation, other)[0] for other in to.certain)
        )
        possible = frozenset(
            index
            for index in of.possible
            if any(other != index and holds(view, index, self.relation, other)[1] for other in to.possible)
        )
        return Selection(certain, possible)


@dataclass(frozen=True)
class Closest:
    """That of the selected things which is nearest, in the image, to the single thing of another program."""

    of: "Program"
    to: "Program"

    def select(self, view: View) -> Selection:
        of, to = self.of.select(view), self.to.select(view)
        if not to.is_single:
            return Selection(frozenset(), of.possible)
        (anchor,) = to.certain
        gaps = {index: distance(view, index, anchor) for index in of.possible - {anchor}}
        least = min(gaps.values(), default=0.0)
        near = frozenset(index for index, gap in gaps.items() if gap <= least * DISTANCE_RATIO + POSITION_MARGIN / 4)
        return Selection(near & of.certain if len(near) == 1 else frozenset(), near)


@dataclass(frozen=True)
class Hidden:
    """Things that a nearer thing covers in part."""

    def select(self, view: View) -> Selection:
        seen = view.seen
        return Selection(
            frozenset(index for index in view.certain if seen[index].fraction < 0.8 and seen[index].covered_by),
            frozenset(index for index in view.possible if seen[index].fraction < 0.97),
        )


@dataclass(frozen=True)
class Does:
    """Things that do something in the clip; none in an image."""

    event: Event

    def select(self, view: View) -> Selection:
        if view.observed is None:
            return Selection(frozenset(), frozenset())
        certain, possible = view.observed.events[self.event]
        return Selection(view.certain & certain, view.possible & possible)


@dataclass(frozen=True)
class Passes:
    """Those of the selected things that pass behind, or in front of, the single thing of another program in a clip."""

    of: "Program"
    passing: Passing
    to: "Program"

    def select(self, view: View) -> Selection:
        if view.observed is None:
            return Selection(frozenset(), frozenset())
        of, to = self.of.select(view), self.to.select(view)
        certain, possible = view.observed.passes[self.passing]
        maybe = frozenset(one for one in of.possible if any((one, other) in possible for other in to.possible - {one}))
        if not to.is_single:
            return Selection(frozenset(), maybe)
        (anchor,) = to.certain
        return Selection(frozenset(one for one in of.certain if (one, anchor) in certain), maybe)


Program = Everything | Is | And | Or | Not | At | Rank | Middle | Related | Closest | Hidden | Does | Passes
NODES = {node.__name__.lower(): node for node in get_args(Program)}


def selects(program: Program, view: View, things: frozenset[int]) -> bool:
    """Whether a program selects exactly these things, without ambiguity."""
    selection = program.select(view)
    return selection.is_unambiguous and selection.certain == things


def nodes(program: Program) -> list[Program]:
    """A program and all its parts."""
    parts = [getattr(program, field.name) for field in fields(program)]
    return [program, *(node for part in parts if not isinstance(part, str | int) for node in nodes(part))]


def text(program: Program) -> str:
    """One line that `parse` reads, such as `rank(is(kind, dog), leftmost, 1)`."""
    parts = [getattr(program, field.name) for field in fields(program)]
    arguments = ", ".join(str(part) if isinstance(part, str | int) else text(part) for part in parts)
    return f"{type(program).__name__.lower()}({arguments})"


def parse(line: str) -> Program:
    """The program of a line that `text` wrote."""
    tokens = re.findall(r"\w+|\S", line)
    try:
        program = _parse(tokens)
    except (IndexError, KeyError, TypeError) as error:
        raise ValueError(f"{line!r} is not a Toyland program.") from error
    if tokens or not isinstance(program, get_args(Program)):
        raise ValueError(f"{line!r} is not a Toyland program.")
    return program


def _num_before(view: View, of: Selection, index: int, order: Order) -> tuple[int, int]:
    """The least and the largest possible number of selected things that precede this one."""
    others = of.possible - {index}
    least = sum(1 for other in others & of.certain if precedes(view, other, index, order))
    return least, sum(1 for other in others if not precedes(view, index, other, order))


def _parse(tokens: list[str]) -> Any:
    """Remove one call, word or number from the front of the tokens, and return it."""
    token = tokens.pop(0)
    if tokens[:1] != ["("]:
        return int(token) if token.isdigit() else token
    arguments = []
    while tokens.pop(0) != ")":
        if tokens[0] != ")":
            arguments.append(_parse(tokens))
    return NODES[token](*arguments)
