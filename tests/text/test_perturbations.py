"""Perturbed sentences: the same on every machine, changed as their kind says."""

import pytest

from deixis.errors import InputError
from deixis.text.perturbations import KINDS, Perturbation

SENTENCE = "the little dog with the blue hat sitting left of the man"


def perturbed(kind: str, sentence: str = SENTENCE, seed: int = 0) -> str:
    return Perturbation(kind=kind, seed=seed)(sentence)


GOLDEN = {
    "typo": "the little dog wiht the blue hat sitting left of the man",
    "drop-vowels": "the lttl dog wth the bl hat sttng lft of the man",
    "slang": "da lil pooch w/ da blue lid sittin lft of teh dude",
    "shuffle": "little blue the of with the sitting hat dog man left the",
    "casual": "like the little dog with the blue hat sitting left of the man",
    "keyboard": "the little dog wuth the blue hat sitting left of the man",
    "ocr": "the little dog with the blue hat sittin9 left of the man",
    "character-insert": "the little dog with the blue hat sittling left of the man",
    "character-replace": "the little dog with the blue hat sittmng left of the man",
    "character-swap": "the little dog with the blue hat stiting left of the man",
    "character-delete": "the little dog wih the blue hat sitting left of the man",
    "synonym-replacement": "the small dog with the blue cap sitting left of the man",
    "word-insertion": "the little dog kinda with the blue actually hat maybe sitting left of the man",
    "word-swap": "sitting little dog with the blue hat the left of the man",
    "word-deletion": "the little dog with the blue left the man",
    "insert-punctuation": "the ? little dog with the , blue hat ! sitting left of the man",
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_sentence_and_seed_give_the_same_text(kind: str) -> None:
    assert perturbed(kind) == GOLDEN[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_sentence_is_never_empty(kind: str) -> None:
    for sentence in ("dog", "a", "red dog", "12", SENTENCE):
        for seed in range(20):
            assert perturbed(kind, sentence, seed).strip()


def test_seeds_differ_and_kinds_are_independent_of_each_other() -> None:
    assert len({perturbed("typo", seed=seed) for seed in range(20)}) > 10


def test_character_kinds_change_one_place_of_some_words() -> None:
    for kind, length in (("character-insert", 1), ("character-delete", -1), ("character-swap", 0), ("keyboard", 0)):
        for seed in range(20):
            before, after = SENTENCE.split(), perturbed(kind, seed=seed).split()
            changed = [(one, other) for one, other in zip(before, after, strict=True) if one != other]
            assert len(changed) <= 1  # of four words with four letters or more a quarter
            assert all(len(other) - len(one) == length and len(one) >= 4 for one, other in changed)


def test_word_kinds_keep_the_words_that_they_should() -> None:
    for seed in range(20):
        assert sorted(perturbed("shuffle", seed=seed).split()) == sorted(SENTENCE.split())
        assert sorted(perturbed("word-swap", seed=seed).split()) == sorted(SENTENCE.split())
        kept = perturbed("word-deletion", seed=seed).split()
        assert len(kept) == 9  # of twelve
        rest = iter(SENTENCE.split())
        assert all(word in rest for word in kept)  # in their order
        longer = perturbed("insert-punctuation", seed=seed).split()
        assert [word for word in longer if word not in {".", ";", "?", ":", "!", ","}] == SENTENCE.split()


def test_vowels_are_dropped_from_longer_words() -> None:
    assert perturbed("drop-vowels", "the orange umbrella") == "the orng umbrll"


def test_a_sentence_without_anything_to_change_stays() -> None:
    assert perturbed("slang", "zebra") == "zebra"


@pytest.mark.parametrize(("kind", "fraction", "named"), [("typos", 0.2, "typo"), ("typo", 0.0, "fraction")])
def test_wrong_options_are_refused(kind: str, fraction: float, named: str) -> None:
    with pytest.raises(InputError, match=named):
        Perturbation(kind=kind, fraction=fraction)
