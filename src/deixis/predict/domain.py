"""Whether an image is of the domain that a model was trained on, by statistics of the model's own features."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from ..data.transforms import Preprocess
from ..metrics.domain import AXES, DomainStatistics, fit
from ..vision.resnet import ResNet
from ..vision.swin import Swin
from ..vision.vit import ViT

BATCH = 8


def domain_map(system: nn.Module, images: Float[Tensor, "i 3 h w"]) -> Float[Tensor, "i y x d"] | None:
    """A map that depends on the images alone; None for a system without a known image encoder.

    A system may name its own by a method `domain_map(images)`. Of Swin and ResNet it is the first stage, of a ViT the
    patches: edges and textures, which differ between photographs and drawings whatever is shown.
    """
    own: Any = getattr(system, "domain_map", None)
    if own is not None:
        found: Tensor = own(images)
        return found
    for module in system.modules():
        if isinstance(module, Swin):
            return module.stage(0, module.embed(images))
        if isinstance(module, ResNet):
            return rearrange(module(images)[0], "i c y x -> i y x c")
        if isinstance(module, ViT):
            return module(images)
    return None


def domain_moments(system: nn.Module, images: Float[Tensor, "i 3 h w"]) -> Float[Tensor, "i d"] | None:
    """Each image's mean and standard deviation of every channel of its `domain_map`."""
    if (found := domain_map(system, images)) is None:
        return None
    cells = rearrange(found.float(), "i y x d -> i (y x) d")
    return torch.cat([cells.mean(1), cells.std(1, correction=0)], dim=1)


@torch.inference_mode()
def domain_features(system: nn.Module, images: Float[Tensor, "i 3 h w"]) -> Float[np.ndarray, "i d"] | None:
    """The same as an array."""
    found = domain_moments(system, images)
    return None if found is None else found.cpu().numpy()


def statistics_of(
    system: nn.Module,
    preprocess: Preprocess,
    photos: Iterable[UInt8[np.ndarray, "h w 3"]],
    data: str,
    known_outside: float = DomainStatistics.known_outside,
    axes: int = AXES,
) -> DomainStatistics | None:
    """The statistics of a model's training images; None where there are too few, or the system has no such map."""
    parameter = next(system.parameters())
    rows = []
    for batch in _batches(torch.as_tensor(preprocess.image(photo)) for photo in photos):
        rows.append(domain_features(system, batch.to(parameter.device, parameter.dtype)))
        if rows[0] is None:
            return None
    return fit(np.concatenate([row for row in rows if row is not None]), data, known_outside, axes) if rows else None


def distances(
    system: nn.Module, statistics: DomainStatistics, images: Float[Tensor, "i 3 y x"]
) -> Float[np.ndarray, " i"] | None:
    """How far each image is from the training images, as a multiple of the limit; None where that is not known."""
    features = domain_features(system, images)
    return None if features is None or features.shape[1] != statistics.width else statistics.distance(features)


def _batches(images: Iterable[Tensor]) -> Iterator[Tensor]:
    held: list[Any] = []
    for image in images:
        held.append(image)
        if len(held) == BATCH:
            yield torch.stack(held)
            held = []
    if held:
        yield torch.stack(held)
