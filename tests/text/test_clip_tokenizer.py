"""CLIP's tokenizer equals that of transformers, reads the published files, and cuts before the end token."""

import json
import pickle
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from transformers import CLIPTokenizer

from deixis.errors import InputError
from deixis.text.clip_tokenizer import END, PHOTO, START, ClipTokenizer
from deixis.text.tokenizer import SPECIAL, Tokenizer
from deixis.text.tokenizers import tokenizer_for, tokenizer_from

published = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "zoo" / "published_clip.py")))
SENTENCES = (
    "the red cup",
    "The  RED cup's 2nd photo, of THE cup!!",
    "naïve café 東京 🙂",
    "they're re-reading 1234 photos...",
    " ",
    "it's <|endoftext|>",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    published.write_vocabulary(tmp_path)
    return tmp_path


@pytest.fixture
def tokenizer(folder: Path) -> ClipTokenizer:
    return ClipTokenizer.from_published(folder / "vocab.json", folder / "merges.txt")


def test_token_ids_are_those_of_transformers(folder: Path, tokenizer: ClipTokenizer) -> None:
    theirs = CLIPTokenizer.from_pretrained(folder)
    for sentence in SENTENCES[:-1]:  # transformers makes one token of the last one's end
        token_ids, token_mask = tokenizer.encode([sentence], 77)
        assert token_ids[0].tolist() == theirs(sentence)["input_ids"], sentence
        assert token_mask.all()


def test_an_end_token_in_a_sentence_ends_nothing(tokenizer: ClipTokenizer) -> None:
    token_ids, token_mask = tokenizer.encode([SENTENCES[-1]], 77)
    assert token_ids[0, -1] == tokenizer.end
    assert token_mask.sum() == len(tokenizer.tokens(SENTENCES[-1], 77))


def test_merges_apply_and_names_of_tokens_have_no_spaces(tokenizer: ClipTokenizer) -> None:
    assert tokenizer.tokens("The red cup", 77) == [START, "the</w>", "red</w>", "cup</w>", END]
    assert len(tokenizer) == len(tokenizer.vocabulary) == 512 + len(published.MERGES) + 2


def test_the_stored_vocabulary_gives_the_same_tokenizer(tokenizer: ClipTokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "vocab.txt")
    assert ClipTokenizer.from_file(tmp_path) == ClipTokenizer.from_file(tmp_path / "vocab.txt") == tokenizer
    again = pickle.loads(pickle.dumps(ClipTokenizer(tokenizer.vocabulary, PHOTO)))
    assert again.template == PHOTO
    assert hash(again) == hash(ClipTokenizer(tokenizer.vocabulary, PHOTO))
    assert again != tokenizer


def test_the_template_is_filled_with_the_expression(tokenizer: ClipTokenizer) -> None:
    templated = ClipTokenizer(tokenizer.vocabulary, PHOTO)
    expected, _ = tokenizer.encode(["a photo of a red cup."], 77)
    assert np.array_equal(templated.encode(["red cup"], 77)[0], expected)
    with pytest.raises(InputError, match="no template 'a picture of"):
        ClipTokenizer(tokenizer.vocabulary, "a picture of {}")


def test_long_sentences_are_cut_before_the_end_token_and_short_ones_are_padded(tokenizer: ClipTokenizer) -> None:
    token_ids, token_mask = tokenizer.encode(["the red cup", "the"], 4, pad_to=6)
    red, the = (tokenizer.vocabulary.index(token) for token in ("re d</w>", "th e</w>"))
    assert token_ids[0, :4].tolist() == [tokenizer.start, the, red, tokenizer.end]
    assert token_mask.tolist() == [[True] * 4 + [False] * 2, [True] * 3 + [False] * 3]
    assert tokenizer.is_truncated("the red cup", 4)
    assert not tokenizer.is_truncated("the red cup", 5)
    with pytest.raises(InputError, match="has 4 tokens, which does not fit pad_to=3"):
        tokenizer.encode(["the red cup"], 4, pad_to=3)


def test_files_that_are_not_clips_are_one_sentence(folder: Path) -> None:
    files = folder / "vocab.json", folder / "merges.txt"
    (folder / "vocab.txt").write_text("red\ncup\n")
    with pytest.raises(InputError, match=r"vocab.txt: The vocabulary of 2 tokens lacks <\|startoftext\|>"):
        ClipTokenizer.from_file(folder)
    with pytest.raises(InputError, match=r"absent.txt cannot be read"):
        ClipTokenizer.from_file(folder / "absent.txt")
    files[1].write_text("re d</w>\nr e\n")
    with pytest.raises(InputError, match="does not number the tokens as"):
        ClipTokenizer.from_published(*files)
    files[0].write_text(json.dumps(["red"]))
    with pytest.raises(InputError, match="not a mapping from tokens to ids"):
        ClipTokenizer.from_published(*files)
    files[0].write_text("{")
    with pytest.raises(InputError, match="is not JSON"):
        ClipTokenizer.from_published(*files)
    with pytest.raises(InputError, match="merges cannot be used"):
        ClipTokenizer([START, END, "a", "b c"])


def test_a_config_names_its_kind_of_tokenizer(tokenizer: ClipTokenizer, tmp_path: Path) -> None:
    clip, bert = SimpleNamespace(tokenizer="clip", template=PHOTO), SimpleNamespace(tokenizer="wordpiece")
    assert tokenizer_for(clip, tokenizer.vocabulary) == ClipTokenizer(tokenizer.vocabulary, PHOTO)
    assert tokenizer_for(bert, SPECIAL) == Tokenizer(SPECIAL)
    tokenizer.save(tmp_path / "vocab.txt")
    assert tokenizer_from(clip, tmp_path / "vocab.txt") == ClipTokenizer(tokenizer.vocabulary, PHOTO)
    Tokenizer(SPECIAL).save(tmp_path / "vocab.txt")
    assert tokenizer_from(bert, tmp_path / "vocab.txt") == Tokenizer(SPECIAL)
