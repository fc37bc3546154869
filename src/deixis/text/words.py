"""Expressions to word ids: lower-case words, of a vocabulary from a file or learned from sentences (SDA, CMSA, CMPC).

Words are split at every character that is not a letter, a digit or an underscore; a word outside of the vocabulary is
[UNK]. There are no tokens around the expression.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int64

from ..errors import InputError
from .vocabulary import read_text

PADDING, UNKNOWN = "[PAD]", "[UNK]"
LONGEST = 512  # words of a sentence; the networks that read whole words have no limit of their own
LARGEST = 1_000_000  # words of a vocabulary
SPECIAL = (PADDING, UNKNOWN)  # the first two words of every vocabulary


class WordTokenizer:
    """A vocabulary of whole words."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        if tuple(vocabulary[:2]) != SPECIAL:
            raise InputError(
                f"The vocabulary of {len(vocabulary)} words does not begin with {' and '.join(SPECIAL)}; give one that "
                "deixis learned, or add these two lines."
            )
        self.vocabulary = tuple(vocabulary)
        self._ids = {word: number for number, word in enumerate(self.vocabulary)}
        if len(self._ids) < len(self.vocabulary):
            word, count = Counter(self.vocabulary).most_common(1)[0]
            raise InputError(f"The vocabulary has the word {word!r} {count} times; expected each word once.")

    @classmethod
    def from_file(cls, path: str | Path) -> "WordTokenizer":
        """The vocabulary of a `vocab.txt`: one word a line; a word's id is its line number, from 0."""
        lines = read_text(path, expected="a vocab.txt of whole words, one a line").splitlines()
        try:
            return cls(lines)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    @classmethod
    def learn(cls, sentences: Iterable[str], size: int) -> "WordTokenizer":
        """The most frequent words of these sentences, at most `size` with [PAD] and [UNK]; ties by the alphabet."""
        if size < len(SPECIAL) + 1:
            raise InputError(f"A vocabulary of {size} words has room for no word; give at least {len(SPECIAL) + 1}.")
        counts = Counter(word for sentence in sentences for word in split(sentence))
        frequent = sorted(counts, key=lambda word: (-counts[word], word))
        return cls([*SPECIAL, *frequent[: size - len(SPECIAL)]])

    def extended(self, sentences: Iterable[str], size: int) -> "WordTokenizer":
        """This vocabulary and then the most frequent other words of the sentences, at most `size` in all."""
        others = [word for word in self.learn(sentences, LARGEST).vocabulary if word not in self._ids]
        return WordTokenizer([*self.vocabulary, *others[: max(size - len(self), 0)]])

    def save(self, path: str | Path) -> None:
        """Write a `vocab.txt`."""
        Path(path).write_text("\n".join(self.vocabulary) + "\n", encoding="utf-8")

    def encode(
        self, expressions: Sequence[str], max_tokens: int, pad_to: int | None = None
    ) -> tuple[Int64[np.ndarray, "b l"], Bool[np.ndarray, "b l"]]:
        """Word ids, and True for the real ones, padded to the longest expression or to `pad_to`.

        An expression of more than `max_tokens` words is cut.
        """
        unknown = self._ids[UNKNOWN]
        rows = [[self._ids.get(word, unknown) for word in _some(each)[:max_tokens]] for each in expressions]
        longest = max(map(len, rows), default=0)
        length = longest if pad_to is None else pad_to
        if longest > length:
            raise InputError(f"An expression has {longest} words, which does not fit pad_to={pad_to}; raise it.")
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        token_mask = np.arange(length) < lengths[:, None]
        token_ids = np.full(token_mask.shape, self._ids[PADDING], dtype=np.int64)
        token_ids[token_mask] = list(chain.from_iterable(rows))
        return token_ids, token_mask

    def tokens(self, expression: str, max_tokens: int) -> list[str]:
        """The words whose ids `encode` returns."""
        return [word if word in self._ids else UNKNOWN for word in _some(expression)[:max_tokens]]

    def is_truncated(self, expression: str, max_tokens: int) -> bool:
        """Whether `encode` cuts the expression."""
        return len(_some(expression)) > max_tokens

    def __len__(self) -> int:
        return len(self.vocabulary)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WordTokenizer) and self.vocabulary == other.vocabulary

    def __hash__(self) -> int:
        return hash(self.vocabulary)

    def __reduce__(self) -> tuple[type["WordTokenizer"], tuple[tuple[str, ...]]]:
        return type(self), (self.vocabulary,)


def split(expression: str) -> list[str]:
    """The lower-case words of an expression."""
    return re.findall(r"\w+", expression.lower())


def _some(expression: str) -> list[str]:
    """The words; of an expression without any, one that no vocabulary contains, so that attention has a word."""
    return split(expression) or [UNKNOWN]
