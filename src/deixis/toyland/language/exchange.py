"""Sentences with one word exchanged, so that they refer to nothing in their view: hard negatives for presence."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from random import Random
from typing import Literal, TypeVar, cast, get_args

from ..scene.kinds import FAMILY_OF, KINDS, STATES
from ..scene.scenes import COLOURS
from ..scene.view import View
from . import vocabulary
from .candidates import RELATIONS, Wording
from .grammar import describe, is_allowed, names_held_out
from .phrases import FACING_KINDS, Phrase, plural
from .programs import At, Is, Program, Rank, Related, Side, nodes, selects
from .relations import Order, Relation
from .vocabulary import Words

Node = TypeVar("Node", bound=Program)
Exchange = Literal["kind", "colour", "place", "relation"]
EXCHANGES: tuple[Exchange, ...] = get_args(Exchange)
ATTEMPTS = 3  # sentences of a referent, to find one that has the word
OPPOSITE: dict[Side, Side] = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}


@dataclass(frozen=True)
class Exchanged:
    """A sentence about a referent, and the same with one word exchanged, which refers to nothing."""

    right: Phrase
    wrong: Phrase
    exchange: Exchange


@dataclass(frozen=True)
class _Change:
    """The words of a meaning, those of another one, and what becomes of a program's node."""

    old: Words
    new: Words
    node: Callable[[Program], Program]


def describe_exchanged(
    view: View, referent: int, wording: Wording, rng: Random, exchanges: Sequence[Exchange] = EXCHANGES
) -> Exchanged | None:
    """A sentence and its exchange, of a random one of `exchanges`; None where no sentence of a few has such a word."""
    for _ in range(ATTEMPTS):
        if (right := describe(view, referent, wording, rng)) is None:
            return None
        # Places and relations are in fewer sentences than kinds and colours: where there is one, it goes first.
        order = sorted(rng.sample(exchanges, k=len(exchanges)), key=lambda name: name in ("kind", "colour"))
        for name in order if rng.random() < 0.5 else rng.sample(exchanges, k=len(exchanges)):
            if (wrong := exchange(right, name, view, wording, rng)) is not None:
                return Exchanged(right, wrong, name)
    return None


def exchange(phrase: Phrase, name: Exchange, view: View, wording: Wording, rng: Random) -> Phrase | None:
    """The phrase with one word of this sort exchanged, so that it certainly and possibly selects nothing."""
    makers = {"kind": _kinds, "colour": _colours, "place": _places, "relation": _relations}
    words = wording.sampler(rng)
    for change in makers[name](phrase.program, view, rng):
        text = _replaced(phrase.text, change.old, words.sample(change.new))
        if text is None or not is_allowed(text, wording.subset):
            continue
        program = _rewritten(phrase.program, change.node)
        if selects(program, view, frozenset()) and not names_held_out(program):
            return Phrase(text, program)
    return None


def _kinds(program: Program, view: View, rng: Random) -> Iterator[_Change]:
    """Another kind, or another family, that can have the attributes which the sentence mentions."""
    attributes = [node for node in nodes(program) if isinstance(node, Is)]
    for fact in _once(program, Is):
        shown = [FAMILY_OF[thing.kind] if fact.attribute == "family" else thing.kind for thing in view.things]
        if fact.attribute == "family" and len(attributes) == 1:
            for family in _shuffled([*vocabulary.FAMILY_WORDS], shown, rng):
                old, new = vocabulary.FAMILY_WORDS[fact.value], vocabulary.FAMILY_WORDS[family]
                yield _Change(old, new, _swap(fact, Is("family", family)))
        if fact.attribute == "kind":
            is_person = FAMILY_OF[fact.value] == "people"
            for kind in _shuffled(KINDS, shown, rng):
                if (FAMILY_OF[kind] == "people") == is_person and all(_can_be(kind, one) for one in attributes):
                    old, new = vocabulary.KIND_WORDS[fact.value], vocabulary.KIND_WORDS[kind]
                    yield _Change(old, new, _swap(fact, Is("kind", kind)))


def _can_be(kind: str, fact: Is) -> bool:
    if fact.attribute == "state":
        return fact.value in STATES.get(kind, ())
    if fact.attribute == "carried":
        return FAMILY_OF[kind] == "people"
    return fact.attribute != "facing" or kind in FACING_KINDS


def _colours(program: Program, view: View, rng: Random) -> Iterator[_Change]:
    shown = [thing.colour for thing in view.things]
    facts = [node for node in nodes(program) if isinstance(node, Is)]
    has_clothes = any(fact.value == "people" or FAMILY_OF.get(fact.value) == "people" for fact in facts)
    for fact in _once(program, Is):
        if fact.attribute == "colour":
            for colour in _shuffled(COLOURS, shown, rng):
                new = vocabulary.COLOUR_WORDS[colour]
                if has_clothes:  # "in a bluish shirt" is unusual
                    new = replace(new, training=new.training[:1])
                yield _Change(vocabulary.COLOUR_WORDS[fact.value], new, _swap(fact, Is("colour", colour)))


def _places(program: Program, view: View, rng: Random) -> Iterator[_Change]:
    """The opposite side of the image, or a place in a row that is shorter."""
    for at in _once(program, At):
        if at.side in OPPOSITE:
            yield _Change(Words((at.side,)), Words((OPPOSITE[at.side],)), _flip(at.side))
    for rank in _once(program, Rank):
        for place in rng.sample(range(2, 5), k=3):
            if place > rank.place:
                old, new = vocabulary.ORDINALS[rank.place], vocabulary.ORDINALS[place]
                yield _Change(old, new, _swap(rank, replace(rank, place=place)))


def _flip(side: Side) -> Callable[[Program], Program]:
    """ "The dog on the left" is the leftmost one, which is in the left half: both parts change."""

    def changed(node: Program) -> Program:
        if node == At(side):
            return At(OPPOSITE[side])
        if isinstance(node, Rank) and node.order == f"{side}most" and node.place == 1:
            return replace(node, order=cast(Order, f"{OPPOSITE[side]}most"))
        return node

    return changed


def _relations(program: Program, view: View, rng: Random) -> Iterator[_Change]:
    for node in _once(program, Related):
        others: list[Relation] = [name for name in RELATIONS if name not in (node.relation, "hidden_by")]
        for relation in rng.sample(others, k=len(others)):
            # "Behind" may also mean "partly hidden by".
            hidden = replace(node, relation="hidden_by")
            if relation == "behind" and not selects(_rewritten(program, _swap(node, hidden)), view, frozenset()):
                continue
            old, new = vocabulary.RELATION_WORDS[node.relation], vocabulary.RELATION_WORDS[relation]
            yield _Change(old, new, _swap(node, replace(node, relation=relation)))


def _once(program: Program, kind: type[Node]) -> list[Node]:
    """The program's nodes of a type that it has once."""
    found = nodes(program)
    return [node for node in found if isinstance(node, kind) and found.count(node) == 1]


def _swap(old: Program, new: Program) -> Callable[[Program], Program]:
    return lambda node: new if node == old else node


def _rewritten(program: Program, change: Callable[[Program], Program]) -> Program:
    """The program with every node changed, from the outside to the inside."""
    changed = change(program)
    values = {field.name: getattr(changed, field.name) for field in fields(changed)}
    inside = {name: _rewritten(value, change) for name, value in values.items() if isinstance(value, get_args(Program))}
    return replace(changed, **inside)  # type: ignore[arg-type]  # each node type has its own fields


def _shuffled(values: Sequence[str], shown: Sequence[str], rng: Random) -> list[str]:
    """The values in random order; half of the time first those that the view shows, which are harder to reject."""
    order = rng.sample(values, k=len(values))
    return sorted(order, key=lambda value: value not in shown) if rng.random() < 0.5 else order


def _replaced(text: str, old: Words, new: str) -> str | None:
    """The text with the one occurrence of a word replaced; None where there is none, several, or a plural."""
    entries = sorted((*old.training, *old.held_out), key=len, reverse=True)
    pattern = re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, entries))})(?![\w-])")
    plurals = {plural(entry) for entry in entries} - {*entries}
    found = pattern.findall(text)
    if len(found) != 1 or found[0] == new or any(re.search(rf"\b{re.escape(word)}\b", text) for word in plurals):
        return None
    return re.sub(r"\ban? (?=(\w))", _article, pattern.sub(new, text))


def _article(found: re.Match[str]) -> str:
    return "an " if found[1] in "aeiou" else "a "
