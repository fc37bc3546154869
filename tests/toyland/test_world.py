"""Splits, reproducibility, and scenes packed for training."""

import itertools
import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from deixis import masks
from deixis.errors import DeixisError
from deixis.records import Sample, Visual
from deixis.toyland.domains import is_held_out
from deixis.toyland.grammar import means
from deixis.toyland.packed import NOTHING, PackedToyland, instance_map, pack
from deixis.toyland.programs import Is, nodes, parse
from deixis.toyland.scenes import FAMILY_OF
from deixis.toyland.telling import Extras
from deixis.toyland.world import FIRST_SEEDS, NO_OBJECT, Toyland

SMALL = 48
PAIR = ("kind", "colour")


def world(split: str = "val", register: str = "toyland", num_scenes: int = 3, **options: object) -> Toyland:
    return Toyland(split=split, register=register, num_scenes=num_scenes, size=SMALL, **options)  # type: ignore[arg-type]


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


def test_test_a_is_about_people_and_test_b_about_the_rest() -> None:
    for split, people in (("testA", True), ("testB", False)):
        for scene in world(split).scenes():
            for sample in scene:
                assert (FAMILY_OF[sample.traits["kind"]] == "people") is people


def test_held_out_pairs_are_met_only_in_their_split() -> None:
    pairs = [(one.traits["kind"], one.traits["colour"]) for scene in world("held-out").scenes() for one in scene]
    assert pairs
    assert all(is_held_out(*pair) for pair in pairs)
    for split in ("train", "val", "testA", "testB"):
        things = [thing for position in range(3) for thing in world(split).drawn(position).scene().things]
        assert not any(is_held_out(thing.kind, thing.colour) for thing in things)


def test_splits_share_no_scene() -> None:
    seeds = [world(split).drawn(position).seed for split in FIRST_SEEDS for position in range(3)]  # type: ignore[arg-type]
    assert len(set(seeds)) == len(seeds)
    starts = sorted(FIRST_SEEDS.values())
    assert min(later - earlier for earlier, later in pairwise(starts)) >= 100_000_000


def test_a_register_changes_no_scene_and_another_paraphrase_list_no_referent() -> None:
    assert world(register="toyland-g").drawn(1) == world(register="toyland+").drawn(1)
    usual = {ids.object for ids in world().ids}
    unusual = {ids.object for ids in world(paraphrases="held-out").ids}
    assert len(usual & unusual) > 0.8 * len(usual)


@pytest.mark.parametrize(("split", "is_person"), [("testA", True), ("testB", False)])
def test_two_targets_are_such_as_the_split_speaks_about(split: str, is_person: bool) -> None:
    said = [s for scene in world(split=split, num_scenes=9, extras=Extras(two_targets=1.0)).scenes() for s in scene]
    two = [sample for sample in said if "+" in sample.ids.object]
    assert two
    for sample in two:
        things = sample.visual.scene().things  # type: ignore[attr-defined]
        assert {FAMILY_OF[things[target].kind] == "people" for target in sample.traits["targets"]} == {is_person}


def test_extras_are_said_and_have_their_masks() -> None:
    rough = world(num_scenes=4, extras=Extras(typos=1.0, slang=1.0, no_target=1.0, two_targets=1.0))
    samples = [sample for scene in rough.scenes() for sample in scene]
    nothing = [sample for sample in samples if sample.ids.object == NO_OBJECT]
    two = [sample for sample in samples if "+" in sample.ids.object]
    assert nothing
    assert two
    for sample in nothing:
        assert sample.mask is not None
        assert masks.area(sample.mask) == 0
    for sample in two:
        pixels = sample.visual.picture().masks[sample.traits["targets"]]  # type: ignore[attr-defined]
        np.testing.assert_array_equal(masks.decode(sample.mask), pixels.any(axis=0))
    assert sum(sample.traits["is_rough"] for sample in samples) > 0.6 * len(samples)


def test_several_sentences_about_nothing_are_different_and_come_in_every_form() -> None:
    talkative = world(num_scenes=8, extras=Extras(no_target=4.0))
    for scene in talkative.scenes():
        nothing = [sample for sample in scene if not sample.traits["targets"]]
        assert len({sample.expression for sample in nothing}) == len(nothing)
        assert [sample.ids.object for sample in nothing] == ["none", "none-2", "none-3", "none-4"][: len(nothing)]
        assert scene[: len(scene) - len(nothing)] == world(num_scenes=8).scene(talkative_place(scene))
    said = [sample for scene in talkative.scenes() for sample in scene if not sample.traits["targets"]]
    assert len(said) > 24  # of 32: some repeat themselves, or no sentence is clear
    assert any(sample.traits["has_location"] for sample in said)
    assert len({sample.traits["num_words"] for sample in said}) > 2


def talkative_place(scene: tuple[Sample, ...]) -> int:
    return int(scene[0].ids.image) - FIRST_SEEDS["val"]


def test_sentences_about_nothing_mean_nothing_and_name_no_held_out_pair() -> None:
    for register in ("toyland", "toyland+", "toyland-g"):
        for scene in world(register=register, num_scenes=4, extras=Extras(no_target=6.0)).scenes():
            view = scene[0].visual.view()  # type: ignore[attr-defined]
            for sample in scene:
                if not sample.traits["targets"]:
                    program = parse(sample.traits["program"])
                    assert means(program, view, frozenset())
                    named = [node for node in nodes(program) if isinstance(node, Is)]
                    pairs = itertools.product(*([n.value for n in named if n.attribute == a] for a in PAIR))
                    assert not any(is_held_out(*pair) for pair in pairs), sample.expression


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "tain"}, "Did you mean 'train'"),
        ({"style": "skech"}, "Did you mean 'sketch'"),
        ({"register": "toyland++"}, "no register 'toyland\\+\\+'"),
        ({"paraphrases": "new"}, "no paraphrases 'new'"),
        ({"num_scenes": 0}, "at least one scene"),
    ],
)
def test_a_world_that_cannot_be_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        world(**options)  # type: ignore[arg-type]


def test_a_probability_is_at_most_one() -> None:
    with pytest.raises(DeixisError, match="'typos' is 1\\.5"):
        Extras(typos=1.5)
    with pytest.raises(DeixisError, match="'no_target' is -1\\.0"):
        Extras(no_target=-1.0)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("packed") / "train"
    pack(path, [world("train", "toyland"), world("train", "toyland-g")])
    return path


def test_packed_samples_are_the_worlds_samples(packed: Path) -> None:
    for register in ("toyland", "toyland-g"):
        plain, reader = world("train", register), PackedToyland(packed, [register])
        assert len(reader) == len(plain)
        assert reader.ids == plain.ids
        for position in range(0, len(plain), 5):
            one, two = reader[position], plain[position]
            assert (one.expression, one.mask, one.ids, one.split) == (two.expression, two.mask, two.ids, two.split)
            assert (one.dataset, one.traits) == (two.dataset, two.traits)
            np.testing.assert_array_equal(one.visual.read(), two.visual.read())
    assert len(PackedToyland(packed)) == sum(len(world("train", name)) for name in ("toyland", "toyland-g"))


def test_packed_instances_name_the_things(packed: Path) -> None:
    reader, plain = PackedToyland(packed), world("train")
    for position in range(reader.num_scenes):
        drawn = plain.drawn(position)
        assert [thing["kind"] for thing in reader.things(position)] == [thing.kind for thing in drawn.scene().things]
        for index, mask in enumerate(drawn.picture().masks):
            np.testing.assert_array_equal(reader.instances(position) == index, mask)
        np.testing.assert_array_equal(reader.instances(position) == NOTHING, ~drawn.picture().masks.any(axis=0))
        np.testing.assert_array_equal(reader.pixels(position), drawn.picture().pixels)


def test_a_packed_visual_travels_to_workers(packed: Path) -> None:
    sample = PackedToyland(packed)[0]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(sample.visual)).read(), sample.visual.read())


def test_two_workers_pack_what_one_packs(packed: Path, tmp_path: Path) -> None:
    heard: list[int] = []
    pack(tmp_path / "again", [world("train"), world("train", "toyland-g")], workers=2, progress=heard.append)
    assert heard == [1, 2, 3]
    for name in ("pixels.npy", "instances.npy", "scenes.jsonl", "lines.npy", "counts.npy"):
        assert (tmp_path / "again" / name).read_bytes() == (packed / name).read_bytes()


def test_what_cannot_be_packed_or_opened_is_told(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(DeixisError, match="exists already"):
        pack(packed, [world()])
    with pytest.raises(DeixisError, match="same scenes"):
        pack(tmp_path / "two", [world("train"), world("val")])
    with pytest.raises(DeixisError, match=r"lacks pixels\.npy"):
        PackedToyland(tmp_path)
    with pytest.raises(DeixisError, match="no register 'toyland\\+'"):
        PackedToyland(packed, ["toyland+"])
    with pytest.raises(IndexError):
        PackedToyland(packed)[10_000]


def test_packed_sentences_about_nothing_stay_empty_and_their_number_is_noted(packed: Path, tmp_path: Path) -> None:
    extras = Extras(no_target=2.0)
    plain = world("train", extras=extras)
    with pytest.raises(DeixisError, match="same extras"):
        pack(tmp_path / "mixed", [plain, world("train", "toyland-g")])
    pack(tmp_path / "none", [plain])
    reader = PackedToyland(tmp_path / "none")
    assert reader.extras == extras
    assert PackedToyland(packed).extras == Extras()
    nothing = [sample for scene in reader.scenes() for sample in scene if not sample.traits["targets"]]
    assert len(nothing) > 3
    assert [sample.ids for scene in reader.scenes() for sample in scene] == list(plain.ids)
    assert all(sample.mask is not None and masks.area(sample.mask) == 0 for sample in nothing)


def test_an_instance_map_of_nothing_is_empty() -> None:
    assert (instance_map(np.zeros((0, 4, 4), dtype=bool)) == NOTHING).all()
