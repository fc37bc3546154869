"""Exchanged sentences differ in one word and are true of nothing in the scene."""

import re
from collections import Counter
from random import Random

import pytest

from deixis.toyland.language import vocabulary
from deixis.toyland.language.candidates import Wording
from deixis.toyland.language.exchange import EXCHANGES, Exchange, Exchanged, describe_exchanged, exchange
from deixis.toyland.language.expressions import ExpressionOptions
from deixis.toyland.language.phrases import Phrase
from deixis.toyland.language.programs import (
    And,
    At,
    Closest,
    Everything,
    Hidden,
    Is,
    Middle,
    Not,
    Program,
    Rank,
    Related,
)
from deixis.toyland.scene.domains import SUBSETS, SubsetName, is_held_out
from deixis.toyland.scene.kinds import FAMILY_OF
from deixis.toyland.scene.view import View
from deixis.toyland.world import Toyland

SCENES = 12
Pairs = list[tuple[View, Exchanged]]


@pytest.fixture(scope="module")
def pairs() -> dict[str, Pairs]:
    return {subset: list(_pairs(subset)) for subset in SUBSETS}


def _pairs(subset: SubsetName) -> Pairs:
    world, found = Toyland(split="train", subset=subset, num_scenes=SCENES, first_seed=700_000_000), []
    for position in range(SCENES):
        view, rng = world.drawn(position).view(), Random(position)
        made = (describe_exchanged(view, referent, world.wording, rng) for referent in sorted(view.certain))
        found += [(view, pair) for pair in made if pair is not None]
    return found


@pytest.mark.parametrize("subset", SUBSETS)
def test_every_exchanged_sentence_is_true_of_nothing(pairs: dict[str, Pairs], subset: str) -> None:
    assert len(pairs[subset]) > 40
    for view, pair in pairs[subset]:
        assert len(literally(pair.right.program, view)) == 1, pair.right.text
        assert not literally(pair.wrong.program, view), pair.wrong.text


@pytest.mark.parametrize("subset", SUBSETS)
def test_the_sentences_differ_in_the_word_that_the_programs_differ_in(pairs: dict[str, Pairs], subset: str) -> None:
    for _, pair in pairs[subset]:
        old, new = _difference(_without_articles(pair.right.text), _without_articles(pair.wrong.text))
        meanings = {"kind": _kinds, "colour": _colours, "place": _places, "relation": _relations}[pair.exchange]
        before, after = _values(pair.right.program), _values(pair.wrong.program)
        gone, come = before - after, after - before
        assert gone.total() == come.total() == 1, pair
        assert {*gone} <= meanings(old), pair
        assert {*come} <= meanings(new), pair


def test_every_sort_of_word_is_exchanged(pairs: dict[str, Pairs]) -> None:
    counts = {subset: Counter(pair.exchange for _, pair in pairs[subset]) for subset in SUBSETS}
    assert counts["toyland"].keys() == counts["toyland-g"].keys() == {*EXCHANGES}
    assert counts["toyland+"].keys() == {"kind", "colour"}  # its sentences have no places


def test_no_exchange_makes_a_held_out_pair_of_kind_and_colour(pairs: dict[str, Pairs]) -> None:
    for subset in SUBSETS:
        for _, pair in pairs[subset]:
            facts = _facts(pair.wrong.program)
            colours = [value for name, value in facts if name == "colour"]
            assert not any(is_held_out(value, colour) for name, value in facts if name == "kind" for colour in colours)


@pytest.mark.parametrize(
    ("text", "program", "name"),
    [
        ("cat by the kitty", Related(Is("kind", "cat"), "next_to", Is("kind", "cat")), "kind"),  # twice the same
        ("leftmost of the two cats", Rank(Is("kind", "cat"), "leftmost"), "kind"),  # a plural that counts
        ("the thing", Everything(), "colour"),
        ("left cat", Rank(Is("kind", "cat"), "leftmost"), "place"),  # the right cat is another one, not none
    ],
)
def test_a_sentence_without_one_such_word_is_left(text: str, program: Program, name: Exchange) -> None:
    view = Toyland(num_scenes=1).drawn(0).view()
    assert exchange(Phrase(text, program), name, view, Wording(), Random(0)) is None


def test_a_new_word_gets_its_article() -> None:
    view = Toyland(num_scenes=1).drawn(0).view()
    shown = {thing.kind for thing in view.things}
    phrase = Phrase("a cat in the picture", Is("kind", "cat"))
    words = {exchange(phrase, "kind", view, Wording(), Random(seed)) for seed in range(60)}
    texts = {found.text for found in words if found is not None}
    assert len(texts) > 10
    for text in texts:
        article, word = text.split()[:2]
        assert (article == "an") == (word[0] in "aeiou")
    assert not shown & {value for found in words if found is not None for _, value in _facts(found.program)}


def test_exchanged_sentences_follow_the_others_and_change_none_of_them() -> None:
    plain = Toyland(num_scenes=2).scene(1)
    world = Toyland(num_scenes=2, expression_options=ExpressionOptions(exchanged=3.0))
    more = world.scene(1)
    assert more[: len(plain)] == plain
    added = more[len(plain) :]
    assert 1 <= len(added) <= 3
    for sample in added:
        assert sample.traits["targets"] == []
        assert sample.traits["exchanged"] in EXCHANGES
        assert sample.traits["instead_of"] != sample.expression
        assert sample.ids.object.startswith("none")


def literally(program: Program, view: View) -> set[int]:
    """What a program selects among all visible things, by plain comparisons without margins."""
    every = view.possible
    seen, things = view.seen, view.things
    if isinstance(program, Everything):
        return set(every)
    if isinstance(program, Is):
        return {index for index in every if _has(things[index], program)}
    if isinstance(program, And):
        return literally(program.one, view) & literally(program.two, view)
    if isinstance(program, Not):
        return set(every) - literally(program.of, view)
    if isinstance(program, Hidden):
        return {index for index in every if seen[index].fraction < 0.9}
    if isinstance(program, At):
        near = {"left": lambda s: s.x, "right": lambda s: 1 - s.x, "top": lambda s: s.y, "bottom": lambda s: 1 - s.y}
        return {index for index in every if near[program.side](seen[index]) < 0.5}
    of = literally(program.of, view)  # type: ignore[union-attr]
    if isinstance(program, Rank):
        return set(_in_order(of, program, view)[program.place - 1 : program.place])
    if isinstance(program, Middle):
        row = sorted(of, key=lambda index: seen[index].x)
        return {row[len(row) // 2]} if len(row) % 2 and len(row) > 2 else set()
    to = literally(program.to, view)  # type: ignore[union-attr]
    if isinstance(program, Closest):
        if len(to) != 1 or not of - to:
            return set()
        (anchor,) = to
        return {min(of - to, key=lambda i: (seen[i].x - seen[anchor].x) ** 2 + (seen[i].y - seen[anchor].y) ** 2)}
    assert isinstance(program, Related)
    return {index for index in of if any(_stands(view, index, program.relation, other) for other in to - {index})}


def _has(thing: object, fact: Is) -> bool:
    if fact.attribute == "family":
        return FAMILY_OF[thing.kind] == fact.value  # type: ignore[attr-defined]
    if fact.attribute == "carried":
        return fact.value in thing.carried  # type: ignore[attr-defined]
    return bool(getattr(thing, fact.attribute) == fact.value)


def _in_order(of: set[int], rank: Rank, view: View) -> list[int]:
    seen, things = view.seen, view.things
    keys = {
        "leftmost": lambda i: seen[i].x,
        "rightmost": lambda i: -seen[i].x,
        "topmost": lambda i: seen[i].y,
        "bottommost": lambda i: -seen[i].y,
        "biggest": lambda i: -seen[i].area,
        "smallest": lambda i: seen[i].area,
        "nearest": lambda i: -things[i].depth,
        "farthest": lambda i: things[i].depth,
    }
    return sorted(of, key=keys[rank.order])


def _stands(view: View, index: int, relation: str, other: int) -> bool:
    one, two = view.seen[index], view.seen[other]
    depth = view.things[index].depth - view.things[other].depth
    apart = max(one.left, two.left) - min(one.right, two.right)
    return {
        "left_of": one.x < two.x,
        "right_of": one.x > two.x,
        "above": one.y < two.y,
        "below": one.y > two.y,
        "behind": depth < 0 and apart < 0,
        "in_front_of": depth > 0 and apart < 0,
        "next_to": apart < 0.06 and max(one.top, two.top) < min(one.bottom, two.bottom),
        "hidden_by": other in one.covered_by,
    }[relation]


def _facts(program: Program) -> list[tuple[str, str]]:
    """Everything that the program says, as pairs of a name and a value."""
    values = vars(program)
    inside = [fact for value in values.values() if not isinstance(value, str | int) for fact in _facts(value)]
    own = {
        Is: lambda: [(values["attribute"], values["value"])],
        At: lambda: [("at", values["side"])],
        Rank: lambda: [("rank", f"{values['order']} {values['place']}")],
        Related: lambda: [("relation", values["relation"])],
    }.get(type(program), list)()
    return own + inside


def _values(program: Program) -> Counter[str]:
    """The program's kinds, colours, sides, relations and places in a row."""
    return Counter(value.split()[-1] if name == "rank" else value for name, value in _facts(program))


def _without_articles(text: str) -> list[str]:
    return re.sub(r"\ban\b", "a", text).split()


def _difference(one: list[str], two: list[str]) -> tuple[str, str]:
    """The one stretch of words in which two sentences differ, with the words around it that belong to both."""
    start = next(i for i, (a, b) in enumerate(zip([*one, ""], [*two, "!"], strict=False)) if a != b)
    back = next(i for i, (a, b) in enumerate(zip(["", *one][::-1], ["!", *two][::-1], strict=False)) if a != b)
    ends = [max(len(words) - back, start) for words in (one, two)]
    parts = [words[max(0, start - 4) : end + 3] for words, end in zip((one, two), ends, strict=True)]
    return " ".join(parts[0]), " ".join(parts[1])


def _meanings(text: str, tables: dict[str, vocabulary.Words]) -> set[str]:
    return {
        name
        for name, entry in tables.items()
        if any(re.search(rf"\b{re.escape(word)}\b", text) for word in (*entry.training, *entry.held_out))
    }


def _kinds(text: str) -> set[str]:
    return _meanings(text, {**vocabulary.KIND_WORDS, **vocabulary.FAMILY_WORDS})


def _colours(text: str) -> set[str]:
    return _meanings(text, vocabulary.COLOUR_WORDS)


def _relations(text: str) -> set[str]:
    return _meanings(text, dict(vocabulary.RELATION_WORDS))


def _places(text: str) -> set[str]:
    ordinals = {str(place): entry for place, entry in vocabulary.ORDINALS.items()}
    return _meanings(text, ordinals | {side: vocabulary.words(side) for side in ("left", "right", "top", "bottom")})
