"""Programs against brute force, on scenes laid out by hand and at random."""

from random import Random
from typing import get_args

import numpy as np
import pytest

from deixis.toyland.language.programs import (
    And,
    At,
    Closest,
    Everything,
    Hidden,
    Is,
    Middle,
    Not,
    Or,
    Program,
    Rank,
    Related,
    Selection,
    Side,
    parse,
    text,
)
from deixis.toyland.language.relations import Relation
from deixis.toyland.scene.kinds import FAMILY_OF, KINDS
from deixis.toyland.scene.scenes import COLOURS, Scene, Thing
from deixis.toyland.scene.view import View, make_view

SIDE = 100


def run(program: Program, view: View) -> frozenset[int] | None:
    """The selected things, or None where the selection is ambiguous."""
    selection = program.select(view)
    return selection.certain if selection.is_unambiguous else None


def thing(kind: str, x: float, y: float, scale: float = 0.1, **facts: object) -> Thing:
    given = {"colour": "red", "size": "medium", "depth": y} | facts
    return Thing(kind=kind, x=x, y=y, scale=scale, **given)  # type: ignore[arg-type]


def laid_out(*things: Thing) -> View:
    """Every thing is a square above its foot; later ones cover earlier ones."""
    masks = np.zeros((len(things), SIDE, SIDE), dtype=bool)
    whole = []
    for index, one in enumerate(things):
        left, right = round((one.x - one.scale / 2) * SIDE), round((one.x + one.scale / 2) * SIDE)
        top, bottom = round((one.y - one.scale) * SIDE), round(one.y * SIDE)
        window = (slice(max(top, 0), bottom), slice(max(left, 0), right))
        masks[:index, *window] = False
        masks[index, *window] = True
        whole.append(max(int(masks[index].sum()), 1))
    fractions = tuple(float(mask.sum()) / area for mask, area in zip(masks, whole, strict=True))
    return make_view(Scene(seed=0, setting="meadow", things=things), masks, fractions)


@pytest.fixture
def row() -> View:
    """Three dogs and a cat from left to right, and a small lamp that the cat almost hides."""
    return laid_out(
        thing("lamp", 0.92, 0.5, 0.1, depth=0.1),
        thing("dog", 0.1, 0.5, 0.1, state="sitting"),
        thing("dog", 0.4, 0.5, 0.2, colour="blue", depth=0.3),
        thing("dog", 0.65, 0.5, 0.14, pattern="striped", facing="left"),
        thing("cat", 0.84, 0.52, 0.2, colour="blue", depth=0.9),
    )


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (Is("kind", "dog"), {1, 2, 3}),
        (Is("colour", "blue"), {2, 4}),
        (Is("pattern", "striped"), {3}),
        (Is("state", "sitting"), {1}),
        (And(Is("kind", "dog"), Is("colour", "blue")), {2}),
        (Or(Is("kind", "cat"), Is("state", "sitting")), {1, 4}),
        (And(Is("kind", "dog"), Not(Is("colour", "blue"))), {1, 3}),
        (Rank(Is("kind", "dog"), "leftmost"), {1}),
        (Rank(Is("kind", "dog"), "leftmost", 2), {2}),
        (Rank(Is("kind", "dog"), "rightmost", 1), {3}),
        (Rank(Is("kind", "dog"), "biggest"), {2}),
        (Rank(Is("kind", "dog"), "smallest"), {1}),
        (Middle(Is("kind", "dog")), {2}),
        (And(Is("kind", "dog"), At("left")), {1, 2}),
        (And(Is("kind", "dog"), At("middle")), None),  # the third is slightly off the middle
        (At("bottom"), set()),
        (At("top"), None),  # everything is slightly above the middle
        (Related(Is("kind", "dog"), "left_of", Is("kind", "cat")), {2, 3}),  # the first is too far away to be certain
        (Closest(Is("kind", "dog"), Is("kind", "cat")), {3}),
        (Is("kind", "lamp"), None),  # almost hidden: faintly visible
        (Is("kind", "sofa"), set()),
    ],
)
def test_programs_select_what_a_person_would(row: View, program: Program, expected: set[int] | None) -> None:
    if isinstance(program, Related):
        assert expected is not None
        assert program.select(row).certain == expected
    else:
        assert run(program, row) == expected


def test_a_thing_within_the_margin_is_not_leftmost() -> None:
    pair = laid_out(thing("dog", 0.5, 0.4), thing("dog", 0.51, 0.8))
    assert run(Rank(Is("kind", "dog"), "leftmost"), pair) is None
    apart = laid_out(thing("dog", 0.3, 0.4), thing("dog", 0.51, 0.8))
    assert run(Rank(Is("kind", "dog"), "leftmost"), apart) == {0}


def test_a_faint_thing_makes_programs_ambiguous_and_is_never_selected() -> None:
    view = laid_out(thing("dog", 0.7, 0.5, 0.2), thing("dog", 0.2, 0.5, 0.2), thing("sofa", 0.72, 0.52, 0.2))
    assert view.seen[0].visibility == "faint"
    assert Is("kind", "dog").select(view) == Selection(frozenset({1}), frozenset({0, 1}))
    assert run(Is("kind", "dog"), view) is None
    assert run(And(Is("kind", "dog"), At("left")), view) == {1}


def test_a_covered_thing_is_ignored() -> None:
    view = laid_out(thing("dog", 0.5, 0.5, 0.1), thing("dog", 0.2, 0.5, 0.2), thing("sofa", 0.5, 0.55, 0.3))
    assert view.seen[0].visibility == "hidden"
    assert run(Is("kind", "dog"), view) == {1}


def test_a_carried_ball_makes_the_ball_ambiguous() -> None:
    view = laid_out(thing("ball", 0.2, 0.5), thing("adult", 0.7, 0.5, 0.3, carried=("ball",)))
    assert run(Is("kind", "ball"), view) is None
    assert run(Is("carried", "ball"), view) == {1}


def test_relations_mirror_each_other() -> None:
    view = laid_out(
        thing("clock", 0.5, 0.3), thing("cup", 0.5, 0.52), thing("tree", 0.2, 0.6, 0.3), thing("sofa", 0.26, 0.7, 0.3)
    )
    for one, relation, two in (("clock", "above", "cup"), ("tree", "behind", "sofa"), ("tree", "left_of", "cup")):
        mirrored = {"above": "below", "behind": "in_front_of", "left_of": "right_of"}[relation]
        first, second = Is("kind", one), Is("kind", two)
        names = [one.kind for one in view.things]
        assert Related(first, relation, second).select(view).certain == {names.index(one)}  # type: ignore[arg-type]
        assert Related(second, mirrored, first).select(view).certain == {names.index(two)}  # type: ignore[arg-type]


def test_a_hidden_thing_names_the_thing_that_covers_it() -> None:
    view = laid_out(thing("tree", 0.5, 0.5, 0.3), thing("bush", 0.62, 0.52, 0.2), thing("rabbit", 0.1, 0.9))
    assert view.seen[0].covered_by == {1}
    assert run(And(Is("kind", "tree"), Hidden()), view) == {0}
    assert run(Related(Everything(), "hidden_by", Is("kind", "bush")), view) == {0}
    assert run(Hidden(), view) == {0}


def scattered(seed: int) -> View:
    rng = Random(seed)
    kinds = rng.sample(KINDS, 3)
    things = [
        thing(
            rng.choice(kinds),
            rng.random(),
            rng.uniform(0.2, 1),
            rng.uniform(0.06, 0.2),
            colour=rng.choice(COLOURS[:3]),
        )
        for _ in range(9)
    ]
    return laid_out(*sorted(things, key=lambda one: one.depth))


@pytest.mark.parametrize("seed", range(30))
def test_unambiguous_selections_equal_brute_force_without_margins(seed: int) -> None:
    view = scattered(seed)
    things, seen = view.things, view.seen
    for kind in {one.kind for one in things}:
        dogs = [
            index for index in range(len(things)) if things[index].kind == kind and seen[index].visibility != "hidden"
        ]
        keys = {
            "leftmost": lambda at: seen[at].x,
            "rightmost": lambda at: -seen[at].x,
            "topmost": lambda at: seen[at].y,
            "bottommost": lambda at: -seen[at].y,
            "biggest": lambda at: -seen[at].area,
            "smallest": lambda at: seen[at].area,
            "nearest": lambda at: -things[at].depth,
            "farthest": lambda at: things[at].depth,
        }
        for order, key in keys.items():
            for place in range(1, len(dogs) + 2):
                selected = run(Rank(Is("kind", kind), order, place), view)  # type: ignore[arg-type]
                if selected:
                    assert selected == {sorted(dogs, key=key)[place - 1]}
        family = FAMILY_OF[kind]
        relatives = {at for at in view.certain if FAMILY_OF[things[at].kind] == family}
        assert Is("family", family).select(view).certain == relatives
        strangers = Not(Is("kind", kind)).select(view)
        assert strangers.certain == view.certain - set(dogs)


@pytest.mark.parametrize("seed", range(10))
def test_certain_things_are_possible_too(seed: int) -> None:
    view = scattered(seed)
    one, two = Is("kind", view.things[0].kind), Is("colour", "red")
    programs_to_try: list[Program] = [
        And(one, two), Or(one, Not(two)), Not(Rank(one, "leftmost")), Closest(two, one), Middle(two), Hidden(),
        *(Related(one, relation, two) for relation in get_args(Relation)),
        *(And(one, At(side)) for side in get_args(Side)),
    ]  # fmt: skip
    for program in programs_to_try:
        selection = program.select(view)
        assert selection.certain <= selection.possible <= view.possible


def test_every_program_is_parsed_from_its_text() -> None:
    dog = And(Is("kind", "dog"), Not(Is("colour", "blue")))
    for program in (
        Everything(),
        Rank(dog, "leftmost", 3),
        Or(dog, Hidden()),
        Closest(Middle(dog), Related(dog, "in_front_of", And(Everything(), At("left")))),
    ):
        assert parse(text(program)) == program
    assert text(Rank(Is("kind", "dog"), "leftmost")) == "rank(is(kind, dog), leftmost, 1)"


@pytest.mark.parametrize("line", ["", "is(kind, dog", "dog", "is(kind, dog))", "__import__(os)", "rank()"])
def test_other_text_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="is not a Toyland program"):
        parse(line)


def test_a_view_needs_one_mask_per_thing() -> None:
    scene = Scene(seed=0, setting="snow", things=(thing("cat", 0.5, 0.5),))
    with pytest.raises(ValueError, match="2 masks and 2 fractions for 1 things"):
        make_view(scene, np.zeros((2, 8, 8), dtype=bool), (1.0, 1.0))
