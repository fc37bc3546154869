"""Pictures of evidence: the right colours at the right places, one panel for each token, on every machine the same."""

import numpy as np
import pytest
from PIL import ImageFont

from deixis import viz
from deixis.errors import DeixisError
from deixis.metrics.calibration import reliability

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


def test_heat_is_brightest_where_values_are_highest() -> None:
    values = np.zeros((6, 9), np.float32)
    values[2:4, 3:6] = 1.0
    painted = viz.heat(np.full((60, 90, 3), 100, np.uint8), values).astype(int).sum(axis=2)
    assert painted.shape == (60, 90)
    assert painted[30, 45] == painted.max()
    assert painted[5, 5] == painted.min()


def test_heat_does_not_break_on_a_constant_map() -> None:
    assert viz.heat(PHOTO, np.ones((4, 4), np.float32), 1.0, 1.0).shape == PHOTO.shape


def test_the_ramp_reads_in_grey_as_well() -> None:
    colours = viz._ramp(np.linspace(0, 1, 101, dtype=np.float32)[None])[0]
    brightness = colours @ np.array([0.299, 0.587, 0.114])
    assert (np.diff(brightness) > 0).all()


def test_highlight_keeps_chosen_pixels_and_pales_the_rest() -> None:
    cells = np.zeros((6, 9), bool)
    cells[2:4, 3:6] = True
    lit = viz.highlight(PHOTO, cells)
    assert (lit[22:38, 32:58] == PHOTO[22:38, 32:58]).all()
    assert (lit[:18] >= 190).all()


def test_a_reliability_diagram_has_bars_as_high_as_the_fraction_of_positives() -> None:
    probabilities = np.concatenate([np.full(80, 0.25), np.full(20, 0.95)])
    positive = np.concatenate([np.arange(80) < 40, np.ones(20, dtype=bool)])
    plot = np.asarray(viz.reliability(reliability(probabilities, positive), "presence", side=400))
    blue = (plot == viz.PALETTE[2]).all(axis=2)
    grey = (plot == viz.PALETTE[1]).all(axis=2)
    red = (plot == viz.ACCENT).all(axis=2)
    columns = [viz.MARGIN + 44 + round(place * 400) for place in (0.22, 0.92, 0.5)]
    assert blue[:, columns[0]].sum() == pytest.approx(200, abs=5)  # the line of the mean probability is in it
    assert blue[:, columns[1]].sum() == pytest.approx(400, abs=5)
    assert not blue[:, columns[2]].any()
    assert grey[:, columns[0]].sum() == pytest.approx(80, abs=2)
    assert grey[:, columns[1]].sum() == pytest.approx(20, abs=2)
    floor = np.flatnonzero(blue[:, columns[0]]).max()
    assert floor - np.flatnonzero(red[:, columns[0]]).mean() == pytest.approx(100, abs=3)
    assert viz.reliability((), "nothing").size == viz.reliability(reliability(probabilities, positive), "x").size


def test_a_reliability_plot_has_room_for_every_line_of_its_title() -> None:
    one, two = (np.asarray(viz.reliability((), title)) for title in ("what", "what\nof which"))
    assert two.shape[0] == one.shape[0] + viz.LINE
    first = slice(0, viz.MARGIN + viz.LINE)
    assert np.array_equal(two[first], one[first])
    written = (two[viz.MARGIN + viz.LINE : viz.MARGIN + 2 * viz.LINE] == viz.INK).all(axis=2)
    assert written.any()


def test_a_strip_has_one_panel_a_picture_and_wraps() -> None:
    one = viz.strip([(PHOTO, "a")])
    five = viz.strip([(PHOTO, "a")] * 5, columns=2)
    assert one.size == (90, 60 + viz.LINE)
    assert five.size == (2 * 90 + viz.GAP, 3 * one.height + 2 * viz.GAP)
    assert (np.asarray(five)[:60, 100:190] == PHOTO).all()
    with pytest.raises(DeixisError, match="has no panels"):
        viz.strip([])


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
    assert long.height == viz.explanation(PHOTO, MASK, PROBABILITY, "red umbrella", WORDS, short).height + viz.LINE


@pytest.mark.parametrize("letter", ["i", "W"])
def test_a_paragraph_breaks_where_its_letters_reach_the_edge(letter: str) -> None:
    font = ImageFont.load_default(14)
    most = int(viz.STRIP // font.getlength(letter * 3 + " "))
    full, more = " ".join([letter * 3] * most), " ".join([letter * 3] * (most + 1))
    assert viz._paragraph(full).height == viz.LINE
    assert viz._paragraph(more).height == 2 * viz.LINE
    second = np.asarray(viz._paragraph(more))[viz.LINE :]
    assert (second == np.asarray(viz._paragraph(letter * 3))).all()


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
        lengths[probability] = (picture == viz.PALETTE[2]).all(axis=2).sum(axis=1).max()
    assert lengths[0.75] == pytest.approx(3 * lengths[0.25], abs=4)
    assert lengths[0.25] > 20


def test_a_map_of_the_whole_sentence_is_a_panel_beside_the_mask() -> None:
    plain = viz.explanation(PHOTO, MASK, PROBABILITY, "red", WORDS, {})
    more = viz.explanation(PHOTO, MASK, PROBABILITY, "red", WORDS, {"relevance": np.eye(5, dtype=np.float32)})
    assert more.height == plain.height
    assert more.width > plain.width


def test_bars_are_as_long_as_their_fractions() -> None:
    picture = np.asarray(viz.bars("fractions", np.array([0.0, 0.5, 1.0], np.float32)))
    lengths = [(picture[viz.LINE * row + viz.LINE // 2] == viz.PALETTE[2]).all(axis=1).sum() for row in (1, 2, 3)]
    assert lengths[0] <= 1
    assert lengths[1] == pytest.approx(lengths[2] / 2, abs=2)


def test_a_cloud_gives_the_heaviest_word_the_most_ink() -> None:
    first = np.asarray(viz.cloud(["cup", "cup"], np.array([1.0, 0.0], np.float32)))
    inked = np.flatnonzero((first != 255).any(axis=(0, 2)))
    gap = int(np.argmax(np.diff(inked)))
    assert gap + 1 > 2 * (len(inked) - gap - 1)
    with pytest.raises(DeixisError, match="2 words and 1 weights"):
        viz.cloud(["a", "b"], np.array([1.0], np.float32))


def test_a_constellation_separates_what_is_far_apart() -> None:
    groups = {"target pixels": RNG.normal(9, 0.1, (20, 6)), "background pixels": RNG.normal(-9, 0.1, (30, 6))}
    picture = viz.constellation(groups, side=200)
    assert picture.tobytes() == viz.constellation(groups, side=200).tobytes()
    columns = {}
    for position in (0, 1):
        near = (np.abs(np.asarray(picture)[:200].astype(int) - viz.PALETTE[position]).sum(axis=2)) < 40
        assert near.any()
        columns[position] = np.argwhere(near).mean(axis=0)
    assert np.abs(columns[0] - columns[1]).max() > 50
    with pytest.raises(DeixisError, match="needs 4 or more"):
        viz.constellation({"words": RNG.normal(size=(2, 3))})


@pytest.mark.parametrize(("word", "spoken"), [("[CLS]", "(sentence)"), ("##brella", "-brella"), ("cup", "cup")])
def test_tokens_are_spelled_for_readers(word: str, spoken: str) -> None:
    assert viz.spell(word) == spoken


def test_text_is_cut_to_its_width() -> None:
    assert viz._fit("short", 400, 14) == "short"
    cut = viz._fit("a very long caption that does not fit", 80, 14)
    assert cut.endswith("…")
    assert viz._title("a line").width < viz._title("a line " * 9).width == viz.STRIP
