"""SLIC superpixels (Achanta et al., TPAMI 2012) of images, cached per image; exports load it without PyTorch.

The paper of SDA gives no number of regions and no compactness; 200 and 10 are ours. scikit-image returns fewer regions
than the number asks for: some 134 for a photo.
"""

import io
import logging
import os
from collections import OrderedDict
from contextlib import suppress
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from threading import Lock, get_ident

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image

from ..errors import ModelError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as in Preprocess
LARGEST_CACHE = 256 * 2**20  # bytes: the compressed labels of some 50,000 images of 320x320
LARGEST_FOLDER = 4 * 2**30  # bytes, of a cache on disk
FOLDER_VARIABLE = "DEIXIS_SUPERPIXELS"
PADDING = -1  # the label of a pixel outside of the photo

logger = logging.getLogger(__name__)


class Cache:
    """Compressed label maps by key; the least recently used ones are dropped beyond `most` bytes."""

    def __init__(self, most: int = LARGEST_CACHE) -> None:
        self.most, self.size = most, 0
        self._files: OrderedDict[str, bytes] = OrderedDict()
        self._lock = Lock()

    def get(self, key: str) -> Int[np.ndarray, "h w"] | None:
        with self._lock:
            if (file := self._files.get(key)) is None:
                return None
            self._files.move_to_end(key)
        return _unpacked(file)

    def put(self, key: str, labels: Int[np.ndarray, "h w"]) -> None:
        file = _packed(labels)
        with self._lock:
            self.size += len(file) - len(self._files.pop(key, b""))
            self._files[key] = file
            while self.size > self.most:
                self.size -= len(self._files.popitem(last=False)[1])

    def __len__(self) -> int:
        return len(self._files)


class DiskCache:
    """The same in a folder, one PNG of 16 bits for each image, shared by any number of processes and runs.

    A file appears complete or not at all. Beyond `most` bytes the files that were written first are deleted; a folder
    that cannot be written, or a damaged file, is as if nothing were cached.
    """

    def __init__(self, folder: str | Path, most: int = LARGEST_FOLDER) -> None:
        self.folder, self.most = Path(folder), most
        self._is_writable = True
        self._size: int | None = None  # an estimate, which other processes' files are added to at each clearing

    def get(self, key: str) -> Int[np.ndarray, "h w"] | None:
        try:
            return _unpacked(self._place(key).read_bytes())
        except (OSError, ValueError, SyntaxError):  # what Pillow raises of a damaged PNG
            return None

    def put(self, key: str, labels: Int[np.ndarray, "h w"]) -> None:
        if not self._is_writable:
            return
        file, place = _packed(labels), self._place(key)
        beside = place.with_name(f".{key}.{os.getpid()}.{get_ident()}")  # two processes may write the same image
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            beside.write_bytes(file)
            os.replace(beside, place)
        except OSError as error:
            self._is_writable = False
            with suppress(OSError):
                beside.unlink(missing_ok=True)
            logger.warning("No more superpixels are stored in %s, which cannot be written: %s", self.folder, error)
            return
        self._size = None if self._size is None else self._size + len(file)
        if self._size is None or self._size > self.most:
            self._clear()

    def _place(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.png"

    def _clear(self) -> None:
        """Delete the files that were written first until nine tenths of `most` are left."""
        files = []
        for file in self.folder.glob("??/*.png"):
            with suppress(FileNotFoundError):  # deleted by another process
                state = file.stat()
                files.append((state.st_mtime_ns, state.st_size, file))
        self._size = sum(size for _, size, _ in files)
        if self._size <= self.most:
            return
        for _, size, file in sorted(files):
            if self._size <= 0.9 * self.most:
                break
            file.unlink(missing_ok=True)
            self._size -= size


CACHE = Cache()


def disk_cache() -> DiskCache | None:
    """The folder that the environment variable `DEIXIS_SUPERPIXELS` names; a network writes no file without it."""
    return _opened(folder) if (folder := os.environ.get(FOLDER_VARIABLE)) else None


@lru_cache(maxsize=4)
def _opened(folder: str) -> DiskCache:
    return DiskCache(folder)


def most_regions(num: int) -> int:
    """An upper bound of the regions for `num`: SLIC joins those of less than half the mean size to a neighbour."""
    return 2 * num


def slic(pixels: UInt8[np.ndarray, "h w 3"], num: int, compactness: float) -> Int[np.ndarray, "h w"]:
    """The label of each pixel's region, from 0. Raises `ModelError` where scikit-image is not installed."""
    try:
        from skimage import segmentation
    except ImportError:
        raise ModelError("Superpixels need scikit-image; install it by: pip install 'deixis[sda]'.") from None
    labels = segmentation.slic(pixels, n_segments=num, compactness=compactness, start_label=0, channel_axis=-1)
    return np.minimum(labels, most_regions(num) - 1).astype(np.int64)


def labels_of(images: Float[np.ndarray, "i 3 h w"], num: int, compactness: float) -> Int[np.ndarray, "i h w"]:
    """The label of each pixel's region, below `most_regions(num)`, and `PADDING` outside of the photo.

    The padding of `Preprocess` is 0 in every channel, which no pixel of a photo is: ImageNet's mean colour times 255 is
    not a whole number. It is at the right and at the bottom.
    """
    plain = np.asarray(images, dtype=np.float32)
    filled = (plain != 0).any(axis=1)
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (MEAN, STD))
    colours = ((plain * std + mean) * 255).round().clip(0, 255).astype(np.uint8)
    labels = np.full(filled.shape, PADDING, np.int64)
    caches: list[Cache | DiskCache] = [CACHE]
    if (on_disk := disk_cache()) is not None:
        caches.append(on_disk)
    for pixels, is_filled, label in zip(colours.transpose(0, 2, 3, 1), filled, labels, strict=True):
        height, width = _length(is_filled.any(axis=1)), _length(is_filled.any(axis=0))
        if height:
            photo = np.ascontiguousarray(pixels[:height, :width])
            label[:height, :width] = _cached(photo, num, compactness, *caches)
    return labels


def _cached(pixels: UInt8[np.ndarray, "h w 3"], num: int, compactness: float, *caches: Cache | DiskCache) -> np.ndarray:
    """The regions from the first cache that has them, which are then stored in those before it, or from SLIC."""
    digest = blake2b(pixels.tobytes(), digest_size=16)
    digest.update(f"{pixels.shape} {num} {compactness}".encode())
    key = digest.hexdigest()
    labels: np.ndarray | None = None
    lacking: list[Cache | DiskCache] = []
    for cache in caches:
        labels = cache.get(key)
        if labels is not None and labels.shape == pixels.shape[:2] and labels.max() < most_regions(num):
            break
        labels = None
        lacking.append(cache)
    if labels is None:
        labels = slic(pixels, num, compactness)
    for cache in lacking:
        cache.put(key, labels)
    return labels


def _packed(labels: Int[np.ndarray, "h w"]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(labels.astype(np.uint16)).save(buffer, "PNG")
    return buffer.getvalue()


def _unpacked(file: bytes) -> Int[np.ndarray, "h w"]:
    return np.array(Image.open(io.BytesIO(file), formats=["PNG"])).astype(np.int64)


def _length(is_filled: Bool[np.ndarray, " n"]) -> int:
    """The number of rows or columns up to the last one with a pixel of the photo."""
    return int(is_filled.nonzero()[0].max(initial=-1)) + 1
