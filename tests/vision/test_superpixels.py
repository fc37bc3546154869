"""Superpixels: their labels, their cache, and maxima over regions against loops."""

import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from deixis.data.transforms import Preprocess
from deixis.errors import ModelError
from deixis.vision import superpixels as module
from deixis.vision.superpixels import PADDING, Cache, labels_at, most_regions, pool_regions, slic, superpixels, to_cells


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.setattr(module, "CACHE", cache := Cache())
    return cache


def photo(height: int = 40, width: int = 60) -> np.ndarray:
    """Four quadrants of different colours."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = (250, 20, 20)
    pixels[: height // 2, width // 2 :] = (20, 250, 20)
    pixels[height // 2 :, : width // 2] = (20, 20, 250)
    return pixels


def batch(pixels: np.ndarray) -> Tensor:
    return torch.as_tensor(Preprocess(image_size=60, fit="pad").image(pixels))[None]


def test_labels_are_slics_on_the_photos_own_pixels_and_padding_has_no_region() -> None:
    (labels,) = superpixels(batch(photo()), 12)
    assert np.array_equal(labels[:40], slic(photo(), 12, 10.0))
    assert (labels[40:] == PADDING).all()
    assert (labels[:40] >= 0).all()
    assert labels.max() < most_regions(12)


def test_no_region_crosses_an_edge_between_colours() -> None:
    (labels,) = superpixels(batch(photo()), 12)
    quadrants = [set(part.unique().tolist()) for rows in labels[:40].split(20) for part in rows.split(30, dim=1)]
    assert sum(map(len, quadrants)) == len(set.union(*quadrants)) >= 4


def test_a_black_photo_is_not_padding_and_an_empty_image_is() -> None:
    assert (superpixels(batch(np.zeros((40, 60, 3), np.uint8)), 12)[0, :40] >= 0).all()
    assert (superpixels(torch.zeros(1, 3, 8, 8), 12) == PADDING).all()


def test_an_image_is_segmented_once(monkeypatch: pytest.MonkeyPatch, own_cache: Cache) -> None:
    calls: list[int] = []
    monkeypatch.setattr(module, "slic", lambda *given: calls.append(1) or slic(*given))
    images = torch.cat([batch(photo()), batch(photo()[::-1].copy()), batch(photo())])
    first = superpixels(images, 12)
    assert torch.equal(superpixels(images, 12), first)
    assert torch.equal(first[0], first[2])
    assert len(calls) == len(own_cache) == 2
    superpixels(images[:1], 13)
    superpixels(images[:1], 12, 20.0)
    assert len(calls) == 4


def test_the_cache_drops_what_was_used_least_recently() -> None:
    labels = np.arange(64).reshape(8, 8)
    small = Cache()
    small.put("size", labels)
    cache = Cache(most=2 * small.size)
    for key in ("a", "b"):
        cache.put(key, labels)
    cache.put("a", labels)  # again: counted once
    assert np.array_equal(cache.get("a"), labels)
    cache.put("c", labels)
    assert cache.get("b") is None
    assert cache.get("a") is not None
    assert len(cache) == 2
    assert cache.size == 2 * small.size


def test_without_scikit_image_one_sentence_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(ModelError, match=r"Superpixels need scikit-image; .*pip install 'deixis\[sda\]'"):
        slic(photo(), 12, 10.0)


def test_cells_get_the_label_of_their_nearest_pixel() -> None:
    labels = torch.arange(24).reshape(1, 4, 6)
    assert labels_at(labels, (2, 3)).tolist() == [[0, 2, 4, 12, 14, 16]]


def test_pooling_is_the_maximum_over_the_cells_of_a_region() -> None:
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(2, 9, 3, generator=draw) - 5
    labels = torch.tensor([[0, 0, 2, 2, 2, -1, 4, 4, 0], [1, 1, 1, 1, -1, -1, 3, 3, 3]])
    pooled, is_present = pool_regions(features, labels, 5)
    for row in range(2):
        for region in range(5):
            cells = features[row, labels[row] == region]
            assert is_present[row, region] == bool(len(cells))
            expected = cells.amax(0) if len(cells) else torch.zeros(3)
            assert torch.equal(pooled[row, region], expected)


def test_pooling_sends_its_gradient_to_the_maxima() -> None:
    features = torch.tensor([[[1.0], [3.0], [2.0], [9.0]]], requires_grad=True)
    pooled, _ = pool_regions(features, torch.tensor([[0, 0, 1, -1]]), 4)
    pooled.sum().backward()
    assert features.grad is not None
    assert features.grad.flatten().tolist() == [0, 1, 1, 0]


def test_each_cell_gets_what_its_region_holds_and_padding_nothing() -> None:
    regions = torch.tensor([[[1.0], [2.0], [3.0]]])
    assert to_cells(regions, torch.tensor([[2, 0, -1, 1]])).flatten().tolist() == [3, 1, 0, 2]
