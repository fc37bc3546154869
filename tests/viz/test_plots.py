"""Plots: bars as high as their numbers, words as large as their weights."""

import numpy as np
import pytest

from deixis import viz
from deixis.errors import DeixisError
from deixis.metrics.calibration import reliability
from deixis.viz import layout

RNG = np.random.default_rng(7)
PHOTO = RNG.integers(0, 256, (60, 90, 3), dtype=np.uint8)


def test_a_reliability_diagram_has_bars_as_high_as_the_fraction_of_positives() -> None:
    probabilities = np.concatenate([np.full(80, 0.25), np.full(20, 0.95)])
    positive = np.concatenate([np.arange(80) < 40, np.ones(20, dtype=bool)])
    plot = np.asarray(viz.reliability(reliability(probabilities, positive), "presence", side=400))
    blue = (plot == layout.PALETTE[2]).all(axis=2)
    grey = (plot == layout.PALETTE[1]).all(axis=2)
    red = (plot == layout.ACCENT).all(axis=2)
    columns = [layout.MARGIN + 44 + round(place * 400) for place in (0.22, 0.92, 0.5)]
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
    assert two.shape[0] == one.shape[0] + layout.LINE
    first = slice(0, layout.MARGIN + layout.LINE)
    assert np.array_equal(two[first], one[first])
    written = (two[layout.MARGIN + layout.LINE : layout.MARGIN + 2 * layout.LINE] == layout.INK).all(axis=2)
    assert written.any()


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
        near = (np.abs(np.asarray(picture)[:200].astype(int) - layout.PALETTE[position]).sum(axis=2)) < 40
        assert near.any()
        columns[position] = np.argwhere(near).mean(axis=0)
    assert np.abs(columns[0] - columns[1]).max() > 50
    with pytest.raises(DeixisError, match="needs 4 or more"):
        viz.constellation({"words": RNG.normal(size=(2, 3))})
