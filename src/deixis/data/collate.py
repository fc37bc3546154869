"""Samples to one Batch: images read and resized, expressions tokenized, labels resized along."""

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Int64, Shaped
from PIL import Image
from torch import Tensor

from .. import masks
from ..batch import Batch
from ..errors import InputError
from ..records import Sample
from .transforms import Preprocess

Labels = Literal["masks", "none"]
LABELLED = "labelled"  # in `Batch.targets`


@runtime_checkable
class Tokenizer(Protocol):
    """Expressions to token ids, padded to the longest; True in the mask is a real token."""

    def encode(
        self, expressions: Sequence[str], max_tokens: int
    ) -> tuple[Int64[np.ndarray, "b l"], Bool[np.ndarray, "b l"]]: ...


def collate(
    samples: Sequence[Sample],
    tokenizer: Tokenizer,
    preprocess: Preprocess,
    *,
    labels: Labels = "masks",
) -> Batch:
    """One Batch; samples of the same frame of the same visual share it, in order of first appearance.

    `preprocess.num_frames` frames around each sample's frame are read. With `labels="none"` no mask is touched. Where
    only some samples have a mask, the others get an empty one and `targets["labelled"]` tells them apart.
    """
    first: dict[tuple[str, int], int] = {}
    index = [first.setdefault((sample.ids.image, sample.frame), len(first)) for sample in samples]
    owners = [samples[index.index(position)] for position in range(len(first))]
    clips = [owner.visual.read(window(owner.frame, owner.visual.num_frames, preprocess.num_frames)) for owner in owners]
    sizes = [(clip.shape[1], clip.shape[2]) for clip in clips]
    token_ids, token_mask = tokenizer.encode([sample.expression for sample in samples], preprocess.max_tokens)
    found = [
        _mask(sample, sizes[image], preprocess) if labels == "masks" else None
        for sample, image in zip(samples, index, strict=True)
    ]
    targets = {name: _targets([sample.targets[name] for sample in samples], preprocess) for name in samples[0].targets}
    is_labelled = torch.tensor([mask is not None for mask in found])
    if is_labelled.any() and not is_labelled.all():
        targets[LABELLED] = is_labelled
    return Batch(
        images=torch.stack([_frames(clip, preprocess) for clip in clips]),
        token_ids=torch.as_tensor(token_ids),
        token_mask=torch.as_tensor(token_mask),
        masks=_stacked(found) if is_labelled.any() else None,
        image_index=torch.tensor(index) if len(first) < len(samples) else None,
        targets=targets,
        sizes=tuple(sizes[image] for image in index),
        ids=tuple(sample.ids for sample in samples),
        positions=tuple(sample.frame for sample in samples),
        expressions=tuple(sample.expression for sample in samples),
    )


def check_labels(batch: Batch, takes_unlabelled: bool) -> None:
    """Raises `InputError` for a batch with and without masks, unless that is expected."""
    if LABELLED in batch.targets and not takes_unlabelled:
        ids = batch.ids[int(batch.targets[LABELLED].int().argmin())]
        raise InputError(
            f"A batch mixes samples with and without masks: {ids} has none, others have one. Remove the samples "
            'without masks, set labels="none", or choose an objective that takes both.'
        )


def window(frame: int, available: int, num_frames: int) -> list[int]:
    """The positions of `num_frames` frames around `frame`, which is at `num_frames // 2`; edge frames are repeated.

    >>> window(1, 10, 8)
    [0, 0, 0, 0, 1, 2, 3, 4]
    """
    start = frame - num_frames // 2
    return [min(max(position, 0), available - 1) for position in range(start, start + num_frames)]


def _frames(clip: Shaped[np.ndarray, "t h w 3"], preprocess: Preprocess) -> Tensor:
    return torch.stack([torch.as_tensor(preprocess.image(frame)) for frame in clip])


def _mask(sample: Sample, size: tuple[int, int], preprocess: Preprocess) -> Tensor | None:
    if sample.mask is None:
        return None
    if tuple(sample.mask["size"]) != size:
        raise InputError(
            f"The mask of {sample.ids} in {sample.dataset} is {'x'.join(map(str, sample.mask['size']))}, but its image "
            f"is {size[0]}x{size[1]}; both must have the same size."
        )
    return torch.as_tensor(preprocess.mask(masks.decode(sample.mask)))


def _stacked(found: Sequence[Tensor | None]) -> Tensor:
    empty = torch.zeros_like(next(mask for mask in found if mask is not None))
    return torch.stack([empty if mask is None else mask for mask in found])


def _targets(values: Sequence[Shaped[np.ndarray, "..."]], preprocess: Preprocess) -> Tensor:
    """Dense classes `[b h w]` at the size of the images, labels of whole images as they are."""
    return torch.stack([torch.as_tensor(_dense(value, preprocess) if value.ndim == 2 else value) for value in values])


def _dense(classes: Shaped[np.ndarray, "h w"], preprocess: Preprocess) -> Shaped[np.ndarray, "height width"]:
    """Classes resized to their nearest neighbours, as `preprocess.mask` resizes masks; a padded border is class 0."""
    height, width = preprocess.filled(classes.shape)
    if classes.shape != (height, width):
        classes = np.asarray(Image.fromarray(classes).resize((width, height), Image.Resampling.NEAREST))
    square = np.zeros((preprocess.image_size, preprocess.image_size), classes.dtype)
    square[:height, :width] = classes
    return square
