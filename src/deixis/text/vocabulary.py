"""Read the file of a vocabulary, and learn the pieces of a WordPiece vocabulary from word counts."""

from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

from ..errors import InputError

CONTINUED = "##"  # the prefix of a piece that continues a word


def read_text(path: str | Path, expected: str) -> str:
    """A file of a vocabulary; `expected` says in the error which file should be given."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"The vocabulary {path} cannot be read ({error.strerror}); give {expected}.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; give {expected}.") from None


def learn_pieces(words: Counter[str], known: set[str], num: int) -> list[str]:
    """Up to `num` pieces that are not `known`, made by merging the most frequent pair of neighbours first.

    Ties are broken alphabetically, so that a corpus always gives the same pieces. (The trainer of `tokenizers` breaks
    them by the order of a hash table, which differs from process to process.)
    """
    spelled = {word: [word[0], *(CONTINUED + letter for letter in word[1:])] for word in words}
    pieces = sorted({piece for spelling in spelled.values() for piece in spelling} - known)[:num]
    counts: Counter[tuple[str, str]] = Counter()
    words_with: defaultdict[tuple[str, str], set[str]] = defaultdict(set)  # pair -> words that may contain it
    for word, spelling in spelled.items():
        counts.update(pairs := _pairs(spelling, words[word]))
        for pair in pairs:
            words_with[pair].add(word)
    while len(pieces) < num and counts:
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        if counts[best] <= 0:
            break
        merged = best[0] + best[1].removeprefix(CONTINUED)
        if merged not in known and merged not in pieces:
            pieces.append(merged)
        for word in words_with.pop(best):
            counts.subtract(_pairs(spelled[word], words[word]))
            spelled[word] = _merge(spelled[word], best, merged)
            counts.update(pairs := _pairs(spelled[word], words[word]))
            for pair in pairs:
                words_with[pair].add(word)
        del counts[best]
    return pieces


def _pairs(spelling: list[str], count: int) -> Counter[tuple[str, str]]:
    """The pairs of neighbours in a word that occurs `count` times."""
    return Counter({pair: times * count for pair, times in Counter(pairwise(spelling)).items()})


def _merge(spelling: list[str], pair: tuple[str, str], merged: str) -> list[str]:
    pieces: list[str] = []
    for piece in spelling:
        if pieces and (pieces[-1], piece) == pair:
            pieces[-1] = merged
        else:
            pieces.append(piece)
    return pieces
