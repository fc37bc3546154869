"""All expressions of one view: several for each referent, and optionally noise, two referents, or none."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from ...errors import InputError
from ..scene.domains import is_held_out
from ..scene.kinds import KINDS
from ..scene.scenes import COLOURS
from ..scene.view import View
from .candidates import RARE, Wording
from .exchange import describe_exchanged
from .grammar import describe, describe_nothing, describe_two, names_held_out
from .noise import add_noise
from .phrases import Phrase
from .programs import Closest, Does, Hidden, Middle, Not, Or, Passes, Program, Rank, Related, nodes, selects
from .programs import text as program_text
from .vocabulary import LOCATION_WORDS

ATTEMPTS = 3  # per expression, to find one that differs from the earlier ones
MAX_NO_TARGET = 20


@dataclass(frozen=True, kw_only=True)
class ExpressionOptions:
    """How many expressions have noise, two referents, or none.

    `typos` and `slang` are probabilities per expression, `two_targets` is a probability per scene. `no_target` is the
    number of expressions per scene without a referent: 1.5 generates one, and a second one with probability 0.5.
    `exchanged` is the number of those which are sentences about a thing of the scene with one word exchanged.
    `rare` is the probability that an expression has a form that is rare otherwise, counting from a side or a negation,
    where the thing allows one.
    """

    typos: float = 0.0
    slang: float = 0.0
    no_target: float = 0.0
    two_targets: float = 0.0
    exchanged: float = 0.0
    rare: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name in ("no_target", "exchanged"):
                if not 0 <= value <= MAX_NO_TARGET:
                    raise InputError(f"{name!r} is {value}; expected 0 to {MAX_NO_TARGET} expressions per scene.")
            elif not 0 <= value <= 1:
                raise InputError(f"{name!r} is {value}; expected a probability from 0 to 1.")


@dataclass(frozen=True, kw_only=True)
class Expression:
    """The text with its noise, the phrase without noise, and the indices of the referents (none, one or two).

    Where a word was exchanged, `exchanged` says of which sort, and `instead_of` is the sentence before.
    """

    text: str
    phrase: Phrase
    targets: tuple[int, ...]
    exchanged: str = ""
    instead_of: str = ""


def generate(
    view: View, referents: Sequence[int], wording: Wording, options: ExpressionOptions, per_object: int, rng: Random
) -> Iterator[Expression]:
    """Up to `per_object` different expressions for each referent, then one for two things and some for nothing."""
    for referent in referents:
        texts: set[str] = set()
        for _ in range(per_object * ATTEMPTS):
            # Without the option no number is drawn, and all sentences are those of before.
            is_rare = options.rare > 0 and rng.random() < options.rare
            phrase = describe(view, referent, wording, rng, RARE) if is_rare else None
            phrase = phrase or describe(view, referent, wording, rng)
            if phrase is None:
                break
            if phrase.text not in texts:
                texts.add(phrase.text)
                yield _expression(phrase, (referent,), options, rng)
            if len(texts) == per_object:
                break
    has_pair = len(view.certain) > 1 and rng.random() < options.two_targets
    if has_pair and len(referents) > 1:
        one, two = sorted(rng.sample(referents, k=2))
        phrase = describe_two(view, (one, two), wording, rng)
        if phrase is not None:
            yield _expression(phrase, (one, two), options, rng)
    without_referent: set[str] = set()
    for number in range(MAX_NO_TARGET):
        if rng.random() >= options.no_target - number:
            break
        phrase = _without_referent(view, wording, rng)
        if phrase is not None and phrase.text not in without_referent:
            without_referent.add(phrase.text)
            yield _expression(phrase, (), options, rng)
    for number in range(MAX_NO_TARGET if referents else 0):
        if rng.random() >= options.exchanged - number:
            return
        pair = describe_exchanged(view, rng.choice(referents), wording, rng)
        if pair is not None and pair.wrong.text not in without_referent:
            without_referent.add(pair.wrong.text)
            changed = _expression(pair.wrong, (), options, rng)
            yield replace(changed, exchanged=pair.exchange, instead_of=pair.right.text)


def traits(expression: Expression, view: View, wording: Wording) -> dict[str, Any]:
    """Facts for breakdowns, ready for JSON."""
    program = expression.phrase.program
    facts: dict[str, Any] = {
        "program": program_text(program),
        "subset": wording.subset,
        "paraphrases": wording.paraphrases,
        "features": _features(program),
        "has_location": bool(LOCATION_WORDS & set(expression.phrase.text.split())),
        "is_noisy": expression.text != expression.phrase.text,
        "num_words": len(expression.text.split()),
        "targets": list(expression.targets),
        "area": round(sum(view.seen[index].area for index in expression.targets), 5),
    }
    if expression.exchanged:
        facts |= {"exchanged": expression.exchanged, "instead_of": expression.instead_of}
    if len(expression.targets) == 1:
        (target,) = expression.targets
        thing = view.things[target]
        same = [index for index in view.possible if view.things[index].kind == thing.kind]
        facts |= {"kind": thing.kind, "colour": thing.colour, "same_kind": len(same), "size": thing.size}
        facts["visible"] = round(view.seen[target].fraction, 4)
    return facts


def _without_referent(view: View, wording: Wording, rng: Random) -> Phrase | None:
    """A phrase that selects nothing: a colour and a kind that do not occur together, or a thing with one fact changed.

    It never names a held-out pair of kind and colour: a model would learn from it that the pair does not exist.
    """
    for _ in range(ATTEMPTS):
        make = describe_nothing if rng.random() < 0.5 else _describe_changed
        phrase = make(view, wording, rng)
        if phrase is not None and selects(phrase.program, view, frozenset()) and not names_held_out(phrase.program):
            return phrase
    return None


def _describe_changed(view: View, wording: Wording, rng: Random) -> Phrase | None:
    """A phrase that would select one thing of the view if its kind or colour were another; it may have any form."""
    if not view.certain:
        return None
    index = rng.choice(sorted(view.certain))
    thing = view.things[index]
    if wording.colours and rng.random() < 0.5:
        changed = replace(thing, colour=rng.choice(COLOURS))
    else:
        changed = replace(thing, kind=rng.choice(KINDS), state="", carried=())
    if is_held_out(changed.kind, changed.colour):
        return None
    things = (*view.things[:index], changed, *view.things[index + 1 :])
    return describe(replace(view, scene=replace(view.scene, things=things), cache={}), index, wording, rng)


def _expression(phrase: Phrase, targets: tuple[int, ...], options: ExpressionOptions, rng: Random) -> Expression:
    text = add_noise(phrase.text, rng, options.typos, options.slang)
    return Expression(text=text, phrase=phrase, targets=targets)


def _features(program: Program) -> list[str]:
    """The kinds of reasoning that a program needs."""
    found = set()
    for node in nodes(program):
        if isinstance(node, Related | Closest):
            found.add("relation")
        if isinstance(node, Rank):
            found.add("ordinal" if node.place > 1 else "superlative")
            if node.place == 1 and node.order in ("leftmost", "rightmost"):
                found.add("leftmost or rightmost")  # a network that cannot tell left from right fails on these
        if isinstance(node, Hidden) or (isinstance(node, Related) and node.relation == "hidden_by"):
            found.add("occlusion")
        if isinstance(node, Not):
            found.add("negation")
        if isinstance(node, Middle):
            found.add("superlative")
        if isinstance(node, Or):
            found.add("two targets")
        if isinstance(node, Does | Passes):
            found.add("motion")
    return sorted(found)
