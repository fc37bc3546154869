"""Maps over a photo: the right colours at the right places."""

import numpy as np

from deixis import viz
from deixis.viz import maps

RNG = np.random.default_rng(7)
PHOTO = RNG.integers(0, 256, (60, 90, 3), dtype=np.uint8)


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
    colours = maps._ramp(np.linspace(0, 1, 101, dtype=np.float32)[None])[0]
    brightness = colours @ np.array([0.299, 0.587, 0.114])
    assert (np.diff(brightness) > 0).all()


def test_highlight_keeps_chosen_pixels_and_pales_the_rest() -> None:
    cells = np.zeros((6, 9), bool)
    cells[2:4, 3:6] = True
    lit = viz.highlight(PHOTO, cells)
    assert (lit[22:38, 32:58] == PHOTO[22:38, 32:58]).all()
    assert (lit[:18] >= 190).all()
