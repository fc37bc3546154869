"""A speaker who looks at a view and says what would make a listener pick exactly one of its things.

Shapes of sentences are proposed by lot, each with its program; a sentence is kept only if the program clearly
picks the referent, and among those that are kept the one nearest to a length drawn for the register is said.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import cast

from . import templates, vocabulary
from .phrases import Paraphrases, Phrase, Register, Voice, attributes_of, noun_phrase, plural
from .programs import (
    And,
    At,
    Closest,
    Found,
    Hidden,
    Is,
    Middle,
    Not,
    Or,
    Order,
    Program,
    Rank,
    Related,
    Relation,
    Side,
    holds,
)
from .scenes import COLOURS, FAMILY_OF, Colour, Thing
from .view import View

# How many words people use, as shares of 1, 2, 3 … : RefCOCO's mean is 3.5 and RefCOCOg's is 8.4.
LENGTHS: dict[Register, tuple[float, ...]] = {
    "toyland": (0.09, 0.26, 0.24, 0.17, 0.11, 0.07, 0.04, 0.02),
    "toyland+": (0.04, 0.18, 0.25, 0.2, 0.15, 0.1, 0.06, 0.02),
    "toyland-g": (0, 0, 0.02, 0.04, 0.07, 0.11, 0.14, 0.14, 0.13, 0.11, 0.1, 0.07, 0.04, 0.03),
}
SHAPES: dict[Register, dict[str, float]] = {
    "toyland": {
        "plain": 6,
        "side": 5,
        "order": 3,
        "ordinal": 3,
        "middle": 1,
        "corner": 1.5,
        "size": 1.5,
        "related": 5,
        "closest": 0.5,
        "hidden": 0.3,
        "negation": 0.3,
    },
    "toyland+": {"plain": 9, "size": 2, "hidden": 0.7, "negation": 0.7, "only": 0.3},
    "toyland-g": {
        "plain": 4,
        "side": 2,
        "order": 1.5,
        "ordinal": 3,
        "middle": 0.7,
        "size": 1.5,
        "related": 6,
        "closest": 1.5,
        "hidden": 1.2,
        "negation": 1.2,
    },
}
ATTEMPTS, ENOUGH = 24, 4
RELATIONS: tuple[Relation, ...] = (
    "left_of",
    "right_of",
    "above",
    "below",
    "behind",
    "in_front_of",
    "next_to",
    "hidden_by",
)


@dataclass(frozen=True, kw_only=True)
class Speech:
    """How to speak: the register, the list of paraphrases, and whether colours show in this style at all."""

    register: Register = "toyland"
    paraphrases: Paraphrases = "training"
    colours: bool = True


def means(program: Program, view: View, targets: frozenset[int]) -> bool:
    """Whether a program picks exactly these things, without any doubt."""
    found = program.find(view)
    return found.clear and found.sure == targets


def describe(view: View, referent: int, speech: Speech, chance: Random) -> Phrase | None:
    """One expression for one thing, or None where none of the sentences tried is clear."""
    if referent not in view.sure:
        return None
    wanted = chance.choices(range(1, len(LENGTHS[speech.register]) + 1), LENGTHS[speech.register])[0]
    speaker = Speaker(view, referent, speech, chance)
    kept: list[Phrase] = []
    for phrase in speaker.proposals(ATTEMPTS):
        if means(phrase.program, view, frozenset({referent})) and _fits(phrase.text, speech.register):
            kept.append(phrase)
            if len(kept) == ENOUGH:
                break
    return min(kept, key=lambda phrase: abs(len(phrase.text.split()) - wanted), default=None)


def describe_two(view: View, referents: tuple[int, int], speech: Speech, chance: Random) -> Phrase | None:
    """One expression for two things at once."""
    voice = Voice(chance, speech.register == "toyland-g", speech.paraphrases)
    one, two = (view.things[referent] for referent in referents)
    targets = frozenset(referents)
    if one.kind == two.kind and means(Is("kind", one.kind), view, targets):
        head = noun_phrase(voice, one, ())
        return Phrase(voice.say_evenly(templates.PAIRS["both"]).format(plural=plural(head.text)), head.program)
    first, second = (_shortest_name(view, referent, voice, speech) for referent in referents)
    if first is None or second is None:
        return None
    pair = Phrase(
        voice.say_evenly(templates.PAIRS["listed"]).format(one=first.text, two=second.text),
        Or(first.program, second.program),
    )
    return pair if means(pair.program, view, targets) else None


def describe_nothing(view: View, speech: Speech, chance: Random) -> Phrase | None:
    """An expression that fits this world but nothing in this view: a thing that is there, with one thing changed."""
    voice = Voice(chance, speech.register == "toyland-g", speech.paraphrases)
    for _ in range(ATTEMPTS):
        thing = chance.choice(view.things)
        stranger = chance.choice(view.things)
        kinds = tuple(vocabulary.KIND_WORDS)
        colour = chance.choice(COLOURS)
        if chance.random() < 0.5 or not speech.colours:
            head = noun_phrase(voice, _absent(chance.choice(kinds), stranger.colour), ("colour",) * speech.colours)
        else:
            head = noun_phrase(voice, _absent(thing.kind, colour), ("colour",))
        text = f"the {head.text}" if voice.full else head.text
        if means(head.program, view, frozenset()) and _fits(text, speech.register):
            return Phrase(text, head.program)
    return None


@dataclass(frozen=True)
class Speaker:
    """Proposes phrases for one thing of a view; whether a phrase is clear is not its business."""

    view: View
    referent: int
    speech: Speech
    chance: Random

    @property
    def voice(self) -> Voice:
        return Voice(self.chance, self.full, self.speech.paraphrases)

    @property
    def full(self) -> bool:
        return self.speech.register == "toyland-g"

    def proposals(self, number: int) -> Iterator[Phrase]:
        shapes = SHAPES[self.speech.register]
        makers: dict[str, Callable[[], Phrase | None]] = {
            "plain": self._plain,
            "side": self._side,
            "order": self._order,
            "ordinal": self._ordinal,
            "middle": self._middle,
            "corner": self._corner,
            "size": self._size,
            "related": self._related,
            "closest": self._closest,
            "hidden": self._hidden,
            "negation": self._negation,
            "only": self._only,
        }
        for shape in self.chance.choices(tuple(shapes), tuple(shapes.values()), k=number):
            phrase = makers[shape]()
            if phrase is not None:
                yield phrase

    def _head(self, most: int = 2) -> Phrase:
        """The referent's noun phrase with up to `most` attributes."""
        thing = self.view.things[self.referent]
        spoken = [name for name in attributes_of(thing) if self._may_say(name)]
        number = min(len(spoken), self.chance.choices(range(most + 1), (5, 5, 2, 1)[: most + 1])[0])
        weights = {"colour": 4.0, "pattern": 2.0, "state": 1.5, "facing": 0.7, "carried": 2.0}
        attributes: set[str] = set()
        while len(attributes) < number:
            attributes.add(self.chance.choices(spoken, [weights[name] for name in spoken])[0])
        # People are nobody's "red one": their clothes have a colour, they have not.
        is_person = FAMILY_OF[thing.kind] == "people"
        one = 1 if attributes and not self.full and not is_person else 0
        noun = self.chance.choices(("kind", "family", "one"), (12, 8 if is_person else 2, one))[0]
        return noun_phrase(self.voice, thing, attributes, noun)

    def _may_say(self, attribute: str) -> bool:
        if attribute == "colour":
            return self.speech.colours
        return attribute != "facing" or self.speech.register != "toyland+"

    def _fill(self, shape: str, head: Phrase, program: Program, **words: str) -> Phrase:
        table = templates.FULL if self.full else templates.SHORT
        template = self.voice.say_evenly(table[shape])
        return Phrase(_with_articles(template.format(np=head.text, **words)), program)

    def _rivals(self, head: Phrase) -> int:
        """How many things the head fits; none where that is not clear, for then nobody would count them."""
        found = head.program.find(self.view)
        return len(found.sure) if found.clear else 0

    def _counted(self, head: Phrase) -> dict[str, str]:
        """The words for a head's number and plural; a head that goes on after its noun has only a kind's plural."""
        kind = self.view.things[self.referent].kind
        bare = noun_phrase(self.voice, self.view.things[self.referent], ())
        head_ends = head.text.split()[-1] in {
            word for way in vocabulary.KIND_WORDS[kind].training for word in way.split()
        }
        number = vocabulary.NUMBERS.get(self._rivals(head), "many")
        return {"number": number, "plural": plural(head.text if head_ends else bare.text)}

    def _plain(self) -> Phrase:
        head = self._head(3)
        return self._fill("plain", head, head.program)

    def _only(self) -> Phrase:
        head = self._head(1)
        return self._fill("only", head, head.program)

    def _side(self) -> Phrase | None:
        head = self._head(1)
        side: Side = "left" if self.view.seen[self.referent].x < 0.5 else "right"
        several = len(head.program.find(self.view).maybe) > 1
        if several and self.chance.random() < 0.5:
            # "The left dog" may stand in the right half; "the dog on the far left of the picture" may not.
            named = side if self.full else self.chance.choice(("left", "right"))
            order: Order = "leftmost" if named == "left" else "rightmost"
            words = {"side": order.removesuffix("most")}
            return self._fill("side_most", head, Rank(head.program, order), **words, **self._counted(head))
        edge: Order = "leftmost" if side == "left" else "rightmost"
        program = And(Rank(head.program, edge), At(side)) if several else And(head.program, At(side))
        return self._fill("side_at", head, program, side=side)

    def _order(self) -> Phrase | None:
        head = self._head(1)
        vertical: Order = "topmost" if self.view.seen[self.referent].y < 0.5 else "bottommost"
        orders: tuple[Order, ...] = (vertical, "nearest", "farthest")
        order = self.chance.choice(orders)
        several = len(head.program.find(self.view).maybe) > 1
        return self._fill(order, head, Rank(head.program, order)) if several else None

    def _ordinal(self) -> Phrase | None:
        head = self._head(1)
        if (rivals := self._rivals(head)) < 2:
            return None
        place = self.chance.randint(1, min(rivals, 4))
        side = self.chance.choice(("left", "right"))
        order: Order = "leftmost" if side == "left" else "rightmost"
        ordinal = self.voice.say(vocabulary.ORDINALS[place])
        return self._fill("ordinal", head, Rank(head.program, order, place), ordinal=ordinal, side=side)

    def _middle(self) -> Phrase | None:
        head = self._head(1)
        if self._rivals(head) < 3:
            return None
        return self._fill("middle", head, Middle(head.program), **self._counted(head))

    def _corner(self) -> Phrase:
        head, seen = self._head(1), self.view.seen[self.referent]
        height: Side = "top" if seen.y < 0.5 else "bottom"
        side: Side = "left" if seen.x < 0.5 else "right"
        program = And(And(head.program, At(height)), At(side))
        return self._fill("corner", head, program, height=height, side=side)

    def _size(self) -> Phrase | None:
        head = self._head(1)
        order: Order = self.chance.choice(("biggest", "smallest"))
        if self._rivals(head) < 2:
            return None
        counted = self._counted(head)
        size = self.voice.say(vocabulary.SIZE_WORDS[order])
        if self.full:
            compare = {"biggest": ("biggest", "largest"), "smallest": ("smallest", "littlest")}
            size = self.chance.choice(compare[order])
        return self._fill("size", head, Rank(head.program, order), size=size, **counted)

    def _other(self, index: int) -> Phrase:
        """Another thing's name with its article: "the" where the name fits nothing else."""
        thing = self.view.things[index]
        spoken = [name for name in ("colour", "pattern") if name in attributes_of(thing) and self._may_say(name)]
        attributes = self.chance.sample(spoken, k=min(len(spoken), self.chance.choices((0, 1, 2), (6, 4, 1))[0]))
        name = noun_phrase(self.voice, thing, attributes)
        found = name.program.find(self.view)
        if self.full:
            return Phrase(f"{'the' if _single(found) else 'a'} {name.text}", name.program)
        return Phrase(f"the {name.text}" if self.chance.random() < 0.25 else name.text, name.program)

    def _relations(self) -> list[tuple[Relation, int]]:
        """How the referent surely stands to other things."""
        question = ("relations", self.referent)
        if question not in self.view.memory:
            self.view.memory[question] = [
                (relation, other)
                for relation in RELATIONS
                for other in sorted(self.view.sure - {self.referent})
                if holds(self.view, self.referent, relation, other)[0]
            ]
        return cast(list[tuple[Relation, int]], self.view.memory[question])

    def _related(self) -> Phrase | None:
        options = self._relations()
        if not options:
            return None
        relation, index = self.chance.choice(options)
        head, other = self._head(1), self._other(index)
        if not self.full and not _single(other.program.find(self.view)):
            return None  # "left of the cat" where there are two cats
        words = {"relation": self.voice.say(vocabulary.RELATION_WORDS[relation]), "other": other.text}
        return self._fill("related", head, Related(head.program, relation, other.program), **words)

    def _closest(self) -> Phrase | None:
        others = sorted(self.view.sure - {self.referent})
        head = self._head(1)
        if not others or self._rivals(head) < 2:
            return None
        other = self._other(self.chance.choice(others))
        if not _single(other.program.find(self.view)):
            return None
        words = {"other": other.text, **self._counted(head)}
        return self._fill("closest", head, Closest(head.program, other.program), **words)

    def _hidden(self) -> Phrase:
        head = self._head(1)
        return self._fill("hidden", head, And(head.program, Hidden()))

    def _negation(self) -> Phrase | None:
        """A quality that the referent lacks and another thing of its name has."""
        head = noun_phrase(self.voice, self.view.things[self.referent], ())
        rivals = sorted(head.program.find(self.view).maybe - {self.referent})
        if not rivals or not self.speech.colours:
            return None
        colour = self.view.things[self.chance.choice(rivals)].colour
        quality = self.voice.say(vocabulary.COLOUR_WORDS[colour])
        if self.view.things[self.referent].kind in ("adult", "baby"):
            quality = f"in {quality}"
        return self._fill("negation", head, And(head.program, Not(Is("colour", colour))), quality=quality)


def _absent(kind: str, colour: Colour) -> Thing:
    """A thing to speak of that stands in no scene."""
    return Thing(kind=kind, colour=colour, size="medium", x=0.5, y=0.5, scale=0.2, depth=0.5)


def _shortest_name(view: View, index: int, voice: Voice, speech: Speech) -> Phrase | None:
    """The thing by its kind, or with its colour or pattern where the kind is not enough."""
    thing = view.things[index]
    tries: list[tuple[str, ...]] = [(), ("colour",) * speech.colours]
    if thing.pattern != "plain":
        tries.append(("pattern",))
    names = (noun_phrase(voice, thing, attributes) for attributes in tries)
    return next((name for name in names if means(name.program, view, frozenset({index}))), None)


def _single(found: Found) -> bool:
    return found.clear and len(found.sure) == 1


def _with_articles(text: str) -> str:
    return re.sub(r"\ba (?=[aeiou])", "an ", text)


def _fits(text: str, register: Register) -> bool:
    """Whether a register may say this: `toyland+` says nothing about where a thing is."""
    return register != "toyland+" or not vocabulary.LOCATION_WORDS & set(re.findall(r"[\w-]+", text))
