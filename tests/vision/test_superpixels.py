"""Superpixels: their labels, their cache, and maxima over regions against loops."""

import logging
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from deixis.data.transforms import Preprocess
from deixis.errors import ModelError
from deixis.vision import slic as module
from deixis.vision.slic import PADDING, Cache, DiskCache, most_regions, slic
from deixis.vision.superpixels import labels_at, pool_regions, superpixels, to_cells, without_gaps


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.setattr(module, "CACHE", cache := Cache())
    monkeypatch.delenv("DEIXIS_SUPERPIXELS", raising=False)
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


def test_a_folder_that_the_user_names_serves_the_next_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own_cache: Cache
) -> None:
    expected = superpixels(batch(photo()), 12)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("DEIXIS_SUPERPIXELS", str(tmp_path / "kept"))
    monkeypatch.setattr(module, "CACHE", Cache())
    assert torch.equal(superpixels(batch(photo()), 12), expected)
    (file,) = (tmp_path / "kept").glob("*/*")
    with Image.open(file) as kept:
        assert kept.mode == "I;16"
    monkeypatch.setattr(module, "CACHE", cache := Cache())
    with monkeypatch.context() as without:
        without.setattr(module, "slic", None)
        assert torch.equal(superpixels(batch(photo()), 12), expected)
    assert len(cache) == 1
    assert not np.array_equal(superpixels(batch(photo()), 30), expected)  # other parameters, another file
    assert len(list((tmp_path / "kept").glob("*/*"))) == 2


@pytest.mark.parametrize("rest", [b"", b"half a file", "cut", "another"], ids=str)
def test_a_damaged_file_is_computed_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rest: bytes | str) -> None:
    monkeypatch.setenv("DEIXIS_SUPERPIXELS", str(tmp_path))
    expected = superpixels(batch(photo()), 12)
    (file,) = tmp_path.glob("*/*.png")
    whole = file.read_bytes()
    if rest == "another":
        Image.fromarray(np.full((40, 60), 999, np.uint16)).save(file)  # of more regions than there are
    else:
        file.write_bytes(whole[: len(whole) // 2] if isinstance(rest, str) else rest)
    monkeypatch.setattr(module, "CACHE", Cache())
    assert torch.equal(superpixels(batch(photo()), 12), expected)
    assert file.read_bytes() == whole


def test_the_folder_is_bounded_and_what_was_written_first_is_deleted(tmp_path: Path) -> None:
    labels = np.arange(64).reshape(8, 8)
    DiskCache(tmp_path / "one").put("aa", labels)
    size = sum(file.stat().st_size for file in (tmp_path / "one").glob("*/*.png"))
    cache = DiskCache(tmp_path / "many", most=5 * size)
    for number in range(12):
        cache.put(f"{number:02}", labels)
        (file,) = (tmp_path / "many" / f"{number:02}").iterdir()
        os.utime(file, ns=(number, number))
        assert len(list((tmp_path / "many").glob("*/*"))) <= 5
    assert cache.get("00") is None
    kept = cache.get("11")
    assert kept is not None
    assert np.array_equal(kept, labels)


def write_many(folder: str, seed: int) -> None:
    cache = DiskCache(folder, most=4000)
    for number in np.random.default_rng(seed).integers(0, 6, 40):
        labels = np.full((16, 16), number)
        found = cache.get(f"{number:02}")
        assert found is None or np.array_equal(found, labels)
        cache.put(f"{number:02}", labels)


def test_several_writers_share_a_folder(tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as writers:  # each has a cache of its own, as a process has
        list(writers.map(write_many, [str(tmp_path)] * 3, range(3)))
    assert all(file.suffix == ".png" for file in tmp_path.glob("*/*"))


def test_a_folder_that_cannot_be_written_is_a_warning_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DEIXIS_SUPERPIXELS", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING):
        superpixels(batch(photo()), 12)
        superpixels(batch(photo()), 13)
    (record,) = caplog.records
    assert "No more superpixels are stored in" in record.getMessage()


def test_without_scikit_image_one_sentence_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(ModelError, match=r"Superpixels need scikit-image; .*pip install 'deixis\[sda\]'"):
        slic(photo(), 12, 10.0)


def test_cells_get_the_label_of_their_nearest_pixel() -> None:
    labels = torch.arange(24).reshape(1, 4, 6)
    assert labels_at(labels, (2, 3)).tolist() == [[0, 2, 4, 12, 14, 16]]


def test_a_coarse_grid_keeps_only_the_regions_that_it_has() -> None:
    labels = torch.tensor([[7, 7, -1, 2, 9], [-1, -1, -1, -1, -1], [0, 1, 2, 3, 4]])
    found, count = without_gaps(labels, 12)
    assert count == 5
    assert found.tolist() == [[1, 1, -1, 0, 2], [-1] * 5, [0, 1, 2, 3, 4]]
    assert without_gaps(labels, 5) == (labels, 5)


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
