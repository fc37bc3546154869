"""The semantic masks Ā^t of the target (SDA, Section 3.3.2): for each image a map with a category per cell."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
from torch import Tensor

from ...batch import Batch
from .activation import ActivationOptions, category_maps
from .affinity import AffinityNetwork
from .classifier import CategoryClassifier
from .image_maps import read_maps, write_maps
from .structure import SemanticStructure, image_keys

FOLDER = "semantic_masks"  # in the Run's folder


def write_masks(
    classifier: CategoryClassifier,
    batches: Iterable[Batch],
    structure: SemanticStructure,
    folder: Path,
    options: ActivationOptions,
    affinity: AffinityNetwork | None = None,
) -> None:
    """For each image of the target a map of category + 1, and 0 for the background, at stride 4 of the input."""
    _, categories, _ = structure.image_labels()

    def make(images: Tensor, labels: Tensor) -> Int[np.ndarray, "i y x"]:
        kinds = category_maps(classifier, images, labels, options, affinity)
        return np.where(kinds > 0, categories[np.maximum(kinds - 1, 0)] + 1, 0)

    write_maps(batches, structure, folder / FOLDER, make)


def read_masks(batch: Batch, labels: Int[Tensor, " b"], folder: Path) -> Bool[Tensor, "b h w"]:
    """Ā^t of each sample at the size of the images: the cells of its image that have its category."""
    keys = image_keys(batch).tolist()
    maps = read_maps(keys, folder / FOLDER, batch.images.device)
    cells = torch.stack([maps[key] for key in keys]) == (labels + 1)[:, None, None]
    cells = cells & (labels >= 0)[:, None, None]
    size = batch.images.shape[-2:]
    return F.interpolate(cells[:, None].float(), size=size, mode="nearest")[:, 0] > 0.5
