"""SceneParsing: pre-trains Swin or a ResNet on Toyland, as ImageNet pre-trains the published systems' encoders.

- the encoder learns to predict, for each pixel, what it shows: kind, colour, size and pattern, or background
- all things of a scene are learnt at once, where a sentence teaches about one of them
- no download is needed before the first training
- only the encoder's weights (`vision.*`) are published, for late fusion and the systems after it
- from no paper; its loss is `objectives/dense_classes.py`
"""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import InputError
from ..layers.pyramid import sum_stages
from ..records import Config
from ..vision.resnet import ResNet, ResNetConfig
from ..vision.swin import Swin, SwinConfig


@dataclass(frozen=True, kw_only=True)
class SceneParsingConfig(Config):
    """The encoder, the width that its stages are summed in, and each attribute with its number of values."""

    publishes: ClassVar[tuple[str, ...]] = ("vision.*",)  # the weights that a run saves

    vision: SwinConfig | ResNetConfig
    attributes: tuple[tuple[str, int], ...]
    width: int = 96

    def __post_init__(self) -> None:
        if not self.attributes:
            raise InputError("SceneParsing got no attributes; give at least one attribute.")
        if min(self.width, *(count for _, count in self.attributes)) < 1:
            raise InputError(
                f"SceneParsing's width is {self.width} and its attributes {self.attributes}; "
                "expected a width and numbers of values of 1 or more."
            )

    def build(self) -> "SceneParsing":
        return SceneParsing(self)


class SceneParsing(nn.Module):
    """The encoder, its four stages summed at stride 4, and one linear head per attribute (class 0 is background)."""

    def __init__(self, config: SceneParsingConfig) -> None:
        super().__init__()
        self.config = config
        self.vision = Swin(config.vision) if isinstance(config.vision, SwinConfig) else ResNet(config.vision)
        self.lateral = nn.ModuleList(nn.Linear(width, config.width) for width in self.vision.widths)
        self.norm = nn.LayerNorm(config.width)
        self.heads = nn.ModuleDict({name: nn.Linear(config.width, count + 1) for name, count in config.attributes})

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> dict[str, Float[Tensor, "b c y x"]]:
        """The logits of each attribute's classes."""
        found = self.vision(images)
        if isinstance(self.vision, ResNet):
            found = [rearrange(stage, "b c y x -> b y x c") for stage in found]
        stages = [lateral(stage) for lateral, stage in zip(self.lateral, found, strict=True)]
        features = F.gelu(self.norm(sum_stages(stages)))
        return {name: rearrange(head(features), "b y x c -> b c y x") for name, head in self.heads.items()}
