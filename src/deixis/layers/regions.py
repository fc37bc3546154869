"""Maps sampled inside boxes, and small maps of boxes put back into their image; boxes are left, top, right, bottom."""

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor


def sample_boxes(
    maps: Float[Tensor, "i c y x"],
    owners: Int[Tensor, " n"],
    boxes: Float[Tensor, "n 4"],
    stride: float,
    size: tuple[int, int],
) -> Float[Tensor, "n c rows columns"]:
    """The maps at the centres of a grid of `size` cells in each box, bilinearly; `owners` are the boxes' images.

    Boxes are in pixels of the image, of which a cell of the maps covers `stride`. Beyond the border the nearest cell
    counts. Rows of the maps are gathered, so that no map is copied for each box.
    """
    height, width = maps.shape[-2:]
    rows = _centres(boxes[:, 1], boxes[:, 3], size[0], stride).clamp(0, height - 1)
    columns = _centres(boxes[:, 0], boxes[:, 2], size[1], stride).clamp(0, width - 1)
    top, left = (each.detach().floor().clamp(max=max(most - 2, 0)) for each, most in ((rows, height), (columns, width)))
    down, right = (rows - top)[:, :, None, None], (columns - left)[:, None, :, None]
    table = rearrange(maps, "i c y x -> (i y x) c")
    first = owners[:, None, None] * height * width + top.long()[:, :, None] * width + left.long()[:, None]
    below, beside = (width if height > 1 else 0), (1 if width > 1 else 0)
    upper = table[first] * (1 - right) + table[first + beside] * right
    lower = table[first + below] * (1 - right) + table[first + below + beside] * right
    return rearrange(upper * (1 - down) + lower * down, "n rows columns c -> n c rows columns").to(maps.dtype)


def paste_boxes(
    logits: Float[Tensor, "b rows columns"], boxes: Float[Tensor, "b 4"], size: tuple[int, int], outside: float
) -> Float[Tensor, "b h w"]:
    """Each map resized bilinearly to its box in an image of `size`; pixels beyond the box are `outside`.

    Bilinear resizing is separable: one matrix for the rows, and one for the columns.
    """
    down, is_row = _matrix(boxes[:, 1], boxes[:, 3], logits.shape[1], size[0])
    across, is_column = _matrix(boxes[:, 0], boxes[:, 2], logits.shape[2], size[1])
    resized = (down @ logits.to(down.dtype) @ across.transpose(1, 2)).to(logits.dtype)
    return torch.where(is_row[:, :, None] & is_column[:, None], resized, outside)


def enlarged(boxes: Float[Tensor, "*n 4"], by: float) -> Float[Tensor, "*n 4"]:
    """The boxes with `by` of their width and height added on each side, and at least one pixel wide and high."""
    start, end = boxes[..., :2], boxes[..., 2:]
    reach = (end - start).clamp(min=1) * by
    start = start - reach
    return torch.cat([start, torch.maximum(end + reach, start + 1)], dim=-1)


def mask_boxes(masks: Tensor) -> Float[Tensor, "b 4"]:
    """The smallest box of each mask `[b h w]`; of an empty mask four zeros."""
    found = []
    for axis in (1, 2):
        line = masks.any(dim=axis).float()  # columns, then rows
        place = torch.arange(line.shape[1], device=masks.device)
        start = torch.where(line > 0, place, line.shape[1]).amin(1)
        end = torch.where(line > 0, place + 1, 0).amax(1)
        found.append((torch.minimum(start, end), end))
    (left, right), (top, bottom) = found
    return torch.stack([left, top, right, bottom], dim=1).float()


def _centres(start: Tensor, end: Tensor, count: int, stride: float) -> Float[Tensor, "n count"]:
    """The positions, in cells of the map, of the middles of `count` equal parts from start to end."""
    part = (torch.arange(count, device=start.device, dtype=start.dtype) + 0.5) / count
    return (start[:, None] + (end - start)[:, None] * part) / stride - 0.5


def _matrix(start: Tensor, end: Tensor, count: int, size: int) -> tuple[Tensor, Tensor]:
    """The weights of `count` cells from start to end in each of `size` pixels, and which pixels are between."""
    pixels = torch.arange(size, device=start.device, dtype=start.dtype) + 0.5
    place = (pixels - start[:, None]) / (end - start)[:, None] * count - 0.5
    cells = torch.arange(count, device=start.device, dtype=start.dtype)
    weights = (1 - (place.clamp(0, count - 1)[..., None] - cells).abs()).clamp(min=0)
    return weights, (pixels >= start[:, None]) & (pixels <= end[:, None])
