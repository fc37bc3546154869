"""The semantic structure of two domains: the category of every training sentence, in one file and as a lookup.

A sample is found by a number of 64 bits, a hash of its ids, so that no text is stored.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int, Int64
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

from ...batch import Batch
from ...errors import InputError
from ...files import replaced
from ...records import Ids

FILE = "categories.safetensors"  # in the folder of the Run that found the categories
UNKNOWN = -1  # the category of a sample that is not in the structure


@dataclass(frozen=True, kw_only=True)
class SemanticStructure:
    """Categories 0 to k^s - 1 are the source's, the next k^u are new on the target; `common` are the k^t shared ones.

    `target_images` are the keys of the images that the target's samples refer to.
    """

    source_keys: Int64[np.ndarray, " n"]
    source_labels: Int64[np.ndarray, " n"]
    target_keys: Int64[np.ndarray, " m"]
    target_labels: Int64[np.ndarray, " m"]
    target_images: Int64[np.ndarray, " m"]
    num_source: int
    num_new: int
    common: tuple[int, ...]

    @property
    def num_categories(self) -> int:
        return self.num_source + self.num_new

    def save(self, folder: Path) -> None:
        arrays = {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        counts = {"counts": np.array([self.num_source, self.num_new]), "common": np.array(self.common, np.int64)}
        with replaced(folder / FILE) as beside:
            save_file(arrays | counts, beside)

    @classmethod
    def load(cls, folder: Path) -> "SemanticStructure":
        """Raises `InputError` where the folder has none."""
        file = folder / FILE
        try:
            arrays = load_file(file)
            num_source, num_new = arrays.pop("counts").tolist()
            common = tuple(arrays.pop("common").tolist())
            return cls(num_source=num_source, num_new=num_new, common=common, **arrays)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{file} does not hold the categories of two domains ({error}); train the Run that finds them first."
            ) from None

    def image_labels(self) -> tuple[Int64[np.ndarray, " i"], Int64[np.ndarray, " k"], Bool[np.ndarray, "i k"]]:
        """The keys of the target's images, its k^t + k^u categories, and which of them each image has (Appendix B.2).

        An image has all categories of all expressions about it.
        """
        images, image = np.unique(self.target_images, return_inverse=True)
        categories, category = np.unique(self.target_labels, return_inverse=True)
        labels = np.zeros((len(images), len(categories)), bool)
        labels[image, category] = True
        return images, categories, labels


class CategoryLookup(nn.Module):
    """The categories of samples by their keys, as buffers that a resumed run continues with."""

    keys: Tensor
    labels: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("keys", torch.empty(0, dtype=torch.long))
        self.register_buffer("labels", torch.empty(0, dtype=torch.long))

    def fill(self, keys: Int64[np.ndarray, " n"], labels: Int64[np.ndarray, " n"]) -> None:
        distinct, first = np.unique(keys, return_index=True)
        device = self.keys.device
        self.keys = torch.as_tensor(distinct, device=device)
        self.labels = torch.as_tensor(labels[first], device=device)

    def forward(self, keys: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
        """`UNKNOWN` for a key that is not there."""
        if not len(self.keys):
            return torch.full_like(keys, UNKNOWN)
        places = torch.searchsorted(self.keys, keys).clamp(max=len(self.keys) - 1)
        return torch.where(self.keys[places] == keys, self.labels[places], UNKNOWN)


def sample_keys(batch: Batch) -> Int[Tensor, " b"]:
    """Of the expressions of a batch."""
    return torch.as_tensor(keys_of(_name(ids) for ids in batch.ids), device=batch.images.device)


def image_keys(batch: Batch) -> Int[Tensor, " b"]:
    """Of the image of each expression, of a clip its target frame."""
    positions = batch.positions or (0,) * len(batch.ids)
    names = (_frame(ids.image, position) for ids, position in zip(batch.ids, positions, strict=True))
    return torch.as_tensor(keys_of(names), device=batch.images.device)


def keys_of(names: Iterable[str]) -> Int64[np.ndarray, " n"]:
    """A number of 64 bits for each name."""
    digests = b"".join(blake2b(name.encode(), digest_size=8).digest() for name in names)
    return np.frombuffer(digests, np.int64).copy()


def _frame(image: str, position: int) -> str:
    return f"{image}\n{position}" if position else image


def _name(ids: Ids) -> str:
    return "\n".join((ids.image, ids.object, ids.sentence))
