"""IRN's random walk on the superpixels of an image, for which nothing is trained; ours."""

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...vision.slic import PADDING
from .walk import SMALL


def refined(
    maps: Float[np.ndarray, "k y x"],
    regions: Int[np.ndarray, "h w"],
    colours: Float[np.ndarray, "h w 3"],
    features: Float[Tensor, "c y2 x2"],
    *,
    exponent: float = 10.0,
    doublings: int = 8,
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
    step = transition(touching(nodes, len(numbers)), _means(colours, nodes, len(numbers)), described, exponent)
    for _ in range(doublings):
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
