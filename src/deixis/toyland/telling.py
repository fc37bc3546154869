"""All that is said about one view: several sentences for each referent, rough speech, two targets and none."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from ..errors import DeixisError
from .grammar import Speech, describe, describe_nothing, describe_two
from .phrases import Phrase
from .programs import Closest, Hidden, Middle, Not, Or, Program, Rank, Related, nodes
from .programs import text as program_text
from .roughen import roughen
from .view import View
from .vocabulary import LOCATION_WORDS

REPEATS = 3  # how often another sentence for the same thing is tried before the speaker has said all there is


@dataclass(frozen=True, kw_only=True)
class Extras:
    """Rough speech and unusual expressions as probabilities: of a sentence, and (the last two) of a scene."""

    typos: float = 0.0
    slang: float = 0.0
    no_target: float = 0.0
    two_targets: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value <= 1:
                raise DeixisError(f"Toyland's extra {name!r} is {value}; a probability from 0 to 1 is wanted.")


@dataclass(frozen=True, kw_only=True)
class Told:
    """An expression as it is said, the phrase it was made from, and the things it means (none, one or two)."""

    text: str
    phrase: Phrase
    targets: tuple[int, ...]


def tell(
    view: View, referents: Sequence[int], speech: Speech, extras: Extras, sentences: int, chance: Random
) -> Iterator[Told]:
    """Up to `sentences` different expressions for each referent, then one for two things and one for nothing."""
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
    seen = sorted(view.sure)
    if len(seen) > 1 and chance.random() < extras.two_targets:
        one, two = sorted(chance.sample(seen, k=2))
        phrase = describe_two(view, (one, two), speech, chance)
        if phrase is not None:
            yield _told(phrase, (one, two), extras, chance)
    if chance.random() < extras.no_target:
        phrase = describe_nothing(view, speech, chance)
        if phrase is not None:
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
        if isinstance(node, Hidden) or (isinstance(node, Related) and node.relation == "hidden_by"):
            found.add("occlusion")
        if isinstance(node, Not):
            found.add("negation")
        if isinstance(node, Middle):
            found.add("superlative")
        if isinstance(node, Or):
            found.add("two targets")
    return sorted(found)
