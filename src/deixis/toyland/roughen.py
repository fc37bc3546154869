"""Typos, slang and dropped vowels: what hurried people make of an expression without changing what it means."""

from random import Random

SLANG: dict[str, tuple[str, ...]] = {
    "adult": ("dude", "peep"),
    "person": ("dude", "persn", "someone"),
    "baby": ("babe", "lil one", "bb"),
    "toddler": ("lil kid", "tyke"),
    "dog": ("doggo", "doggie", "pooch"),
    "puppy": ("pupper", "pup"),
    "cat": ("kittycat", "kitteh"),
    "bird": ("birb", "birdy"),
    "rabbit": ("bun", "bunbun"),
    "car": ("ride", "auto"),
    "bicycle": ("bike", "2 wheeler"),
    "little": ("lil", "itty bitty"),
    "small": ("lil", "teeny"),
    "big": ("humongous", "biggg"),
    "second": ("2nd", "seond", "secnd"),
    "middle": ("mid", "middl"),
    "right": ("rt", "rite"),
    "left": ("lft", "lef"),
    "blue": ("blu",),
    "yellow": ("yelow", "yello"),
    "purple": ("purp", "purpl"),
    "with": ("w", "w/"),
    "and": ("n", "&"),
    "the": ("da", "teh"),
    "that": ("dat",),
    "wearing": ("wearin",),
    "holding": ("holdin", "hldg"),
    "sitting": ("sittin",),
    "standing": ("standin",),
}
SHORTEST_TYPO = 4  # a shorter word with a letter wrong is often another word


def roughen(text: str, chance: Random, typos: float = 0.0, slang: float = 0.0) -> str:
    """The text with at most one word turned into slang and at most one mistyped, each with its probability."""
    words = text.split()
    known = [position for position, word in enumerate(words) if word in SLANG]
    if known and chance.random() < slang:
        position = chance.choice(known)
        words[position] = chance.choice(SLANG[words[position]])
    long = [position for position, word in enumerate(words) if len(word) >= SHORTEST_TYPO and word.isalpha()]
    if long and chance.random() < typos:
        position = chance.choice(long)
        words[position] = mistype(words[position], chance)
    return " ".join(words)


def mistype(word: str, chance: Random) -> str:
    """One slip: a letter lost, doubled or swapped with its neighbour, or the vowels left out ("drk", "seond")."""
    slip = chance.choice(("lose", "lose", "double", "swap", "vowels"))
    place = chance.randrange(1, len(word) - 1)
    if slip == "lose":
        return word[:place] + word[place + 1 :]
    if slip == "double":
        return word[:place] + word[place] + word[place:]
    if slip == "swap":
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    return word[0] + "".join(letter for letter in word[1:] if letter not in "aeiou")
