"""The vocabulary of a run: BERT's, a file's, a model's, or one learned from the training sentences."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..checkpoints import native
from ..checkpoints.native import VOCABULARY
from ..errors import InputError
from ..files import replaced
from ..records import Config, Reader
from ..text.tokenizer import SPECIAL, Tokenizer
from ..text.tokenizers import TOKENIZERS, AnyTokenizer, TokenizerKind, tokenizer_for, tokenizer_from
from ..text.words import WordTokenizer
from ..training.processes import processes
from ..training.state import STATE
from ..zoo.loading import find
from .initialise import Earlier, place_of
from .run import LEARNED, PUBLISHED, Run

LEARNED_FROM = 20_000  # sentences at least, evenly spread, where there are as many; more of a grammar add no words


def tokenizer_of(run: Run, training: Reader, out: Path, is_new: bool, earlier: Earlier) -> AnyTokenizer:
    """The run's tokenizer. Its vocabulary is kept in the folder: a resumed run must number words in the same way."""
    system: Any = run.system
    if not reads_words(system):
        return Tokenizer(SPECIAL)
    tokenizer: AnyTokenizer = _tokenizer(run, system.vocabulary_size, training, out, is_new, earlier)
    if run.new_words and isinstance(tokenizer, WordTokenizer):
        tokenizer = tokenizer.extended(_sentences(training), system.vocabulary_size)
    if len(tokenizer) > system.vocabulary_size:
        raise InputError(
            f"The vocabulary has {len(tokenizer)} words, but the text encoder supports {system.vocabulary_size}; "
            "raise the vocabulary of the system's text encoder."
        )
    return tokenizer


def reads_words(system: Config) -> bool:
    """Whether the system has a text encoder: the config of one that has none names no tokenizer."""
    return hasattr(system, "tokenizer")


def check_length(run: Run) -> None:
    """Raises `InputError` where sentences may be longer than the system supports."""
    system: Any = run.system
    if reads_words(system) and run.preprocess.max_tokens > system.longest_sentence:
        raise InputError(
            f"Sentences of {run.preprocess.max_tokens} tokens are to be read, but the text encoder has "
            f"{system.longest_sentence} positions; lower preprocess.max_tokens."
        )


def _tokenizer(run: Run, size: int, training: Reader, out: Path, is_new: bool, earlier: Earlier) -> AnyTokenizer:
    system: Any = run.system
    beside_state = out / STATE.with_name(VOCABULARY)
    if not is_new and beside_state.exists():
        return tokenizer_from(system, beside_state)
    if run.vocabulary in earlier:
        return tokenizer_from(system, place_of(run.vocabulary, earlier) / VOCABULARY)
    if system.tokenizer == "clip" and run.vocabulary in (LEARNED, PUBLISHED):
        raise InputError(
            "This system reads CLIP's vocabulary; give --vocabulary the vocab.txt of a converted checkpoint, such as "
            "that of `deixis checkpoint download groupvit`."
        )
    if run.vocabulary == LEARNED:
        return _learned(TOKENIZERS[system.tokenizer], training, out / VOCABULARY, size, is_new)
    if run.vocabulary == PUBLISHED and system.tokenizer == "wordpiece":
        return Tokenizer.bert_base()
    if run.vocabulary == PUBLISHED:
        raise InputError(
            f"The system reads whole words, but the vocabulary {PUBLISHED} consists of pieces; give --vocabulary "
            f"{LEARNED}, or a vocab.txt of words."
        )
    if Path(run.vocabulary).is_file() and Path(run.vocabulary).suffix != ".safetensors":
        return tokenizer_from(system, run.vocabulary)
    if (Path(run.vocabulary) / VOCABULARY).is_file():
        return tokenizer_from(system, Path(run.vocabulary) / VOCABULARY)
    return tokenizer_for(system, native.read(find(run.vocabulary)).vocabulary)


def _learned(kind: TokenizerKind, training: Reader, file: Path, size: int, is_new: bool) -> AnyTokenizer:
    with processes().main_process_first():
        if processes().is_main_process and (is_new or not file.exists()):
            with replaced(file) as beside:
                kind.learn(_sentences(training), size).save(beside)
        return kind.from_file(file)


def _sentences(training: Reader) -> Iterator[str]:
    every = max(1, len(training) // LEARNED_FROM)
    return (training[position].expression for position in range(0, len(training), every))
