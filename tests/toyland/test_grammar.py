"""What is said: that it picks its referent, how long it is, which words it keeps to, and that it never mixes lists."""

import re
from collections.abc import Iterable
from itertools import chain
from random import Random

import numpy as np
import pytest

from deixis.records import Sample
from deixis.toyland import templates, vocabulary
from deixis.toyland.domains import CONTENTS, STYLES
from deixis.toyland.drawing import draw
from deixis.toyland.grammar import RELATIONS, SHAPES, Speech, describe, describe_nothing, describe_two, means
from deixis.toyland.phrases import Phrase, Voice, noun_phrase, plural
from deixis.toyland.programs import Is, parse, text
from deixis.toyland.roughen import mistype, roughen
from deixis.toyland.sampling import sample_scene
from deixis.toyland.scenes import COLOURS, KINDS, PATTERNS, STATES, Scene, Thing
from deixis.toyland.telling import Told, traits
from deixis.toyland.view import View, look
from deixis.toyland.vocabulary import LOCATION_WORDS, Words
from deixis.toyland.world import Toyland

REGISTERS = ("toyland", "toyland+", "toyland-g")
SCENES = 12
WANTED_LENGTH = {"toyland": 3.5, "toyland+": 3.5, "toyland-g": 8.4}
TABLES: tuple[dict[object, Words], ...] = tuple(
    table
    for table in vars(vocabulary).values()
    if isinstance(table, dict) and all(isinstance(words, Words) for words in table.values())
)


def world(register: str, **options: object) -> Toyland:
    return Toyland(split="val", register=register, num_scenes=SCENES, size=48, sentences_per_object=1, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def spoken() -> dict[str, list[Sample]]:
    return {register: list(chain.from_iterable(world(register).scenes())) for register in REGISTERS}


@pytest.fixture(scope="module")
def views() -> list[View]:
    seen = []
    for seed in range(6):
        scene = sample_scene(seed, CONTENTS["everything"])
        picture = draw(scene, STYLES["painted"], 48)
        seen.append(look(scene, picture.masks, picture.visible))
    return seen


def check(samples: Iterable[Sample]) -> int:
    """Run every program again, and say how many there were."""
    checked = 0
    for sample in samples:
        view = sample.visual.view()  # type: ignore[attr-defined]
        assert means(parse(sample.traits["program"]), view, frozenset(sample.traits["targets"])), sample.expression
        (target,) = sample.traits["targets"]
        assert view.seen[target].clarity == "plain"
        checked += 1
    return checked


@pytest.mark.parametrize("register", REGISTERS)
def test_every_expression_picks_exactly_its_referent(spoken: dict[str, list[Sample]], register: str) -> None:
    assert check(spoken[register]) > 4 * SCENES


@pytest.mark.slow
@pytest.mark.parametrize("register", REGISTERS)
def test_every_expression_of_two_hundred_scenes_picks_its_referent(register: str) -> None:
    toyland = Toyland(split="train", register=register, num_scenes=200, sentences_per_object=2)
    assert check(chain.from_iterable(toyland.scenes())) > 2000


@pytest.mark.parametrize("register", REGISTERS)
def test_expressions_are_as_long_as_peoples(spoken: dict[str, list[Sample]], register: str) -> None:
    lengths = [len(sample.expression.split()) for sample in spoken[register]]
    assert abs(np.mean(lengths) - WANTED_LENGTH[register]) < 0.4
    assert [sample.traits["num_words"] for sample in spoken[register]] == lengths


def test_toyland_plus_never_says_where(spoken: dict[str, list[Sample]]) -> None:
    for sample in spoken["toyland+"]:
        assert not LOCATION_WORDS & set(re.findall(r"[\w-]+", sample.expression)), sample.expression
        assert not sample.traits["has_location"]
        assert not re.search(r"rank\(.*(most|nearest|farthest)|at\(|related|closest|middle", sample.traits["program"])
    located = [sample for sample in spoken["toyland"] if sample.traits["has_location"]]
    assert 0.3 < len(located) / len(spoken["toyland"]) < 0.75


def test_full_sentences_reason_in_every_way(spoken: dict[str, list[Sample]]) -> None:
    said = {feature for sample in spoken["toyland-g"] for feature in sample.traits["features"]}
    assert said == {"relation", "ordinal", "superlative", "leftmost or rightmost", "negation", "occlusion"}
    related = sum("relation" in sample.traits["features"] for sample in spoken["toyland-g"])
    assert related > 0.3 * len(spoken["toyland-g"])


def test_the_leftmost_is_a_superlative_and_the_second_from_the_left_is_not(spoken: dict[str, list[Sample]]) -> None:
    counted = {"leftmost or rightmost": 0, "ordinal": 0}
    for sample in chain.from_iterable(spoken.values()):
        program, features = sample.traits["program"], sample.traits["features"]
        first = bool(re.search(r"(leftmost|rightmost), 1\)", program))
        later = bool(re.search(r", [2-9]\)", program))
        assert ("leftmost or rightmost" in features) == first, program
        assert ("ordinal" in features) == later, program
        assert "superlative" in features or not first
        counted["leftmost or rightmost"] += first
        counted["ordinal"] += later
    assert min(counted.values()) > 3


def test_templates_leave_nothing_unfilled(spoken: dict[str, list[Sample]]) -> None:
    for sample in chain.from_iterable(spoken.values()):
        assert not re.search(r"[{}|_]|  |\ba [aeiou]|\bmany\b", sample.expression), sample.expression


def test_same_kind_things_are_counted(spoken: dict[str, list[Sample]]) -> None:
    for sample in spoken["toyland"][::7]:
        view = sample.visual.view()  # type: ignore[attr-defined]
        kinds = [view.things[index].kind for index in view.maybe]
        assert sample.traits["same_kind"] == kinds.count(sample.traits["kind"])


def test_no_held_out_paraphrase_may_be_learnt() -> None:
    lists = [*chain.from_iterable(table.values() for table in TABLES), vocabulary.ANYTHING, vocabulary.CLOTHES,
             vocabulary.FULL_CLOTHES, vocabulary.ONE]  # fmt: skip
    learnt = set(chain.from_iterable(words.training for words in lists))
    kept = set(chain.from_iterable(words.held_out for words in lists))
    assert kept
    assert not learnt & kept
    for table in (templates.SHORT, templates.FULL, templates.PAIRS):
        learnt = set(chain.from_iterable(words.training for words in table.values()))
        kept = set(chain.from_iterable(words.held_out for words in table.values()))
        assert all(words.held_out for words in table.values())
        assert not learnt & kept


@pytest.mark.parametrize("register", REGISTERS)
def test_held_out_speech_uses_no_learnt_word_for_a_thing(register: str) -> None:
    unusual = world(register, paraphrases="held-out")
    said = [sample for position in range(3) for sample in unusual.scene(position)]
    assert said
    kept = [
        paraphrase
        for table in (vocabulary.KIND_WORDS, vocabulary.FAMILY_WORDS, vocabulary.COLOUR_WORDS)
        for words in table.values()
        for paraphrase in words.held_out
    ]
    for sample in said:
        assert sample.traits["paraphrases"] == "held-out"
        named = re.sub("|".join(sorted(map(re.escape, kept), key=len, reverse=True)), "", sample.expression)
        learnt = {word for table in (vocabulary.KIND_WORDS, vocabulary.COLOUR_WORDS)
                  for words in table.values() for word in words.training}  # fmt: skip
        assert not learnt & set(named.split()), sample.expression


def test_everything_has_a_name_and_its_paraphrases() -> None:
    assert set(vocabulary.KIND_WORDS) == set(KINDS)
    assert set(vocabulary.COLOUR_WORDS) == set(COLOURS)
    assert set(vocabulary.PATTERN_WORDS) == set(PATTERNS)
    assert set(chain.from_iterable(STATES.values())) <= set(vocabulary.STATE_WORDS)
    assert set(vocabulary.RELATION_WORDS) == set(RELATIONS)
    for table in (vocabulary.KIND_WORDS, vocabulary.COLOUR_WORDS, vocabulary.RELATION_WORDS):
        assert all(words.held_out for words in table.values())
    for register, shapes in SHAPES.items():
        table = templates.FULL if register == "toyland-g" else templates.SHORT
        assert set(shapes) - {"side", "order"} <= set(table)


def test_a_noun_phrase_means_what_it_says() -> None:
    cat = Thing(kind="cat", colour="red", size="small", state="sitting", x=0.5, y=0.5, scale=0.2, depth=0.5)
    phrase = noun_phrase(Voice(Random(3), full=True), cat, ("colour", "state"))
    assert "is(colour, red)" in text(phrase.program)
    assert re.search("red|crimson", phrase.text)
    assert re.search("sitting", phrase.text)


@pytest.mark.parametrize(
    ("noun", "plurals"),
    [("red dog", "red dogs"), ("bus", "buses"), ("couch", "couches"), ("baby", "babies"), ("fish", "fish"),
     ("cactus", "cacti"), ("person", "people"), ("box", "boxes"), ("key", "keys"), ("cherries", "cherries")],
)  # fmt: skip
def test_plurals(noun: str, plurals: str) -> None:
    assert plural(noun) == plurals


def test_two_and_nothing_are_described_with_their_programs(views: list[View]) -> None:
    pairs = empties = 0
    for view in views:
        for register in REGISTERS:
            speech, chance = Speech(register=register), Random(view.scene.seed)  # type: ignore[arg-type]
            one, two = sorted(view.sure)[:2]
            if (phrase := describe_two(view, (one, two), speech, chance)) is not None:
                pairs += 1
                assert means(phrase.program, view, frozenset({one, two}))
            if (phrase := describe_nothing(view, speech, chance)) is not None:
                empties += 1
                assert means(phrase.program, view, frozenset())
    assert pairs > 2
    assert empties > 10


def test_what_can_hardly_be_seen_is_never_described(views: list[View]) -> None:
    for view in views:
        for index in set(range(len(view.things))) - view.sure:
            assert describe(view, index, Speech(), Random(0)) is None


def test_twins_in_one_place_are_not_told_apart() -> None:
    twin = Thing(kind="cup", colour="blue", size="medium", x=0.5, y=0.6, scale=0.2, depth=0.5)
    masks = np.zeros((2, 32, 32), dtype=bool)
    masks[0, 8:24, 8:16], masks[1, 8:24, 16:24] = True, True
    view = look(Scene(seed=0, setting="room", things=(twin, twin)), masks, (1.0, 1.0))
    assert describe(view, 0, Speech(register="toyland+"), Random(0)) is None
    told = describe(view, 0, Speech(), Random(0))
    assert told is not None
    assert "left" in told.text


def test_where_colours_do_not_show_nobody_names_them() -> None:
    blueprint = Toyland(split="val", register="toyland+", num_scenes=2, style="blueprint", size=48)
    for sample in chain.from_iterable(blueprint.scenes()):
        assert "colour" not in sample.traits["program"]


def test_slips_of_the_finger_keep_the_first_letter_and_most_of_the_word() -> None:
    chance = Random(0)
    for word in ("second", "yellow", "striped"):
        slips = {mistype(word, chance) for _ in range(40)}
        assert len(slips) > 5
        assert all(slip[0] == word[0] and abs(len(slip) - len(word)) <= 3 for slip in slips)
    assert {"scnd"} <= {mistype("second", chance) for _ in range(80)}


def test_rough_speech_changes_words_only_when_asked() -> None:
    plain = "second blue dog with the ball"
    assert roughen(plain, Random(1)) == plain
    rough = {roughen(plain, Random(seed), typos=0.5, slang=1.0) for seed in range(30)}
    assert len(rough) > 10
    assert any(word in one.split() for one in rough for word in ("blu", "seond", "2nd", "doggo"))
    assert all(len(one.split()) <= 8 for one in rough)


def test_traits_of_a_pair_name_no_single_kind(views: list[View]) -> None:
    view = views[0]
    kind = view.things[0].kind
    told = Told(text="them", phrase=Phrase("them", Is("kind", kind)), targets=(0, 1))
    facts = traits(told, view, Speech())
    assert "kind" not in facts
    assert facts["area"] == pytest.approx(view.seen[0].area + view.seen[1].area, abs=1e-4)
