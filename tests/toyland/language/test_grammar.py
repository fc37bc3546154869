"""Expressions: they select their referent, have realistic lengths, and never mix the lists of paraphrases."""

import re
from collections.abc import Iterable
from itertools import chain
from random import Random

import numpy as np
import pytest

from deixis.records import Sample
from deixis.toyland.language import templates, vocabulary
from deixis.toyland.language.candidates import FORMS, RELATIONS, Wording
from deixis.toyland.language.expressions import Expression, ExpressionOptions, traits
from deixis.toyland.language.grammar import describe, describe_nothing, describe_two
from deixis.toyland.language.noise import add_noise, add_typo
from deixis.toyland.language.phrases import Phrase, WordSampler, noun_phrase, plural
from deixis.toyland.language.programs import Is, parse, selects, text
from deixis.toyland.language.vocabulary import LOCATION_WORDS, Words
from deixis.toyland.render.drawing import draw
from deixis.toyland.scene.domains import CONTENTS, STYLES, SUBSETS
from deixis.toyland.scene.kinds import KINDS, STATES
from deixis.toyland.scene.sampling import sample_scene
from deixis.toyland.scene.scenes import COLOURS, PATTERNS, Scene, Thing
from deixis.toyland.scene.view import View, make_view
from deixis.toyland.world import Toyland

SCENES = 12
MEAN_LENGTH = {"toyland": 3.5, "toyland+": 3.5, "toyland-g": 8.4}
TABLES: tuple[dict[object, Words], ...] = tuple(
    table
    for table in vars(vocabulary).values()
    if isinstance(table, dict) and all(isinstance(words, Words) for words in table.values())
)


def world(subset: str, **options: object) -> Toyland:
    return Toyland(split="val", subset=subset, num_scenes=SCENES, size=48, sentences_per_object=1, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def expressions() -> dict[str, list[Sample]]:
    return {subset: list(chain.from_iterable(world(subset).scenes())) for subset in SUBSETS}


@pytest.fixture(scope="module")
def views() -> list[View]:
    seen = []
    for seed in range(6):
        scene = sample_scene(seed, CONTENTS["everything"])
        image = draw(scene, STYLES["painted"], 48)
        seen.append(make_view(scene, image.masks, image.visible))
    return seen


def check(samples: Iterable[Sample]) -> int:
    """Run every program again, and return their number."""
    checked = 0
    for sample in samples:
        view = sample.visual.view()  # type: ignore[attr-defined]
        assert selects(parse(sample.traits["program"]), view, frozenset(sample.traits["targets"])), sample.expression
        (target,) = sample.traits["targets"]
        assert view.seen[target].visibility == "clear"
        checked += 1
    return checked


@pytest.mark.parametrize("subset", SUBSETS)
def test_every_expression_selects_exactly_its_referent(expressions: dict[str, list[Sample]], subset: str) -> None:
    assert check(expressions[subset]) > 4 * SCENES


@pytest.mark.slow
@pytest.mark.parametrize("subset", SUBSETS)
def test_every_expression_of_two_hundred_scenes_selects_its_referent(subset: str) -> None:
    toyland = Toyland(split="train", subset=subset, num_scenes=200, sentences_per_object=2)
    assert check(chain.from_iterable(toyland.scenes())) > 2000


@pytest.mark.parametrize("subset", SUBSETS)
def test_expressions_are_as_long_as_in_refcoco(expressions: dict[str, list[Sample]], subset: str) -> None:
    lengths = [len(sample.expression.split()) for sample in expressions[subset]]
    assert abs(np.mean(lengths) - MEAN_LENGTH[subset]) < 0.4
    assert [sample.traits["num_words"] for sample in expressions[subset]] == lengths


def test_toyland_plus_never_mentions_locations(expressions: dict[str, list[Sample]]) -> None:
    for sample in expressions["toyland+"]:
        assert not LOCATION_WORDS & set(re.findall(r"[\w-]+", sample.expression)), sample.expression
        assert not sample.traits["has_location"]
        assert not re.search(r"rank\(.*(most|nearest|farthest)|at\(|related|closest|middle", sample.traits["program"])
    located = [sample for sample in expressions["toyland"] if sample.traits["has_location"]]
    assert 0.3 < len(located) / len(expressions["toyland"]) < 0.75


def test_full_sentences_need_every_kind_of_reasoning(expressions: dict[str, list[Sample]]) -> None:
    found = {feature for sample in expressions["toyland-g"] for feature in sample.traits["features"]}
    assert found == {"relation", "ordinal", "superlative", "leftmost or rightmost", "negation", "occlusion"}
    related = sum("relation" in sample.traits["features"] for sample in expressions["toyland-g"])
    assert related > 0.3 * len(expressions["toyland-g"])


def test_the_leftmost_is_a_superlative_and_the_second_from_the_left_is_not(
    expressions: dict[str, list[Sample]],
) -> None:
    counted = {"leftmost or rightmost": 0, "ordinal": 0}
    for sample in chain.from_iterable(expressions.values()):
        program, features = sample.traits["program"], sample.traits["features"]
        first = bool(re.search(r"(leftmost|rightmost), 1\)", program))
        later = bool(re.search(r", [2-9]\)", program))
        assert ("leftmost or rightmost" in features) == first, program
        assert ("ordinal" in features) == later, program
        assert "superlative" in features or not first
        counted["leftmost or rightmost"] += first
        counted["ordinal"] += later
    assert min(counted.values()) > 3


def test_all_fields_of_templates_are_filled(expressions: dict[str, list[Sample]]) -> None:
    for sample in chain.from_iterable(expressions.values()):
        assert not re.search(r"[{}|_]|  |\ba [aeiou]|\bmany\b", sample.expression), sample.expression


def test_same_kind_things_are_counted(expressions: dict[str, list[Sample]]) -> None:
    for sample in expressions["toyland"][::7]:
        view = sample.visual.view()  # type: ignore[attr-defined]
        kinds = [view.things[index].kind for index in view.possible]
        assert sample.traits["same_kind"] == kinds.count(sample.traits["kind"])


def test_no_held_out_paraphrase_is_a_training_word() -> None:
    lists = [*chain.from_iterable(table.values() for table in TABLES), vocabulary.ANYTHING, vocabulary.CLOTHES,
             vocabulary.FULL_CLOTHES, vocabulary.ONE]  # fmt: skip
    training_words = set(chain.from_iterable(words.training for words in lists))
    held_out_words = set(chain.from_iterable(words.held_out for words in lists))
    assert held_out_words
    assert not training_words & held_out_words
    for table in (templates.SHORT, templates.FULL, templates.PAIRS):
        training_words = set(chain.from_iterable(words.training for words in table.values()))
        held_out_words = set(chain.from_iterable(words.held_out for words in table.values()))
        assert all(words.held_out for words in table.values())
        assert not training_words & held_out_words


@pytest.mark.parametrize("subset", SUBSETS)
def test_held_out_expressions_use_no_training_word_for_a_thing(subset: str) -> None:
    unusual = world(subset, paraphrases="held-out")
    found = [sample for position in range(3) for sample in unusual.scene(position)]
    assert found
    held_out_words = [
        paraphrase
        for table in (vocabulary.KIND_WORDS, vocabulary.FAMILY_WORDS, vocabulary.COLOUR_WORDS)
        for words in table.values()
        for paraphrase in words.held_out
    ]
    for sample in found:
        assert sample.traits["paraphrases"] == "held-out"
        named = re.sub("|".join(sorted(map(re.escape, held_out_words), key=len, reverse=True)), "", sample.expression)
        training_words = {word for table in (vocabulary.KIND_WORDS, vocabulary.COLOUR_WORDS)
                  for words in table.values() for word in words.training}  # fmt: skip
        assert not training_words & set(named.split()), sample.expression


def test_everything_has_words_and_paraphrases() -> None:
    assert set(vocabulary.KIND_WORDS) == set(KINDS)
    assert set(vocabulary.COLOUR_WORDS) == set(COLOURS)
    assert set(vocabulary.PATTERN_WORDS) == set(PATTERNS)
    assert set(chain.from_iterable(STATES.values())) <= set(vocabulary.STATE_WORDS)
    assert set(vocabulary.RELATION_WORDS) == set(RELATIONS)
    for table in (vocabulary.KIND_WORDS, vocabulary.COLOUR_WORDS, vocabulary.RELATION_WORDS):
        assert all(words.held_out for words in table.values())
    for subset, forms in FORMS.items():
        table = templates.FULL if subset == "toyland-g" else templates.SHORT
        assert set(forms) - {"side", "order"} <= set(table)


def test_a_noun_phrase_has_the_program_of_its_words() -> None:
    cat = Thing(kind="cat", colour="red", size="small", state="sitting", x=0.5, y=0.5, scale=0.2, depth=0.5)
    phrase = noun_phrase(WordSampler(Random(3), full=True), cat, ("colour", "state"))
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


def test_pairs_and_nothing_are_described_with_their_programs(views: list[View]) -> None:
    pairs = empties = 0
    for view in views:
        for subset in SUBSETS:
            wording, rng = Wording(subset=subset), Random(view.scene.seed)
            one, two = sorted(view.certain)[:2]
            if (phrase := describe_two(view, (one, two), wording, rng)) is not None:
                pairs += 1
                assert selects(phrase.program, view, frozenset({one, two}))
            if (phrase := describe_nothing(view, wording, rng)) is not None:
                empties += 1
                assert selects(phrase.program, view, frozenset())
    assert pairs > 2
    assert empties > 10


def test_faint_things_are_never_described(views: list[View]) -> None:
    for view in views:
        for index in set(range(len(view.things))) - view.certain:
            assert describe(view, index, Wording(), Random(0)) is None


def test_equal_things_are_told_apart_by_location_only() -> None:
    twin = Thing(kind="cup", colour="blue", size="medium", x=0.5, y=0.6, scale=0.2, depth=0.5)
    masks = np.zeros((2, 32, 32), dtype=bool)
    masks[0, 8:24, 8:16], masks[1, 8:24, 16:24] = True, True
    view = make_view(Scene(seed=0, setting="room", things=(twin, twin)), masks, (1.0, 1.0))
    assert describe(view, 0, Wording(subset="toyland+"), Random(0)) is None
    phrase = describe(view, 0, Wording(), Random(0))
    assert phrase is not None
    assert "left" in phrase.text


def test_colours_are_not_mentioned_where_the_style_hides_them() -> None:
    blueprint = Toyland(split="val", subset="toyland+", num_scenes=2, style="blueprint", size=48)
    for sample in chain.from_iterable(blueprint.scenes()):
        assert "colour" not in sample.traits["program"]


def test_typos_keep_the_first_letter_and_most_of_the_word() -> None:
    rng = Random(0)
    for word in ("second", "yellow", "striped"):
        typos_made = {add_typo(word, rng) for _ in range(40)}
        assert len(typos_made) > 5
        assert all(typo[0] == word[0] and abs(len(typo) - len(word)) <= 3 for typo in typos_made)
    assert {"scnd"} <= {add_typo("second", rng) for _ in range(80)}


def test_noise_changes_words_only_when_requested() -> None:
    plain = "second blue dog with the ball"
    assert add_noise(plain, Random(1)) == plain
    noisy = {add_noise(plain, Random(seed), typos=0.5, slang=1.0) for seed in range(30)}
    assert len(noisy) > 10
    assert any(word in one.split() for one in noisy for word in ("blu", "seond", "2nd", "doggo"))
    assert all(len(one.split()) <= 8 for one in noisy)


def test_traits_of_a_pair_have_no_kind(views: list[View]) -> None:
    view = views[0]
    kind = view.things[0].kind
    expression = Expression(text="them", phrase=Phrase("them", Is("kind", kind)), targets=(0, 1))
    facts = traits(expression, view, Wording())
    assert "kind" not in facts
    assert facts["area"] == pytest.approx(view.seen[0].area + view.seen[1].area, abs=1e-4)


@pytest.mark.parametrize("subset", SUBSETS)
def test_rare_forms_are_drawn_where_things_allow_them(subset: str, expressions: dict[str, list[Sample]]) -> None:
    def fraction(samples: list[Sample]) -> float:
        return float(np.mean([bool({"ordinal", "negation"} & {*each.traits["features"]}) for each in samples]))

    often = list(chain.from_iterable(world(subset, expression_options=ExpressionOptions(rare=1.0)).scenes()))
    assert check(often) == len(often)
    assert fraction(often) > max(0.05, 3 * fraction(expressions[subset]))
    assert len(often) > 0.9 * len(expressions[subset])
