"""Expressions for a view that refer to exactly one of its things, to two, or to none.

Candidate phrases are sampled and kept if their program selects exactly the referent; of those that are kept, the one
nearest to a random length is returned.
"""

import re
from collections.abc import Collection
from random import Random

from ..scene.domains import SubsetName, is_held_out
from ..scene.scenes import COLOURS, Colour, Thing
from ..scene.view import View
from . import templates, vocabulary
from .candidates import Candidates, Wording
from .phrases import Phrase, WordSampler, noun_phrase, plural
from .programs import Is, Or, Program, nodes, selects

# Probabilities of 1, 2, 3 … words; the mean is 3.5 in RefCOCO and 8.4 in RefCOCOg.
LENGTHS: dict[SubsetName, tuple[float, ...]] = {
    "toyland": (0.09, 0.26, 0.24, 0.17, 0.11, 0.07, 0.04, 0.02),
    "toyland+": (0.04, 0.18, 0.25, 0.2, 0.15, 0.1, 0.06, 0.02),
    "toyland-g": (0, 0, 0.02, 0.04, 0.07, 0.11, 0.14, 0.14, 0.13, 0.11, 0.1, 0.07, 0.04, 0.03),
}
NUM_CANDIDATES, NUM_KEPT = 24, 4


def describe(
    view: View, referent: int, wording: Wording, rng: Random, forms: Collection[str] | None = None
) -> Phrase | None:
    """A phrase for one thing, of any form or of some, or None where all candidates are ambiguous."""
    if referent not in view.certain:
        return None
    lengths = LENGTHS[wording.subset]
    length = rng.choices(range(1, len(lengths) + 1), lengths)[0]
    kept: list[Phrase] = []
    for phrase in Candidates(view, referent, wording, rng).sample(NUM_CANDIDATES, forms):
        if selects(phrase.program, view, frozenset({referent})) and is_allowed(phrase.text, wording.subset):
            kept.append(phrase)
            if len(kept) == NUM_KEPT:
                break
    return min(kept, key=lambda phrase: abs(len(phrase.text.split()) - length), default=None)


def describe_two(view: View, referents: tuple[int, int], wording: Wording, rng: Random) -> Phrase | None:
    """A phrase for two things together."""
    words = wording.sampler(rng)
    one, two = (view.things[referent] for referent in referents)
    targets = frozenset(referents)
    if one.kind == two.kind and selects(Is("kind", one.kind), view, targets):
        head = noun_phrase(words, one, ())
        template = words.sample_uniformly(templates.PAIRS["both"])
        return Phrase(template.format(plural=plural(head.text)), head.program)
    first, second = (_shortest_name(view, referent, words, wording) for referent in referents)
    if first is None or second is None:
        return None
    template = words.sample_uniformly(templates.PAIRS["listed"])
    pair = Phrase(template.format(one=first.text, two=second.text), Or(first.program, second.program))
    return pair if selects(pair.program, view, targets) else None


def describe_nothing(view: View, wording: Wording, rng: Random) -> Phrase | None:
    """A colour and a kind that do not occur together in the view, one of them from a thing of the view."""
    words = wording.sampler(rng)
    for _ in range(NUM_CANDIDATES):
        kind_from, colour_from = rng.choice(view.things), rng.choice(view.things)
        colour = rng.choice(COLOURS)
        if rng.random() < 0.5 or not wording.colours:
            kind = rng.choice(tuple(vocabulary.KIND_WORDS))
            head = noun_phrase(words, _absent(kind, colour_from.colour), ("colour",) * wording.colours)
        else:
            head = noun_phrase(words, _absent(kind_from.kind, colour), ("colour",))
        text = f"the {head.text}" if words.full else head.text
        if selects(head.program, view, frozenset()) and is_allowed(text, wording.subset):
            return Phrase(text, head.program)
    return None


def is_allowed(text: str, subset: SubsetName) -> bool:
    """Whether a subset may contain this text: `toyland+` has no words for locations."""
    return subset != "toyland+" or not vocabulary.LOCATION_WORDS & set(re.findall(r"[\w-]+", text))


def names_held_out(program: Program) -> bool:
    """Whether a kind and a colour of the program are a held-out pair: a model would learn that it does not exist."""
    facts = [node for node in nodes(program) if isinstance(node, Is)]
    kinds, colours = ([fact.value for fact in facts if fact.attribute == name] for name in ("kind", "colour"))
    return any(is_held_out(kind, colour) for kind in kinds for colour in colours)


def _absent(kind: str, colour: Colour) -> Thing:
    """A thing that is in no scene, to name it."""
    return Thing(kind=kind, colour=colour, size="medium", x=0.5, y=0.5, scale=0.2, depth=0.5)


def _shortest_name(view: View, index: int, words: WordSampler, wording: Wording) -> Phrase | None:
    """The thing by its kind, with its colour or pattern where the kind alone is ambiguous."""
    thing = view.things[index]
    tries: list[tuple[str, ...]] = [(), ("colour",) * wording.colours]
    if thing.pattern != "plain":
        tries.append(("pattern",))
    names = (noun_phrase(words, thing, attributes) for attributes in tries)
    return next((name for name in names if selects(name.program, view, frozenset({index}))), None)
