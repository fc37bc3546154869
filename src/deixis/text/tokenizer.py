"""Expressions to token ids: BERT's lower-case WordPiece, with a vocabulary from a file or learned from sentences."""

import string
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int64
from tokenizers import Tokenizer as Pipeline
from tokenizers import normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece

from .. import hub
from ..errors import DeixisError, InputError
from .vocabulary import CONTINUED, learn_pieces, read_text

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PUBLISHED = "bert-base-uncased"


class Tokenizer:
    """A vocabulary and BERT's rules: lower case, no accents, punctuation split off, then the longest known pieces."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        if missing := [token for token in SPECIAL[:4] if token not in set(vocabulary)]:
            raise InputError(
                f"The vocabulary of {len(vocabulary)} tokens lacks {' '.join(missing)}; give a BERT vocabulary."
            )
        self.vocabulary = tuple(vocabulary)
        ids = {token: number for number, token in enumerate(self.vocabulary)}
        self.padding = ids["[PAD]"]
        self._pipeline = Pipeline(WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
        _follow_bert(self._pipeline)
        ends = [("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])]
        self._pipeline.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)

    @classmethod
    def from_file(cls, path: str | Path) -> "Tokenizer":
        """The vocabulary of a `vocab.txt`: one token a line; a token's id is its line number, from 0."""
        lines = read_text(path, expected="BERT's vocab.txt, one token a line").splitlines()
        try:
            return cls(lines)
        except DeixisError as error:
            raise InputError(f"{path}: {error}") from None

    @classmethod
    def bert_base(cls, path: str | Path | None = None, *, download: bool = False) -> "Tokenizer":
        """bert-base-uncased, from `path` (a vocab.txt or its folder), the hub's cache or, with `download`, the hub."""
        if path is not None:
            return cls.from_file(Path(path) / "vocab.txt" if Path(path).is_dir() else path)
        if download:
            instead = "try again with a network, or give that file by --vocabulary"
            return cls.from_file(hub.download(PUBLISHED, "vocab.txt", instead=instead))
        if (cached := hub.cached(PUBLISHED, "vocab.txt")) is not None:
            return cls.from_file(cached)
        raise InputError(
            f"The vocabulary of {PUBLISHED} is not on this machine, and nothing is downloaded without permission; give "
            f"its vocab.txt by --vocabulary, or run `hf download {PUBLISHED} vocab.txt` once with a network."
        )

    @classmethod
    def learn(cls, sentences: Iterable[str], size: int) -> "Tokenizer":
        """A vocabulary of at most `size` tokens for these sentences.

        It contains every printable ASCII character, and every letter and digit as a continuation, so that nothing
        typed on a keyboard is unknown.
        """
        letters = sorted(set(string.printable) - set(string.whitespace) - set(string.ascii_uppercase))
        fixed = [*SPECIAL, *letters, *(CONTINUED + letter for letter in string.ascii_lowercase + string.digits)]
        if size < len(fixed):
            raise InputError(
                f"A vocabulary of {size} tokens cannot contain every character; give at least {len(fixed)}."
            )
        return cls([*fixed, *learn_pieces(_count_words(sentences), set(fixed), size - len(fixed))])

    def save(self, path: str | Path) -> None:
        """Write a `vocab.txt`."""
        Path(path).write_text("\n".join(self.vocabulary) + "\n", encoding="utf-8")

    def encode(
        self, expressions: Sequence[str], max_tokens: int, pad_to: int | None = None
    ) -> tuple[Int64[np.ndarray, "b l"], Bool[np.ndarray, "b l"]]:
        """Token ids, and True for the real ones, padded to the longest expression or to `pad_to`.

        An expression of more than `max_tokens` tokens is cut, [SEP] included, as in the published systems.
        """
        rows = [encoding.ids[:max_tokens] for encoding in self._pipeline.encode_batch(list(expressions))]
        longest = max(map(len, rows), default=0)
        length = longest if pad_to is None else pad_to
        if longest > length:
            raise InputError(f"An expression has {longest} tokens, which does not fit pad_to={pad_to}; raise it.")
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        token_mask = np.arange(length) < lengths[:, None]
        token_ids = np.full(token_mask.shape, self.padding, dtype=np.int64)
        token_ids[token_mask] = list(chain.from_iterable(rows))
        return token_ids, token_mask

    def tokens(self, expression: str, max_tokens: int) -> list[str]:
        """The tokens whose ids `encode` returns, [CLS] and [SEP] included."""
        return self._pipeline.encode(expression).tokens[:max_tokens]

    def is_truncated(self, expression: str, max_tokens: int) -> bool:
        """Whether `encode` cuts the expression."""
        return len(self._pipeline.encode(expression).ids) > max_tokens

    def __len__(self) -> int:
        return len(self.vocabulary)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tokenizer) and self.vocabulary == other.vocabulary

    def __hash__(self) -> int:
        return hash(self.vocabulary)

    def __reduce__(self) -> tuple[type["Tokenizer"], tuple[tuple[str, ...]]]:
        return type(self), (self.vocabulary,)


def _follow_bert(pipeline: Pipeline) -> None:
    """BERT's uncased rules: clean text, lower case without accents, words split at spaces and punctuation."""
    pipeline.normalizer = normalizers.BertNormalizer(lowercase=True)
    pipeline.pre_tokenizer = pre_tokenizers.BertPreTokenizer()


def _count_words(sentences: Iterable[str]) -> Counter[str]:
    pipeline = Pipeline(WordPiece(unk_token="[UNK]"))
    _follow_bert(pipeline)
    words: Counter[str] = Counter()
    for sentence in sentences:
        clean = pipeline.normalizer.normalize_str(sentence)
        words.update(word for word, _ in pipeline.pre_tokenizer.pre_tokenize_str(clean))
    return words
