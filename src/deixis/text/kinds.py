"""The tokenizer that a system's config names: `wordpiece` (BERT's) or `clip`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .clip_tokenizer import ClipTokenizer
from .tokenizer import Tokenizer

AnyTokenizer = Tokenizer | ClipTokenizer


def tokenizer_for(config: Any, vocabulary: Sequence[str]) -> AnyTokenizer:
    """The tokenizer of the config's kind with a checkpoint's vocabulary; CLIP's fills the config's template."""
    return ClipTokenizer(vocabulary, config.template) if config.tokenizer == "clip" else Tokenizer(vocabulary)


def tokenizer_from(config: Any, file: str | Path) -> AnyTokenizer:
    """The same from a `vocab.txt`."""
    return ClipTokenizer.from_file(file, config.template) if config.tokenizer == "clip" else Tokenizer.from_file(file)
