"""Draw descriptions of a photo's instances: unique ones, and ones with a word exchanged so that nothing matches."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ...errors import InputError
from .nouns import ANY, COLOURS, GROUPS, NEUTRAL, PEOPLE, ROLES, SYNONYMS, categories_of
from .phrases import sentence, words_of
from .predicates import Atom, holds, referents
from .scene import Instance, Scene

SIDES = ("left", "right", "top", "bottom")
OPPOSITE = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
ABOUT_NOUNS = ("is", "extreme", "ordinal", "middle", "size", "depth")
TURNED = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}


@dataclass(frozen=True, kw_only=True)
class DescribeOptions:
    """How many sentences are drawn, and of which instances.

    `smallest` is the least area of an instance, as a fraction of its photo. `absent` is the fraction of all sentences
    that refer to nothing. Of these, `absent_nouns` is the fraction whose noun is exchanged, for a class drawn as often
    as the file's photos show it; None exchanges each word of a sentence equally often, for any class but the person.
    Where `licenses` are given, photos with another one, or with none, are left out. `people` are the words for a
    person: `all`, drawn at random, because COCO does not say who is a man or a child, or `neutral`.
    """

    seed: int = 0
    sentences_per_object: int = 8
    smallest: float = 0.006
    absent: float = 0.15
    absent_nouns: float | None = None
    licenses: tuple[int, ...] = ()
    people: str = "all"

    def __post_init__(self) -> None:
        if self.sentences_per_object < 1 or not 0 <= self.smallest < 1 or not 0 <= self.absent < 1:
            raise InputError(
                f"{self.sentences_per_object} sentences for each object, a smallest area of {self.smallest} and "
                f"{self.absent} absent are asked for; expected at least one sentence, and fractions from 0 to below 1."
            )
        if self.absent_nouns is not None and not 0 <= self.absent_nouns <= 1:
            raise InputError(
                f"The fraction of absent sentences with another noun is {self.absent_nouns}; expected one from 0 to 1."
            )
        if self.people not in ("all", "neutral"):
            raise InputError(f"The words for people are {self.people!r}; expected all or neutral.")


@dataclass(frozen=True)
class Description:
    """A sentence, what kind it is of, its predicates, and the instance that it refers to, None for nothing."""

    expression: str
    kind: str
    atoms: tuple[Atom, ...]
    referent: Instance | None


def describe(scene: Scene, options: DescribeOptions, draw: np.random.Generator) -> list[Description]:
    """The descriptions of one photo, each sentence once."""
    found: dict[str, Description] = {}
    halves = options.sentences_per_object // 2, -(-options.sentences_per_object // 2)
    for one in scene.instances:
        if one.area < options.smallest or one.category in scene.uncertain:
            continue
        for count in halves:  # two nouns for each instance
            for atoms in _chosen(_unique(one, _noun(one, scene, draw), scene), count, draw):
                description = _said(_with_a_person(atoms, options, draw), kind_of(atoms), one, draw)
                if description is not None:
                    found.setdefault(description.expression, description)
    present = list(found.values())
    wanted = _rounded(len(present) * options.absent / (1 - options.absent), draw)
    absent: dict[str, Description] = {}
    nouns = None if options.absent_nouns is None else _rounded(wanted * options.absent_nouns, draw)
    parts = {None: wanted} if nouns is None else {True: nouns, False: wanted}
    for of_nouns, most in parts.items():
        for atoms, kind in _exchanged(present, scene, of_nouns, draw):
            if len(absent) >= most:
                break
            description = _said(_with_a_person(atoms, options, draw), kind, None, draw)
            if description is not None and description.expression not in found:
                absent.setdefault(description.expression, description)
    return [*present, *absent.values()]


def kind_of(atoms: Sequence[Atom]) -> str:
    """The names of the predicates beside the noun, or `noun` where there are none."""
    return "+".join(sorted({atom[0] for atom in atoms if atom[0] != "is"})) or "noun"


def _unique(one: Instance, noun: str, scene: Scene) -> list[tuple[Atom, ...]]:
    """Every set of the noun and at most two predicates that is true of this instance alone."""
    head: Atom = ("is", noun)
    true = [atom for atom in _claims(one, noun, scene) if holds(atom, one, scene)]
    sets = [(head,), *((head, atom) for atom in true)]
    sets += [(head, *pair) for pair in combinations(true, 2) if pair[0][0] != pair[1][0]]
    return [atoms for atoms in sets if referents(atoms, scene) == [one]]


def _claims(one: Instance, noun: str, scene: Scene) -> Iterator[Atom]:
    yield from (("extreme", side, noun) for side in SIDES)
    yield from (("extreme", high, side, noun) for high in ("top", "bottom") for side in ("left", "right"))
    yield from (("ordinal", str(number), side, noun) for number in range(1, 6) for side in ("left", "right"))
    yield ("middle", noun)
    yield from (("size", which, noun) for which in ("big", "small", "tall"))
    yield from (("depth", which, noun) for which in ("front", "back"))
    yield from (("colour", part, colour) for part, named in one.colours.items() for colour in named)
    if one.category == "person":
        yield from (("posture", which) for which in ("sitting", "standing"))
        yield from (("with", category) for category in sorted(scene.present & ROLES.keys()))
    for category in sorted(scene.present - {one.category, "person"}):
        for anchor in SYNONYMS.get(category, (category,))[:2]:
            yield from (("relation", relation, anchor) for relation in ("next to", "on", *TURNED))


def _noun(one: Instance, scene: Scene, draw: np.random.Generator) -> str:
    """A word for the instance: of its class, of a group of classes, or "one" where there is no other class."""
    groups = [name for name, members in GROUPS.items() if one.category in members]
    if draw.random() < 0.15 and groups:
        return groups[int(draw.integers(len(groups)))]
    if draw.random() < 0.08 and len(scene.present) == 1 and len(scene.annotated) > 1:
        return ANY[int(draw.integers(len(ANY)))]
    choices = SYNONYMS.get(one.category, (one.category,))
    return choices[0] if draw.random() < 0.5 else choices[int(draw.integers(len(choices)))]


def _with_a_person(atoms: Sequence[Atom], options: DescribeOptions, draw: np.random.Generator) -> tuple[Atom, ...]:
    """The same with a drawn word for a person, where the noun is one: all of these words name the same class."""
    if atoms[0][1] != "person":
        return tuple(atoms)
    words: Mapping[str, int] = PEOPLE if options.people == "all" else NEUTRAL
    weights = np.array(list(words.values()), dtype=float)
    drawn = str(draw.choice(list(words), p=weights / weights.sum()))
    return tuple(_about(atom, drawn) for atom in atoms)


def _about(atom: Atom, noun: str) -> Atom:
    """The same claim about another noun, where it is about one."""
    return (*atom[:-1], noun) if atom[0] in ABOUT_NOUNS else atom


def _chosen(sets: Sequence[tuple[Atom, ...]], count: int, draw: np.random.Generator) -> list[tuple[Atom, ...]]:
    """Drawn with repetitions; kinds are equally likely, and few predicates more than many."""
    if not sets:
        return []
    kinds = Counter(map(kind_of, sets))
    weights = np.array([(1.0 if len(atoms) <= 2 else 0.3) / kinds[kind_of(atoms)] for atoms in sets])
    return [sets[number] for number in draw.choice(len(sets), size=count, p=weights / weights.sum())]


def _said(atoms: Sequence[Atom], kind: str, referent: Instance | None, draw: np.random.Generator) -> Description | None:
    parts = [words_of(atom) for atom in atoms[1:]]
    text = sentence(atoms[0][1], [parts[number] for number in draw.permutation(len(parts))], draw)
    return None if text is None else Description(text, kind, tuple(atoms), referent)


def _exchanged(
    present: Sequence[Description], scene: Scene, of_nouns: bool | None, draw: np.random.Generator
) -> Iterator[tuple[tuple[Atom, ...], str]]:
    """True descriptions with one argument exchanged, of which nothing in the photo is the referent for certain.

    `of_nouns` says whether the noun is exchanged, or a predicate beside it; None is either, each equally often.
    """
    for number in draw.permutation(np.repeat(np.arange(len(present)), 3)):
        atoms = list(present[number].atoms)
        if of_nouns:
            place, (exchanged, kind) = 0, (_another_noun(scene, draw), "kind")
        elif of_nouns is None or len(atoms) > 1:
            place = int(draw.integers(of_nouns is not None, len(atoms)))
            exchanged, kind = _other(atoms[place], scene, draw)
        else:
            continue
        if exchanged is None:
            continue
        atoms[place] = exchanged
        if place == 0:  # predicates that compare instances name the noun, too
            atoms = [_about(atom, exchanged[1]) for atom in atoms]
        if referents(atoms, scene) == [] and _is_certain(atoms, scene):
            yield tuple(atoms), f"absent-{kind}"


def _is_certain(atoms: Sequence[Atom], scene: Scene) -> bool:
    """Whether the noun is absent, or a predicate beside it is false of every instance that the noun may name."""
    named = [one for one in scene.instances if holds(atoms[0], one, scene)]
    return all(any(holds(atom, one, scene) is False for atom in atoms[1:]) for one in named)


def _another_noun(scene: Scene, draw: np.random.Generator) -> Atom | None:
    """A noun whose classes are all absent: of a class that is drawn as often as photos show it, or of its group."""
    absent = sorted(scene.annotated - scene.present)
    if not absent:
        return None
    counts = np.array([scene.shown.get(category, 1) for category in absent], dtype=float)
    category = str(draw.choice(absent, p=counts / counts.sum()))
    groups = [name for name, members in GROUPS.items() if category in members]
    nouns = groups if groups and draw.random() < 0.15 else SYNONYMS.get(category, (category,))
    noun = nouns[int(draw.integers(len(nouns)))]
    return None if categories_of(noun) & scene.present else ("is", noun)


def _other(atom: Atom, scene: Scene, draw: np.random.Generator) -> tuple[Atom | None, str]:
    kind, *arguments = atom
    if kind == "is":
        absent = sorted(scene.annotated - scene.present)
        category = absent[int(draw.integers(len(absent)))] if absent else ""
        words = [word for word in SYNONYMS.get(category, ()) if not categories_of(word) & scene.present]
        return (("is", words[int(draw.integers(len(words)))]) if words else None), "kind"
    if kind == "colour":
        other = COLOURS[int(draw.integers(len(COLOURS)))]
        return ("colour", arguments[0], other), "colour"
    if kind == "extreme" and len(arguments) == 2:
        return ("extreme", OPPOSITE[arguments[0]], arguments[1]), "place"
    if kind == "relation" and arguments[0] in TURNED:
        return ("relation", TURNED[arguments[0]], arguments[1]), "relation"
    if kind == "with" or kind == "relation":
        pool = scene.annotated - scene.present - {"person"}
        absent = sorted(pool & ROLES.keys() if kind == "with" else pool)
        if absent:
            return (kind, *arguments[:-1], absent[int(draw.integers(len(absent)))]), "relation"
    return None, ""


def _rounded(number: float, draw: np.random.Generator) -> int:
    """A whole number with this mean."""
    return int(number) + int(draw.random() < number - int(number))
