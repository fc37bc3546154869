"""A prediction on one sheet: one panel for each token, on every machine the same."""

import numpy as np
import pytest

from deixis import viz
from deixis.viz import layout

RNG = np.random.default_rng(7)
PHOTO = RNG.integers(0, 256, (60, 90, 3), dtype=np.uint8)
MASK = np.zeros((60, 90), bool)
MASK[20:40, 30:60] = True
PROBABILITY = MASK.astype(np.float32) * 0.9
WORDS = ("[CLS]", "red", "um", "##brella", "[SEP]", "[PAD]")


def evidence() -> dict[str, np.ndarray]:
    similarity = RNG.uniform(-1, 1, (6, 8, 8)).astype(np.float32)
    return {
        "similarity": similarity,
        "selected": similarity > 0.4,
        "attention_to_words": np.array([0.2, 0.9], np.float32),
    }


def test_an_explanation_draws_every_real_word_once_and_no_padding() -> None:
    drawn = evidence()
    few = viz.explanation(PHOTO, MASK, PROBABILITY, "red umbrella", WORDS, drawn)
    plain = viz.explanation(PHOTO, MASK, PROBABILITY, "red umbrella", WORDS, {})
    assert few.height > plain.height + 2 * 112
    drawn["similarity"] = drawn["similarity"].copy()
    drawn["similarity"][4:] = 99.0  # [SEP] and [PAD]
    drawn["selected"] = drawn["selected"].copy()
    drawn["selected"][4:] = True
    assert (
        np.asarray(viz.explanation(PHOTO, MASK, PROBABILITY, "red umbrella", WORDS, drawn)) == np.asarray(few)
    ).all()


def test_a_legend_of_many_maps_goes_on_below() -> None:
    maps = {f"pixel_word_attention_{stage}": evidence()["similarity"] + stage for stage in range(1, 5)}
    long = viz.explanation(PHOTO, MASK, PROBABILITY, "red umbrella", WORDS, maps)
    short = {str(position): values for position, values in enumerate(maps.values())}
    assert long.height == viz.explanation(PHOTO, MASK, PROBABILITY, "red umbrella", WORDS, short).height + layout.LINE


def test_an_explanation_follows_the_maps() -> None:
    drawn = evidence()
    before = np.asarray(viz.explanation(PHOTO, MASK, PROBABILITY, "red umbrella", WORDS, drawn))
    drawn["selected"] = ~drawn["selected"]
    after = np.asarray(viz.explanation(PHOTO, MASK, PROBABILITY, "red umbrella", WORDS, drawn))
    assert before.shape == after.shape
    assert (before != after).any()


def test_an_explanation_is_the_same_twice_and_copes_with_any_photo() -> None:
    drawn = evidence()
    for height, width in ((1, 1), (1, 400), (900, 3)):
        photo, mask = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), bool)
        arguments = (photo, mask, mask.astype(np.float32), "ein Stück “Käse” 茶 " * 30, WORDS, drawn)
        assert viz.explanation(*arguments).tobytes() == viz.explanation(*arguments).tobytes()


def test_a_single_probability_is_a_bar_of_its_length() -> None:
    lengths = {}
    for probability in (0.25, 0.75):
        drawn = {"presence": np.asarray(np.float32(probability))}
        picture = np.asarray(viz.explanation(PHOTO, MASK, PROBABILITY, "red", WORDS, drawn))
        lengths[probability] = (picture == layout.PALETTE[2]).all(axis=2).sum(axis=1).max()
    assert lengths[0.75] == pytest.approx(3 * lengths[0.25], abs=4)
    assert lengths[0.25] > 20


def test_a_map_of_the_whole_sentence_is_a_panel_beside_the_mask() -> None:
    plain = viz.explanation(PHOTO, MASK, PROBABILITY, "red", WORDS, {})
    more = viz.explanation(PHOTO, MASK, PROBABILITY, "red", WORDS, {"relevance": np.eye(5, dtype=np.float32)})
    assert more.height == plain.height
    assert more.width > plain.width


@pytest.mark.parametrize(("word", "spoken"), [("[CLS]", "(sentence)"), ("##brella", "-brella"), ("cup", "cup")])
def test_tokens_are_spelled_for_readers(word: str, spoken: str) -> None:
    assert viz.spell(word) == spoken
