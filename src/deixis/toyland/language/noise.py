"""Typos and slang: noise that leaves the referent of an expression unchanged."""

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
MIN_LETTERS = 4  # a shorter word with a typo is often another word


def add_noise(text: str, rng: Random, typos: float = 0.0, slang: float = 0.0) -> str:
    """The text with at most one word replaced by slang and at most one typo, each with its probability."""
    words = text.split()
    known = [position for position, word in enumerate(words) if word in SLANG]
    if known and rng.random() < slang:
        position = rng.choice(known)
        words[position] = rng.choice(SLANG[words[position]])
    long = [position for position, word in enumerate(words) if len(word) >= MIN_LETTERS and word.isalpha()]
    if long and rng.random() < typos:
        position = rng.choice(long)
        words[position] = add_typo(words[position], rng)
    return " ".join(words)


def add_typo(word: str, rng: Random) -> str:
    """One error: a letter lost, doubled or swapped with the next one, or all vowels dropped ("drk", "seond")."""
    error = rng.choice(("lose", "lose", "double", "swap", "vowels"))
    place = rng.randrange(1, len(word) - 1)
    if error == "lose":
        return word[:place] + word[place + 1 :]
    if error == "double":
        return word[:place] + word[place] + word[place:]
    if error == "swap":
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    return word[0] + "".join(letter for letter in word[1:] if letter not in "aeiou")
