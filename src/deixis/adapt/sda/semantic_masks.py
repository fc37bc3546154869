"""The semantic masks Ā^t of the target (SDA, Section 3.3.2): one small PNG for each image, with a category per cell."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
from PIL import Image
from torch import Tensor

from ...batch import Batch
from ...errors import InputError
from .activation import ActivationOptions, category_maps
from .classifier import CategoryClassifier
from .semantic import is_main, wait_for_all
from .structure import SemanticStructure, image_keys

FOLDER = "semantic_masks"  # in the Run's folder


def write_masks(
    classifier: CategoryClassifier,
    batches: Iterable[Batch],
    structure: SemanticStructure,
    folder: Path,
    options: ActivationOptions,
) -> None:
    """For each image of the target a map of category + 1, and 0 for the background, at stride 4 of the input."""
    images, categories, labels = structure.image_labels()
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
        maps = category_maps(classifier, batch.target_frames()[places], own, options)
        for key, kinds in zip(found, maps, strict=True):
            numbers = np.where(kinds > 0, categories[np.maximum(kinds - 1, 0)] + 1, 0)
            _write(_file(folder, key), numbers)
        written |= found.keys()
    wait_for_all()


def read_masks(batch: Batch, labels: Int[Tensor, " b"], folder: Path) -> Bool[Tensor, "b h w"]:
    """Ā^t of each sample at the size of the images: the cells of its image that have its category."""
    maps: dict[int, Tensor] = {}
    keys = image_keys(batch).tolist()
    for key in keys:
        if key not in maps:
            maps[key] = torch.as_tensor(_read(_file(folder, key)), device=batch.images.device)
    cells = torch.stack([maps[key] for key in keys]) == (labels + 1)[:, None, None]
    cells = cells & (labels >= 0)[:, None, None]
    size = batch.images.shape[-2:]
    return F.interpolate(cells[:, None].float(), size=size, mode="nearest")[:, 0] > 0.5


def _file(folder: Path, key: int) -> Path:
    name = f"{key % 2**64:016x}"
    return folder / FOLDER / name[:2] / f"{name}.png"


def _write(path: Path, numbers: Int[np.ndarray, "y x"]) -> None:
    # Not written beside: a run that is killed before its first step prepares everything again.
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(numbers.astype(np.uint16)).save(path, "PNG")


def _read(path: Path) -> Int[np.ndarray, "y x"]:
    try:
        return np.array(Image.open(path)).astype(np.int64)
    except OSError as error:
        raise InputError(
            f"The semantic masks of an image cannot be read ({error}); start the run again in another folder."
        ) from None
