"""ResNet with bottlenecks (He et al., CVPR 2016), its four stages, and its published weights.

- the stride of a stage is in the 3x3 convolution of its first block, as in the published files
- weights have torchvision's names; transformers' files are renamed
- batch norms are frozen by default: they keep the published statistics, and train their scales and shifts only
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import InputError
from ..weights import Weights, check_finite, read_file, tensors_in

EXPANSION = 4  # of a bottleneck: its output is four times as wide as its 3x3 convolution
Norms = Literal["frozen", "trained"]


@dataclass(frozen=True, kw_only=True)
class ResNetConfig:
    """The defaults are ResNet-101; `norms="trained"` is for a network that starts from random weights."""

    depths: Sequence[int] = (3, 4, 23, 3)
    width: int = 64
    norms: Norms = "frozen"

    def __post_init__(self) -> None:
        object.__setattr__(self, "depths", tuple(self.depths))
        if len(self.depths) != 4 or min(self.depths) < 1 or self.width < 1:
            raise InputError(
                f"The ResNet's depths are {self.depths} and its width is {self.width}; expected four positive numbers "
                "of blocks and a positive width."
            )

    @property
    def depth(self) -> int:
        """The number of blocks, a lower bound of the number of convolutions."""
        return sum(self.depths)


class ResNet(nn.Module):
    """Images to the maps of the four stages, at strides 4, 8, 16 and 32."""

    def __init__(self, config: ResNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ResNetConfig()
        width = config.width
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        inputs = width
        for number, depth in enumerate(config.depths, start=1):
            inner = width * 2 ** (number - 1)
            first = _Bottleneck(inputs, inner, stride=1 if number == 1 else 2)
            inputs = inner * EXPANSION
            rest = (_Bottleneck(inputs, inner, stride=1) for _ in range(depth - 1))
            self.add_module(f"layer{number}", nn.Sequential(first, *rest))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.train()  # a new module is in training mode without a call of `train`, which freezes the norms

    @property
    def widths(self) -> tuple[int, ...]:
        """Of the four stages."""
        return tuple(self.config.width * EXPANSION * 2**number for number in range(4))

    def train(self, mode: bool = True) -> "ResNet":
        super().train(mode)
        if self.config.norms == "frozen":
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def forward(self, images: Float[Tensor, "i 3 h w"]) -> list[Tensor]:
        """Four maps `[i c y x]`."""
        features = F.max_pool2d(F.relu(self.bn1(self.conv1(images))), kernel_size=3, stride=2, padding=1)
        stages = []
        for number in range(1, 5):
            features = getattr(self, f"layer{number}")(features)
            stages.append(features)
        return stages


class _Bottleneck(nn.Module):
    def __init__(self, inputs: int, inner: int, stride: int) -> None:
        super().__init__()
        outputs = inner * EXPANSION
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            projection = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(outputs))

    def forward(self, features: Tensor) -> Tensor:
        inner = F.relu(self.bn1(self.conv1(features)))
        inner = F.relu(self.bn2(self.conv2(inner)))
        return F.relu(self.bn3(self.conv3(inner)) + self.downsample(features))


# A published name -> torchvision's; None for the head of a classifier.
_NORM = r"normalization\.(.+)"
_TRANSFORMERS: tuple[tuple[str, str], ...] = (
    (r"embedder\.embedder\.convolution\.(.+)", r"conv1.\1"),
    (r"embedder\.embedder\." + _NORM, r"bn1.\1"),
)
_BLOCK = r"encoder\.stages\.(\d)\.layers\.(\d+)\."


def load_pretrained(resnet: ResNet, path: str | Path) -> None:
    """Fill `resnet` from torchvision's `.pth` or transformers' `model.safetensors` or `.bin`, without their classifier.

    Raises `InputError` with the weights that are missing, unexpected or of another shape, and `ModelError` where the
    weights themselves are broken.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"There are no weights at {path}; give a published ResNet's .pth or model.safetensors.")
    raw = read_file(file)
    weights = _renamed(tensors_in(raw.get("state_dict", raw), file))
    expected = resnet.state_dict()
    # Old files lack the number of batches that the statistics were taken from, which nothing reads.
    needed = {name for name in expected if not name.endswith("num_batches_tracked")}
    missing, unexpected = sorted(needed - weights.keys()), sorted(weights.keys() - expected.keys())
    if missing or unexpected:
        raise InputError(
            f"{path} does not fit this ResNet (depths {tuple(resnet.config.depths)}): missing {_first(missing)}; "
            f"unexpected {_first(unexpected)}. Use the weights of the same ResNet."
        )
    for name, tensor in weights.items():
        if tensor.shape != expected[name].shape:
            raise InputError(
                f"{path} has {name} of shape {list(tensor.shape)}; expected {list(expected[name].shape)}. Use the "
                "weights of a ResNet of the same size."
            )
    check_finite(weights, path)
    resnet.load_state_dict(weights, strict=False)


def _renamed(published: Weights) -> Weights:
    """The encoder's weights under torchvision's names."""
    plain = {re.sub(r"^(module\.)?(resnet\.)?", "", name): tensor for name, tensor in published.items()}
    return {_own_name(name): tensor for name, tensor in plain.items() if not re.match(r"(fc|classifier)\.", name)}


def _own_name(name: str) -> str:
    for pattern, own in _TRANSFORMERS:
        if match := re.fullmatch(pattern, name):
            return match.expand(own)
    if match := re.fullmatch(_BLOCK + r"shortcut\.(convolution|normalization)\.(.+)", name):
        part = {"convolution": 0, "normalization": 1}[match[3]]
        return f"layer{int(match[1]) + 1}.{match[2]}.downsample.{part}.{match[4]}"
    if match := re.fullmatch(_BLOCK + r"layer\.(\d)\.(convolution|normalization)\.(.+)", name):
        part_name = {"convolution": "conv", "normalization": "bn"}[match[4]]
        return f"layer{int(match[1]) + 1}.{match[2]}.{part_name}{int(match[3]) + 1}.{match[5]}"
    return name


def _first(names: list[str], limit: int = 4) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return (", ".join(names[:limit]) or "nothing") + more
