"""Masks as run lengths: what reaches COCO's C code has been checked."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deixis import masks
from deixis.errors import InputError

READERS: dict[str, Callable[[Any], Any]] = {
    "decode": masks.decode,
    "area": masks.area,
    "box": masks.box,
    "union": lambda rle: masks.union([rle]),
    "union with another": lambda rle: masks.union([masks.encode(np.zeros((100, 100), dtype=bool)), rle]),
    "intersection": lambda rle: masks.intersection_and_union(rle, rle),
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize("counts", ["0", "", "oooo", "P" * 40 + "0", b"0", [5], [10**4 + 1], [-1, 10**4 + 1], "né"])
def test_run_lengths_that_do_not_fill_the_mask_are_refused(read: Callable[[Any], Any], counts: Any) -> None:
    with pytest.raises(InputError, match=r"[Rr]un lengths"):
        read({"size": [100, 100], "counts": counts})


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize("size", [[100], [100, -1], [100, 1.5], [10**6, 10**6], []])
def test_impossible_sizes_are_refused(read: Callable[[Any], Any], size: list[Any]) -> None:
    with pytest.raises(InputError):
        read({"size": size, "counts": "0"})


def test_masks_of_two_sizes_are_not_joined() -> None:
    pair = [masks.encode(np.ones(size, dtype=bool)) for size in ((3, 4), (4, 3))]
    with pytest.raises(InputError, match="Masks of the sizes 3x4, 4x3 cannot be joined"):
        masks.union(pair)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_every_form_of_run_lengths_is_the_same_mask(height: int, width: int, share: float, seed: int) -> None:
    first, second = np.random.default_rng(seed).random((2, height, width)) < share
    rle = masks.encode(first)
    forms = [rle, {**rle, "counts": rle["counts"].encode()}, {**rle, "counts": _counts(first)}]
    for form in forms:
        np.testing.assert_array_equal(masks.decode(form), first)
        assert masks.area(form) == first.sum()
        both = masks.union([form, masks.encode(second)])
        np.testing.assert_array_equal(masks.decode(both), first | second)
        overlap = masks.intersection_and_union(form, masks.encode(second))
        assert overlap == ((first & second).sum(), (first | second).sum())


def _counts(mask: np.ndarray) -> list[int]:
    """Run lengths column by column, background first, by counting."""
    counts, value = [0], False
    for pixel in mask.T.ravel().tolist():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return counts


@pytest.mark.parametrize("strength", [0.0, 0.3, 0.5, 1.0])
def test_paint_mixes_the_colour_into_the_masks_pixels(strength: float) -> None:
    image = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    mask = np.ones((16, 16), dtype=bool)  # without an outline, which is where the mask ends
    expected = (1 - strength) * image.astype(np.float32) + strength * np.array([255, 64, 7], np.float32)
    painted = masks.paint(image, mask, (255, 64, 7), strength)
    np.testing.assert_array_equal(painted, expected.round().astype(np.uint8))
    np.testing.assert_array_equal(masks.paint(image, ~mask, (255, 64, 7), strength), image)
