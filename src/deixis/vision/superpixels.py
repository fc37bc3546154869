"""SLIC superpixels of a batch of images, and maxima over regions."""

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .slic import PADDING, labels_of


def superpixels(images: Float[Tensor, "i 3 h w"], num: int = 200, compactness: float = 10.0) -> Int[Tensor, "i h w"]:
    """As `labels_of`, on the images' device."""
    return _superpixels(images, num, compactness)


def labels_at(labels: Int[Tensor, "i h w"], size: tuple[int, int]) -> Int[Tensor, "i n"]:
    """The labels of the cells of a smaller grid, by their nearest pixels."""
    rows, columns = (
        torch.arange(cells, device=labels.device) * pixels // cells
        for cells, pixels in zip(size, labels.shape[1:], strict=True)
    )
    return rearrange(labels[:, rows][:, :, columns], "i y x -> i (y x)")


def without_gaps(labels: Int[Tensor, "b n"], num: int) -> tuple[Int[Tensor, "b n"], int]:
    """The same regions, numbered from 0 in each row where a coarse grid has fewer cells than `num`; and their bound."""
    most = labels.shape[1]
    if num <= most:
        return labels, num
    is_padding = labels == PADDING
    places = labels.masked_fill(is_padding, num)
    is_present = torch.zeros(labels.shape[0], num + 1, dtype=torch.long, device=labels.device).scatter(1, places, 1)
    numbers = is_present.cumsum(dim=1) - 1
    return numbers.gather(1, places).masked_fill(is_padding, PADDING), most


def pool_regions(
    features: Float[Tensor, "b n c"], labels: Int[Tensor, "b n"], num: int
) -> tuple[Float[Tensor, "b k c"], Bool[Tensor, "b k"]]:
    """The maximum over the cells of each of `num` regions, and whether the region has a cell; without one it is 0."""
    # Padding is pooled into a region of its own, which is dropped.
    places = torch.where(labels == PADDING, num, labels)
    index = places[..., None].expand_as(features)
    lowest = features.new_full((features.shape[0], num + 1, features.shape[-1]), float("-inf"))
    pooled = lowest.scatter_reduce(1, index, features, reduce="amax")[:, :num]
    is_present = torch.zeros_like(lowest[..., 0]).scatter(1, places, 1.0)[:, :num] > 0
    return pooled.masked_fill(~is_present[..., None], 0.0), is_present


def to_cells(regions: Float[Tensor, "b k c"], labels: Int[Tensor, "b n"]) -> Float[Tensor, "b n c"]:
    """The features of each cell's region; 0 for padding."""
    is_padding = labels == PADDING
    index = labels.masked_fill(is_padding, 0)[..., None].expand(-1, -1, regions.shape[-1])
    return regions.gather(1, index).masked_fill(is_padding[..., None], 0.0)


def _labels(images: Tensor, num: int, compactness: float) -> Tensor:
    labels = labels_of(images.detach().float().cpu().numpy(), num, compactness)
    return torch.from_numpy(labels).to(images.device)


def _shape(images: Tensor, num: int, compactness: float) -> Tensor:
    """The shape of the result, for the compiler."""
    return images.new_empty(images.shape[0], *images.shape[-2:], dtype=torch.long)


# For the compiler the regions are one opaque operation.
_superpixels = torch.library.custom_op(
    "deixis::superpixels", _labels, mutates_args=(), schema="(Tensor images, int num, float compactness) -> Tensor"
)
_superpixels.register_fake(_shape)
