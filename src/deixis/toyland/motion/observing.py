"""What a viewer of a clip sees happen, by comparing positions at all frames; the truth that sentences are checked by.

An event is certain where enough clearly visible frames show it, and possible where any visible frame might; between
the two lies what makes a sentence ambiguous, as in the views of images.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import pairwise

from ..scene.view import Observed, Seen, View
from .clip import DrawnClip
from .moving import UNIT, MovingScene

FEW = 3  # frames that show that something moves, or rests
SMALLER = 0.85  # the change of size that shows that something goes away
COVERED = 0.9  # of a thing that passes behind another, at most this fraction is visible on some frame

Sets = tuple[frozenset[int], frozenset[int]]
Pairs = tuple[frozenset[tuple[int, int]], frozenset[tuple[int, int]]]


@lru_cache(maxsize=16)
def clip_view(clip: DrawnClip) -> View:
    """All that a clip shows: every thing as it is best visible on any frame, and what it does."""
    views = [clip.frame(number).view for number in range(clip.num_frames)]
    moving = clip.moving()
    things = range(len(moving.scene.things))
    best = tuple(max((view.seen[index] for view in views), key=_rank) for index in things)
    return replace(views[0], seen=best, observed=observed(moving, views), cache={})


def observed(moving: MovingScene, views: Sequence[View]) -> Observed:
    """The events of every thing and the passing of every pair, given the view of every frame."""
    histories = [_History.of(moving, views, index) for index in range(len(moving.motions))]
    return Observed(events={name: _sets(histories, test) for name, test in EVENTS.items()}, passes=_passes(histories))


@dataclass(frozen=True, kw_only=True)
class _History:
    """One thing at every frame: how it is visible, where it is in the world (without the camera's drift)."""

    index: int
    seen: tuple[Seen, ...]
    x: tuple[int, ...]
    y: tuple[int, ...]
    scale: tuple[int, ...]
    depth: tuple[int, ...]
    facing: tuple[str, ...]

    @classmethod
    def of(cls, moving: MovingScene, views: Sequence[View], index: int) -> "_History":
        things = [view.things[index] for view in views]
        shifts = [moving.camera(frame) for frame in range(len(views))]
        return cls(
            index=index,
            seen=tuple(view.seen[index] for view in views),
            x=tuple(round(each.x * UNIT) - shift[0] for each, shift in zip(things, shifts, strict=True)),
            y=tuple(round(each.y * UNIT) - shift[1] for each, shift in zip(things, shifts, strict=True)),
            scale=tuple(round(each.scale * UNIT) for each in things),
            depth=tuple(round(each.depth * UNIT) for each in things),
            facing=tuple(each.facing for each in things),
        )

    @property
    def steps(self) -> tuple[bool, ...]:
        """Whether it moves between each frame and the next."""
        places = list(zip(self.x, self.y, self.scale, strict=True))
        return tuple(one != two for one, two in pairwise(places))

    def clear(self, frame: int) -> bool:
        return self.seen[frame].visibility == "clear"

    def shown(self, steps: Sequence[bool], *, clearly: bool) -> int:
        """How many of the chosen steps are visible, at both of their frames or at any."""
        if clearly:
            return sum(chosen and self.clear(at) and self.clear(at + 1) for at, chosen in enumerate(steps))
        return sum(
            chosen and any(self.seen[frame].visibility != "hidden" for frame in (at, at + 1))
            for at, chosen in enumerate(steps)
        )


def _moves(one: _History) -> tuple[bool, bool]:
    return one.shown(one.steps, clearly=True) >= FEW, one.shown(one.steps, clearly=False) > 0


def _rests(one: _History) -> tuple[bool, bool]:
    still = not any(one.steps) and len(set(one.facing)) == 1
    return still and one.shown([True] * len(one.steps), clearly=True) >= len(one.steps) // 2, not _moves(one)[0]


def _changes(one: _History, *, first_moves: bool) -> tuple[bool, bool]:
    """Whether it moves and then rests to the end, or rests and then moves to the end."""
    steps = one.steps
    at = next((number for number, moves in enumerate(steps) if moves != first_moves), len(steps))
    if not any(steps) or all(steps):
        return False, False
    once = at > 0 and all(moves != first_moves for moves in steps[at:])
    before = [number < at for number in range(len(steps))]
    after = [number >= at for number in range(len(steps))]
    certain = once and min(one.shown(before, clearly=True), one.shown(after, clearly=True)) >= FEW
    return certain, True


def _turns(one: _History) -> tuple[bool, bool]:
    at = [frame for frame in range(1, len(one.facing)) if one.facing[frame] != one.facing[frame - 1]]
    certain = len(at) == 1 and one.clear(at[0] - 1) and one.clear(at[0])
    return certain, bool(at)


def _leaves(one: _History) -> tuple[bool, bool]:
    moves = any(one.steps)
    gone = one.seen[-1].visibility == "hidden" and not one.seen[-1].covered_by and _outside(one, len(one.x) - 1)
    certain = moves and gone and one.clear(0)
    return certain, moves and (one.seen[-1].visibility != "clear" or one.seen[-1].fraction < 0.97)


def _outside(one: _History, frame: int) -> bool:
    return one.seen[frame].area == 0 and not 0 < one.x[frame] < UNIT


def _away(one: _History) -> tuple[bool, bool]:
    first, last = _ends(one)
    return _moves(one)[0] and one.scale[last] <= SMALLER * one.scale[first], one.depth[-1] < one.depth[0]


def _nearer(one: _History) -> tuple[bool, bool]:
    first, last = _ends(one)
    return _moves(one)[0] and SMALLER * one.scale[last] >= one.scale[first], one.depth[-1] > one.depth[0]


def _departs(one: _History) -> tuple[bool, bool]:
    """It goes away into the distance, or out of the picture."""
    away, leaves = _away(one), _leaves(one)
    return away[0] or leaves[0], away[1] or leaves[1]


def _ends(one: _History) -> tuple[int, int]:
    """The first and the last frame at which it is clearly visible."""
    frames = [frame for frame in range(len(one.x)) if one.clear(frame)]
    return (frames[0], frames[-1]) if frames else (0, 0)


def _jumps(one: _History) -> tuple[bool, bool]:
    places = zip(one.x, one.scale, one.y, strict=True)
    lifted = [(x, scale) == (one.x[0], one.scale[0]) and y != one.y[0] for x, scale, y in places]
    return sum(up and one.clear(frame) for frame, up in enumerate(lifted)) >= FEW, any(lifted)


def _direction(one: _History, *, sign: int) -> tuple[bool, bool]:
    """It moves to one side only, 1 for the right; a thing that also moves to the other makes the words ambiguous."""
    steps = [sign * (two - here) for here, two in pairwise(one.x)]
    forth, back = [step > 0 for step in steps], any(step < 0 for step in steps)
    far = abs(one.x[-1] - one.x[0]) * 20 >= UNIT
    return not back and far and one.shown(forth, clearly=True) >= FEW, one.shown(forth, clearly=False) > 0


EVENTS: dict[str, Callable[[_History], tuple[bool, bool]]] = {
    "moves": _moves,
    "rests": _rests,
    "stops": partial(_changes, first_moves=True),
    "starts": partial(_changes, first_moves=False),
    "turns": _turns,
    "leaves": _leaves,
    "departs": _departs,
    "nearer": _nearer,
    "jumps": _jumps,
    "to_left": partial(_direction, sign=-1),
    "to_right": partial(_direction, sign=1),
}


def _sets(histories: Sequence[_History], test: Callable[[_History], tuple[bool, bool]]) -> Sets:
    results = [test(one) for one in histories]
    certain = frozenset(index for index, (sure, _) in enumerate(results) if sure)
    return certain, frozenset(index for index, (sure, maybe) in enumerate(results) if sure or maybe)


def _passes(histories: Sequence[_History]) -> dict[str, Pairs]:
    found: dict[str, tuple[set[tuple[int, int]], set[tuple[int, int]]]] = {
        "behind": (set(), set()),
        "in_front_of": (set(), set()),
    }
    for one in histories:
        if not any(one.steps):
            continue
        for two in (other for other in histories if other is not one):
            for relation, (far, near) in {"behind": (one, two), "in_front_of": (two, one)}.items():
                touching = [number for number, seen in enumerate(far.seen) if near.index in seen.covered_by]
                hidden = _boxes_meet(far, near)
                if touching or hidden:
                    found[relation][1].add((one.index, two.index))
                if _crosses(one, two) and any(far.seen[number].fraction <= COVERED for number in touching):
                    found[relation][0].add((one.index, two.index))
    return {name: (frozenset(sure), frozenset(maybe)) for name, (sure, maybe) in found.items()}


def _boxes_meet(far: _History, near: _History) -> bool:
    """Whether the farther one may be covered by the nearer on some frame, by their heights and places alone."""
    return any(
        far.depth[frame] < near.depth[frame]
        and abs(far.x[frame] - near.x[frame]) < far.scale[frame] + near.scale[frame]
        and far.y[frame] > near.y[frame] - near.scale[frame]
        and near.y[frame] > far.y[frame] - far.scale[frame]
        for frame in range(len(far.x))
    )


def _crosses(one: _History, two: _History) -> bool:
    """Whether one, clearly seen to move, is on one side of two at first and on the other at last, both clearly seen."""
    both = [frame for frame in range(len(one.x)) if one.clear(frame) and two.clear(frame)]
    if not both or not _moves(one)[0]:
        return False
    first, last = both[0], both[-1]
    before, after = one.x[first] - two.x[first], one.x[last] - two.x[last]
    apart = UNIT // 25
    return before * after < 0 and min(abs(before), abs(after)) >= apart


def _rank(seen: Seen) -> tuple[int, float]:
    return ("hidden", "faint", "clear").index(seen.visibility), seen.area
