"""Class activation maps of the target's images and their refinement (SDA, Appendix B.2; Zhou et al. 2016, IRN 2019).

- the map of a category is ReLU(w_c · f), summed over scales and a flipped copy, divided by its maximum, as in IRN
- a refined map gives each cell a category of the image, or the background
- `superpixel-walk` is ours: IRN's random walk on the superpixels of the image, for which nothing is trained
- IRN's own walk on a trained boundary map, and PSA's on trained affinities, are not implemented
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor

from ...errors import InputError, ModelError
from ...vision.superpixels import MEAN, PADDING, STD, superpixels
from .classifier import CategoryClassifier

Refinement = Literal["superpixel-walk", "none"]
STRIDE = 4  # of the maps, as in IRN
BACKGROUND = 0  # in a map of categories, where category c is c + 1
SMALL = 1e-5  # added to a map's maximum, as in the published code of IRN


@dataclass(frozen=True, kw_only=True)
class ActivationOptions:
    """`background` is the score of the background, against which the categories compete; `exponent` is IRN's β.

    The walk has 2^`doublings` steps.
    """

    refinement: Refinement = "superpixel-walk"
    scales: Sequence[float] = (1.0, 0.5, 1.5, 2.0)
    background: float = 0.25
    exponent: float = 10.0
    doublings: int = 8
    regions: int = 200
    compactness: float = 10.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "scales", tuple(self.scales))
        numbers = (*self.scales, self.exponent, self.doublings + 1, self.regions, self.compactness)
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
) -> Int64[np.ndarray, "i y x"]:
    """For each cell at stride 4 one of the image's categories, counted from 1, or 0 for the background."""
    options = options or ActivationOptions()
    maps = activation_maps(classifier, images, labels, options.scales)
    if options.refinement == "none":
        scores = maps.cpu().numpy()
        return np.stack([strongest(scores[row], labels[row].cpu().numpy(), options) for row in range(len(images))])
    regions = superpixels(images, options.regions, options.compactness).cpu().numpy()
    features = classifier.stages(images)[-2].float()  # C4
    colours = _lab(images)
    found = []
    for row in range(len(images)):
        chosen = labels[row].cpu().numpy()
        walked = refined(maps[row].cpu().numpy(), regions[row], colours[row], features[row], options)
        found.append(strongest(walked, chosen, options))
    return np.stack(found)


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
    is_photo = F.interpolate((images != 0).any(dim=1, keepdim=True).float(), size=size, mode="area") > 0
    total = total * labels[:, :, None, None] * is_photo
    return total / (total.amax(dim=(2, 3), keepdim=True) + SMALL)


def strongest(
    scores: Float[np.ndarray, "k y x"], labels: Bool[np.ndarray, " k"], options: ActivationOptions
) -> Int64[np.ndarray, "y x"]:
    """The category with the largest score where that exceeds the background's, counted from 1."""
    own = np.where(labels[:, None, None], scores, -1.0)
    return np.where(own.max(0) > options.background, own.argmax(0) + 1, BACKGROUND)


def refined(
    maps: Float[np.ndarray, "k y x"],
    regions: Int[np.ndarray, "h w"],
    colours: Float[np.ndarray, "h w 3"],
    features: Float[Tensor, "c y2 x2"],
    options: ActivationOptions,
) -> Float[np.ndarray, "k y x"]:
    """The maps after a random walk among the superpixels, divided by the maximum over all categories."""
    inside = regions != PADDING
    if not inside.any() or not maps.any():
        return maps
    numbers, compact = np.unique(regions[inside], return_inverse=True)
    nodes = np.full(regions.shape, PADDING, np.int64)
    nodes[inside] = compact
    full = np.stack([_resized(each, regions.shape) for each in maps])
    scores = _means(full.transpose(1, 2, 0), nodes, len(numbers))
    described = _cell_means(features, nodes, len(numbers))
    step = transition(touching(nodes, len(numbers)), _means(colours, nodes, len(numbers)), described, options.exponent)
    for _ in range(options.doublings):
        step = step @ step
    walked = step @ scores
    walked = walked / max(float(walked.max()), SMALL)
    rows, columns = maps.shape[1:]
    at = nodes[_middles(rows, regions.shape[0])][:, _middles(columns, regions.shape[1])]
    return np.where(at == PADDING, 0.0, walked.T[:, np.maximum(at, 0)])


def transition(
    adjacent: Bool[np.ndarray, "r r"],
    colours: Float[np.ndarray, "r 3"],
    features: Float[np.ndarray, "r c"],
    exponent: float,
) -> Float[np.ndarray, "r r"]:
    """T: rows of a^exponent with a sum of 1; a = exp(-‖ΔLab‖² / (2 · its median over edges)) · max(cos, 0).

    Regions that touch have an edge, and each region has one to itself.
    """
    squares = ((colours[:, None] - colours[None]) ** 2).sum(-1)
    median = max(float(np.median(squares[adjacent])) if adjacent.any() else 1.0, 1e-9)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    directions = features / np.where(lengths > 0, lengths, 1)
    affinity = np.exp(-squares / (2 * median)) * np.maximum(directions @ directions.T, 0)
    affinity = np.where(adjacent, affinity, 0.0)
    np.fill_diagonal(affinity, 1.0)
    weights = affinity**exponent
    return weights / weights.sum(1, keepdims=True)


def touching(nodes: Int[np.ndarray, "h w"], count: int) -> Bool[np.ndarray, "r r"]:
    """Which regions are neighbours, by an edge of a pixel; none is its own."""
    adjacent = np.zeros((count, count), bool)
    for first, second in ((nodes[1:], nodes[:-1]), (nodes[:, 1:], nodes[:, :-1])):
        is_border = (first != second) & (first != PADDING) & (second != PADDING)
        adjacent[first[is_border], second[is_border]] = True
    return adjacent | adjacent.T


def _means(values: Float[np.ndarray, "h w c"], nodes: Int[np.ndarray, "h w"], count: int) -> Float[np.ndarray, "r c"]:
    """Over the pixels of each region."""
    inside = nodes != PADDING
    sums = [np.bincount(nodes[inside], weights=each[inside], minlength=count) for each in np.moveaxis(values, -1, 0)]
    return np.stack(sums, axis=1) / np.bincount(nodes[inside], minlength=count)[:, None]


def _cell_means(features: Float[Tensor, "c y x"], nodes: Int[np.ndarray, "h w"], count: int) -> np.ndarray:
    """`[r c]`: of each region, the mean over its pixels of the cells that they are in."""
    rows, columns = features.shape[1:]
    down = np.minimum(np.arange(nodes.shape[0]) * rows // nodes.shape[0], rows - 1)
    across = np.minimum(np.arange(nodes.shape[1]) * columns // nodes.shape[1], columns - 1)
    cell = down[:, None] * columns + across
    inside = nodes != PADDING
    places = nodes[inside] * (rows * columns) + cell[inside]
    weights = np.bincount(places, minlength=count * rows * columns).reshape(count, rows * columns)
    return (weights / weights.sum(1, keepdims=True)) @ rearrange(features, "c y x -> (y x) c").cpu().numpy()


def _resized(values: Float[np.ndarray, "y x"], size: tuple[int, ...]) -> Float[np.ndarray, "h w"]:
    grown = F.interpolate(torch.as_tensor(values)[None, None], size=size, mode="bilinear", align_corners=False)
    return grown[0, 0].numpy()


def _middles(cells: int, pixels: int) -> Int[np.ndarray, " cells"]:
    """The pixel in the middle of each cell."""
    return np.minimum(((np.arange(cells) + 0.5) * pixels / cells).astype(int), pixels - 1)


def _lab(images: Float[Tensor, "i 3 h w"]) -> Float[np.ndarray, "i h w 3"]:
    try:
        from skimage.color import rgb2lab
    except ImportError:
        raise ModelError("Superpixels need scikit-image; install it by: pip install 'deixis[sda]'.") from None
    mean, std = (torch.tensor(values, device=images.device)[:, None, None] for values in (MEAN, STD))
    colours = (images.float() * std + mean).clip(0, 1)
    return rgb2lab(rearrange(colours, "i c h w -> i h w c").cpu().numpy())
