"""Masks of several models beside each other."""

import numpy as np

from deixis import viz

PHOTO = np.random.default_rng(7).integers(0, 256, (60, 90, 3), dtype=np.uint8)


def test_each_mask_is_painted_over_its_own_copy_of_the_image() -> None:
    mask = np.zeros((60, 90), bool)
    mask[20:40, 30:60] = True
    title, panels = viz.side_by_side(PHOTO, "the red cup", {"ours 0.91": mask, "theirs 0.00": np.zeros_like(mask)}, 90)
    assert title.height < panels.height
    drawn = np.asarray(panels)[:60]
    image, ours, theirs = (drawn[:, left : left + 90] for left in (0, 100, 200))
    assert (image == PHOTO).all()
    assert (theirs == PHOTO).all()
    differs = (ours != PHOTO).any(axis=2)
    assert differs[mask].mean() > 0.9
    assert not differs[:18].any()


def test_words_have_a_map_each_and_a_row_for_each_model() -> None:
    maps = np.zeros((4, 4, 6), np.float32)
    maps[1, :2] = maps[2, 2:] = 1.0
    named = {"with": (np.zeros((60, 90), bool), maps), "without": (np.ones((60, 90), bool), 0.5 * maps)}
    title, *rows = viz.word_maps(PHOTO, "red cup", ("[CLS]", "red", "cup", "[SEP]"), named, 90)
    assert len(rows) == 4
    for row in rows[1::2]:
        assert row.width == 3 * 90 + 2 * 10  # the mask and two words
    drawn = np.asarray(rows[1]).astype(int)[:60]
    red, cup = drawn[:, 100:190], drawn[:, 200:290]
    assert red[:20].mean() > red[40:].mean()
    assert cup[:20].mean() < cup[40:].mean()
    # The colours span each model's own values.
    assert (np.asarray(rows[3])[:60, 100:190] == np.asarray(rows[1])[:60, 100:190]).all()
    assert title.height < rows[1].height
