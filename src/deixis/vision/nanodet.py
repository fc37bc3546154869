"""NanoDet-g (RangiLyu, 2021): a small one-stage detector of COCO's 80 classes, its maps, boxes and published weights.

- a CSP trunk with maps at strides 8, 16 and 32, a path-aggregation neck without weights, one head for each stride
- a cell predicts 80 class logits, and four distances to the sides of its box as distributions over 0 to 10 strides
- the published weights have batch norms folded into the convolutions, so that they are trained as plain convolutions
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import InputError
from ..weights import check_finite, read_file, tensors_in

STRIDES = (8, 16, 32)
BINS = 11  # of a distance's distribution, in strides from 0 to 10
SHA256 = "11cb17b285b43882b1462ea1aa7df515f360f6a501560d1f907e491153f950ea"


@dataclass(frozen=True, kw_only=True)
class NanoDetConfig:
    """The defaults are NanoDet-g."""

    stem: int = 32
    widths: Sequence[int] = (32, 64, 128, 256)  # the inner widths of the four stages; a stage returns twice as many
    depths: Sequence[int] = (1, 2, 2, 3)
    neck: int = 128
    classes: int = 80

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))
        object.__setattr__(self, "depths", tuple(self.depths))
        numbers = (*self.widths, *self.depths, self.stem, self.neck, self.classes)
        if len(self.widths) != 4 or len(self.depths) != 4 or min(numbers) < 1:
            raise InputError(
                f"The NanoDet has the widths {self.widths} and the depths {self.depths}; expected four positive "
                "numbers each."
            )


@dataclass(frozen=True)
class Detections:
    """What the detector computes of images: the trunk's maps, the neck's, and the boxes of all cells in one list."""

    stages: list[Tensor]  # at strides 4, 8, 16 and 32
    neck: list[Tensor]  # at strides 8, 16 and 32
    logits: Float[Tensor, "i n classes"]
    boxes: Float[Tensor, "i n 4"]  # left, top, right, bottom in pixels; they may leave the image
    features: Float[Tensor, "i n d"]  # of each cell, what its head reads


class NanoDet(nn.Module):
    """Images, normalised by ImageNet's mean and deviation in RGB, to detections; sides are multiples of 32."""

    def __init__(self, config: NanoDetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or NanoDetConfig()
        self.stem = _Conv(3, config.stem, stride=2)
        widths = (config.stem, *(2 * width for width in config.widths))
        self.stages = nn.ModuleList(
            _Csp(inputs, inner, depth, stride=1 if number == 0 else 2)
            for number, (inputs, inner, depth) in enumerate(zip(widths[:-1], config.widths, config.depths, strict=True))
        )
        self.lateral = nn.ModuleList(_Conv(width, config.neck, side=1, slope=1.0) for width in widths[2:])
        self.head_conv = nn.ModuleList(_Conv(config.neck, config.neck) for _ in STRIDES)
        outputs = config.classes + 4 * BINS
        self.head_out = nn.ModuleList(_Conv(config.neck, outputs, side=1, slope=1.0) for _ in STRIDES)

    @property
    def stage_widths(self) -> tuple[int, ...]:
        """Of the four maps of the trunk."""
        return tuple(2 * width for width in self.config.widths)

    def embed(self, images: Float[Tensor, "i 3 h w"]) -> Float[Tensor, "i c y x"]:
        """The map at stride 4 that the first stage reads."""
        return F.max_pool2d(self.stem(images.flip(1)), 3, stride=2, padding=1)  # the weights read BGR

    def forward(self, images: Float[Tensor, "i 3 h w"]) -> Detections:
        features, stages = self.embed(images), []
        for stage in self.stages:
            features = stage(features)
            stages.append(features)
        neck = self._aggregate([lateral(stage) for lateral, stage in zip(self.lateral, stages[1:], strict=True)])
        inner = [conv(level) for conv, level in zip(self.head_conv, neck, strict=True)]
        outputs = [out(level) for out, level in zip(self.head_out, inner, strict=True)]
        cells = torch.cat([rearrange(level, "i c y x -> i (y x) c") for level in outputs], dim=1)
        logits, sides = cells.split([self.config.classes, 4 * BINS], dim=-1)
        return Detections(
            stages=stages,
            neck=neck,
            logits=logits,
            boxes=_boxes(sides, [level.shape[-2:] for level in outputs]),
            features=torch.cat([rearrange(level, "i c y x -> i (y x) c") for level in inner], dim=1),
        )

    def _aggregate(self, levels: list[Tensor]) -> list[Tensor]:
        """Down from coarse to fine, then up again; maps are resized bilinearly and added."""
        down = [levels[-1]]
        for finer in reversed(levels[:-1]):
            down.insert(0, finer + _resized(down[0], finer))
        up = [down[0]]
        for coarser in down[1:]:
            up.append(coarser + _resized(up[-1], coarser))
        return up


class _Conv(nn.Module):
    """A convolution and LeakyReLU; with a slope of 1 the convolution alone."""

    def __init__(self, inputs: int, outputs: int, side: int = 3, stride: int = 1, slope: float = 0.1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, side, stride=stride, padding=side // 2)
        self.slope = slope

    def forward(self, features: Tensor) -> Tensor:
        features = self.conv(features)
        return features if self.slope == 1 else F.leaky_relu(features, self.slope)


class _Tiny(nn.Module):
    """Two convolutions of half the width; both results are returned, the second first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.in_conv, self.mid_conv = _Conv(width, width // 2), _Conv(width // 2, width // 2)

    def forward(self, features: Tensor) -> Tensor:
        first = self.in_conv(features)
        return torch.cat([self.mid_conv(first), first], dim=1)


class _Csp(nn.Module):
    """A cross-stage partial block: blocks and a convolution, beside what they started from."""

    def __init__(self, inputs: int, width: int, depth: int, stride: int) -> None:
        super().__init__()
        self.in_conv = _Conv(inputs, width, stride=stride)
        self.res_blocks = nn.ModuleList(_Tiny(width) for _ in range(depth))
        self.res_out_conv = _Conv(width, width)

    def forward(self, features: Tensor) -> Tensor:
        inner = start = self.in_conv(features)
        for block in self.res_blocks:
            inner = block(inner)
        return torch.cat([self.res_out_conv(inner), start], dim=1)


def keep_best(
    boxes: Float[Tensor, "i n 4"], scores: Float[Tensor, "i n"], labels: Tensor, most: int, overlap: float = 0.6
) -> Tensor:
    """The positions `[i most]` of the best cells, those that a better one of the same label covers last.

    Suppression is YOLACT's: one matrix of overlaps among the `4 · most` best cells, without a loop. A cell counts as
    covered also by one that is covered itself.
    """
    first = scores.topk(min(4 * most, scores.shape[1]), dim=1)
    ranked = boxes.gather(1, first.indices[..., None].expand(-1, -1, 4))
    kinds = labels.gather(1, first.indices)
    covers = (pairwise_iou(ranked, ranked) > overlap) & (kinds[:, :, None] == kinds[:, None])
    is_covered = covers.triu(diagonal=1).any(dim=1)
    order = (first.values - 2 * is_covered.to(scores.dtype)).topk(min(most, first.indices.shape[1]), dim=1).indices
    return first.indices.gather(1, order)


def pairwise_iou(first: Float[Tensor, "*i n 4"], second: Float[Tensor, "*i m 4"]) -> Float[Tensor, "*i n m"]:
    """Of boxes given by left, top, right and bottom."""
    top = torch.maximum(first[..., :, None, :2], second[..., None, :, :2])
    bottom = torch.minimum(first[..., :, None, 2:], second[..., None, :, 2:])
    both = (bottom - top).clamp(min=0).prod(-1)
    return both / (areas(first)[..., :, None] + areas(second)[..., None, :] - both).clamp(min=1e-6)


def areas(boxes: Float[Tensor, "*i 4"]) -> Float[Tensor, "*i"]:
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)


def load_nanodet(network: NanoDet, path: str | Path) -> None:
    """Fill the network from the converted file, which is known by its hash where the network is NanoDet-g.

    Raises `InputError` where the file is absent, is another one, or does not fit the network.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"There are no weights at {file}; give the safetensors file of NanoDet-g.")
    known = network.config == NanoDetConfig()
    if known and (found := hashlib.sha256(file.read_bytes()).hexdigest()) != SHA256:
        raise InputError(
            f"{file} has the SHA-256 {found[:12]}…; expected {SHA256[:12]}…, NanoDet-g converted to safetensors."
        )
    weights = tensors_in(read_file(file), file)
    expected = network.state_dict()
    if wrong := sorted(
        name
        for name in {*weights, *expected}
        if name not in weights or name not in expected or weights[name].shape != expected[name].shape
    ):
        raise InputError(
            f"{file} does not fit this NanoDet: {wrong[0]} is missing, unexpected or of another shape. Use the weights "
            "of the same network."
        )
    check_finite(weights, file)
    network.load_state_dict(weights)


def _resized(coarse: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(coarse, size=like.shape[-2:], mode="bilinear", align_corners=False)


def _boxes(sides: Float[Tensor, "i n 44"], sizes: Sequence[Sequence[int]]) -> Float[Tensor, "i n 4"]:
    """From each cell's centre, the expected distance to each side of its box.

    In float32: half precision does not tell neighbouring pixels apart beyond the 256th.
    """
    sides = sides.float() if sides.dtype.itemsize < 4 else sides
    steps = torch.arange(BINS, dtype=sides.dtype, device=sides.device)
    with torch.autocast(sides.device.type, enabled=False):
        distances = rearrange(sides, "i n (side bin) -> i n side bin", bin=BINS).softmax(-1) @ steps
    centres, strides = [], []
    for (height, width), stride in zip(sizes, STRIDES, strict=True):
        rows = (torch.arange(height, device=sides.device) + 0.5) * stride
        columns = (torch.arange(width, device=sides.device) + 0.5) * stride
        grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1).flatten(0, 1)
        centres.append(grid.flip(-1))
        strides.append(torch.full((height * width, 1), float(stride), device=sides.device))
    centre, stride_of = torch.cat(centres).to(sides.dtype), torch.cat(strides).to(sides.dtype)
    reach = distances * stride_of
    return torch.cat([centre - reach[..., :2], centre + reach[..., 2:]], dim=-1)
