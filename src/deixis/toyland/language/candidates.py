"""Candidate phrases for one thing of a view, in the forms that a subset uses, each with its program.

A candidate may be ambiguous or false; `grammar` keeps those whose program selects exactly the thing.
"""

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from random import Random
from typing import cast, get_args

from ..scene.domains import SubsetName
from ..scene.kinds import FAMILY_OF
from ..scene.view import View
from . import templates, vocabulary
from .phrases import Paraphrases, Phrase, WordSampler, attributes_of, noun_phrase, plural
from .programs import And, At, Closest, Hidden, Is, Middle, Not, Program, Rank, Related, Side
from .relations import Order, Relation, holds

# The forms of a subset, each with its weight.
FORMS: dict[SubsetName, dict[str, float]] = {
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
RARE = ("ordinal", "negation")  # forms that few things allow and that few sentences have
ATTRIBUTE_WEIGHTS = {"colour": 4.0, "pattern": 2.0, "state": 1.5, "facing": 0.7, "carried": 2.0}
RELATIONS: tuple[Relation, ...] = get_args(Relation)


@dataclass(frozen=True, kw_only=True)
class Wording:
    """The subset whose forms are used, the list of paraphrases, and whether colours may be mentioned."""

    subset: SubsetName = "toyland"
    paraphrases: Paraphrases = "training"
    colours: bool = True

    @property
    def full(self) -> bool:
        return self.subset == "toyland-g"

    def sampler(self, rng: Random) -> WordSampler:
        return WordSampler(rng, self.full, self.paraphrases)


@dataclass(frozen=True)
class Candidates:
    """Random phrases for one thing of a view."""

    view: View
    referent: int
    wording: Wording
    rng: Random

    @property
    def words(self) -> WordSampler:
        return self.wording.sampler(self.rng)

    @property
    def full(self) -> bool:
        return self.wording.full

    def sample(self, number: int, among: Collection[str] | None = None) -> Iterator[Phrase]:
        """At most this many phrases, of all forms or `among` some: a form that does not suit the thing gives none.

        Those of some forms are equally frequent.
        """
        forms = FORMS[self.wording.subset]
        if among is not None:
            forms = dict.fromkeys((form for form in forms if form in among), 1.0)
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
        for form in self.rng.choices(tuple(forms), tuple(forms.values()), k=number):
            phrase = makers[form]()
            if phrase is not None:
                yield phrase

    def _head(self, most: int = 2) -> Phrase:
        """The referent's noun phrase with up to `most` attributes."""
        thing = self.view.things[self.referent]
        allowed = [name for name in attributes_of(thing) if self._may_mention(name)]
        number = min(len(allowed), self.rng.choices(range(most + 1), (5, 5, 2, 1)[: most + 1])[0])
        attributes: set[str] = set()
        while len(attributes) < number:
            attributes.add(self.rng.choices(allowed, [ATTRIBUTE_WEIGHTS[name] for name in allowed])[0])
        # A person is never "the red one": the colour is that of the clothes.
        is_person = FAMILY_OF[thing.kind] == "people"
        one = 1 if attributes and not self.full and not is_person else 0
        noun = self.rng.choices(("kind", "family", "one"), (12, 8 if is_person else 2, one))[0]
        return noun_phrase(self.words, thing, attributes, noun)

    def _may_mention(self, attribute: str) -> bool:
        if attribute == "colour":
            return self.wording.colours
        return attribute != "facing" or self.wording.subset != "toyland+"

    def _fill(self, form: str, head: Phrase, program: Program, **fields: str) -> Phrase:
        table = templates.FULL if self.full else templates.SHORT
        template = self.words.sample_uniformly(table[form])
        return Phrase(_correct_articles(template.format(np=head.text, **fields)), program)

    def _num_selected(self, head: Phrase) -> int:
        """How many things the head selects, or 0 where that is ambiguous."""
        selection = head.program.select(self.view)
        return len(selection.certain) if selection.is_unambiguous else 0

    def _counted(self, head: Phrase) -> dict[str, str]:
        """A head's number and plural in words; the plural of the kind where the head does not end in its noun."""
        thing = self.view.things[self.referent]
        bare = noun_phrase(self.words, thing, ())
        nouns = {word for entry in vocabulary.KIND_WORDS[thing.kind].training for word in entry.split()}
        number = vocabulary.NUMBERS.get(self._num_selected(head), "many")
        return {"number": number, "plural": plural(head.text if head.text.split()[-1] in nouns else bare.text)}

    def _plain(self) -> Phrase:
        head = self._head(3)
        return self._fill("plain", head, head.program)

    def _only(self) -> Phrase:
        head = self._head(1)
        return self._fill("only", head, head.program)

    def _side(self) -> Phrase | None:
        head = self._head(1)
        side: Side = "left" if self.view.seen[self.referent].x < 0.5 else "right"
        several = len(head.program.select(self.view).possible) > 1
        if several and self.rng.random() < 0.5:
            # "The left dog" may stand in the right half; "the dog on the far left of the picture" may not.
            named = side if self.full else self.rng.choice(("left", "right"))
            order: Order = "leftmost" if named == "left" else "rightmost"
            fields = {"side": order.removesuffix("most")}
            return self._fill("side_most", head, Rank(head.program, order), **fields, **self._counted(head))
        edge: Order = "leftmost" if side == "left" else "rightmost"
        program = And(Rank(head.program, edge), At(side)) if several else And(head.program, At(side))
        return self._fill("side_at", head, program, side=side)

    def _order(self) -> Phrase | None:
        head = self._head(1)
        vertical: Order = "topmost" if self.view.seen[self.referent].y < 0.5 else "bottommost"
        orders: tuple[Order, ...] = (vertical, "nearest", "farthest")
        order = self.rng.choice(orders)
        several = len(head.program.select(self.view).possible) > 1
        return self._fill(order, head, Rank(head.program, order)) if several else None

    def _ordinal(self) -> Phrase | None:
        head = self._head(1)
        if (number := self._num_selected(head)) < 2:
            return None
        place = self.rng.randint(1, min(number, 4))
        side = self.rng.choice(("left", "right"))
        order: Order = "leftmost" if side == "left" else "rightmost"
        ordinal = self.words.sample(vocabulary.ORDINALS[place])
        return self._fill("ordinal", head, Rank(head.program, order, place), ordinal=ordinal, side=side)

    def _middle(self) -> Phrase | None:
        head = self._head(1)
        if self._num_selected(head) < 3:
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
        order: Order = self.rng.choice(("biggest", "smallest"))
        if self._num_selected(head) < 2:
            return None
        counted = self._counted(head)
        size = self.words.sample(vocabulary.SIZE_WORDS[order])
        if self.full:
            superlatives = {"biggest": ("biggest", "largest"), "smallest": ("smallest", "littlest")}
            size = self.rng.choice(superlatives[order])
        return self._fill("size", head, Rank(head.program, order), size=size, **counted)

    def _other(self, index: int) -> Phrase:
        """Another thing's noun phrase with its article: "the" where the phrase selects nothing else."""
        thing = self.view.things[index]
        allowed = [name for name in ("colour", "pattern") if name in attributes_of(thing) and self._may_mention(name)]
        attributes = self.rng.sample(allowed, k=min(len(allowed), self.rng.choices((0, 1, 2), (6, 4, 1))[0]))
        name = noun_phrase(self.words, thing, attributes)
        selection = name.program.select(self.view)
        if self.full:
            return Phrase(f"{'the' if selection.is_single else 'a'} {name.text}", name.program)
        return Phrase(f"the {name.text}" if self.rng.random() < 0.25 else name.text, name.program)

    def _relations(self) -> list[tuple[Relation, int]]:
        """The certain relations of the referent to other things."""
        key = ("relations", self.referent)
        if key not in self.view.cache:
            self.view.cache[key] = [
                (relation, other)
                for relation in RELATIONS
                for other in sorted(self.view.certain - {self.referent})
                if holds(self.view, self.referent, relation, other)[0]
            ]
        return cast(list[tuple[Relation, int]], self.view.cache[key])

    def _related(self) -> Phrase | None:
        options = self._relations()
        if not options:
            return None
        relation, index = self.rng.choice(options)
        head, other = self._head(1), self._other(index)
        if not self.full and not other.program.select(self.view).is_single:
            return None  # "left of the cat" where there are two cats
        fields = {"relation": self.words.sample(vocabulary.RELATION_WORDS[relation]), "other": other.text}
        return self._fill("related", head, Related(head.program, relation, other.program), **fields)

    def _closest(self) -> Phrase | None:
        others = sorted(self.view.certain - {self.referent})
        head = self._head(1)
        if not others or self._num_selected(head) < 2:
            return None
        other = self._other(self.rng.choice(others))
        if not other.program.select(self.view).is_single:
            return None
        return self._fill(
            "closest", head, Closest(head.program, other.program), other=other.text, **self._counted(head)
        )

    def _hidden(self) -> Phrase:
        head = self._head(1)
        return self._fill("hidden", head, And(head.program, Hidden()))

    def _negation(self) -> Phrase | None:
        """A colour that the referent does not have and another thing of its kind has."""
        thing = self.view.things[self.referent]
        head = noun_phrase(self.words, thing, ())
        others = sorted(head.program.select(self.view).possible - {self.referent})
        if not others or not self.wording.colours:
            return None
        colour = self.view.things[self.rng.choice(others)].colour
        quality = self.words.sample(vocabulary.COLOUR_WORDS[colour])
        if FAMILY_OF[thing.kind] == "people":
            quality = f"in {quality}"
        return self._fill("negation", head, And(head.program, Not(Is("colour", colour))), quality=quality)


def _correct_articles(text: str) -> str:
    return re.sub(r"\ba (?=[aeiou])", "an ", text)
