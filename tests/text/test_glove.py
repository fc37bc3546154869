"""GloVe files: the published format, its cache, and files that are broken."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from deixis.errors import InputError, ModelError
from deixis.text import glove as reading
from deixis.text.glove import Glove, WordTable, read_glove

WORDS = ("[PAD]", "[UNK]", "cup", "red", "unseen")
LINES = ("the 1 2 3", "red 0.5 -1.25 2e-1", ". . . 4 5 6", "cup -1 0 1", "red 9 9 9")  # the third word is ". . ."


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "glove.3d.txt"
    path.write_text("\n".join(LINES) + "\n", encoding="utf-8")
    return path


def test_words_get_their_vectors_and_the_others_the_mean_of_the_file(file: Path) -> None:
    found = read_glove(file, WORDS, 3)
    every = np.array([line.split(" ")[-3:] for line in LINES], float)
    expected = np.array([[0, 0, 0], every.mean(0), [-1, 0, 1], [0.5, -1.25, 0.2], every.mean(0)])
    np.testing.assert_allclose(found.vectors, expected, rtol=1e-6)
    assert found.unknown == ("unseen",)


def test_the_file_is_read_once_for_a_vocabulary(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = read_glove(file, WORDS, 3, cache=tmp_path / "cache")
    (kept,) = (tmp_path / "cache").iterdir()
    assert kept.stat().st_size < 2000
    calls: list[Path] = []
    read = reading._read
    monkeypatch.setattr(reading, "_read", lambda source, *rest: calls.append(source) or read(source, *rest))
    again = read_glove(file, WORDS, 3, cache=tmp_path / "cache")
    assert calls == []
    assert np.array_equal(again.vectors, first.vectors)
    assert again.unknown == first.unknown
    read_glove(file, (*WORDS, "the"), 3, cache=tmp_path / "cache")  # other words
    file.write_text("\n".join(LINES[:2]) + "\n")  # another file
    changed = read_glove(file, WORDS, 3, cache=tmp_path / "cache")
    assert changed.unknown == ("cup", "unseen")
    assert len(calls) == 2
    kept.write_bytes(b"PK half")
    read_glove(file, WORDS, 3, cache=tmp_path / "cache")
    assert len(calls) == 2  # the damaged file is that of the old state


def test_a_damaged_cache_is_written_again(file: Path, tmp_path: Path) -> None:
    first = read_glove(file, WORDS, 3, cache=tmp_path / "cache")
    (kept,) = (tmp_path / "cache").iterdir()
    for rest in (b"", b"PK half", kept.read_bytes()[:200]):
        kept.write_bytes(rest)
        assert np.array_equal(read_glove(file, WORDS, 3, cache=tmp_path / "cache").vectors, first.vectors)


def test_a_file_of_another_width_is_one_sentence(file: Path, tmp_path: Path) -> None:
    for width in (2, 300):
        with pytest.raises(InputError, match=rf"vectors of 3 numbers; the system's words have {width}"):
            read_glove(file, WORDS, width, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("rest", ["cup 1 2", "cup 1 2 3", "cup 1 2 three\n", "cup 1 2 nan\n", "cup 1 2\n", "\n"])
def test_a_truncated_file_is_one_sentence(file: Path, tmp_path: Path, rest: str) -> None:
    file.write_text("the 1 2 3\n" + rest)
    with pytest.raises(ModelError, match=r"line 2: expected a word, 3 numbers .* truncated or damaged"):
        read_glove(file, WORDS, 3, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_no_file_and_an_empty_file_are_one_sentence_each(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There are no word vectors at"):
        read_glove(tmp_path / "absent.txt", WORDS, 3)
    (tmp_path / "empty.txt").touch()
    with pytest.raises(ModelError, match="is empty"):
        read_glove(tmp_path / "empty.txt", WORDS, 3)


@pytest.mark.parametrize("fixed", [True, False])
def test_a_table_is_filled_and_only_trained_where_it_is_not_fixed(fixed: bool) -> None:
    table = WordTable(6, 3, fixed=fixed)
    vectors = np.arange(15, dtype=np.float32).reshape(5, 3)
    last = table.weight[5].clone()
    table.fill(Glove(vectors, ()))
    assert torch.equal(table.weight[:5], torch.as_tensor(vectors))
    assert torch.equal(table.weight[5], last)
    assert isinstance(table.weight, nn.Parameter) != fixed
    assert list(table.state_dict()) == ["weight"]
    assert torch.equal(table(torch.tensor([[2, 1]])), table.weight[[2, 1]][None])


def test_the_vector_of_padding_is_zero_and_stays_so() -> None:
    table = WordTable(4, 3)
    assert not table.weight[0].any()
    table(torch.tensor([[0, 1]])).sum().backward()
    assert table.weight.grad is not None
    assert not table.weight.grad[0].any()
    assert (table.weight.grad[1] == 1).all()
