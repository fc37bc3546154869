"""The network that says which cells of an image belong together, on the stages of a fixed classifier.

- `boundary-walk` (IRN 2019): a map of boundaries at stride 4; the affinity of two cells is 1 - its maximum on the line
  between them. Without IRN's displacement field, which only separates instances
- `feature-walk` (PSA 2018): features of 448 channels at stride 8; the affinity is exp(-mean |f_i - f_j|)
- the papers' backbones have stages of other widths; here each of a ResNet's is reduced by a 1x1 convolution
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from ...batch import Batch, Output
from ...errors import InputError
from ...records import Config
from ...weights import read_safetensors
from .classifier import CategoryClassifier, CategoryClassifierConfig
from .predictor import LAST_WEIGHTS

AffinityKind = Literal["boundary-walk", "feature-walk"]
Offset = tuple[int, int]
BOUNDARY_WIDTH, GROUPS = 32, 4  # of each stage's map, and of its group norm
FEATURE_WIDTHS = (64, 128, 256)  # of the last three stages; 448 together


@dataclass(frozen=True, kw_only=True)
class AffinityConfig(Config):
    """The fixed classifier whose stages are read, and the kind of affinity that is trained on them."""

    publishes: ClassVar[tuple[str, ...]] = ("head.*",)  # the weights that a run saves

    classifier: CategoryClassifierConfig = field(default_factory=CategoryClassifierConfig)
    kind: AffinityKind = "boundary-walk"

    def build(self) -> "AffinityNetwork":
        return AffinityNetwork(self)


class AffinityNetwork(nn.Module):
    """A fixed classifier and the head on its stages; its output is the classifier's."""

    def __init__(self, config: AffinityConfig) -> None:
        super().__init__()
        self.config = config
        self.classifier = config.classifier.build().requires_grad_(False)
        widths = self.classifier.vision.widths
        self.head = BoundaryHead(widths) if config.kind == "boundary-walk" else FeatureHead(widths)
        self.train()

    def train(self, mode: bool = True) -> "AffinityNetwork":
        super().train(mode)
        self.classifier.eval()
        return self

    @torch.no_grad()
    def forward(self, batch: Batch, *, features: Iterable[str] = (), explain: bool = False) -> Output:
        return self.classifier(batch, features=features, explain=explain)

    def described(self, images: Float[Tensor, "i 3 h w"]) -> Float[Tensor, "i c y x"]:
        """What affinities are computed from: a boundary's probability at stride 4, or features at stride 8."""
        with torch.no_grad():
            stages = self.classifier.stages(images)
        return self.head(stages)


class BoundaryHead(nn.Module):
    """The four stages, each reduced to 32 channels and brought to stride 4; together the probability of a boundary."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.reduced = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, BOUNDARY_WIDTH, 1, bias=False), nn.GroupNorm(GROUPS, BOUNDARY_WIDTH), nn.ReLU()
            )
            for width in widths
        )
        self.last = nn.Conv2d(BOUNDARY_WIDTH * len(widths), 1, 1)

    def forward(self, stages: Sequence[Tensor]) -> Float[Tensor, "i 1 y x"]:
        return self.last(_at_size_of(stages[0], self.reduced, stages)).sigmoid()

    def affinities(self, described: Float[Tensor, "i 1 y x"], offset: Offset) -> Float[Tensor, "i y2 x2"]:
        """1 - the largest boundary on the line from a cell to the one at the offset, both ends included."""
        return 1 - torch.stack([_moved(described[:, 0], step, offset) for step in line(offset)]).amax(dim=0)


class FeatureHead(nn.Module):
    """The last three stages, reduced to 64, 128 and 256 channels and brought to stride 8, and a 1x1 convolution."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.reduced = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, own, 1, bias=False), nn.ELU())
            for width, own in zip(widths[1:], FEATURE_WIDTHS, strict=True)
        )
        self.last = nn.Sequential(nn.Conv2d(sum(FEATURE_WIDTHS), sum(FEATURE_WIDTHS), 1, bias=False), nn.ELU())

    def forward(self, stages: Sequence[Tensor]) -> Float[Tensor, "i 448 y x"]:
        return self.last(_at_size_of(stages[1], self.reduced, stages[1:]))

    def affinities(self, described: Float[Tensor, "i c y x"], offset: Offset) -> Float[Tensor, "i y2 x2"]:
        """exp(-mean over the channels of |f_i - f_j|)."""
        first, second = pair(described, offset)
        return (-(first - second).abs().mean(dim=1)).exp()


def offsets(radius: float) -> Iterator[Offset]:
    """(rows, columns) to the cells nearer than `radius`, of each pair one direction; not to the cell itself."""
    reach = int(radius)
    for down in range(reach + 1):
        for across in range(-reach, reach + 1):
            if (down or across > 0) and down**2 + across**2 < radius**2:
                yield down, across


def line(offset: Offset) -> list[Offset]:
    """The cells on the straight line from (0, 0) to the offset, one for each step along its longer side."""
    (down, across), length = offset, max(map(abs, offset))
    side = -1 if across < 0 else 1
    steps = [step / length for step in range(length + 1)]
    return [(int(step * down + 0.5), side * int(step * abs(across) + 0.5)) for step in steps]


def pair(values: Shaped[Tensor, "*b y x"], offset: Offset) -> tuple[Shaped[Tensor, "*b y2 x2"], ...]:
    """The values of all cells whose partner at the offset is inside, and those of their partners."""
    return _moved(values, (0, 0), offset), _moved(values, offset, offset)


def trained_affinity(folder: Path, config: AffinityConfig, classifier: CategoryClassifier) -> AffinityNetwork:
    """The head that a Run trained, on its classifier. Raises `InputError` for a folder without it, or with another."""
    file = folder / LAST_WEIGHTS
    if not file.is_file():
        raise InputError(f"There is no network of affinities in {folder}; train the Run that makes it first.")
    network = AffinityNetwork(config)
    network.classifier.load_state_dict(classifier.state_dict())
    weights = {name.removeprefix("head."): tensor for name, tensor in read_safetensors(file).items()}
    try:
        network.head.load_state_dict(weights)
    except RuntimeError:
        raise InputError(
            f"The affinities in {folder} are of another kind or size than the config ({config.kind}); both must agree."
        ) from None
    return network.requires_grad_(False).eval()


def _at_size_of(like: Tensor, reduced: Iterable[nn.Module], stages: Iterable[Tensor]) -> Tensor:
    """The reduced stages at the size of one of them, side by side."""
    maps = [module(stage) for module, stage in zip(reduced, stages, strict=True)]
    size = like.shape[-2:]
    return torch.cat([F.interpolate(each, size=size, mode="bilinear", align_corners=False) for each in maps], dim=1)


def _moved(values: Shaped[Tensor, "*b y x"], step: Offset, offset: Offset) -> Shaped[Tensor, "*b y2 x2"]:
    """Of all cells whose partner at the offset is inside, the values `step` further on."""
    (height, width), (down, across) = values.shape[-2:], offset
    top, left = step[0], max(0, -across) + step[1]
    rows, columns = max(0, height - down), max(0, width - abs(across))
    return values[..., top : top + rows, left : left + columns]
