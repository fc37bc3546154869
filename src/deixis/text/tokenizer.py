"""Expressions to word numbers: BERT's lower-case WordPiece, from a vocabulary file or learned from sentences."""

import string
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import torch
from jaxtyping import Bool, Int
from tokenizers import Tokenizer as Pipeline
from tokenizers import normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece
from torch import Tensor

from .. import hub
from ..errors import DeixisError, InputError

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PUBLISHED = "bert-base-uncased"
CONTINUED = "##"


class Tokenizer:
    """A vocabulary and BERT's rules: lower case, no accents, punctuation apart, the longest known piece first."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        missing = [token for token in SPECIAL[:4] if token not in set(vocabulary)]
        if missing:
            raise InputError(
                f"A BERT vocabulary has {' '.join(missing)}, and this one of {len(vocabulary)} tokens has not."
            )
        self.vocabulary = tuple(vocabulary)
        numbers = {token: number for number, token in enumerate(self.vocabulary)}
        self.padding = numbers["[PAD]"]
        self._pipeline = Pipeline(WordPiece(numbers, unk_token="[UNK]", max_input_chars_per_word=100))
        _follow_bert(self._pipeline)
        ends = [("[CLS]", numbers["[CLS]"]), ("[SEP]", numbers["[SEP]"])]
        self._pipeline.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)

    @classmethod
    def from_file(cls, path: str | Path) -> "Tokenizer":
        """The vocabulary of a `vocab.txt`: one token a line, its number the line's."""
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise InputError(
                f"The vocabulary {path} cannot be read ({error.strerror}); give BERT's vocab.txt."
            ) from None
        except UnicodeDecodeError:
            raise InputError(f"{path} is no text; give BERT's vocab.txt, one token a line.") from None
        try:
            return cls(lines)
        except DeixisError as error:
            raise InputError(f"{path}: {error}") from None

    @classmethod
    def bert_base(cls, path: str | Path | None = None, *, download: bool = False) -> "Tokenizer":
        """bert-base-uncased, from `path` (a vocab.txt or its folder), the hub's cache, or, where allowed, the hub."""
        if path is not None:
            return cls.from_file(Path(path) / "vocab.txt" if Path(path).is_dir() else path)
        if download:
            instead = "try again with a network, or give that file by --vocabulary"
            return cls.from_file(hub.download(PUBLISHED, "vocab.txt", instead=instead))
        if (kept := hub.cached(PUBLISHED, "vocab.txt")) is not None:
            return cls.from_file(kept)
        raise InputError(
            f"The vocabulary of {PUBLISHED} is not on this machine, and nothing is downloaded unasked; give its "
            f"vocab.txt by --vocabulary, or run `hf download {PUBLISHED} vocab.txt` once with a network."
        )

    @classmethod
    def learn(cls, sentences: Iterable[str], size: int) -> "Tokenizer":
        """A small vocabulary for these sentences; every printable ASCII character is in it, whole and continued."""
        letters = sorted(set(string.printable) - set(string.whitespace) - set(string.ascii_uppercase))
        alphabet = [*letters, *(CONTINUED + letter for letter in string.ascii_lowercase + string.digits)]
        smallest = len(SPECIAL) + len(alphabet)
        if size < smallest:
            raise InputError(f"A vocabulary of {size} cannot hold every character; give at least {smallest}.")
        fixed = [*SPECIAL, *alphabet]
        return cls([*fixed, *_frequent_pieces(_count_words(sentences), set(fixed), size - len(fixed))])

    def save(self, path: str | Path) -> None:
        """Write a `vocab.txt`."""
        Path(path).write_text("\n".join(self.vocabulary) + "\n", encoding="utf-8")

    def encode(
        self, expressions: Sequence[str], max_tokens: int, pad_to: int | None = None
    ) -> tuple[Int[Tensor, "b l"], Bool[Tensor, "b l"]]:
        """Word numbers and which of them are real, padded to the longest or to `pad_to`.

        A longer expression is simply cut after `max_tokens` tokens, [SEP] included, as the published systems do.
        """
        numbers = [encoding.ids[:max_tokens] for encoding in self._pipeline.encode_batch(list(expressions))]
        length = max(map(len, numbers), default=0) if pad_to is None else pad_to
        if any(len(row) > length for row in numbers):
            raise InputError(f"An expression of {max(map(len, numbers))} tokens does not fit pad_to={pad_to}.")
        words = torch.full((len(numbers), length), self.padding, dtype=torch.long)
        for row, real in zip(words, numbers, strict=True):
            row[: len(real)] = torch.tensor(real, dtype=torch.long)
        lengths = torch.tensor([len(row) for row in numbers], dtype=torch.long)
        return words, torch.arange(length)[None, :] < lengths[:, None]

    def tokens(self, expression: str, max_tokens: int) -> list[str]:
        """The tokens that `encode` gives numbers to, [CLS] and [SEP] included."""
        return self._pipeline.encode(expression).tokens[:max_tokens]

    def is_truncated(self, expression: str, max_tokens: int) -> bool:
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
    """Clean text, lower case without accents, words at spaces and punctuation: BERT's uncased rules."""
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


def _frequent_pieces(words: Counter[str], known: set[str], num: int) -> list[str]:
    """Up to `num` pieces, merged pair by most frequent pair; ties go by the alphabet, so a corpus has one answer.

    (The library's own trainer breaks ties by the order of a hash table that differs from run to run.)
    """
    spelled = {word: [word[0], *(CONTINUED + letter for letter in word[1:])] for word in words}
    pieces = sorted({piece for spelling in spelled.values() for piece in spelling} - known)[:num]
    pairs: Counter[tuple[str, str]] = Counter()
    homes: defaultdict[tuple[str, str], set[str]] = defaultdict(set)  # pair -> words that may hold it
    for word, spelling in spelled.items():
        pairs.update(own := _pairs(spelling, words[word]))
        for pair in own:
            homes[pair].add(word)
    while len(pieces) < num and pairs:
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        if pairs[best] <= 0:
            break
        merged = best[0] + best[1].removeprefix(CONTINUED)
        if merged not in known and merged not in pieces:
            pieces.append(merged)
        for word in homes.pop(best):
            pairs.subtract(_pairs(spelled[word], words[word]))
            spelled[word] = _merge(spelled[word], best, merged)
            pairs.update(new := _pairs(spelled[word], words[word]))
            for pair in new:
                homes[pair].add(word)
        del pairs[best]
    return pieces


def _pairs(spelling: list[str], count: int) -> Counter[tuple[str, str]]:
    """The neighbours in a word that occurs `count` times."""
    return Counter({pair: times * count for pair, times in Counter(pairwise(spelling)).items()})


def _merge(spelling: list[str], pair: tuple[str, str], merged: str) -> list[str]:
    pieces: list[str] = []
    for piece in spelling:
        if pieces and (pieces[-1], piece) == pair:
            pieces[-1] = merged
        else:
            pieces.append(piece)
    return pieces
