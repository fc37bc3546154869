"""Expressions as a caller gives them, checked and as token ids, with notes on what the model cannot read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from ..errors import InputError
from ..text.tokenizers import AnyTokenizer

UNKNOWN, PIECE, PLURAL = "[UNK]", "##", ["##s"]  # of WordPiece
LEARNED = 5_000  # tokens; published vocabularies have more
SPELT = 0.1  # what a word in pieces counts: it may be a typo
# They name nothing; where all other words are unknown, nothing is known of what is meant.
FUNCTION_WORDS = {"a", "an", "and", "are", "at", "by", "from", "in", "is", "it", "its", "not", "of", "on", "or", "the"}
FUNCTION_WORDS |= {"s", "that", "to", "which", "who", "with"}
Expressions = list[str] | tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TokenizedExpressions:
    """Expressions, each with its tokens, notes and fraction of known words, and all of them as one padded table."""

    expressions: tuple[str, ...]
    tokens: tuple[tuple[str, ...], ...]  # without padding
    notes: tuple[tuple[str, ...], ...]
    known: tuple[float, ...]  # the fraction of the words that the model knows, which caps the score
    token_ids: Int[np.ndarray, "b l"]
    token_mask: Bool[np.ndarray, "b l"]

    def __len__(self) -> int:
        return len(self.expressions)


def listed(expressions: str | Expressions) -> list[Any]:
    """One expression as a list of one, several as a list."""
    if isinstance(expressions, str):
        return [expressions]
    if not isinstance(expressions, Iterable):
        raise InputError(
            f"An expression is of type {type(expressions).__name__}; expected a sentence as text, or a list of them."
        )
    return list(expressions)


def for_each(images: Sequence[Any], expressions: Any) -> list[Any]:
    """For each image one expression, or one list of expressions. Raises `InputError` for anything else."""
    if isinstance(expressions, str):
        return [expressions] * len(images)
    lists = list(expressions) if isinstance(expressions, list | tuple) else [expressions]
    if any(not isinstance(each, list | tuple) for each in lists):
        raise InputError(
            f"There are {len(images)} images without a list of expressions for each; give one expression for all "
            "images, or a list with one list for each image."
        )
    if len(lists) != len(images):
        raise InputError(
            f"There are {len(images)} images and {len(lists)} lists of expressions; give one list for each image."
        )
    return lists


def tokenize(
    expressions: str | Expressions, tokenizer: AnyTokenizer, max_tokens: int, model: str, *, pad_to: int | None = None
) -> TokenizedExpressions:
    """Token ids padded to the longest expression, or to `pad_to`; longer expressions are cut to `max_tokens`.

    Unknown words and cut expressions are described in `notes`. Raises `InputError` for an expression that is not
    text, is empty or has no word.
    """
    texts = [_checked(expression) for expression in listed(expressions)]
    tokens = [tuple(tokenizer.tokens(text, max_tokens)) for text in texts]
    for text, pieces in zip(texts, tokens, strict=True):
        if not set(pieces) - {"[CLS]", "[SEP]"}:  # control characters, for example
            raise InputError(f"The expression {_short(text)!r} has no word in it; describe an object in the image.")
    token_ids, token_mask = tokenizer.encode(texts, max_tokens, pad_to)
    words = [_Words.of(pieces, _is_learned(tokenizer)) for pieces in tokens]
    return TokenizedExpressions(
        expressions=tuple(texts),
        tokens=tuple(tokens),
        notes=tuple(
            _notes(text, one, tokenizer.is_truncated(text, max_tokens), max_tokens, model)
            for text, one in zip(texts, words, strict=True)
        ),
        known=tuple(one.fraction_known for one in words),
        token_ids=token_ids,
        token_mask=token_mask,
    )


def fraction_known(text: str, tokenizer: AnyTokenizer, max_tokens: int) -> float:
    """The fraction of the words that are known; 1 for a text without words."""
    return _Words.of(tuple(tokenizer.tokens(text, max_tokens)), _is_learned(tokenizer)).fraction_known


def _is_learned(tokenizer: AnyTokenizer) -> bool:
    """Whether the vocabulary was learned from a model's own sentences."""
    return len(tokenizer.vocabulary) < LEARNED


def _checked(expression: Any) -> str:
    if not isinstance(expression, str):
        raise InputError(f"An expression is of type {type(expression).__name__}; expected a sentence as text.")
    if not expression.strip():
        raise InputError("The expression is empty; describe an object in the image, for example 'the red cup'.")
    # Bytes of a command line that are not UTF-8 become question marks: no file can be written with them.
    return expression.encode("utf-8", "replace").decode()


def _notes(text: str, words: "_Words", is_cut: bool, max_tokens: int, model: str) -> tuple[str, ...]:
    notes = []
    if unknown := words.unknown + words.spelt:
        notes.append(f"The model {model!r} does not know {unknown} of the words of {_short(text)!r}.")
    if is_cut:
        notes.append(f"Only the first {max_tokens - 1} tokens of {_short(text)!r} are read.")
    return tuple(notes)


@dataclass(frozen=True)
class _Words:
    """How many of an expression's words are known, known by their pieces only, and unknown; without function words."""

    known: int
    spelt: int
    unknown: int

    @classmethod
    def of(cls, tokens: tuple[str, ...], is_learned: bool) -> "_Words":
        """A vocabulary that was learned from a model's own sentences has their words whole: others are in pieces."""
        words: list[list[str]] = []
        for token in tokens:
            if token.startswith(PIECE) and words:
                words[-1].append(token)
            else:
                words.append([token])
        named = [word for word in words if word[0][0].isalnum() and "".join(word) not in FUNCTION_WORDS]
        spelt = sum(is_learned and len(word) > 1 and word[1:] != PLURAL for word in named)
        return cls(len(named) - spelt, spelt, tokens.count(UNKNOWN))

    @property
    def fraction_known(self) -> float:
        if not self.spelt + self.unknown:
            return 1.0
        return (self.known + SPELT * self.spelt) / (self.known + self.spelt + self.unknown)


def _short(expression: str) -> str:
    return expression if len(expression) <= 60 else expression[:57] + "…"
