"""Whole words: how expressions are split, which ids they get, and vocabularies as files."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from deixis.errors import InputError
from deixis.text.tokenizers import TOKENIZERS, AnyTokenizer
from deixis.text.words import SPECIAL, WordTokenizer, split

WORDS = ("[PAD]", "[UNK]", "the", "red", "cup")


@pytest.fixture
def tokenizer() -> WordTokenizer:
    return WordTokenizer(WORDS)


def test_words_are_lower_case_and_split_at_what_is_not_a_word_character() -> None:
    assert split("The man's red-ish cup, left.") == ["the", "man", "s", "red", "ish", "cup", "left"]


def test_every_word_has_its_line_number_and_padding_is_masked(tokenizer: WordTokenizer) -> None:
    token_ids, token_mask = tokenizer.encode(["The red cup.", "blue"], 20)
    assert token_ids.tolist() == [[2, 3, 4], [1, 0, 0]]
    assert token_mask.tolist() == [[True, True, True], [True, False, False]]
    assert token_ids.dtype == np.int64
    assert tokenizer.tokens("the blue cup", 20) == ["the", "[UNK]", "cup"]


def test_long_expressions_are_cut_and_short_ones_padded_to_a_length(tokenizer: WordTokenizer) -> None:
    token_ids, token_mask = tokenizer.encode(["the red cup"], 2, pad_to=4)
    assert token_ids.tolist() == [[2, 3, 0, 0]]
    assert token_mask.sum() == 2
    assert tokenizer.is_truncated("the red cup", 2)
    assert not tokenizer.is_truncated("the red cup", 3)
    with pytest.raises(InputError, match=r"3 words, which does not fit pad_to=2"):
        tokenizer.encode(["the red cup"], 20, pad_to=2)


def test_an_expression_without_a_word_is_one_unknown_word(tokenizer: WordTokenizer) -> None:
    assert tokenizer.encode(["?!"], 20)[0].tolist() == [[1]]
    assert tokenizer.tokens("?!", 20) == ["[UNK]"]


def test_the_most_frequent_words_are_learned_and_ties_follow_the_alphabet() -> None:
    learned = WordTokenizer.learn(["red cup", "a red bee", "red bee"], 5)
    assert learned.vocabulary == ("[PAD]", "[UNK]", "red", "bee", "a")
    with pytest.raises(InputError, match="room for no word"):
        WordTokenizer.learn(["red"], 2)


def test_a_vocabulary_saved_and_read_again_is_the_same(tokenizer: WordTokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "vocab.txt")
    assert WordTokenizer.from_file(tmp_path / "vocab.txt") == tokenizer
    assert pickle.loads(pickle.dumps(tokenizer)) == tokenizer
    assert len(tokenizer) == 5


def test_a_file_that_is_not_a_vocabulary_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "vocab.txt"
    with pytest.raises(InputError, match="cannot be read"):
        WordTokenizer.from_file(file)
    file.write_text("the\nred\n")
    with pytest.raises(InputError, match=r"vocab.txt: .* does not begin with \[PAD\] and \[UNK\]"):
        WordTokenizer.from_file(file)
    file.write_bytes(b"[PAD]\n\xff\xfe\n")
    with pytest.raises(InputError, match="not UTF-8"):
        WordTokenizer.from_file(file)
    with pytest.raises(InputError, match="the word 'red' 2 times"):
        WordTokenizer((*WORDS, "red"))


def test_every_listed_tokenizer_has_what_the_predictor_calls() -> None:
    assert set(TOKENIZERS) == {"wordpiece", "words"}
    for kind in TOKENIZERS.values():
        assert isinstance(kind.learn(["the red cup"] * 3, 200), AnyTokenizer)


def test_it_needs_no_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; import deixis.text.words"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_vocabulary_is_extended_by_the_most_frequent_new_words_while_there_is_room() -> None:
    tokenizer = WordTokenizer([*SPECIAL, "cup"])
    sentences = ["the swan", "the cup", "a swan"]
    assert tokenizer.extended(sentences, 5).vocabulary == (*SPECIAL, "cup", "swan", "the")
    assert tokenizer.extended(sentences, 3).vocabulary == tokenizer.vocabulary
