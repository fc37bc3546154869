"""GloVe word vectors (Pennington et al., EMNLP 2014): a reader of the published text files, and the table of a system.

A published file has one word a line, then its numbers, separated by spaces; the words of `glove.840B.300d.txt` may
contain spaces themselves. The file is read once for a vocabulary: what was found is kept in a small binary file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import ClassVar
from zipfile import BadZipFile

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor, nn

from ..errors import InputError, ModelError
from ..files import replaced
from .words import LONGEST, SPECIAL

INIT_STD = 0.4  # of a table without a file: nearly that of GloVe's own numbers


@dataclass(frozen=True, kw_only=True)
class WordConfig:
    """The sizes of a word table; with `glove` it is filled from a file and not trained."""

    vocabulary: int = 10_000
    embedding: int = 300  # of the published GloVe files
    glove: bool = False
    tokenizer: ClassVar[str] = "words"
    longest_sentence: ClassVar[int] = LONGEST

    def __post_init__(self) -> None:
        if min(self.vocabulary, self.embedding) < 1:
            raise InputError(
                f"The word table has a vocabulary of {self.vocabulary} and vectors of {self.embedding} numbers; "
                "expected positive numbers."
            )


@dataclass(frozen=True)
class Glove:
    """The vectors of a vocabulary's words; `unknown` are the words that the file lacks, whose vector is the mean."""

    vectors: Float32[np.ndarray, "words d"]
    unknown: tuple[str, ...]


class WordTable(nn.Module):
    """Word ids to vectors; [PAD], the first word, has the vector 0.

    A `fixed` table is filled from a GloVe file and not trained, so that vectors stay comparable during an adaptation.
    """

    weight: Tensor

    def __init__(self, vocabulary: int, width: int = 300, *, fixed: bool = False) -> None:
        super().__init__()
        weight = torch.empty(vocabulary, width)
        nn.init.normal_(weight, std=INIT_STD)
        weight[0] = 0
        if fixed:
            self.register_buffer("weight", weight)
        else:
            self.weight = nn.Parameter(weight)

    def forward(self, token_ids: Int[Tensor, "b l"]) -> Float[Tensor, "b l d"]:
        return nn.functional.embedding(token_ids, self.weight, padding_idx=0)

    @torch.no_grad()
    def fill(self, glove: Glove) -> None:
        """Copy the vectors into the first rows."""
        self.weight[: len(glove.vectors)] = torch.as_tensor(glove.vectors)


def read_glove(path: str | Path, words: Sequence[str], width: int = 300, *, cache: Path | None = None) -> Glove:
    """The vectors of `words`, a vocabulary that begins with [PAD] and [UNK].

    A word that the file lacks, and [UNK], get the mean of all vectors of the file. With the folder `cache`, the result
    is kept there and read again as long as neither the file nor the words change. Raises `InputError` for a file of
    another width, and `ModelError` for a truncated one.
    """
    source = Path(path)
    if not source.is_file():
        raise InputError(f"There are no word vectors at {path}; give a published file such as glove.6B.{width}d.txt.")
    kept = None if cache is None else cache / f"{_key(source, words, width)}.npz"
    if kept is not None and (found := _kept(kept)) is not None:
        return found
    found = _read(source, words, width)
    if kept is not None:
        with replaced(kept) as beside, beside.open("wb") as file:
            np.savez(file, vectors=found.vectors, unknown=np.array(found.unknown, dtype=np.str_))
    return found


def _read(source: Path, words: Sequence[str], width: int) -> Glove:
    rows = {word: row for row, word in enumerate(words)}
    vectors = np.zeros((len(words), width), np.float32)
    missing, total, count = set(words[len(SPECIAL) :]), np.zeros(width), 0
    with source.open(encoding="utf-8", newline="\n", errors="replace") as file:
        for count, line in enumerate(file, start=1):
            if count == 1 and (found := line.count(" ")) != width:
                raise InputError(f"{source} has vectors of {found} numbers; the system's words have {width}.")
            word, vector = _parsed(line, width, f"{source}, line {count}")
            total += vector
            if word in missing:  # the first of two equal words is read
                vectors[rows[word]] = vector
                missing.remove(word)
    if not count:
        raise ModelError(f"{source} is empty; download it again.")
    mean = total / count
    for word in (SPECIAL[1], *missing):
        vectors[rows[word]] = mean
    return Glove(vectors, tuple(sorted(missing)))


def _parsed(line: str, width: int, where: str) -> tuple[str, Float32[np.ndarray, " d"]]:
    # Split from the right: a word of 840B may contain spaces.
    word, *numbers = line.rstrip("\n").rsplit(" ", width)
    try:
        vector = np.array(numbers, np.float32)
    except ValueError:
        vector = np.empty(0, np.float32)
    if len(vector) != width or not line.endswith("\n") or not np.isfinite(vector).all():
        raise ModelError(
            f"{where}: expected a word, {width} numbers and an end of line; the file is truncated or "
            "damaged: download it again."
        )
    return word, vector


def _key(source: Path, words: Sequence[str], width: int) -> str:
    """Changes with the file's size and time, the width and the words."""
    state = source.stat()
    parts = (str(source.resolve()), str(state.st_size), str(state.st_mtime_ns), str(width), *words)
    return blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()


def _kept(file: Path) -> Glove | None:
    """What was kept; None where there is nothing or the rest of a damaged file, which is then written again."""
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as stored:
            return Glove(stored["vectors"], tuple(str(word) for word in stored["unknown"]))
    except (OSError, EOFError, ValueError, KeyError, BadZipFile):
        return None
