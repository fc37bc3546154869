"""Contact sheets: positions of panels, outlines of referents, widths of captions."""

import numpy as np
import pytest
from PIL import ImageFont

from deixis.data.tools.contact_sheet import GAP, REFERENT, Panel, contact_sheet, wrapped


def grey_panel(caption: str, marked: bool = True) -> Panel:
    mask = np.zeros((64, 64), dtype=bool)
    mask[20:40, 20:40] = True
    return Panel(np.full((64, 64, 3), 90, dtype=np.uint8), caption, mask if marked else None, outlined=True)


def test_panels_fill_rows_from_the_left_and_only_the_referent_is_outlined() -> None:
    sheet = np.asarray(contact_sheet([grey_panel("a"), grey_panel("b", marked=False), grey_panel("c")], 2, 64))
    assert sheet.shape[1] == 2 * (64 + GAP) + GAP
    first, second = sheet[GAP : GAP + 64, GAP : GAP + 64], sheet[GAP : GAP + 64, GAP * 2 + 64 : GAP * 2 + 128]
    assert tuple(first[20, 30]) == REFERENT
    assert (first[5, 5] == 90).all()
    assert (first[30, 30] == 90).all()  # only the outline is painted
    assert (second == 90).all()
    below = sheet[sheet.shape[0] // 2 :, : GAP + 64]
    assert (below == REFERENT).all(axis=-1).any()
    right_below = sheet[sheet.shape[0] // 2 :, 2 * GAP + 64 :]
    assert len(np.unique(right_below.reshape(-1, 3), axis=0)) == 1


def test_captions_are_wrapped_and_end_in_an_ellipsis() -> None:
    font = ImageFont.load_default(12)
    text = "the large striped umbrella that stands to the left of the small dog " * 4
    lines = wrapped(text, font, 150)
    assert len(lines) == 3
    assert all(font.getlength(line) <= 150 for line in lines)
    assert lines[-1].endswith("…")
    assert wrapped("red cat", font, 150) == ["red cat"]
    assert wrapped("", font, 150) == []
    assert font.getlength(wrapped("Donaudampfschifffahrtsgesellschaft", font, 80)[0]) <= 80


@pytest.mark.parametrize(("panels", "columns", "side"), [(1, 0, 64), (1, 1, 8)])
def test_invalid_sheets_are_refused(panels: int, columns: int, side: int) -> None:
    with pytest.raises(ValueError, match="expected at least one column"):
        contact_sheet([grey_panel("a")] * panels, columns, side)
