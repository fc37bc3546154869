"""Spatial relations between two visible things, with margins: certain, possible, or neither.

A relation is certain where it holds by a clear margin, and possible where it holds or nearly holds.
"""

from typing import Literal, cast

from ..scene.view import View

Order = Literal["leftmost", "rightmost", "topmost", "bottommost", "biggest", "smallest", "nearest", "farthest"]
Relation = Literal["left_of", "right_of", "above", "below", "behind", "in_front_of", "next_to", "hidden_by"]

MIRRORED: dict[str, Relation] = {"right_of": "left_of", "below": "above", "in_front_of": "behind"}
POSITION_MARGIN = 0.04  # of the image's side
DEPTH_MARGIN = 0.06
AREA_RATIO = 1.35


def holds(view: View, index: int, relation: Relation, other: int) -> tuple[bool, bool]:
    """Whether one thing certainly, and whether it possibly, stands in a relation to another."""
    key = (index, relation, other)
    if key not in view.cache:
        view.cache[key] = _holds(view, index, relation, other)
    return cast(tuple[bool, bool], view.cache[key])


def distance(view: View, index: int, other: int) -> float:
    """Between the centres of two boxes, as a fraction of the image's side."""
    one, two = view.seen[index], view.seen[other]
    return float(((one.x - two.x) ** 2 + (one.y - two.y) ** 2) ** 0.5)


def precedes(view: View, one: int, two: int, order: Order) -> bool:
    """Whether one thing comes before another in an order, by a clear margin."""
    first, second = view.seen[one], view.seen[two]
    if order in ("biggest", "smallest"):
        small, large = (second, first) if order == "biggest" else (first, second)
        return large.area > small.area * AREA_RATIO
    if order in ("nearest", "farthest"):
        sign = 1 if order == "nearest" else -1
        depth_gap = view.things[one].depth - view.things[two].depth
        return sign * depth_gap > DEPTH_MARGIN and sign * (first.bottom - second.bottom) > 0
    gaps = {"leftmost": second.x - first.x, "topmost": second.y - first.y}
    gaps |= {"rightmost": -gaps["leftmost"], "bottommost": -gaps["topmost"]}
    return gaps[order] > POSITION_MARGIN


def _holds(view: View, index: int, relation: Relation, other: int) -> tuple[bool, bool]:
    if relation in MIRRORED:
        return holds(view, other, MIRRORED[relation], index)
    one, two = view.seen[index], view.seen[other]
    across = max(one.left, two.left) - min(one.right, two.right)  # the gap between the boxes, negative if they overlap
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
    return touching and one.fraction < 0.8 and len(one.covered_by) == 1, touching
