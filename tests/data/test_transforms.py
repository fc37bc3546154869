"""From a photo to the square that a system reads and back, against Pillow, PyTorch and synthetic maps."""

from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from deixis.data.transforms import Preprocess
from deixis.errors import InputError
from deixis.records import MaskRule

PIXELS = np.random.default_rng(0).integers(0, 256, (10, 14, 3), dtype=np.uint8)
PREPROCESS = Preprocess(image_size=8)


def test_an_image_is_resized_by_pillow_and_normalised_by_channel() -> None:
    resized = np.asarray(Image.fromarray(PIXELS).resize((8, 8), Image.Resampling.BILINEAR)).astype(np.float64)
    expected = (resized / 255 - PREPROCESS.mean) / PREPROCESS.std
    image = PREPROCESS.image(PIXELS)
    assert image.dtype == np.float32
    assert image.flags.c_contiguous
    np.testing.assert_allclose(image.transpose(1, 2, 0), expected, atol=1e-5)


def test_the_arithmetic_has_the_bits_of_pytorchs() -> None:
    """Every value of every channel; the published numbers were made by these operations."""
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    mean, std = (torch.tensor(values)[:, None, None] for values in (PREPROCESS.mean, PREPROCESS.std))
    expected = torch.tensor(pixels).permute(2, 0, 1).float().div_(255).sub_(mean).div_(std)
    preprocess = Preprocess(image_size=16)
    image = preprocess.image(pixels)
    assert image.tobytes() == expected.contiguous().numpy().tobytes()
    back = (expected * std + mean).mul(255).round().clamp(0, 255).byte().permute(1, 2, 0)
    assert (preprocess.pixels(image) == back.numpy()).all()


def test_an_image_of_the_right_size_is_not_resampled_and_is_restored() -> None:
    square = PIXELS[:8, :8]
    np.testing.assert_array_equal(PREPROCESS.pixels(PREPROCESS.image(square)), square)


def test_images_and_masks_are_copies() -> None:
    square, mask = PIXELS[:8, :8].copy(), np.zeros((8, 8), dtype=bool)
    Preprocess(image_size=8, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)).image(square)[:] = 0
    PREPROCESS.mask(mask)[:] = True
    np.testing.assert_array_equal(square, PIXELS[:8, :8])
    assert not mask.any()


def test_a_mask_is_resized_to_its_nearest_neighbours() -> None:
    mask = np.zeros((16, 16), dtype=bool)
    mask[:8, 8:] = True
    small = PREPROCESS.mask(mask)
    assert small.dtype == bool
    assert small[:4, 4:].all()
    assert small.sum() == 16
    np.testing.assert_array_equal(PREPROCESS.mask(mask[:8, :8]), mask[:8, :8])


def test_padding_keeps_the_aspect_ratio_in_the_upper_left_corner() -> None:
    padded = Preprocess(image_size=8, fit="pad")
    wide = PIXELS[:4, :8]
    image = padded.image(wide)
    np.testing.assert_array_equal(image[:, :4], PREPROCESS.image(PIXELS[:8, :8])[:, :4])
    assert (image[:, 4:] == 0).all()  # the mean colour
    mask = padded.mask(np.ones((4, 8), dtype=bool))
    assert mask[:4].all()
    assert not mask[4:].any()
    assert padded.filled((1, 4000)) == (1, 8)


@given(st.data())
def test_a_rectangle_is_restored_to_the_pixel(data: Any) -> None:
    """Where the photo is once or twice as large as the part of the square that it fills, or half as large."""
    fit: Literal["stretch", "pad"] = data.draw(st.sampled_from(["stretch", "pad"]))
    height, width = (2 * data.draw(st.integers(1, 12)) for _ in range(2))
    side = max(height, width)
    part = (height, width) if fit == "pad" else (side, side)
    scale = data.draw(st.sampled_from([0.5, 1, 2]))
    size = (int(scale * part[0]), int(scale * part[1]))
    step = max(1, int(scale))  # edges lie between two pixels of the square
    (top, bottom), (left, right) = (
        sorted(step * edge for edge in data.draw(st.tuples(*[st.integers(0, length // step)] * 2))) for length in size
    )
    expected = np.zeros(size, dtype=bool)
    expected[top:bottom, left:right] = True
    preprocess = Preprocess(image_size=side, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), fit=fit)
    assert preprocess.filled(size) == part
    square = preprocess.image(expected[..., None].repeat(3, axis=2).astype(np.uint8) * 255)[0]
    probability = (square > 0.5).astype(np.float32)  # what a perfect system returns
    restored = preprocess.restore(probability, size)
    assert restored.shape == size
    np.testing.assert_array_equal(MaskRule()(restored), expected)


@given(st.sampled_from(["stretch", "pad"]), st.integers(1, 90), st.integers(1, 90), st.integers(1, 40))
def test_any_photo_gets_a_map_of_its_own_size_and_of_nothing_but_its_pixels(
    fit: Literal["stretch", "pad"], height: int, width: int, side: int
) -> None:
    preprocess = Preprocess(image_size=side, fit=fit)
    rows, columns = preprocess.filled((height, width))
    square = np.full((side, side), np.nan, np.float32)  # a border that was not cut off would show
    square[:rows, :columns] = 0.75
    restored = preprocess.restore(square, (height, width))
    assert restored.shape == (height, width)
    assert restored.dtype == np.float32
    np.testing.assert_allclose(restored, 0.75, rtol=1e-6)
    assert preprocess.restore(square, (height, width), to=(7, 5)).shape == (7, 5)


def test_a_map_is_restored_as_pytorch_resizes_it() -> None:
    values = np.random.default_rng(1).random((48, 48), dtype=np.float32)
    for size in ((48, 48), (60, 90), (100, 31), (9, 12)):
        maps = torch.tensor(values)[None, None]
        expected = nn.functional.interpolate(maps, size, mode="bilinear", antialias=True, align_corners=False)[0, 0]
        np.testing.assert_allclose(Preprocess(image_size=48).restore(values, size), expected.numpy(), atol=2e-5)


def test_a_pattern_finer_than_the_photo_is_averaged_rather_than_sampled() -> None:
    place = np.arange(63)
    board = ((place[:, None] + place) % 2).astype(np.float32)
    # Nine, as an odd fraction, has a pixel in the middle of each cell: a sample would be 0 or 1.
    assert Preprocess(image_size=63).restore(board, (9, 9)) == pytest.approx(0.5, abs=0.01)
    assert Preprocess(image_size=63).restore(board, (8, 8)) == pytest.approx(0.5, abs=0.01)


def test_coarse_maps_are_cut_to_whole_cells() -> None:
    preprocess = Preprocess(image_size=32, fit="pad")
    maps = np.zeros((5, 8, 8))
    assert preprocess.cut(maps, (10, 20)).shape == (5, 4, 8)  # 16 of 32 rows
    assert preprocess.cut(maps, (9, 16)).shape == (5, 5, 8)  # 18 of 32 rows, so 4.5 of 8 cells
    assert Preprocess(image_size=32).cut(maps, (10, 20)).shape == (5, 8, 8)


@pytest.mark.parametrize("wrong", [{"image_size": 0}, {"max_tokens": 2}, {"std": (1.0, 0.0, 1.0)}])
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Preprocess(**wrong)
