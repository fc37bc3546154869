"""Expressions to token ids as CLIP reads them: lower-case byte-pair encoding with a stored vocabulary."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64
from tokenizers import Regex, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Pipeline
from tokenizers.models import BPE

from ..errors import DeixisError, InputError
from .vocabulary import read_text

START, END = "<|startoftext|>", "<|endoftext|>"
PLAIN, PHOTO = "{}", "a photo of a {}."
TEMPLATES = (PLAIN, PHOTO)
PIECES = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


class ClipTokenizer:
    """A vocabulary and its merges, as one list: a token's id is its position.

    A token that two others merge into is written as those two with a space between them, in the order of the merges;
    that is the order of CLIP's ids. `template` is filled with each expression before it is split.
    """

    def __init__(self, vocabulary: Sequence[str], template: str = PLAIN) -> None:
        check_template(template)
        self.vocabulary, self.template = tuple(vocabulary), template
        ids = {line.replace(" ", ""): number for number, line in enumerate(self.vocabulary)}
        if missing := [token for token in (START, END) if token not in ids]:
            raise InputError(f"The vocabulary of {len(vocabulary)} tokens lacks {' '.join(missing)}; give CLIP's.")
        merges = [(left, right) for left, space, right in (line.partition(" ") for line in self.vocabulary) if space]
        try:
            model = BPE(vocab=ids, merges=merges, unk_token=END, end_of_word_suffix="</w>")
        except Exception as error:  # the class that `tokenizers` raises
            raise InputError(f"The vocabulary's merges cannot be used ({error}); get an unchanged copy.") from None
        self.start, self.end = ids[START], ids[END]
        self._pipeline = Pipeline(model)
        self._pipeline.normalizer = normalizers.Sequence(
            [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
        )
        self._pipeline.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(PIECES), behavior="removed", invert=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )

    @classmethod
    def from_file(cls, path: str | Path, template: str = PLAIN) -> "ClipTokenizer":
        """The `vocab.txt` of a checkpoint of ours, or the folder that holds it."""
        file = Path(path) / "vocab.txt" if Path(path).is_dir() else Path(path)
        lines = read_text(file, expected="CLIP's").splitlines()
        try:
            return cls(lines, template)
        except DeixisError as error:
            raise InputError(f"{file}: {error}") from None

    @classmethod
    def from_published(cls, vocabulary: Path, merges: Path, template: str = PLAIN) -> "ClipTokenizer":
        """CLIP's `vocab.json` (token -> id) and `merges.txt` (one pair a line, the first merges first)."""
        ids: Any = _json(vocabulary)
        pairs = [
            line
            for line in read_text(merges, expected="CLIP's").splitlines()
            if line and not line.startswith("#version")
        ]
        split = {line.replace(" ", ""): line for line in pairs}
        tokens = sorted(ids, key=lambda token: ids[token])
        if sorted(ids.values()) != list(range(len(ids))) or [t for t in tokens if t in split] != list(split):
            raise InputError(f"{vocabulary} does not number the tokens as {merges} does; give CLIP's two files.")
        return cls([split.get(token, token) for token in tokens], template)

    def save(self, path: str | Path) -> None:
        """Write a `vocab.txt`."""
        Path(path).write_text("\n".join(self.vocabulary) + "\n", encoding="utf-8")

    def encode(
        self, expressions: Sequence[str], max_tokens: int, pad_to: int | None = None
    ) -> tuple[Int64[np.ndarray, "b l"], Bool[np.ndarray, "b l"]]:
        """Token ids, and True for the real ones, padded to the longest expression or to `pad_to`.

        An expression of more than `max_tokens` tokens is cut before its end token, which the encoder reads.
        """
        rows = [self._ids(expression, max_tokens) for expression in expressions]
        longest = max(map(len, rows), default=0)
        length = longest if pad_to is None else pad_to
        if longest > length:
            raise InputError(f"An expression has {longest} tokens, which does not fit pad_to={pad_to}; raise it.")
        token_mask = np.arange(length) < np.array([len(row) for row in rows], dtype=np.int64)[:, None]
        token_ids = np.full(token_mask.shape, self.end, dtype=np.int64)
        token_ids[token_mask] = [token for row in rows for token in row]
        return token_ids, token_mask

    def tokens(self, expression: str, max_tokens: int) -> list[str]:
        """The tokens whose ids `encode` returns, start and end included."""
        return [self.vocabulary[number].replace(" ", "") for number in self._ids(expression, max_tokens)]

    def is_truncated(self, expression: str, max_tokens: int) -> bool:
        """Whether `encode` cuts the expression."""
        return len(self._inner(expression)) + 2 > max_tokens

    def _ids(self, expression: str, max_tokens: int) -> list[int]:
        return [self.start, *self._inner(expression)[: max_tokens - 2], self.end]

    def _inner(self, expression: str) -> list[int]:
        return self._pipeline.encode(self.template.format(expression)).ids

    def __len__(self) -> int:
        return len(self.vocabulary)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ClipTokenizer) and self.__reduce__() == other.__reduce__()

    def __hash__(self) -> int:
        return hash((self.vocabulary, self.template))

    def __reduce__(self) -> tuple[type["ClipTokenizer"], tuple[tuple[str, ...], str]]:
        return type(self), (self.vocabulary, self.template)


def check_template(template: str) -> None:
    """Raises `InputError` where there is no such template."""
    if template not in TEMPLATES:
        raise InputError(f"There is no template {template!r}; choose one of {', '.join(map(repr, TEMPLATES))}.")


def _json(file: Path) -> dict[str, int]:
    try:
        content = json.loads(read_text(file, expected="CLIP's"))
    except (ValueError, RecursionError):
        raise InputError(f"{file} is not JSON; give CLIP's vocab.json.") from None
    if not isinstance(content, dict) or not all(type(number) is int for number in content.values()):
        raise InputError(f"{file} is not a mapping from tokens to ids; give CLIP's vocab.json.")
    return content
