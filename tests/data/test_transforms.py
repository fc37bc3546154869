"""From pixels to normalised tensors and back, against Pillow and plain arithmetic."""

import numpy as np
import pytest
import torch
from PIL import Image

from deixis.data.transforms import Preprocess
from deixis.errors import DeixisError

PIXELS = np.random.default_rng(0).integers(0, 256, (10, 14, 3), dtype=np.uint8)
PREPROCESS = Preprocess(image_size=8)


def test_an_image_is_resized_by_pillow_and_normalised_by_channel() -> None:
    resized = np.asarray(Image.fromarray(PIXELS).resize((8, 8), Image.Resampling.BILINEAR)).astype(np.float64)
    expected = (resized / 255 - PREPROCESS.mean) / PREPROCESS.std
    image = PREPROCESS.image(PIXELS)
    assert image.dtype == torch.float32
    assert image.is_contiguous()
    np.testing.assert_allclose(image.permute(1, 2, 0).numpy(), expected, atol=1e-5)


def test_an_image_of_the_right_size_is_not_resampled_and_comes_back() -> None:
    square = PIXELS[:8, :8]
    np.testing.assert_array_equal(PREPROCESS.pixels(PREPROCESS.image(square)), square)


def test_the_image_is_a_copy() -> None:
    square = PIXELS[:8, :8].copy()
    Preprocess(image_size=8, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)).image(square).zero_()
    np.testing.assert_array_equal(square, PIXELS[:8, :8])


def test_a_mask_is_resized_to_its_nearest_neighbours() -> None:
    mask = np.zeros((16, 16), dtype=bool)
    mask[:8, 8:] = True
    small = PREPROCESS.mask(mask)
    assert small.dtype == torch.bool
    assert small[:4, 4:].all()
    assert small.sum() == 16
    np.testing.assert_array_equal(PREPROCESS.mask(mask[:8, :8]).numpy(), mask[:8, :8])


@pytest.mark.parametrize("wrong", [{"image_size": 0}, {"max_tokens": 2}, {"std": (1.0, 0.0, 1.0)}])
def test_numbers_that_cannot_be_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(DeixisError):
        Preprocess(**wrong)  # type: ignore[arg-type]
