"""Sampled scenes: statistics, sizes, positions and held-out pairs."""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import pytest

from deixis.toyland.scene.domains import CONTENTS, EVERYTHING, STREET, ZOO, Content, held_out_colour, is_held_out
from deixis.toyland.scene.kinds import FAMILY_OF, HEIGHTS, KINDS, STATES, WATER_KINDS, settings_of
from deixis.toyland.scene.sampling import MAX_THINGS, SIZE_FACTORS, perspective, sample_scene
from deixis.toyland.scene.scenes import COLOURS, HORIZON, PATTERNS, SIZES, WATERLINE, Scene, Thing


@lru_cache(maxsize=1)
def scenes() -> Sequence[Scene]:
    return [sample_scene(seed) for seed in range(400)]


def things() -> list[Thing]:
    return [thing for scene in scenes() for thing in scene.things]


def test_a_seed_gives_one_scene_and_other_seeds_others() -> None:
    assert sample_scene(17) == sample_scene(17)
    assert len({repr(scene.things) for scene in scenes()}) == len(scenes())
    assert sample_scene(17).seed == 17
    assert sample_scene(1_600_000_003, combinations="held-out").seed == 1_600_000_003


def test_scenes_have_4_to_14_things_and_as_many_of_a_kind_as_refcoco() -> None:
    counts = [len(scene.things) for scene in scenes()]
    assert min(counts) == 4
    assert 10 <= max(counts) <= MAX_THINGS == 14
    groups = [n for scene in scenes() for n in Counter(t.kind for t in scene.things).values() if n > 1]
    # The mean number of things of the referent's kind, over all things that are not the only one of their kind.
    same_kind = sum(n * n for n in groups) / sum(groups)
    assert same_kind == pytest.approx(3.9, abs=0.4)
    assert any(1 in Counter(t.kind for t in scene.things).values() for scene in scenes())


def test_every_kind_colour_size_pattern_state_and_carried_thing_appears() -> None:
    sampled = things()
    assert {thing.kind for thing in sampled} == set(KINDS)
    assert {thing.colour for thing in sampled} == set(COLOURS)
    assert {thing.size for thing in sampled} == set(SIZES)
    assert {thing.pattern for thing in sampled} == set(PATTERNS)
    assert {thing.facing for thing in sampled} == {"left", "right"}
    assert {scene.setting for scene in scenes()} == set(HORIZON)
    for kind, states in STATES.items():
        assert {thing.state for thing in sampled if thing.kind == kind} == set(states)
    assert {name for thing in sampled for name in thing.carried} == {"hat", "bag", "ball"}
    assert all(FAMILY_OF[thing.kind] == "people" for thing in sampled if thing.carried)


def test_sizes_of_a_kind_are_clearly_apart_at_the_same_depth() -> None:
    for thing in things():
        medium = HEIGHTS[thing.kind] * perspective(thing.depth)
        assert thing.scale / medium == pytest.approx(SIZE_FACTORS[thing.size], rel=0.01)
    assert SIZE_FACTORS["medium"] / SIZE_FACTORS["small"] >= 1.4
    assert SIZE_FACTORS["large"] / SIZE_FACTORS["medium"] >= 1.4


def test_far_things_come_first_and_stand_higher_and_smaller() -> None:
    for scene in scenes():
        depths = [thing.depth for thing in scene.things]
        assert depths == sorted(depths)
        standing = [t for t in scene.things if t.kind != "plane" and t.state != "flying"]
        feet = [thing.y for thing in standing]
        assert feet == sorted(feet)
    assert perspective(0.9) > 1.4 * perspective(0.1)


def test_things_stand_where_their_kind_may_stand() -> None:
    for scene in scenes():
        horizon = HORIZON[scene.setting]
        for thing in scene.things:
            assert scene.setting in settings_of(thing.kind)
            if thing.kind == "plane" or thing.state == "flying":
                assert scene.setting not in ("room", "kitchen")
                assert thing.y <= max(horizon + 0.08, thing.scale) + 1e-3
            else:
                assert horizon < thing.y <= 1.01
            if scene.setting == "beach" and thing.kind in WATER_KINDS:
                assert thing.y <= WATERLINE + 1e-3
            elif scene.setting == "beach" and thing.kind != "plane" and thing.state != "flying":
                assert thing.y >= WATERLINE
            assert 0 <= thing.x <= 1


def test_seen_scenes_never_show_a_held_out_pair_and_held_out_ones_always_do() -> None:
    assert not any(is_held_out(thing.kind, thing.colour) for thing in things())
    for seed in range(30):
        held_out = sample_scene(seed, combinations="held-out")
        assert any(is_held_out(thing.kind, thing.colour) for thing in held_out.things)
    anything = [thing for seed in range(60) for thing in sample_scene(seed, combinations="all").things]
    assert any(is_held_out(thing.kind, thing.colour) for thing in anything)


@pytest.mark.parametrize("content", CONTENTS.values(), ids=lambda content: content.name)
def test_content_decides_kinds_and_settings(content: Content) -> None:
    sampled = [sample_scene(seed, content) for seed in range(40)]
    assert {thing.kind for scene in sampled for thing in scene.things} <= set(content.weights)
    assert {scene.setting for scene in sampled} == set(content.settings)
    families = Counter(FAMILY_OF[thing.kind] for scene in sampled for thing in scene.things)
    most = {"zoo": "animals", "street": "vehicles", "home": "household"}
    if content.name in most:
        assert families.most_common(1)[0][0] == most[content.name]


def test_zoo_and_street_differ_in_what_they_show() -> None:
    assert ZOO.weights != STREET.weights != EVERYTHING.weights
    vehicles = [t for seed in range(30) for t in sample_scene(seed, ZOO).things if FAMILY_OF[t.kind] == "vehicles"]
    assert vehicles == []


def test_a_content_without_held_out_colours_cannot_show_held_out_pairs() -> None:
    free = next(kind for kind in KINDS if held_out_colour(kind) is None)
    content = Content(name="free", weights={free: 1.0}, settings=(settings_of(free)[0],))
    with pytest.raises(ValueError, match="no kind with a held-out colour"):
        sample_scene(0, content, "held-out")


def test_a_content_of_one_kind_still_fills_a_scene() -> None:
    content = Content(name="dogs", weights={"dog": 1.0}, settings=("meadow",))
    counts = [len(sample_scene(seed, content).things) for seed in range(20)]
    assert min(counts) >= 4
