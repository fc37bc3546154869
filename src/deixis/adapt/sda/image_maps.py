"""Maps of the target's images that a Run computes once: for each image one 16-bit PNG, named by the image's key."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from PIL import Image
from torch import Tensor

from ...batch import Batch
from ...errors import InputError
from .semantic import is_main, wait_for_all
from .structure import SemanticStructure, image_keys

# From images and their categories, in the order of `SemanticStructure.image_labels`, to numbers for each cell.
Make = Callable[[Float[Tensor, "i 3 h w"], Bool[Tensor, "i k"]], Int[np.ndarray, "i y x"]]


def write_maps(batches: Iterable[Batch], structure: SemanticStructure, folder: Path, make: Make) -> None:
    """One map for each image of the target that has a category; the main process writes."""
    images, _, labels = structure.image_labels()
    rows = {int(key): row for row, key in enumerate(images)}
    written: set[int] = set()
    for batch in batches:
        keys = image_keys(batch).tolist()
        index = range(len(keys)) if batch.image_index is None else batch.image_index.tolist()
        found = {key: place for key, place in zip(keys, index, strict=True) if key in rows and key not in written}
        if not found or not is_main():
            continue
        places = torch.tensor([*found.values()], device=batch.images.device)
        own = torch.as_tensor(labels[[rows[key] for key in found]], device=batch.images.device)
        for key, numbers in zip(found, make(batch.target_frames()[places], own), strict=True):
            _write(_file(folder, key), numbers)
        written |= found.keys()
    wait_for_all()


def read_maps(keys: Iterable[int], folder: Path, device: torch.device) -> dict[int, Int[Tensor, "y x"]]:
    """The maps of images, each of which is read once."""
    return {key: torch.as_tensor(_read(_file(folder, key)), device=device) for key in dict.fromkeys(keys)}


def _file(folder: Path, key: int) -> Path:
    name = f"{key % 2**64:016x}"
    return folder / name[:2] / f"{name}.png"


def _write(path: Path, numbers: Int[np.ndarray, "y x"]) -> None:
    # Not written beside: a run that is killed before its first step prepares everything again.
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(numbers.astype(np.uint16)).save(path, "PNG")


def _read(path: Path) -> Int[np.ndarray, "y x"]:
    try:
        return np.array(Image.open(path)).astype(np.int64)
    except OSError as error:
        raise InputError(
            f"The map of an image cannot be read ({error}); start the run again in another folder."
        ) from None
