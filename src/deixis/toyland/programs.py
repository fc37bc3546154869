"""Small functional programs that pick things from a view, and say where they are not sure.

Every node answers with two sets: the things it surely means and those it may mean. A relation is sure only by
a margin, a thing that hardly shows may be meant but never surely is, and a program is clear where both sets are
equal. `text` and `parse` turn a program into one line and back.
"""

import re
from dataclasses import dataclass, fields
from typing import Any, Literal, cast, get_args

from .scenes import FAMILY_OF
from .view import View

Attribute = Literal["kind", "family", "colour", "size", "pattern", "state", "facing", "carried"]
Order = Literal["leftmost", "rightmost", "topmost", "bottommost", "biggest", "smallest", "nearest", "farthest"]
Side = Literal["left", "right", "top", "bottom", "middle"]
Relation = Literal["left_of", "right_of", "above", "below", "behind", "in_front_of", "next_to", "hidden_by"]

POSITION_MARGIN = 0.04  # of the picture's side
DEPTH_MARGIN = 0.06
AREA_RATIO = 1.35
DISTANCE_RATIO = 1.35


@dataclass(frozen=True, slots=True)
class Found:
    """What a program means for sure, and what it may mean; the first is part of the second."""

    sure: frozenset[int]
    maybe: frozenset[int]

    @property
    def clear(self) -> bool:
        return self.sure == self.maybe


@dataclass(frozen=True)
class Everything:
    """All that is seen."""

    def find(self, view: View) -> Found:
        return Found(view.sure, view.maybe)


@dataclass(frozen=True)
class Is:
    """Things of a kind, family, colour, size, pattern, state or facing, or that carry something."""

    attribute: Attribute
    value: str

    def find(self, view: View) -> Found:
        if self not in view.memory:
            view.memory[self] = self._found(view)
        return cast(Found, view.memory[self])

    def _found(self, view: View) -> Found:
        sure = frozenset(index for index in view.sure if self._holds(view, index))
        maybe = frozenset(index for index in view.maybe if self._holds(view, index))
        if self.attribute == "kind":
            # A ball in somebody's hand is no thing of its own, yet who hears "the ball" may look there.
            carriers = frozenset(index for index in view.maybe if self.value in view.things[index].carried)
            if carriers:
                return Found(frozenset(), maybe | carriers)
        return Found(sure, maybe)

    def _holds(self, view: View, index: int) -> bool:
        thing = view.things[index]
        if self.attribute == "family":
            return FAMILY_OF[thing.kind] == self.value
        if self.attribute == "carried":
            return self.value in thing.carried
        return bool(getattr(thing, self.attribute) == self.value)


@dataclass(frozen=True)
class And:
    """Things that both programs mean."""

    one: "Program"
    two: "Program"

    def find(self, view: View) -> Found:
        one, two = self.one.find(view), self.two.find(view)
        return Found(one.sure & two.sure, one.maybe & two.maybe)


@dataclass(frozen=True)
class Or:
    """Things that either program means."""

    one: "Program"
    two: "Program"

    def find(self, view: View) -> Found:
        one, two = self.one.find(view), self.two.find(view)
        return Found(one.sure | two.sure, one.maybe | two.maybe)


@dataclass(frozen=True)
class Not:
    """Things that the program does not mean."""

    of: "Program"

    def find(self, view: View) -> Found:
        of = self.of.find(view)
        return Found(view.sure - of.maybe, view.maybe - of.sure)


@dataclass(frozen=True)
class At:
    """Things in one part of the picture: its left, right, top, bottom, or the middle."""

    side: Side

    def find(self, view: View) -> Found:
        inward = {index: self._inward(view, index) for index in view.maybe}
        sure, maybe = (0.14, 0.22) if self.side == "middle" else (0.4, 0.5)
        return Found(
            frozenset(index for index in view.sure if inward[index] <= sure),
            frozenset(index for index in view.maybe if inward[index] <= maybe),
        )

    def _inward(self, view: View, index: int) -> float:
        """How far the thing's middle lies from the named side or, for the middle, from the picture's centre line."""
        seen = view.seen[index]
        distance = {
            "left": seen.x,
            "right": 1 - seen.x,
            "top": seen.y,
            "bottom": 1 - seen.y,
            "middle": abs(seen.x - 0.5),
        }
        return distance[self.side]


@dataclass(frozen=True)
class Rank:
    """The thing in the given place, counted from 1, when the found things are put in order."""

    of: "Program"
    order: Order
    place: int = 1

    def find(self, view: View) -> Found:
        of = self.of.find(view)
        spans = {index: _places_before(view, of, index, self.order) for index in of.maybe}
        before = self.place - 1
        return Found(
            frozenset(index for index in of.sure if spans[index] == (before, before)),
            frozenset(index for index, (least, most) in spans.items() if least <= before <= most),
        )


@dataclass(frozen=True)
class Middle:
    """The thing with as many of the found things to its left as to its right, and at least one."""

    of: "Program"

    def find(self, view: View) -> Found:
        of = self.of.find(view)
        sure, maybe = set(), set()
        for index in of.maybe:
            left = _places_before(view, of, index, "leftmost")
            right = _places_before(view, of, index, "rightmost")
            if left[0] <= right[1] and right[0] <= left[1] and left[1] and right[1]:
                maybe.add(index)
            if left[0] == left[1] == right[0] == right[1] > 0 and index in of.sure:
                sure.add(index)
        return Found(frozenset(sure), frozenset(maybe))


@dataclass(frozen=True)
class Related:
    """Those of the found things that stand in a relation to any thing of another program."""

    of: "Program"
    relation: Relation
    to: "Program"

    def find(self, view: View) -> Found:
        of, to = self.of.find(view), self.to.find(view)
        sure = frozenset(
            index
            for index in of.sure
            if any(other != index and holds(view, index, self.relation, other)[0] for other in to.sure)
        )
        maybe = frozenset(
            index
            for index in of.maybe
            if any(other != index and holds(view, index, self.relation, other)[1] for other in to.maybe)
        )
        return Found(sure, maybe)


@dataclass(frozen=True)
class Closest:
    """That of the found things which is nearest, in the picture, to the one thing another program means."""

    of: "Program"
    to: "Program"

    def find(self, view: View) -> Found:
        of, to = self.of.find(view), self.to.find(view)
        if not to.clear or len(to.sure) != 1:
            return Found(frozenset(), of.maybe)
        (anchor,) = to.sure
        gaps = {index: distance(view, index, anchor) for index in of.maybe - {anchor}}
        least = min(gaps.values(), default=0.0)
        near = frozenset(index for index, gap in gaps.items() if gap <= least * DISTANCE_RATIO + POSITION_MARGIN / 4)
        return Found(near & of.sure if len(near) == 1 else frozenset(), near)


@dataclass(frozen=True)
class Hidden:
    """Things of which a nearer one hides a part."""

    def find(self, view: View) -> Found:
        return Found(
            frozenset(index for index in view.sure if view.seen[index].share < 0.8 and view.seen[index].covered_by),
            frozenset(index for index in view.maybe if view.seen[index].share < 0.97),
        )


Program = Everything | Is | And | Or | Not | At | Rank | Middle | Related | Closest | Hidden
NODES = {node.__name__.lower(): node for node in get_args(Program)}


def run(program: Program, view: View) -> frozenset[int] | None:
    """The things that a program picks, as indices into the scene; None where that is not clear."""
    found = program.find(view)
    return found.sure if found.clear else None


def nodes(program: Program) -> list[Program]:
    """A program and all that it is made of."""
    parts = [getattr(program, field.name) for field in fields(program)]
    return [program, *(node for part in parts if not isinstance(part, str | int) for node in nodes(part))]


def text(program: Program) -> str:
    """One line that `parse` reads back, such as `rank(is(kind, dog), leftmost, 1)`."""
    parts = [getattr(program, field.name) for field in fields(program)]
    arguments = ", ".join(str(part) if isinstance(part, str | int) else text(part) for part in parts)
    return f"{type(program).__name__.lower()}({arguments})"


def parse(line: str) -> Program:
    """The program of a line that `text` wrote."""
    tokens = re.findall(r"\w+|\S", line)
    try:
        program = _parsed(tokens)
    except (IndexError, KeyError, TypeError) as error:
        raise ValueError(f"This is no program of Toyland: {line!r}.") from error
    if tokens or not isinstance(program, get_args(Program)):
        raise ValueError(f"This is no program of Toyland: {line!r}.")
    return program


def holds(view: View, index: int, relation: Relation, other: int) -> tuple[bool, bool]:
    """Whether one thing surely, and whether it possibly, stands in a relation to another."""
    question = (index, relation, other)
    if question not in view.memory:
        view.memory[question] = _holds(view, index, relation, other)
    return cast(tuple[bool, bool], view.memory[question])


def _holds(view: View, index: int, relation: Relation, other: int) -> tuple[bool, bool]:
    mirrored: dict[str, Relation] = {"right_of": "left_of", "below": "above", "in_front_of": "behind"}
    if relation in mirrored:
        return holds(view, other, mirrored[relation], index)
    one, two = view.seen[index], view.seen[other]
    across = max(one.left, two.left) - min(one.right, two.right)  # the gap between their boxes, negative if none
    down = max(one.top, two.top) - min(one.bottom, two.bottom)
    if relation == "left_of":
        gap = two.x - one.x
        return gap >= 0.08 and down < 0.05 and across < 0.35, gap > -POSITION_MARGIN
    if relation == "above":
        gap = two.y - one.y
        return down >= -0.02 and gap >= 0.08 and across < -0.02, gap > -POSITION_MARGIN
    if relation == "behind":
        gap = view.things[other].depth - view.things[index].depth
        near = across < -0.02 and down < 0.03
        return gap >= DEPTH_MARGIN and near and one.bottom < two.bottom, gap > -0.02 and across < 0.1
    if relation == "next_to":
        level = abs(one.bottom - two.bottom)
        return across < 0.06 and down < -0.03 and level < 0.12, across < 0.2 and down < 0.1
    touching = other in one.covered_by  # hidden_by
    return touching and one.share < 0.8 and len(one.covered_by) == 1, touching


def distance(view: View, index: int, other: int) -> float:
    """Between the middles of two things' boxes, as a fraction of the picture's side."""
    one, two = view.seen[index], view.seen[other]
    return float(((one.x - two.x) ** 2 + (one.y - two.y) ** 2) ** 0.5)


def _places_before(view: View, of: Found, index: int, order: Order) -> tuple[int, int]:
    """At least and at most how many of the found things come before this one."""
    others = of.maybe - {index}
    least = sum(1 for other in others & of.sure if _comes_before(view, other, index, order))
    return least, sum(1 for other in others if not _comes_before(view, index, other, order))


def _comes_before(view: View, one: int, two: int, order: Order) -> bool:
    """Whether one thing clearly precedes another in an order."""
    first, second = view.seen[one], view.seen[two]
    if order in ("biggest", "smallest"):
        small, large = (second, first) if order == "biggest" else (first, second)
        return large.area > small.area * AREA_RATIO
    if order in ("nearest", "farthest"):
        sign = 1 if order == "nearest" else -1
        deeper = view.things[one].depth - view.things[two].depth
        return sign * deeper > DEPTH_MARGIN and sign * (first.bottom - second.bottom) > 0
    gaps = {"leftmost": second.x - first.x, "topmost": second.y - first.y}
    gaps |= {"rightmost": -gaps["leftmost"], "bottommost": -gaps["topmost"]}
    return gaps[order] > POSITION_MARGIN


def _parsed(tokens: list[str]) -> Any:
    """Take one call, word or number from the front of the tokens."""
    token = tokens.pop(0)
    if tokens[:1] != ["("]:
        return int(token) if token.isdigit() else token
    arguments = []
    while tokens.pop(0) != ")":
        if tokens[0] != ")":
            arguments.append(_parsed(tokens))
    return NODES[token](*arguments)
