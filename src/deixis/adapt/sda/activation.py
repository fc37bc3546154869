"""Class activation maps of the target's images and their refinement (SDA, Appendix B.2; Zhou et al. 2016, IRN 2019).

- the map of a category is ReLU(w_c · f), summed over scales and a flipped copy, divided by its maximum, as in IRN
- a refined map gives each cell a category of the image, or the background
- `boundary-walk` and `feature-walk` are IRN's and PSA's walks among cells, on what an earlier Run trained
- `superpixel-walk` is ours: IRN's random walk on the superpixels of the image, for which nothing is trained
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ...errors import InputError, ModelError
from ...vision.slic import MEAN, STD
from ...vision.superpixels import superpixels
from .affinity import AffinityNetwork
from .classifier import CategoryClassifier
from .superpixel_walk import refined
from .walk import SMALL, boundary_walk, feature_walk

Refinement = Literal["superpixel-walk", "boundary-walk", "feature-walk", "none"]
STRIDE = 4  # of the maps, as in IRN
BACKGROUND = 0  # in a map of categories, where category c is c + 1


@dataclass(frozen=True, kw_only=True)
class ActivationOptions:
    """`background` is the score of the background, against which the categories compete; `exponent` is IRN's β.

    A walk has 2^`doublings` steps, among cells to those nearer than `radius`. PSA has an exponent of its own, and a
    background of its own, 1 minus the strongest map to the power of `feature_background`.
    """

    refinement: Refinement = "superpixel-walk"
    scales: Sequence[float] = (1.0, 0.5, 1.5, 2.0)
    background: float = 0.25
    exponent: float = 10.0
    doublings: int = 8
    regions: int = 200
    compactness: float = 10.0
    radius: float = 5.0
    feature_exponent: float = 8.0
    feature_background: float = 16.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "scales", tuple(self.scales))
        exponents = (self.exponent, self.feature_exponent, self.feature_background)
        numbers = (*self.scales, *exponents, self.doublings + 1, self.regions, self.compactness, self.radius)
        if not self.scales or not min(numbers) > 0 or not 0 <= self.background < 1:
            raise InputError(
                f"The options of the activation maps are {self}; expected one scale or more, positive numbers and a "
                "background of at least 0 and below 1."
            )


def grid_of(images: Float[Tensor, "i 3 h w"]) -> tuple[int, int]:
    """The rows and columns of the maps of these images."""
    return -(-images.shape[-2] // STRIDE), -(-images.shape[-1] // STRIDE)


@torch.no_grad()
def category_maps(
    classifier: CategoryClassifier,
    images: Float[Tensor, "i 3 h w"],
    labels: Bool[Tensor, "i k"],
    options: ActivationOptions | None = None,
    affinity: AffinityNetwork | None = None,
) -> Int64[np.ndarray, "i y x"]:
    """For each cell at stride 4 one of the image's categories, counted from 1, or 0 for the background.

    Raises `ModelError` where a refinement needs a trained network of affinities and none of its kind is given.
    """
    options = options or ActivationOptions()
    maps = activation_maps(classifier, images, labels, options.scales)
    own = labels.cpu().numpy()
    if options.refinement in ("none", "superpixel-walk"):
        plain = options.refinement == "none"
        scores = maps.cpu().numpy() if plain else _among_superpixels(classifier, images, maps, options)
        return np.stack([strongest(*row, options.background) for row in zip(scores, own, strict=True)])
    if affinity is None or affinity.config.kind != options.refinement:
        raise ModelError(
            f"The refinement {options.refinement!r} needs a network of affinities that was trained for it."
        )
    described = affinity.described(images).float()
    inside = is_photo(images, described.shape[-2:])
    return np.stack([_among_cells(affinity, *row, options) for row in zip(described, maps, inside, own, strict=True)])


def _among_superpixels(
    classifier: CategoryClassifier,
    images: Float[Tensor, "i 3 h w"],
    maps: Float[Tensor, "i k y x"],
    options: ActivationOptions,
) -> Iterator[Float[np.ndarray, "k y x"]]:
    regions = superpixels(images, options.regions, options.compactness).cpu().numpy()
    features = classifier.stages(images)[-2].float()  # C4
    for row in zip(maps.cpu().numpy(), regions, _lab(images), features, strict=True):
        yield refined(*row, exponent=options.exponent, doublings=options.doublings)


def _among_cells(
    affinity: AffinityNetwork,
    described: Float[Tensor, "c y2 x2"],
    maps: Float[Tensor, "k y x"],
    inside: Bool[Tensor, "y2 x2"],
    labels: Bool[np.ndarray, " k"],
    options: ActivationOptions,
) -> Int64[np.ndarray, "y x"]:
    chosen = maps[torch.as_tensor(labels, device=maps.device)]  # the maps of other categories are 0
    background: float | Float[np.ndarray, "y x"] = options.background
    if options.refinement == "boundary-walk":
        found = boundary_walk(
            affinity,
            described,
            chosen,
            inside,
            radius=options.radius,
            exponent=options.exponent,
            doublings=options.doublings,
        )
    else:
        found, back = feature_walk(
            affinity,
            described,
            chosen,
            inside,
            radius=options.radius,
            exponent=options.feature_exponent,
            background=options.feature_background,
            doublings=options.doublings,
        )
        background = back.cpu().numpy()
    scores = np.zeros(maps.shape)
    scores[labels] = found.cpu().numpy()
    return strongest(scores, labels, background)


def activation_maps(
    classifier: CategoryClassifier,
    images: Float[Tensor, "i 3 h w"],
    labels: Bool[Tensor, "i k"],
    scales: Sequence[float],
) -> Float[Tensor, "i k y x"]:
    """The maps of each image's own categories, with a maximum of 1; zero for other categories and on padding."""
    size, count = grid_of(images), labels.shape[1]
    total = torch.zeros(len(images), count, *size, device=images.device)
    for scale in scales:
        scaled = (max(32, round(images.shape[-2] * scale)), max(32, round(images.shape[-1] * scale)))
        resized = F.interpolate(images, size=scaled, mode="bilinear", align_corners=False)
        for is_flipped in (False, True):
            given = resized.flip(-1) if is_flipped else resized
            found = F.relu(classifier.maps(classifier.stages(given)[-1])[:, :count]).float()
            found = found.flip(-1) if is_flipped else found
            total += F.interpolate(found, size=size, mode="bilinear", align_corners=False)
    total = total * labels[:, :, None, None] * is_photo(images, size)[:, None]
    return total / (total.amax(dim=(2, 3), keepdim=True) + SMALL)


def strongest(
    scores: Float[np.ndarray, "k y x"],
    labels: Bool[np.ndarray, " k"],
    background: float | Float[np.ndarray, "y x"],
) -> Int64[np.ndarray, "y x"]:
    """The category with the largest score where that exceeds the background's, counted from 1."""
    own = np.where(labels[:, None, None], scores, -1.0)
    return np.where(own.max(0) > background, own.argmax(0) + 1, BACKGROUND)


def is_photo(images: Float[Tensor, "i 3 h w"], size: tuple[int, ...]) -> Bool[Tensor, "i y x"]:
    """The cells that hold a part of a photo; its padding is 0 in every channel."""
    return F.interpolate((images != 0).any(dim=1, keepdim=True).float(), size=tuple(size), mode="area")[:, 0] > 0


def rgb(images: Float[Tensor, "i 3 h w"]) -> Float[np.ndarray, "i h w 3"]:
    """Colours between 0 and 1."""
    mean, std = (torch.tensor(values, device=images.device)[:, None, None] for values in (MEAN, STD))
    return rearrange((images.float() * std + mean).clip(0, 1), "i c h w -> i h w c").cpu().numpy()


def _lab(images: Float[Tensor, "i 3 h w"]) -> Float[np.ndarray, "i h w 3"]:
    try:
        from skimage.color import rgb2lab
    except ImportError:
        raise ModelError("Superpixels need scikit-image; install it by: pip install 'deixis[sda]'.") from None
    return rgb2lab(rgb(images))
