"""Noun phrases: words for a thing and some of its attributes, each with the program of the same meaning."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import reduce
from random import Random
from typing import Literal, get_args

from ..scene.kinds import FAMILY_OF
from ..scene.scenes import Thing
from . import vocabulary
from .programs import And, Everything, Is, Program
from .vocabulary import Words

Paraphrases = Literal["training", "held-out"]
PARAPHRASES: tuple[Paraphrases, ...] = get_args(Paraphrases)

FACING_KINDS = frozenset({"cat", "dog", "bird", "fish", "rabbit", "turtle", "horse", "car", "truck", "plane", "train"})
PARTICIPLES = frozenset({"sitting", "standing", "flying", "running", "waving", "crawling"})
AFTER_THE_NOUN = ("with ", "on ", "in ", "not ", "turned ", "switched ", "saying ")


@dataclass(frozen=True)
class Phrase:
    """Words, and the program of the same meaning."""

    text: str
    program: Program


@dataclass(frozen=True)
class WordSampler:
    """Chooses words at random: the usual one more often, or held-out ones wherever there are any.

    `full` is for the full sentences of `toyland-g`.
    """

    rng: Random
    full: bool
    paraphrases: Paraphrases = "training"

    def sample(self, words: Words) -> str:
        """One of the words; the first one with a probability of at least 0.45."""
        if self.paraphrases == "held-out" and words.held_out:
            return self.rng.choice(words.held_out)
        if len(words.training) == 1 or self.rng.random() < 0.45:
            return words.training[0]
        return self.rng.choice(words.training)

    def sample_uniformly(self, words: Words) -> str:
        held_out = self.paraphrases == "held-out" and words.held_out
        return self.rng.choice(words.held_out if held_out else words.training)


def attributes_of(thing: Thing) -> tuple[str, ...]:
    """The attributes that an expression could mention beside the kind."""
    attributes = ["colour"]
    if thing.pattern != "plain":
        attributes.append("pattern")
    if thing.state in vocabulary.STATE_WORDS:
        attributes.append("state")
    if thing.kind in FACING_KINDS:
        attributes.append("facing")
    if thing.carried:
        attributes.append("carried")
    return tuple(attributes)


def noun_phrase(words: WordSampler, thing: Thing, attributes: Collection[str], noun: str = "kind") -> Phrase:
    """The thing by its kind, by its family, or as "thing" or "one", with the given attributes and no article."""
    head, program = _noun(words, thing, noun)
    parts: list[Program] = [program] if not isinstance(program, Everything) else []
    before: list[str] = []
    after: list[str] = []
    carried = words.rng.choice(thing.carried) if "carried" in attributes else ""
    for attribute in ("pattern", "colour", "state", "facing", "carried"):
        if attribute in attributes:
            parts.append(Is(attribute, carried if attribute == "carried" else getattr(thing, attribute)))
    clothes = _clothes(words, thing, attributes)
    if clothes:
        (after if clothes.split()[0] in {"in", "wearing", "dressed"} else before).append(clothes)
    elif FAMILY_OF[thing.kind] != "people":
        if "pattern" in attributes:
            _place(before, after, words.sample(vocabulary.PATTERN_WORDS[thing.pattern]))
        if "colour" in attributes:
            _place(before, after, words.sample(vocabulary.COLOUR_WORDS[thing.colour]))
    if "state" in attributes:
        word = words.sample(vocabulary.STATE_WORDS[thing.state])
        if thing.state in PARTICIPLES and (words.full or words.rng.random() < 0.6):
            after.append(f"that is {word}" if words.full and words.rng.random() < 0.5 else word)
        else:
            _place(before, after, word)
    if "carried" in attributes:
        table = vocabulary.CARRIED_CLAUSES if words.full else vocabulary.CARRIED_WORDS
        after.append(words.sample_uniformly(table[carried]))
    if "facing" in attributes:
        after.append(words.sample(vocabulary.FACING_WORDS[thing.facing]))
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


def _noun(words: WordSampler, thing: Thing, noun: str) -> tuple[str, Program]:
    if noun == "kind":
        return words.sample(vocabulary.KIND_WORDS[thing.kind]), Is("kind", thing.kind)
    family = FAMILY_OF[thing.kind]
    if noun == "family" and family in vocabulary.FAMILY_WORDS:
        return words.sample(vocabulary.FAMILY_WORDS[family]), Is("family", family)
    return words.sample(vocabulary.ONE if noun == "one" else vocabulary.ANYTHING), Everything()


def _clothes(words: WordSampler, thing: Thing, attributes: Collection[str]) -> str:
    """What people wear, such as "in red" or "in striped clothes"; empty for other things."""
    if FAMILY_OF[thing.kind] != "people" or not {"colour", "pattern"} & set(attributes):
        return ""
    adjectives = []
    if "pattern" in attributes:
        adjectives.append(_before_noun(words, vocabulary.PATTERN_WORDS[thing.pattern]))
    if "colour" in attributes:
        adjectives.append(_before_noun(words, vocabulary.COLOUR_WORDS[thing.colour]))
    if "colour" not in attributes or (len(adjectives) == 2 and words.paraphrases == "training"):
        return f"in {' '.join(adjectives)} {words.rng.choice(('clothes', 'clothing'))}"
    template = words.sample_uniformly(vocabulary.FULL_CLOTHES if words.full else vocabulary.CLOTHES)
    return template.format(colour=" ".join(adjectives))


def _before_noun(words: WordSampler, adjectives: Words) -> str:
    """A word that can stand before "shirt", even where the sampled paraphrase cannot."""
    word = words.sample(adjectives)
    if word.endswith("ish"):
        return adjectives.training[0]  # "in a bluish shirt" is unusual
    return adjectives.held_out[0] if word.startswith(AFTER_THE_NOUN) else word


def _place(before: list[str], after: list[str], word: str) -> None:
    (after if word.startswith(AFTER_THE_NOUN) else before).append(word)
