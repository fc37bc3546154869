"""Splits, reproducibility, and expressions with two referents or none."""

import itertools
import pickle
from itertools import pairwise

import numpy as np
import pytest

from deixis import masks
from deixis.errors import DeixisError
from deixis.records import Sample, Visual
from deixis.toyland.language.expressions import ExpressionOptions
from deixis.toyland.language.programs import Is, nodes, parse, selects
from deixis.toyland.scene.domains import is_held_out
from deixis.toyland.scene.kinds import FAMILY_OF
from deixis.toyland.world import FIRST_SEEDS, NO_OBJECT, Toyland

SMALL = 48
PAIR = ("kind", "colour")


def world(split: str = "val", subset: str = "toyland", num_scenes: int = 3, **options: object) -> Toyland:
    return Toyland(split=split, subset=subset, num_scenes=num_scenes, size=SMALL, **options)  # type: ignore[arg-type]


def test_a_world_is_the_same_every_time() -> None:
    first, again = world(), world()
    assert first.ids == again.ids
    for position in (0, len(first) // 2, len(first) - 1):
        one, two = first[position], again[position]
        assert (one.expression, one.mask, one.ids, one.traits) == (two.expression, two.mask, two.ids, two.traits)
        np.testing.assert_array_equal(one.visual.read(), two.visual.read())


def test_samples_by_position_are_the_scenes_samples_in_order() -> None:
    toyland = world()
    samples = [sample for scene in toyland.scenes() for sample in scene]
    assert len(toyland) == len(samples) > 20
    assert [toyland[position].ids for position in range(len(toyland))] == [sample.ids for sample in samples]
    assert toyland.ids == tuple(sample.ids for sample in samples)
    assert len({ids.sentence for ids in toyland.ids}) == len(toyland)


def test_a_scene_is_drawn_when_it_is_read_and_travels_to_workers() -> None:
    sample = world().scene(0)[0]
    visual: Visual = pickle.loads(pickle.dumps(sample.visual))
    assert visual.size == (SMALL, SMALL)
    assert visual.read().shape == (1, SMALL, SMALL, 3)
    assert len(pickle.dumps(sample)) < 2000


def test_testa_refers_to_people_and_testb_to_other_things() -> None:
    for split, people in (("testA", True), ("testB", False)):
        for scene in world(split).scenes():
            for sample in scene:
                assert (FAMILY_OF[sample.traits["kind"]] == "people") is people


def test_held_out_pairs_are_in_their_split_only() -> None:
    pairs = [(one.traits["kind"], one.traits["colour"]) for scene in world("held-out").scenes() for one in scene]
    assert pairs
    assert all(is_held_out(*pair) for pair in pairs)
    for split in ("train", "val", "testA", "testB"):
        things = [thing for position in range(3) for thing in world(split).drawn(position).scene().things]
        assert not any(is_held_out(thing.kind, thing.colour) for thing in things)


def test_splits_share_no_scene() -> None:
    seeds = [world(split).drawn(position).seed for split in FIRST_SEEDS for position in range(3)]
    assert len(set(seeds)) == len(seeds)
    starts = sorted(FIRST_SEEDS.values())
    assert min(later - earlier for earlier, later in pairwise(starts)) >= 100_000_000


def test_subsets_share_scenes_and_paraphrase_lists_share_referents() -> None:
    assert world(subset="toyland-g").drawn(1) == world(subset="toyland+").drawn(1)
    usual = {ids.object for ids in world().ids}
    unusual = {ids.object for ids in world(paraphrases="held-out").ids}
    assert len(usual & unusual) > 0.8 * len(usual)


@pytest.mark.parametrize(("split", "is_person"), [("testA", True), ("testB", False)])
def test_two_targets_belong_to_the_split(split: str, is_person: bool) -> None:
    samples = [
        s
        for scene in world(split=split, num_scenes=9, expression_options=ExpressionOptions(two_targets=1.0)).scenes()
        for s in scene
    ]
    two = [sample for sample in samples if "+" in sample.ids.object]
    assert two
    for sample in two:
        things = sample.visual.scene().things  # type: ignore[attr-defined]
        assert {FAMILY_OF[things[target].kind] == "people" for target in sample.traits["targets"]} == {is_person}


def test_noisy_pair_and_empty_expressions_have_their_masks() -> None:
    noisy = world(
        num_scenes=4, expression_options=ExpressionOptions(typos=1.0, slang=1.0, no_target=1.0, two_targets=1.0)
    )
    samples = [sample for scene in noisy.scenes() for sample in scene]
    nothing = [sample for sample in samples if sample.ids.object == NO_OBJECT]
    two = [sample for sample in samples if "+" in sample.ids.object]
    assert nothing
    assert two
    for sample in nothing:
        assert sample.mask is not None
        assert masks.area(sample.mask) == 0
    for sample in two:
        pixels = sample.visual.image().masks[sample.traits["targets"]]  # type: ignore[attr-defined]
        np.testing.assert_array_equal(masks.decode(sample.mask), pixels.any(axis=0))
    assert sum(sample.traits["is_noisy"] for sample in samples) > 0.6 * len(samples)


def test_expressions_without_referent_differ_and_have_every_form() -> None:
    toyland = world(num_scenes=8, expression_options=ExpressionOptions(no_target=4.0))
    for scene in toyland.scenes():
        nothing = [sample for sample in scene if not sample.traits["targets"]]
        assert len({sample.expression for sample in nothing}) == len(nothing)
        assert [sample.ids.object for sample in nothing] == ["none", "none-2", "none-3", "none-4"][: len(nothing)]
        assert scene[: len(scene) - len(nothing)] == world(num_scenes=8).scene(scene_position(scene))
    samples = [sample for scene in toyland.scenes() for sample in scene if not sample.traits["targets"]]
    assert len(samples) > 24  # of 32: some are repeated, or all candidates are ambiguous
    assert any(sample.traits["has_location"] for sample in samples)
    assert len({sample.traits["num_words"] for sample in samples}) > 2


def scene_position(scene: tuple[Sample, ...]) -> int:
    return int(scene[0].ids.image) - FIRST_SEEDS["val"]


def test_expressions_without_referent_select_nothing_and_name_no_held_out_pair() -> None:
    for subset in ("toyland", "toyland+", "toyland-g"):
        for scene in world(subset=subset, num_scenes=4, expression_options=ExpressionOptions(no_target=6.0)).scenes():
            view = scene[0].visual.view()  # type: ignore[attr-defined]
            for sample in scene:
                if not sample.traits["targets"]:
                    program = parse(sample.traits["program"])
                    assert selects(program, view, frozenset())
                    named = [node for node in nodes(program) if isinstance(node, Is)]
                    pairs = itertools.product(*([n.value for n in named if n.attribute == a] for a in PAIR))
                    assert not any(is_held_out(*pair) for pair in pairs), sample.expression


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "tain"}, "Did you mean 'train'"),
        ({"style": "skech"}, "Did you mean 'sketch'"),
        ({"subset": "toyland++"}, "no subset 'toyland\\+\\+'"),
        ({"paraphrases": "new"}, "no paraphrases 'new'"),
        ({"num_scenes": 0}, "num_scenes is 0; expected 1"),
    ],
)
def test_invalid_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        world(**options)  # type: ignore[arg-type]


def test_a_probability_is_at_most_one() -> None:
    with pytest.raises(DeixisError, match="'typos' is 1\\.5"):
        ExpressionOptions(typos=1.5)
    with pytest.raises(DeixisError, match="'no_target' is -1\\.0"):
        ExpressionOptions(no_target=-1.0)
