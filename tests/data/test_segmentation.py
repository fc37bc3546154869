"""COCO's compressed run lengths are checked before the C code that trusts them sees them."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deixis import masks
from deixis.data.segmentation import as_rle
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
