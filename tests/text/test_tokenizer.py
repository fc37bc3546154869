"""The tokenizer against that of transformers, and its promises about unknown, long and padded text."""

import pickle
import string
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertTokenizer

from deixis.errors import InputError
from deixis.text.tokenizer import SPECIAL, Tokenizer

SENTENCES = ["the red cup left of the plate", "the large blue circle above the small square", "a man in a red coat"] * 5


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.learn(SENTENCES, 200)


@pytest.mark.parametrize(
    "expression",
    [
        "The red cup!",
        "unknown wörds, naïve café",
        "左 cup",
        "don't  stop\tnow\n",
        "",
        "tailor-made (2nd)",
        "a\u0000b \ufffd",
    ],
)
def test_it_equals_the_tokenizer_of_transformers(tokenizer: Tokenizer, tmp_path: Path, expression: str) -> None:
    tokenizer.save(tmp_path / "vocab.txt")
    vocabulary = {token: number for number, token in enumerate(tokenizer.vocabulary)}
    theirs = BertTokenizer(vocab=vocabulary, do_lower_case=True)
    assert tokenizer.encode([expression], 50)[0][0].tolist() == theirs(expression)["input_ids"]


@given(st.lists(st.text(max_size=30), max_size=5), st.integers(3, 12))
@settings(deadline=None)
def test_any_text_is_encoded_as_by_transformers(expressions: list[str], max_tokens: int) -> None:
    ours = Tokenizer.learn(SENTENCES, 120)
    theirs = BertTokenizer(vocab={token: number for number, token in enumerate(ours.vocabulary)}, do_lower_case=True)
    token_ids, mask = ours.encode(expressions, max_tokens)
    expected = [theirs(expression)["input_ids"][:max_tokens] for expression in expressions]
    assert [row[real].tolist() for row, real in zip(token_ids, mask, strict=True)] == expected


def test_it_is_imported_and_used_without_torch(tmp_path: Path) -> None:
    Tokenizer.learn(SENTENCES, 200).save(tmp_path / "vocab.txt")
    program = (
        "import sys; sys.modules['torch'] = None\n"  # importing it then raises
        "from deixis.text.tokenizer import Tokenizer\n"
        "print(Tokenizer.from_file(sys.argv[1]).encode(['red cup'], 9)[1].tolist())"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "vocab.txt")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[[True, True, True, True]]\n"


def test_nothing_typed_on_a_keyboard_is_unknown(tokenizer: Tokenizer) -> None:
    typed = ["".join(string.printable), "zq9xw", "QUARTZ jinx", "x" * 90, *string.printable.strip()]
    for expression in typed:
        assert "[UNK]" not in tokenizer.tokens(expression, 1000)


def test_learned_words_are_one_piece_and_special_tokens_come_first(tokenizer: Tokenizer) -> None:
    assert tokenizer.vocabulary[:5] == SPECIAL
    assert len(tokenizer) <= 200
    assert len(set(tokenizer.vocabulary)) == len(tokenizer)
    assert tokenizer.tokens("The RED cup", 20) == ["[CLS]", "the", "red", "cup", "[SEP]"]


def test_learning_twice_gives_the_same_vocabulary(tokenizer: Tokenizer) -> None:
    assert Tokenizer.learn(iter(SENTENCES), 200) == tokenizer


def test_expressions_are_padded_to_the_longest_or_as_asked(tokenizer: Tokenizer) -> None:
    token_ids, mask = tokenizer.encode(["red cup", "the red cup"], 20)
    assert (token_ids.shape, token_ids.dtype, mask.dtype) == ((2, 5), np.int64, np.bool_)
    assert mask.tolist() == [[True, True, True, True, False], [True] * 5]
    assert token_ids[0, 4] == tokenizer.padding == 0
    longer, longer_mask = tokenizer.encode(["red cup", "the red cup"], 20, pad_to=9)
    assert np.array_equal(longer[:, :5], token_ids)
    assert (longer[:, 5:] == tokenizer.padding).all()
    assert longer.shape == (2, 9)
    assert longer_mask.sum() == mask.sum()
    assert tokenizer.encode([], 20)[0].shape == (0, 0)
    assert tokenizer.encode([], 20, pad_to=9)[1].shape == (0, 9)
    with pytest.raises(InputError, match="does not fit pad_to=3"):
        tokenizer.encode(["the red cup"], 20, pad_to=3)


def test_a_long_expression_is_cut_and_reported(tokenizer: Tokenizer) -> None:
    long = "red cup " * 10
    assert tokenizer.is_truncated(long, 20)
    assert not tokenizer.is_truncated("red cup", 4)
    assert tokenizer.is_truncated("red cup", 3)
    token_ids, mask = tokenizer.encode([long], 20)
    assert token_ids.shape == (1, 20)
    assert mask.all()
    assert "[SEP]" not in tokenizer.tokens(long, 20)


def test_it_survives_a_file_and_pickling(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "vocab.txt")
    for copy in (
        Tokenizer.from_file(tmp_path / "vocab.txt"),
        Tokenizer.bert_base(tmp_path),
        pickle.loads(pickle.dumps(tokenizer)),
    ):
        assert copy == tokenizer
        assert hash(copy) == hash(tokenizer)
        assert copy.tokens("the red cup", 9) == tokenizer.tokens("the red cup", 9)


def test_a_wrong_vocabulary_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        Tokenizer.from_file(tmp_path / "absent.txt")
    (tmp_path / "words.txt").write_text("the\nred\n")
    with pytest.raises(InputError, match=r"words\.txt: The vocabulary of 2 tokens lacks \[PAD\]"):
        Tokenizer.from_file(tmp_path / "words.txt")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InputError, match="is not UTF-8 text"):
        Tokenizer.from_file(tmp_path / "binary")
    with pytest.raises(InputError, match="at least"):
        Tokenizer.learn(SENTENCES, 50)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("deixis.text.tokenizer.PUBLISHED", "nobody/has-this-model")
    with pytest.raises(InputError, match=r"by --vocabulary, or run `hf download nobody/has-this-model vocab\.txt`"):
        Tokenizer.bert_base()
