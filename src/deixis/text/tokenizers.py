"""The tokenizers by the names that the configs of systems give, and what they have in common.

`wordpiece` is BERT's, `words` reads whole words, `clip` is CLIP's and fills the template of the config.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int64

from .clip_tokenizer import ClipTokenizer
from .tokenizer import Tokenizer
from .words import WordTokenizer


@runtime_checkable
class AnyTokenizer(Protocol):
    """A vocabulary, and the rules that split expressions into its tokens."""

    vocabulary: tuple[str, ...]

    def encode(
        self, expressions: Sequence[str], max_tokens: int, pad_to: int | None = None
    ) -> tuple[Int64[np.ndarray, "b l"], Bool[np.ndarray, "b l"]]: ...

    def tokens(self, expression: str, max_tokens: int) -> list[str]: ...

    def is_truncated(self, expression: str, max_tokens: int) -> bool: ...

    def save(self, path: str | Path) -> None: ...

    def __len__(self) -> int: ...


@runtime_checkable
class TokenizerKind(Protocol):
    """A class of tokenizers: made from a vocabulary, from a file, or from sentences."""

    def __call__(self, vocabulary: Sequence[str]) -> AnyTokenizer: ...

    def from_file(self, path: str | Path) -> AnyTokenizer: ...

    def learn(self, sentences: Iterable[str], size: int) -> AnyTokenizer: ...


TOKENIZERS: dict[str, TokenizerKind] = {"wordpiece": Tokenizer, "words": WordTokenizer}  # those that can be learned


def tokenizer_for(config: Any, vocabulary: Sequence[str]) -> AnyTokenizer:
    """The tokenizer of the config's kind with a checkpoint's vocabulary."""
    if config.tokenizer == "clip":
        return ClipTokenizer(vocabulary, config.template)
    return TOKENIZERS[config.tokenizer](vocabulary)


def tokenizer_from(config: Any, file: str | Path) -> AnyTokenizer:
    """The same from a `vocab.txt`."""
    if config.tokenizer == "clip":
        return ClipTokenizer.from_file(file, config.template)
    return TOKENIZERS[config.tokenizer].from_file(file)
