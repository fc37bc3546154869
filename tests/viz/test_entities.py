"""Pictures of entities: which come first, whose frames share a colour, and where each map is bright."""

import numpy as np
import pytest

from deixis import viz
from deixis.errors import InputError
from deixis.viz.entities import FRAME, Entities, framed, gaussian_colours, scale_of
from deixis.viz.layout import GAP, GREY, LINE, PANEL

PHOTO = np.full((60, 90, 3), 100, np.uint8)
RELEVANCE = np.array([0.1, 0.5, 0.05, 0.05, 0.2, 0.1], np.float32)


def quarters(count: int = 6) -> np.ndarray:
    """Entity k holds column k of the cells, and a little of the others."""
    maps = np.full((count, 4, count), 0.02, np.float32)
    maps[np.arange(count), :, np.arange(count)] = 1 - 0.02 * (count - 1)
    return maps


def entities(gaussians: tuple[int, ...] = (0, 0, 1, 1, 2, 2)) -> Entities:
    return Entities(maps=quarters(), relevance=RELEVANCE, gaussians=gaussians)


def evidence(**others: np.ndarray) -> dict[str, np.ndarray]:
    gaussian = np.array([0, 0, 1, 1, 2, 2], np.float32)
    return {"relevance": RELEVANCE, "entities": quarters(), "gaussian": gaussian} | others


def test_the_most_relevant_entities_come_first_with_their_relevance() -> None:
    panels = viz.top_entities(PHOTO, entities())
    assert [caption for _, caption in panels] == ["relevance 0.50", "relevance 0.20", "relevance 0.10"]
    for (picture, _), column in zip(panels, (1, 4, 0), strict=True):
        bright = picture.astype(int).sum(axis=(0, 2))
        assert bright.argmax() // 15 == column


def test_all_entities_are_drawn_on_one_scale_and_framed_by_their_gaussian() -> None:
    (_, first), *panels = viz.all_entities(PHOTO, entities())
    assert first == "all of them"
    assert [caption for _, caption in panels] == ["0.10", "0.50", "0.05", "0.05", "0.20", "0.10"]
    colours = gaussian_colours(3)
    assert len(set(colours)) == 3
    for (picture, _), gaussian in zip(panels, (0, 0, 1, 1, 2, 2), strict=True):
        edge = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1], picture[FRAME - 1]])
        assert (edge == colours[gaussian]).all()
        assert (picture[FRAME:-FRAME, FRAME:-FRAME] != colours[gaussian]).any()
    weak = Entities(maps=quarters() * np.array([1, 0.1, 1, 1, 1, 1], np.float32)[:, None, None], relevance=RELEVANCE)
    dim, bright = (viz.all_entities(PHOTO, weak)[place][0].astype(int).sum(2).max() for place in (2, 1))
    assert dim < bright


def test_the_first_picture_outlines_the_cells_of_each_entity_in_its_gaussians_colour() -> None:
    (picture, _), *_ = viz.all_entities(PHOTO, entities((0, 1, 0, 1, 0, 1)))
    zero, one = ((picture == colour).all(axis=2) for colour in gaussian_colours(2))
    assert zero[:, 14].all()  # the right edge of the first entity's 15 columns
    assert one[:, 15].all()
    assert not (zero | one)[:, 5].any()


def test_without_gaussians_frames_are_grey() -> None:
    (_, *panels) = viz.all_entities(PHOTO, entities(()))
    assert all((picture[0] == GREY).all() for picture, _ in panels)
    assert "Gaussian" in scale_of(entities())
    assert "Gaussian" not in scale_of(entities(()))


def test_equal_entities_of_one_gaussian_are_one_with_their_total_relevance() -> None:
    maps = quarters()
    maps[1] = maps[0] + 1e-6  # of one Gaussian
    maps[5] = maps[3]  # of two
    found = Entities(maps=maps, relevance=RELEVANCE, gaussians=(0, 0, 1, 1, 2, 2)).merged()
    assert found.gaussians == (0, 1, 1, 2, 2)
    np.testing.assert_allclose(found.relevance, [0.6, 0.05, 0.05, 0.2, 0.1], atol=1e-6)
    assert len(Entities(maps=maps, relevance=RELEVANCE).merged()) == 6


def test_entities_are_read_from_the_evidence_of_either_system() -> None:
    found = viz.entities_in(evidence())
    assert found is not None
    assert found.gaussians == (0, 0, 1, 1, 2, 2)
    margin = np.array([-0.1, 0.3, 0, 0, 0, 0], np.float32)
    segments = viz.entities_in({"segments": quarters(), "segment_similarity": RELEVANCE, "margin": margin})
    assert segments is not None
    assert [caption for _, caption in viz.top_entities(PHOTO, segments, 1)] == ["margin 0.30"]
    assert viz.entities_in({"similarity": quarters()[0]}) is None


@pytest.mark.parametrize("tokens", [3, 6])
def test_an_explanation_has_the_entities_and_no_words_for_them(tokens: int) -> None:
    """Also where there are as many tokens as entities."""
    words = ["[CLS]", *["cup"] * (tokens - 1)]
    mask = np.zeros((60, 90), bool)
    sheet = viz.explanation(PHOTO, mask, mask.astype(np.float32), "the cup", words, evidence())
    plain = viz.explanation(PHOTO, mask, mask.astype(np.float32), "the cup", words, {})
    row = round(60 * PANEL / 90) + LINE + GAP
    assert sheet.height == plain.height + LINE + GAP + 2 * row  # a line of text, and 7 pictures in rows of six
    assert sheet.width > plain.width  # three entities beside the probability
    moved = viz.explanation(
        PHOTO, mask, mask.astype(np.float32), "the cup", words, {**evidence(), "entities": quarters()[::-1].copy()}
    )
    assert np.asarray(moved).shape == np.asarray(sheet).shape
    assert (np.asarray(moved) != np.asarray(sheet)).any()


def test_a_comparison_has_a_row_for_each_model_with_its_mask_and_entities() -> None:
    mask = np.zeros((60, 90), bool)
    mask[20:40, 30:60] = True
    runs = {"entity": (mask, entities()), "query": (~mask, entities(()))}
    sheet = np.asarray(viz.entity_comparison(PHOTO, runs, "the cup", count=3))
    assert (sheet == gaussian_colours(3)[0]).all(axis=2).any()
    assert (sheet == GREY).all(axis=2).sum(axis=1).max() == 3 * PANEL  # the edges of three frames
    one = viz.entity_comparison(PHOTO, {"entity": runs["entity"]}, "the cup", count=3)
    row = round(60 * PANEL / 90) + LINE
    assert sheet.shape[0] == one.height + row + LINE + 2 * GAP
    with pytest.raises(InputError, match="no models to compare"):
        viz.entity_comparison(PHOTO, {}, "the cup")


def test_a_frame_covers_only_the_edge() -> None:
    picture = framed(PHOTO, (1, 2, 3))
    assert (picture[FRAME:-FRAME, FRAME:-FRAME] == PHOTO[FRAME:-FRAME, FRAME:-FRAME]).all()
    assert (picture[:FRAME] == (1, 2, 3)).all()
    assert (PHOTO == 100).all()
