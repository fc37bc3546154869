"""Sheets: sizes, wrapping, and text that is cut to its width."""

import numpy as np
import pytest
from PIL import ImageFont

from deixis import viz
from deixis.errors import DeixisError
from deixis.viz import layout

RNG = np.random.default_rng(7)
PHOTO = RNG.integers(0, 256, (60, 90, 3), dtype=np.uint8)


def test_a_strip_has_one_panel_a_picture_and_wraps() -> None:
    one = viz.strip([(PHOTO, "a")])
    five = viz.strip([(PHOTO, "a")] * 5, columns=2)
    assert one.size == (90, 60 + layout.LINE)
    assert five.size == (2 * 90 + layout.GAP, 3 * one.height + 2 * layout.GAP)
    assert (np.asarray(five)[:60, 100:190] == PHOTO).all()
    with pytest.raises(DeixisError, match="has no panels"):
        viz.strip([])


@pytest.mark.parametrize("letter", ["i", "W"])
def test_a_paragraph_breaks_where_its_letters_reach_the_edge(letter: str) -> None:
    font = ImageFont.load_default(14)
    most = int(layout.STRIP // font.getlength(letter * 3 + " "))
    full, more = " ".join([letter * 3] * most), " ".join([letter * 3] * (most + 1))
    assert layout.paragraph(full).height == layout.LINE
    assert layout.paragraph(more).height == 2 * layout.LINE
    second = np.asarray(layout.paragraph(more))[layout.LINE :]
    assert (second == np.asarray(layout.paragraph(letter * 3))).all()


def test_bars_are_as_long_as_their_fractions() -> None:
    picture = np.asarray(viz.bars("fractions", np.array([0.0, 0.5, 1.0], np.float32)))
    lengths = [
        (picture[layout.LINE * row + layout.LINE // 2] == layout.PALETTE[2]).all(axis=1).sum() for row in (1, 2, 3)
    ]
    assert lengths[0] <= 1
    assert lengths[1] == pytest.approx(lengths[2] / 2, abs=2)


def test_text_is_cut_to_its_width() -> None:
    assert layout.fit("short", 400, 14) == "short"
    cut = layout.fit("a very long caption that does not fit", 80, 14)
    assert cut.endswith("…")
    assert layout.title_line("a line").width < layout.title_line("a line " * 9).width == layout.STRIP
