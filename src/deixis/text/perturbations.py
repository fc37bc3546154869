"""Changes of a sentence as people write them: typos, slang, another order of words; most leave its referent unchanged.

- the kinds of characters and words are those of published robustness suites (MM-Robustness, Qiu et al. 2022; EDA, Wei
  and Zou 2019); `typo`, `drop-vowels`, `slang`, `shuffle` and `casual` are ours
- the suites' kinds that need a language model (`formal`, `passive`, `back-translation`) are not offered
- the same sentence, kind and seed give the same text on every machine: draws come from `random.Random.random` alone,
  whose sequence for a seed never changes
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from ..errors import InputError, did_you_mean

FRACTION = 0.25  # of the words that are changed, at least one
MIN_LETTERS = 4  # of a word that gets a typo: a shorter one easily becomes another word
PUNCTUATION = (".", ";", "?", ":", "!", ",")  # as in AEDA (Karimi et al. 2021)
KEYBOARD: Mapping[str, str] = {
    "a": "qwsz", "b": "vghn", "c": "xdfv", "d": "serfcx", "e": "wsdr", "f": "drtgvc", "g": "ftyhbv", "h": "gyujnb",
    "i": "ujko", "j": "huikmn", "k": "jiolm", "l": "kop", "m": "njk", "n": "bhjm", "o": "iklp", "p": "ol", "q": "wa",
    "r": "edft", "s": "awedxz", "t": "rfgy", "u": "yhji", "v": "cfgb", "w": "qase", "x": "zsdc", "y": "tghu",
    "z": "asx",
}  # fmt: skip
OCR: Mapping[str, str] = {
    "a": "e", "b": "6", "c": "e", "d": "cl", "e": "c", "g": "9", "h": "b", "i": "1", "l": "1", "m": "rn", "n": "m",
    "o": "0", "q": "g", "s": "5", "t": "f", "u": "v", "w": "vv", "z": "2",
}  # fmt: skip
SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "man": ("gentleman", "male"), "men": ("gentlemen", "males"), "woman": ("lady", "female"),
    "women": ("ladies", "females"), "guy": ("man", "fellow"), "girl": ("young woman", "lass"), "boy": ("lad",),
    "kid": ("child",), "child": ("kid",), "person": ("individual", "human"), "people": ("persons", "folks"),
    "baby": ("infant",), "dog": ("hound",), "cat": ("feline",), "car": ("automobile",), "bike": ("bicycle",),
    "bicycle": ("bike",), "couch": ("sofa",), "sofa": ("couch",), "tv": ("television",), "plane": ("aircraft",),
    "shirt": ("top",), "pants": ("trousers",), "glasses": ("spectacles",), "hat": ("cap",), "big": ("large",),
    "large": ("big",), "small": ("little",), "little": ("small",), "tall": ("high",), "left": ("left-hand",),
    "right": ("right-hand",), "center": ("middle",), "middle": ("center",), "front": ("foreground",),
    "back": ("rear",), "behind": ("in back of",), "near": ("close to",), "closest": ("nearest",),
    "nearest": ("closest",), "holding": ("carrying",), "wearing": ("dressed in",), "sitting": ("seated",),
    "gray": ("grey",), "grey": ("gray",), "whole": ("entire",), "picture": ("image",), "photo": ("picture",),
}  # fmt: skip
SLANG: Mapping[str, tuple[str, ...]] = {
    "man": ("dude", "bloke"), "woman": ("gal", "chick"), "guy": ("dude",), "girl": ("gurl", "chick"),
    "boy": ("lil dude",), "kid": ("kiddo",), "child": ("kiddo",), "person": ("dude", "peep"), "people": ("peeps",),
    "adult": ("grownup",), "baby": ("bb", "lil one"), "toddler": ("tyke",), "dog": ("doggo", "pooch"),
    "puppy": ("pupper",), "cat": ("kitty", "kitteh"), "bird": ("birb",), "rabbit": ("bun",), "car": ("ride",),
    "bicycle": ("bike",), "food": ("grub",), "pizza": ("za",), "tv": ("telly",), "couch": ("settee",),
    "glasses": ("specs",), "sunglasses": ("shades",), "hat": ("lid",), "small": ("lil", "teeny"), "little": ("lil",),
    "big": ("humongous", "biggg"), "large": ("ginormous",), "middle": ("mid",), "right": ("rt", "rite"),
    "left": ("lft",), "the": ("da", "teh"), "that": ("dat",), "with": ("w/",), "and": ("n", "&"), "you": ("u",),
    "holding": ("holdin",), "wearing": ("rockin",), "sitting": ("sittin",), "standing": ("standin",),
}  # fmt: skip
CASUAL: tuple[tuple[str, str], ...] = (("um ", ""), ("yo, ", ""), ("like ", ""), ("", " please"), ("", " lol"))
FILLERS = ("really", "just", "actually", "kinda", "there", "maybe")


@dataclass(frozen=True, kw_only=True)
class Perturbation:
    """A kind of change with its seed; of the words that it can change it changes `fraction`, at least one."""

    kind: str
    seed: int = 0
    fraction: float = FRACTION

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"There is no perturbation {self.kind!r}. {did_you_mean(self.kind, KINDS)}")
        if not 0 < self.fraction <= 1:
            raise InputError(f"The fraction of changed words is {self.fraction}; expected a number above 0, at most 1.")

    def __call__(self, sentence: str) -> str:
        """The changed sentence; the same one where the kind finds nothing to change in it."""
        rng = Random(f"{self.kind} {self.seed} {sentence}")
        return " ".join(KINDS[self.kind](sentence.split(), self.fraction, rng))


Words = list[str]
_Change = Callable[[str, Random], str]


def _below(count: int, rng: Random) -> int:
    return int(rng.random() * count)


def _sampled(positions: list[int], fraction: float, rng: Random) -> list[int]:
    """A fraction of the positions, at least one, in a drawn order."""
    rest, chosen = list(positions), list[int]()
    for _ in range(min(len(rest), max(1, round(fraction * len(positions))))):
        chosen.append(rest.pop(_below(len(rest), rng)))
    return chosen


def _on_letters(change: _Change) -> Callable[[Words, float, Random], Words]:
    """A kind that changes some of the longer words, one place in each."""

    def apply(words: Words, fraction: float, rng: Random) -> Words:
        long = [position for position, word in enumerate(words) if len(word) >= MIN_LETTERS and word.isalpha()]
        for position in _sampled(long, fraction, rng):
            words[position] = change(words[position], rng)
        return words

    return apply


def _from_table(table: Mapping[str, tuple[str, ...]], every: bool = False) -> Callable[[Words, float, Random], Words]:
    """A kind that replaces words by their entries: some of those that the table has, or all."""

    def apply(words: Words, fraction: float, rng: Random) -> Words:
        known = [position for position, word in enumerate(words) if word.lower() in table]
        for position in known if every else _sampled(known, fraction, rng):
            options = table[words[position].lower()]
            words[position] = options[_below(len(options), rng)]
        return words

    return apply


def _replaced(table: Mapping[str, str], whole: bool) -> _Change:
    """One letter is replaced by one of its entry's letters, or by the whole entry."""

    def change(word: str, rng: Random) -> str:
        places = [place for place, letter in enumerate(word.lower()) if letter in table]
        if not places:
            return word
        place = places[_below(len(places), rng)]
        entry = table[word[place].lower()]
        return word[:place] + (entry if whole else entry[_below(len(entry), rng)]) + word[place + 1 :]

    return change


def _letter(rng: Random) -> str:
    return chr(ord("a") + _below(26, rng))


def _insert_letter(word: str, rng: Random) -> str:
    place = 1 + _below(len(word) - 1, rng)
    return word[:place] + _letter(rng) + word[place:]


def _replace_letter(word: str, rng: Random) -> str:
    place = 1 + _below(len(word) - 2, rng)
    return word[:place] + _letter(rng) + word[place + 1 :]


def _swap_letters(word: str, rng: Random) -> str:
    place = 1 + _below(len(word) - 2, rng)
    return word[:place] + word[place + 1] + word[place] + word[place + 2 :]


def _delete_letter(word: str, rng: Random) -> str:
    place = 1 + _below(len(word) - 2, rng)
    return word[:place] + word[place + 1 :]


def _typo(word: str, rng: Random) -> str:
    changes = (_delete_letter, _swap_letters, _insert_letter, _replaced(KEYBOARD, whole=False))
    return changes[_below(len(changes), rng)](word, rng)


def _drop_vowels(words: Words, fraction: float, rng: Random) -> Words:
    """Every longer word without its vowels, except for a first one: "person" becomes "prsn"."""
    return [
        word[0] + "".join(letter for letter in word[1:] if letter.lower() not in "aeiou")
        if len(word) >= MIN_LETTERS
        else word
        for word in words
    ]


def _shuffle(words: Words, fraction: float, rng: Random) -> Words:
    return [words[position] for position in _sampled(list(range(len(words))), 1.0, rng)]


def _swap_words(words: Words, fraction: float, rng: Random) -> Words:
    for _ in range(max(1, round(fraction * len(words)))):
        one, other = _below(len(words), rng), _below(len(words), rng)
        words[one], words[other] = words[other], words[one]
    return words


def _delete_words(words: Words, fraction: float, rng: Random) -> Words:
    """A fraction of the words is left out, never all of them."""
    left_out = set(_sampled(list(range(len(words))), fraction, rng)) if len(words) > 1 else set()
    return [word for position, word in enumerate(words) if position not in left_out or len(left_out) == len(words)]


def _inserted(added: tuple[str, ...]) -> Callable[[Words, float, Random], Words]:
    def apply(words: Words, fraction: float, rng: Random) -> Words:
        for _ in range(max(1, round(fraction * len(words)))):
            words.insert(_below(len(words) + 1, rng), added[_below(len(added), rng)])
        return words

    return apply


def _casual(words: Words, fraction: float, rng: Random) -> Words:
    before, after = CASUAL[_below(len(CASUAL), rng)]
    return (before + " ".join(words) + after).split()


KINDS: Mapping[str, Callable[[Words, float, Random], Words]] = {
    "typo": _on_letters(_typo),
    "drop-vowels": _drop_vowels,
    "slang": _from_table(SLANG, every=True),
    "shuffle": _shuffle,
    "casual": _casual,
    "keyboard": _on_letters(_replaced(KEYBOARD, whole=False)),
    "ocr": _on_letters(_replaced(OCR, whole=True)),
    "character-insert": _on_letters(_insert_letter),
    "character-replace": _on_letters(_replace_letter),
    "character-swap": _on_letters(_swap_letters),
    "character-delete": _on_letters(_delete_letter),
    "synonym-replacement": _from_table(SYNONYMS),
    "word-insertion": _inserted(FILLERS),
    "word-swap": _swap_words,
    "word-deletion": _delete_words,
    "insert-punctuation": _inserted(PUNCTUATION),
}
