"""Sentences about motion that refer to exactly one thing of a clip, and whether other sentences hold in all of it."""

from collections.abc import Sequence
from random import Random

from ..scene.kinds import FAMILY_OF
from ..scene.view import View
from . import vocabulary
from .candidates import Wording
from .grammar import describe, is_allowed
from .motion_words import EVENT_TEMPLATES, PASSING_TEMPLATES, VERBS, Form
from .phrases import Phrase, WordSampler, noun_phrase
from .programs import And, Does, Event, Passes, Passing, Program, nodes, selects

NUM_CANDIDATES = 16
ATTRIBUTES = ("colour", "pattern", "carried")  # which no motion changes, unlike the side that a thing faces
# Rarely true of a thing, hence better descriptions than those that are often true.
WEIGHTS: dict[Event, int] = {
    "moves": 2, "rests": 1, "stops": 4, "starts": 4, "turns": 4, "leaves": 3, "departs": 3, "nearer": 4, "jumps": 4,
    "to_left": 2, "to_right": 2,
}  # fmt: skip


def describe_motion(view: View, referent: int, action: str, wording: Wording, rng: Random) -> Phrase | None:
    """A sentence about what one thing does in a clip, or None where all candidates are ambiguous.

    `view` is that of the whole clip. Sentences that need their motion to be unambiguous are preferred;
    a sentence says that a thing rests only if it is ambiguous otherwise.
    """
    words = wording.sampler(rng)
    kept: list[Phrase] = []
    for _ in range(NUM_CANDIDATES):
        phrase = _candidate(view, referent, action, wording, words)
        if phrase is None:
            return None
        if not selects(phrase.program, view, frozenset({referent})) or not is_allowed(phrase.text, wording.subset):
            continue
        if needs_motion(phrase.program, view):
            return phrase
        if not _is_about_rest(phrase.program):
            kept.append(phrase)
    return kept[0] if kept else None


def describe_throughout(
    views: Sequence[View], frame: int, referent: int, wording: Wording, rng: Random
) -> Phrase | None:
    """A sentence as of an image, about one frame, that selects nothing else on any other frame of the clip."""
    phrase = describe(views[frame], referent, wording, rng)
    if phrase is None or not all(phrase.program.select(view).possible <= {referent} for view in views):
        return None
    return phrase


def needs_motion(program: Program, view: View) -> bool:
    """Whether the sentence without its motion, the noun and its attributes alone, would refer to several things."""
    of = next((part for part in _noun_parts(program)), None)
    return is_about_motion(program) and (of is None or len(of.select(view).possible) > 1)


def is_about_motion(program: Program) -> bool:
    return any(isinstance(node, Does | Passes) for node in nodes(program))


def _is_about_rest(program: Program) -> bool:
    return Does("rests") in nodes(program)


def _noun_parts(program: Program) -> list[Program]:
    if isinstance(program, Passes):
        return [program.of]
    return [program.one] if isinstance(program, And) and isinstance(program.two, Does) else []


def _candidate(view: View, referent: int, action: str, wording: Wording, words: WordSampler) -> Phrase | None:
    """None where the thing does nothing."""
    assert view.observed is not None
    events = [event for event in WEIGHTS if referent in view.observed.events[event][0]]
    passed = {
        (passing, other)
        for passing in PASSING_TEMPLATES["full"]
        for one, other in view.observed.passes[passing][0]
        if one == referent
    }
    if not events and not passed:
        return None
    head = _noun(view, referent, wording, words)
    form: Form = "full" if words.full else "short"
    present, gerund, base = VERBS[action]
    verbs = {"v": present, "g": gerund, "b": base}
    if passed and (not events or words.rng.random() < 0.45):
        passing, other = words.rng.choice(sorted(passed))
        return _passing(view, head, passing, other, wording, words, verbs, form)
    (event,) = words.rng.choices(events, [WEIGHTS[event] for event in events])
    text = words.sample_uniformly(EVENT_TEMPLATES[form][event]).format(np=head.text, **verbs)
    return Phrase(_who(text, view, referent, words), And(head.program, Does(event)))


def _passing(
    view: View,
    head: Phrase,
    passing: Passing,
    other: int,
    wording: Wording,
    words: WordSampler,
    verbs: dict[str, str],
    form: Form,
) -> Phrase:
    anchor = _noun(view, other, wording, words)
    text = words.sample_uniformly(PASSING_TEMPLATES[form][passing]).format(np=head.text, other=anchor.text, **verbs)
    return Phrase(text, Passes(head.program, passing, anchor.program))


def _noun(view: View, index: int, wording: Wording, words: WordSampler) -> Phrase:
    """The thing by its kind or family, mostly with one attribute or none."""
    thing, rng = view.things[index], words.rng
    possible = [name for name in ATTRIBUTES if name != "colour" or wording.colours]
    possible = [name for name in possible if name != "pattern" or thing.pattern != "plain"]
    possible = [name for name in possible if name != "carried" or thing.carried]
    number = rng.choices((0, 1, 2), (0.5, 0.4, 0.1))[0]
    attributes = rng.sample(possible, k=min(number, len(possible)))
    has_family = FAMILY_OF[thing.kind] in vocabulary.FAMILY_WORDS
    return noun_phrase(words, thing, attributes, "family" if has_family and rng.random() < 0.2 else "kind")


def _who(text: str, view: View, index: int, words: WordSampler) -> str:
    """Of people mostly "who" instead of "that"."""
    is_person = FAMILY_OF[view.things[index].kind] == "people"
    return text.replace(" that ", " who ", 1) if is_person and words.rng.random() < 0.7 else text
