"""All that is said about one view: several sentences for each referent, rough speech, two targets and none."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from ..errors import InputError
from .domains import is_held_out
from .grammar import Speech, describe, describe_nothing, describe_two, means
from .phrases import Phrase
from .programs import Closest, Hidden, Is, Middle, Not, Or, Program, Rank, Related, nodes
from .programs import text as program_text
from .roughen import roughen
from .scenes import COLOURS, KINDS
from .view import View
from .vocabulary import LOCATION_WORDS

REPEATS = 3  # how often another sentence for the same thing is tried before the speaker has said all there is
MOST_NOTHINGS = 20


@dataclass(frozen=True, kw_only=True)
class Extras:
    """Rough speech and unusual expressions.

    `typos` and `slang` are probabilities of a sentence, `two_targets` is one of a scene. `no_target` counts a scene's
    sentences about nothing in it: its whole part are always tried, one more with the rest as its probability.
    """

    typos: float = 0.0
    slang: float = 0.0
    no_target: float = 0.0
    two_targets: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name == "no_target":
                if not 0 <= value <= MOST_NOTHINGS:
                    raise InputError(
                        f"Toyland's extra 'no_target' is {value}; sentences a scene are wanted, 0 to {MOST_NOTHINGS}."
                    )
            elif not 0 <= value <= 1:
                raise InputError(f"Toyland's extra {name!r} is {value}; a probability from 0 to 1 is wanted.")


@dataclass(frozen=True, kw_only=True)
class Told:
    """An expression as it is said, the phrase it was made from, and the things it means (none, one or two)."""

    text: str
    phrase: Phrase
    targets: tuple[int, ...]


def tell(
    view: View, referents: Sequence[int], speech: Speech, extras: Extras, sentences: int, chance: Random
) -> Iterator[Told]:
    """Up to `sentences` different expressions for each referent, then one for two things and some for nothing."""
    for referent in referents:
        said: set[str] = set()
        for _ in range(sentences * REPEATS):
            phrase = describe(view, referent, speech, chance)
            if phrase is None:
                break
            if phrase.text not in said:
                said.add(phrase.text)
                yield _told(phrase, (referent,), extras, chance)
            if len(said) == sentences:
                break
    speaks_of_two = len(view.sure) > 1 and chance.random() < extras.two_targets
    if speaks_of_two and len(referents) > 1:
        one, two = sorted(chance.sample(referents, k=2))
        phrase = describe_two(view, (one, two), speech, chance)
        if phrase is not None:
            yield _told(phrase, (one, two), extras, chance)
    denied: set[str] = set()
    for number in range(MOST_NOTHINGS):
        if chance.random() >= extras.no_target - number:
            return
        phrase = _nothing(view, speech, chance)
        if phrase is not None and phrase.text not in denied:
            denied.add(phrase.text)
            yield _told(phrase, (), extras, chance)


def traits(told: Told, view: View, speech: Speech) -> dict[str, Any]:
    """Facts for breakdowns, ready for JSON."""
    spoken = told.phrase.text.split()
    facts: dict[str, Any] = {
        "program": program_text(told.phrase.program),
        "register": speech.register,
        "paraphrases": speech.paraphrases,
        "features": _features(told.phrase.program),
        "has_location": bool(LOCATION_WORDS & set(spoken)),
        "is_rough": told.text != told.phrase.text,
        "num_words": len(told.text.split()),
        "targets": list(told.targets),
        "area": round(sum(view.seen[index].area for index in told.targets), 5),
    }
    if len(told.targets) == 1:
        (target,) = told.targets
        thing = view.things[target]
        same = [index for index in view.maybe if view.things[index].kind == thing.kind]
        facts |= {"kind": thing.kind, "colour": thing.colour, "same_kind": len(same), "size": thing.size}
        facts["visible"] = round(view.seen[target].share, 4)
    return facts


def _nothing(view: View, speech: Speech, chance: Random) -> Phrase | None:
    """What means nothing in the view: a colour and a kind that do not meet there, or a mistake about a thing.

    Pairs of kind and colour that training never shows are not denied either: a model would learn that they never are.
    """
    for _ in range(REPEATS):
        phrase = describe_nothing(view, speech, chance) if chance.random() < 0.5 else _mistaken(view, speech, chance)
        if phrase is not None and means(phrase.program, view, frozenset()) and not _names_held_out(phrase.program):
            return phrase
    return None


def _mistaken(view: View, speech: Speech, chance: Random) -> Phrase | None:
    """What would mean one thing of the view if its kind or its colour were another: in every form there is."""
    if not view.sure:
        return None
    index = chance.choice(sorted(view.sure))
    thing = view.things[index]
    if speech.colours and chance.random() < 0.5:
        other = replace(thing, colour=chance.choice(COLOURS))
    else:
        other = replace(thing, kind=chance.choice(KINDS), state="", carried=())
    if is_held_out(other.kind, other.colour):
        return None
    things = (*view.things[:index], other, *view.things[index + 1 :])
    return describe(replace(view, scene=replace(view.scene, things=things), memory={}), index, speech, chance)


def _names_held_out(program: Program) -> bool:
    named = [node for node in nodes(program) if isinstance(node, Is)]
    kinds, colours = ([node.value for node in named if node.attribute == name] for name in ("kind", "colour"))
    return any(is_held_out(kind, colour) for kind in kinds for colour in colours)


def _told(phrase: Phrase, targets: tuple[int, ...], extras: Extras, chance: Random) -> Told:
    text = roughen(phrase.text, chance, extras.typos, extras.slang)
    return Told(text=text, phrase=phrase, targets=targets)


def _features(program: Program) -> list[str]:
    """Which kinds of reasoning a program asks for."""
    found = set()
    for node in nodes(program):
        if isinstance(node, Related | Closest):
            found.add("relation")
        if isinstance(node, Rank):
            found.add("ordinal" if node.place > 1 else "superlative")
            if node.place == 1 and node.order in ("leftmost", "rightmost"):
                found.add("leftmost or rightmost")  # a superlative that a network blind to sides cannot answer
        if isinstance(node, Hidden) or (isinstance(node, Related) and node.relation == "hidden_by"):
            found.add("occlusion")
        if isinstance(node, Not):
            found.add("negation")
        if isinstance(node, Middle):
            found.add("superlative")
        if isinstance(node, Or):
            found.add("two targets")
    return sorted(found)
