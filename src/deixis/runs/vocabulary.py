"""The vocabulary of a run: BERT's, a file's, an earlier Run's, or one learned from the training sentences."""

from pathlib import Path
from typing import Any

from ..checkpoints.native import VOCABULARY
from ..errors import InputError
from ..files import replaced
from ..records import Config, Reader
from ..text.kinds import AnyTokenizer, tokenizer_from
from ..text.tokenizer import SPECIAL, Tokenizer
from ..training.processes import processes
from ..training.state import STATE
from .initialise import Earlier, place_of
from .run import LEARNED, PUBLISHED, Run

LEARNED_FROM = 20_000  # sentences at least, evenly spread, where there are as many; more of a grammar add no words


def tokenizer_of(run: Run, training: Reader, out: Path, is_new: bool, earlier: Earlier) -> AnyTokenizer:
    """The run's tokenizer. Its vocabulary is kept in the folder: a resumed run must number words in the same way."""
    system: Any = run.system
    if not reads_words(system):
        return Tokenizer(SPECIAL)
    tokenizer: AnyTokenizer = _tokenizer(run, system.vocabulary_size, training, out, is_new, earlier)
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
    if system.tokenizer == "clip":
        if run.vocabulary in (LEARNED, PUBLISHED):
            raise InputError(
                "This system reads CLIP's vocabulary; give --vocabulary the vocab.txt of a converted checkpoint, such "
                "as that of `deixis checkpoint download groupvit`."
            )
        return tokenizer_from(system, run.vocabulary)
    if run.vocabulary == LEARNED:
        return _learned(training, out / VOCABULARY, size, is_new)
    return Tokenizer.bert_base(None if run.vocabulary == PUBLISHED else run.vocabulary)


def _learned(training: Reader, file: Path, size: int, is_new: bool) -> Tokenizer:
    with processes().main_process_first():
        if processes().is_main_process and (is_new or not file.exists()):
            every = max(1, len(training) // LEARNED_FROM)
            sentences = (training[position].expression for position in range(0, len(training), every))
            with replaced(file) as beside:
                Tokenizer.learn(sentences, size).save(beside)
        return Tokenizer.from_file(file)
