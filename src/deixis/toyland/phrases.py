"""Noun phrases: words for a thing and some of its attributes, each with the program that means the same."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import reduce
from random import Random
from typing import Literal

from . import vocabulary
from .domains import Register as Register
from .programs import And, Everything, Is, Program
from .scenes import FAMILY_OF, Thing
from .vocabulary import Words

Paraphrases = Literal["training", "held-out"]

FACING_KINDS = frozenset({"cat", "dog", "bird", "fish", "rabbit", "turtle", "horse", "car", "truck", "plane", "train"})
PARTICIPLES = frozenset({"sitting", "standing", "flying", "running", "waving", "crawling"})
AFTER_THE_NOUN = ("with ", "on ", "in ", "not ", "turned ", "switched ", "saying ")


@dataclass(frozen=True)
class Phrase:
    """Words, and the program that they stand for."""

    text: str
    program: Program


@dataclass(frozen=True)
class Voice:
    """Chooses words by lot: the usual one often, the others now and then; or held-out ones wherever there are any."""

    chance: Random
    full: bool
    paraphrases: Paraphrases = "training"

    def say(self, words: Words) -> str:
        if self.paraphrases == "held-out" and words.held_out:
            return self.chance.choice(words.held_out)
        if len(words.training) == 1 or self.chance.random() < 0.45:
            return words.training[0]
        return self.chance.choice(words.training)

    def say_evenly(self, words: Words) -> str:
        """The same without favouring the first: for templates, which have no usual one."""
        held_out = self.paraphrases == "held-out" and words.held_out
        return self.chance.choice(words.held_out if held_out else words.training)


def attributes_of(thing: Thing) -> tuple[str, ...]:
    """What could be said of a thing beside its kind."""
    named = ["colour"]
    if thing.pattern != "plain":
        named.append("pattern")
    if thing.state in vocabulary.STATE_WORDS:
        named.append("state")
    if thing.kind in FACING_KINDS:
        named.append("facing")
    if thing.carried:
        named.append("carried")
    return tuple(named)


def noun_phrase(voice: Voice, thing: Thing, attributes: Collection[str], noun: str = "kind") -> Phrase:
    """The thing by its kind, its family, or as a "thing", with the given attributes; no article."""
    head, program = _noun(voice, thing, noun)
    parts: list[Program] = [program] if not isinstance(program, Everything) else []
    before: list[str] = []
    after: list[str] = []
    carried = voice.chance.choice(thing.carried) if "carried" in attributes else ""
    for attribute in ("pattern", "colour", "state", "facing", "carried"):
        if attribute in attributes:
            value = carried or str(getattr(thing, attribute)) if attribute == "carried" else getattr(thing, attribute)
            parts.append(Is(attribute, value))
    clothes = _clothes(voice, thing, attributes)
    if clothes:
        (after if clothes.split()[0] in {"in", "wearing", "dressed"} else before).append(clothes)
    elif FAMILY_OF[thing.kind] != "people":
        _place(before, after, voice.say(vocabulary.PATTERN_WORDS[thing.pattern]) if "pattern" in attributes else "")
        _place(before, after, voice.say(vocabulary.COLOUR_WORDS[thing.colour]) if "colour" in attributes else "")
    if "state" in attributes:
        word = voice.say(vocabulary.STATE_WORDS[thing.state])
        if thing.state in PARTICIPLES and (voice.full or voice.chance.random() < 0.6):
            after.append(f"that is {word}" if voice.full and voice.chance.random() < 0.5 else word)
        else:
            _place(before, after, word)
    if "carried" in attributes:
        table = vocabulary.CARRIED_CLAUSES if voice.full else vocabulary.CARRIED_WORDS
        after.append(voice.say_evenly(table[carried]))
    if "facing" in attributes:
        after.append(voice.say(vocabulary.FACING_WORDS[thing.facing]))
    return Phrase(" ".join([*before, head, *after]), reduce(And, parts) if parts else Everything())


def plural(noun: str) -> str:
    """The noun phrase with its last word in the plural."""
    if noun.endswith(("fish", "cherries", "trout", "dice")):
        return noun
    if noun.endswith(("s", "ch", "sh", "x")):
        return noun.replace("cactus", "cacti") if noun.endswith("cactus") else noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun.replace("person", "people") if noun.endswith("person") else noun + "s"


def _noun(voice: Voice, thing: Thing, noun: str) -> tuple[str, Program]:
    if noun == "kind":
        return voice.say(vocabulary.KIND_WORDS[thing.kind]), Is("kind", thing.kind)
    family = FAMILY_OF[thing.kind]
    if noun == "family" and family in vocabulary.FAMILY_WORDS:
        return voice.say(vocabulary.FAMILY_WORDS[family]), Is("family", family)
    return voice.say(vocabulary.ONE if noun == "one" else vocabulary.ANYTHING), Everything()


def _clothes(voice: Voice, thing: Thing, attributes: Collection[str]) -> str:
    """People are described by what they wear: "in red", "in striped clothes"."""
    if FAMILY_OF[thing.kind] != "people" or not {"colour", "pattern"} & set(attributes):
        return ""
    words = []
    if "pattern" in attributes:
        words.append(_before_noun(voice, vocabulary.PATTERN_WORDS[thing.pattern]))
    if "colour" in attributes:
        words.append(_before_noun(voice, vocabulary.COLOUR_WORDS[thing.colour]))
    if "colour" not in attributes or (len(words) == 2 and voice.paraphrases == "training"):
        return f"in {' '.join(words)} {voice.chance.choice(('clothes', 'clothing'))}"
    return voice.say_evenly(vocabulary.FULL_CLOTHES if voice.full else vocabulary.CLOTHES).format(
        colour=" ".join(words)
    )


def _before_noun(voice: Voice, words: Words) -> str:
    """A word that can stand before "shirt", even where the paraphrase chosen cannot."""
    word = voice.say(words)
    if word.endswith("ish"):
        return words.training[0]  # nobody says "in a bluish shirt"
    return words.held_out[0] if word.startswith(AFTER_THE_NOUN) else word


def _place(before: list[str], after: list[str], word: str) -> None:
    if word:
        (after if word.startswith(AFTER_THE_NOUN) else before).append(word)
