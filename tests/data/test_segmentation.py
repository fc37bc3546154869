"""Segmentations of every form, and the checks before the C code that reads run lengths unchecked."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deixis import masks
from deixis.data.segmentation import as_rle, says_nothing
from deixis.data.validation import Issues
from deixis.errors import DeixisError


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_every_true_mask_passes_unchanged(height: int, width: int, share: float, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    rle = masks.encode(mask)
    assert np.array_equal(masks.decode(as_rle(rle, height, width, "x")), mask)
    with pytest.raises(ValueError, match="do not fill"):
        masks.check_counts(rle["counts"], height * width + 1)


def test_long_runs_pass() -> None:
    mask = np.zeros((3000, 4000), dtype=bool)
    mask[1000:2999, 17:3900] = True
    masks.check_counts(masks.encode(mask)["counts"], mask.size)


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(min_codepoint=32, max_codepoint=0x17F), max_size=40))
@example("\x80\x80\x800\x80\x80")  # what is no ASCII is no question mark, which would count 15
def test_what_passes_fills_the_mask(counts: str) -> None:
    """Whatever is let through decodes to as many pixels as there are; all else is a sentence."""
    try:
        rle = as_rle({"size": [10, 12], "counts": counts}, 10, 12, "here")
    except DeixisError:
        return
    assert masks.decode(rle).shape == (10, 12)


@pytest.mark.parametrize(
    "counts", ["", "o", "oooooooooooooooooooo0", "zzzz", "\xff\xff", "P" * 100 + "0", "0" * 50, "1 1"]
)
def test_crafted_run_lengths_are_refused(counts: str) -> None:
    with pytest.raises(DeixisError, match="here: The run lengths"):
        as_rle({"size": [10, 10], "counts": counts}, 10, 10, "here")


def test_no_part_is_an_empty_mask() -> None:
    assert masks.area(as_rle([], 4, 5, "x")) == 0
    assert as_rle([], 4, 5, "x")["size"] == [4, 5]
    for height, width in ((0, 3), (1, 1), (480, 640)):
        assert as_rle([], height, width, "x") == masks.encode(np.zeros((height, width), dtype=bool))


def test_an_empty_mask_takes_no_pixels_to_make() -> None:
    tracemalloc.start()
    assert masks.area(as_rle([], 50_000, 50_000, "x")) == 0
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


@pytest.mark.parametrize("mask", [[], [[0, 0, 9, 0, 9, 9]], {"size": [10**6, 10**6], "counts": [10**12]}])
def test_a_size_beyond_run_lengths_is_a_sentence(mask: Any) -> None:
    with pytest.raises(DeixisError, match="here: A mask cannot be 1000000x1000000 pixels; run lengths hold at most"):
        as_rle(mask, 10**6, 10**6, "here")
    with pytest.raises(DeixisError, match="here: A mask has 10,000,000,000 pixels; run lengths hold at most"):
        as_rle({"size": [10**5, 10**5], "counts": "0"}, 10**5, 10**5, "here")


def test_published_overlaps_are_those_of_a_sum() -> None:
    corners = ((0, 6), (3, 9), (5, 8))
    boxes = [[float(n) for n in (a, a, b, a, b, b, a, b)] for a, b in corners]
    summed = sum(masks.decode(masks.from_polygons([box], 12, 12)).astype(int) for box in boxes)
    assert np.array_equal(masks.decode(as_rle(boxes, 12, 12, "x", "published")), summed == 1)
    assert np.array_equal(masks.decode(as_rle(boxes, 12, 12, "x")), np.asarray(summed) > 0)


BOX = [40, 30, 100, 30, 100, 70, 40, 70]
AREA = 2400


@pytest.mark.parametrize(
    "segmentation",
    [
        BOX,
        [BOX],
        [[[40, 30], [100, 30], [100, 70], [40, 70]]],
        [[40, 30], [100, 30], [100, 70], [40, 70]],
        [[40, 30, 70, 30, 70, 70, 40, 70], [[70, 30], [100, 30], [100, 70], [70, 70]]],
        {"size": [120, 160], "counts": [4830, *[40, 80] * 59, 40, 7250]},
    ],
)
def test_every_form_of_one_block_is_the_same_mask(segmentation: Any) -> None:
    mask = np.zeros((120, 160), dtype=bool)
    mask[30:70, 40:100] = True
    np.testing.assert_array_equal(masks.decode(as_rle(segmentation, 120, 160, "x")), mask)


@pytest.mark.parametrize(
    "polygon",
    [
        [x / 160 if k % 2 == 0 else x / 120 for k, x in enumerate(BOX)],
        [0, 0, 1, 0, 1, 1],
        [0.2, 0.2, 0.9, 0.2, 0.5, 0.9],
    ],
)
def test_fractions_of_the_photo_are_refused(polygon: list[float]) -> None:
    with pytest.raises(DeixisError, match="here: The polygon's coordinates look like fractions of the photo"):
        as_rle([polygon], 120, 160, "here")
    assert as_rle([[0, 0, 1, 0, 1, 1]], 2, 2, "a photo of two pixels")["size"] == [2, 2]


@pytest.mark.parametrize("shift", [(160, 0), (0, 120), (-100, 0), (0, -70), (1000, 1000)])
def test_a_polygon_outside_is_refused_with_its_extent_and_one_across_the_border_is_clipped(
    shift: tuple[int, int],
) -> None:
    moved = [value + shift[k % 2] for k, value in enumerate(BOX)]
    extent = f"x {moved[0]} to {moved[2]}, y {moved[1]} to {moved[5]}, in 120x160 pixels"
    with pytest.raises(DeixisError, match=f"here: The polygon is outside its photo: {extent}"):
        as_rle([moved], 120, 160, "here")
    across = [value + shift[k % 2] * 0.5 for k, value in enumerate(BOX)]
    if max(shift) < 1000:
        assert 0 < masks.area(as_rle([across], 120, 160, "here")) <= AREA


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("others", [[], [BOX]])
def test_a_coordinate_that_is_not_finite_says_so(number: float, others: list[Any]) -> None:
    with pytest.raises(DeixisError, match="here: A polygon has a coordinate that is not finite"):
        as_rle([*others, [*BOX[:-1], number]], 120, 160, "here")


@pytest.mark.parametrize("fragment", [[50, 50], [10, 10, 20, 20], [10, 10, 20, 20, 10, 10]])
def test_a_fragment_alone_is_refused_also_where_issues_skip(fragment: list[int]) -> None:
    issues = Issues(skip=True)
    with pytest.raises(DeixisError, match=r"here: The polygon (has one point|has two points|is a line)"):
        as_rle([fragment], 120, 160, "here", issues=issues)
    assert masks.area(as_rle([BOX, fragment], 120, 160, "here", issues=issues)) == AREA
    assert [*issues.dropped] == [f"here: polygon 2 of 2 {_reason(fragment)}; remove it."]
    as_rle([BOX, fragment], 120, 160, "here", issues=issues)
    assert len(issues.dropped) == 1  # a record that is read twice is noted once


def _reason(fragment: list[int]) -> str:
    return "has one point only" if len(fragment) == 2 else "has two points only"


@pytest.mark.parametrize(
    ("segmentation", "facts", "nothing"),
    [
        (None, {}, True),
        ([[]], {}, True),
        ([[], []], {"bbox": [1, 1, 2, 2]}, True),
        ([], {"bbox": [1, 1, 2, 2]}, True),
        ([], {"area": 4}, True),
        ([], {}, False),
        ([], {"area": 0}, False),
        ([], {"area": 0, "bbox": [0, 0, 0, 0]}, False),
        ([BOX], {"bbox": [1, 1, 2, 2]}, False),
        ({"size": [1, 1], "counts": [1]}, {"bbox": [1, 1, 2, 2]}, False),
    ],
)
def test_a_record_has_no_mask_or_an_empty_one(segmentation: Any, facts: Any, nothing: bool) -> None:
    assert says_nothing(segmentation, facts) == nothing
