"""What a description claims, as predicates with three values: true, false, and None where it is a matter of taste.

A description is unique where every predicate is true of one instance, and one of them is false of each other instance.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

from .nouns import SEATS, categories_of
from .scene import Instance, Scene

Atom = tuple[str, ...]
"""A predicate's name and its arguments, the noun that it is about last where it compares instances."""
GAP = 0.05  # of the photo's side, by which an extreme place must differ from the next
TRUE_COLOUR, FALSE_COLOUR = 0.45, 0.12  # fractions of a part's pixels
_SIGN = {"left": 1, "right": -1, "top": 1, "bottom": -1}


def holds(atom: Atom, one: Instance, scene: Scene) -> bool | None:
    """Whether the predicate is true of the instance."""
    return _PREDICATES[atom[0]](atom[1:], one, scene)


def referents(atoms: Sequence[Atom], scene: Scene) -> list[Instance] | None:
    """The instances that all predicates are true of; None where it is uncertain for one."""
    found = []
    for one in scene.instances:
        values = [holds(atom, one, scene) for atom in atoms]
        if False in values:
            continue
        if None in values:
            return None
        found.append(one)
    return found


def _is_a(arguments: Atom, one: Instance, scene: Scene) -> bool | None:
    categories = categories_of(arguments[0])
    if scene.uncertain & categories:
        return None
    return one.category in categories


def _extreme(arguments: Atom, one: Instance, scene: Scene) -> bool | None:
    """Leftmost, rightmost, topmost or lowest of its noun; two directions are a corner."""
    *directions, noun = arguments
    others = [each for each in scene.of(categories_of(noun)) if each is not one]
    values = []
    for direction in directions:
        value = _place(one, direction)
        if not others:
            values.append(True if value < 0.4 else None if value < 0.5 else False)
            continue
        gap = min(_place(each, direction) for each in others) - value
        values.append(True if gap > GAP else None if gap > -GAP else False)
    return _all(values)


def _ordinal(arguments: Atom, one: Instance, scene: Scene) -> bool | None:
    """The n-th of its noun from a side; None where two are nearly at the same place."""
    number, direction, noun = arguments
    group = sorted(scene.of(categories_of(noun)), key=lambda each: _place(each, direction))
    if one not in group:
        return False
    places = [_place(each, direction) for each in group]
    if len(group) < 3 or any(after - before < GAP for before, after in pairwise(places)):
        return None
    return group.index(one) == int(number) - 1


def _middle(arguments: Atom, one: Instance, scene: Scene) -> bool | None:
    """Between as many on its left as on its right."""
    count = len(scene.of(categories_of(arguments[0])))
    return _ordinal((str((count + 1) // 2), "left", arguments[0]), one, scene) if count % 2 else None


def _size(arguments: Atom, one: Instance, scene: Scene) -> bool | None:
    which, noun = arguments
    others = [each for each in scene.of(categories_of(noun)) if each is not one]
    if not others:
        return None
    measure = (lambda each: each.height) if which == "tall" else (lambda each: each.area)
    own = measure(one)
    sizes = [max(measure(each), 1e-6) for each in others]
    ratio = min(sizes) / max(own, 1e-6) if which == "small" else own / max(sizes)
    clear = 1.15 if which == "tall" else 1.6
    return True if ratio > clear else None if ratio > 1 / clear else False


def _depth(arguments: Atom, one: Instance, scene: Scene) -> bool | None:
    """In front: clearly the largest and the lowest of its noun; behind: the smallest, and not the lowest."""
    which, noun = arguments
    others = [each for each in scene.of(categories_of(noun)) if each is not one]
    if not others:
        return None
    lower = [one.box[3] - each.box[3] for each in others]
    if which == "front":
        by_place = True if min(lower) > GAP / 2 else None if min(lower) > -GAP else False
        return _all([by_place, _size(("big", noun), one, scene)])
    by_place = True if max(lower) < -GAP / 2 else None if max(lower) < GAP else False
    return _all([by_place, _size(("small", noun), one, scene)])


def _coloured(arguments: Atom, one: Instance, scene: Scene) -> bool | None:
    part, colour = arguments
    if part not in one.colours:
        return None if (one.category == "person") == (part != "whole") else False
    fraction = one.colours[part].get(colour, 0.0)
    return True if fraction >= TRUE_COLOUR else False if fraction <= FALSE_COLOUR else None


def _with(arguments: Atom, one: Instance, scene: Scene) -> bool | None:
    """A person who holds, wears or rides an object of the class: most of the object lies in her reach."""
    (category,) = arguments
    if category in scene.uncertain or category not in scene.annotated:
        return None
    if one.category != "person":
        return False
    return _most([_held(one, each) for each in scene.of(frozenset({category}))])


def _posture(arguments: Atom, one: Instance, scene: Scene) -> bool | None:
    if one.category != "person":
        return False
    seats = [_held(one, each) for each in scene.of(frozenset(SEATS))]
    slender = one.height * scene.aspect / max(one.width, 1e-6)
    sits = _all([_most(seats), True if slender < 2 else None if slender < 2.6 else False])
    stands = _all([_opposite(_most(seats)), True if slender > 2.6 else None if slender > 2 else False])
    return sits if arguments[0] == "sitting" else stands


def _beside(arguments: Atom, one: Instance, scene: Scene) -> bool | None:
    """In a relation to an instance of a noun, of which the photo has one."""
    relation, noun = arguments
    categories = categories_of(noun)
    if categories & scene.uncertain or not categories & scene.annotated:
        return None
    anchors = scene.of(categories)
    if len(anchors) != 1:
        return None if anchors else False
    if anchors[0] is one:
        return False
    return _RELATIONS[relation](one, anchors[0])


def _next_to(one: Instance, other: Instance) -> bool | None:
    apart = max(one.box[0], other.box[0]) - min(one.box[2], other.box[2])
    level = min(one.box[3], other.box[3]) - max(one.box[1], other.box[1])
    near = True if apart < 0.04 else None if apart < 0.12 else False
    return _all([near, True if level > 0 else None, None if abs(one.x - other.x) < GAP else True])


def _side_of(direction: str) -> Callable[[Instance, Instance], bool | None]:
    def relation(one: Instance, other: Instance) -> bool | None:
        gap = _place(other, direction) - _place(one, direction)
        return True if gap > 2 * GAP else None if gap > -GAP else False

    return relation


def _on(one: Instance, other: Instance) -> bool | None:
    across = min(one.box[2], other.box[2]) - max(one.box[0], other.box[0])
    stands = other.box[1] - 0.02 < one.box[3] < other.box[3] - 0.02 and one.y < other.y
    if across <= 0:
        return False
    return True if stands and across > 0.8 * one.width else None


def _held(person: Instance, thing: Instance) -> bool | None:
    """Whether the person has the thing: most of it within her box, which is a little enlarged."""
    reach = 0.1 * person.width
    box = (person.box[0] - reach, person.box[1] - reach, person.box[2] + reach, person.box[3] + reach)
    across = max(0.0, min(box[2], thing.box[2]) - max(box[0], thing.box[0]))
    down = max(0.0, min(box[3], thing.box[3]) - max(box[1], thing.box[1]))
    both = across * down
    share = both / max(min(thing.width * thing.height, person.width * person.height), 1e-9)
    return True if share > 0.6 else None if share > 0.05 else False


def _place(one: Instance, direction: str) -> float:
    """The distance of the centre from the side of the photo."""
    value = one.x if direction in ("left", "right") else one.y
    return value if _SIGN[direction] > 0 else 1 - value


def _all(values: Sequence[bool | None]) -> bool | None:
    return False if False in values else None if None in values else True


def _most(values: Sequence[bool | None]) -> bool | None:
    return True if True in values else None if None in values else False


def _opposite(value: bool | None) -> bool | None:
    return None if value is None else not value


_RELATIONS: dict[str, Callable[[Instance, Instance], bool | None]] = {
    "next to": _next_to,
    "on": _on,
    "left of": _side_of("left"),
    "right of": _side_of("right"),
    "above": _side_of("top"),
    "below": _side_of("bottom"),
}
_PREDICATES: dict[str, Callable[[Atom, Instance, Scene], bool | None]] = {
    "is": _is_a,
    "extreme": _extreme,
    "ordinal": _ordinal,
    "middle": _middle,
    "size": _size,
    "depth": _depth,
    "colour": _coloured,
    "with": _with,
    "posture": _posture,
    "relation": _beside,
}
