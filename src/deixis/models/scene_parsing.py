"""SceneParsing: pre-trains Swin, a ResNet or I3D on Toyland, as ImageNet or Kinetics does for the published systems.

- the encoder learns to predict, for each pixel, what it shows: kind, colour, size and pattern, or background
- I3D reads a clip and predicts the pixels of its middle frame
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
from ..vision.i3d import I3D, I3DConfig, over_time
from ..vision.resnet import ResNet, ResNetConfig
from ..vision.swin import Swin, SwinConfig

AT_STRIDE_4 = ("MaxPool3d_2a_3x3", "Conv3d_2b_1x1", "Conv3d_2c_3x3")


@dataclass(frozen=True, kw_only=True)
class SceneParsingConfig(Config):
    """The encoder, the width that its stages are summed in, and each attribute with its number of values."""

    publishes: ClassVar[tuple[str, ...]] = ("vision.*",)  # the weights that a run saves

    vision: SwinConfig | ResNetConfig | I3DConfig
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
        if isinstance(self.vision, I3DConfig) and self.vision.levels[0] not in AT_STRIDE_4:
            raise InputError(
                f"SceneParsing's I3D begins with the level {self.vision.levels[0]}; expected one at stride 4: "
                f"{', '.join(AT_STRIDE_4)}."
            )

    def build(self) -> "SceneParsing":
        return SceneParsing(self)


class SceneParsing(nn.Module):
    """The encoder, its stages summed at stride 4, and one linear head per attribute (class 0 is background)."""

    def __init__(self, config: SceneParsingConfig) -> None:
        super().__init__()
        self.config = config
        self.vision = _built(config.vision)
        self.lateral = nn.ModuleList(nn.Linear(width, config.width) for width in self.vision.widths)
        self.norm = nn.LayerNorm(config.width)
        self.heads = nn.ModuleDict({name: nn.Linear(config.width, count + 1) for name, count in config.attributes})

    def forward(self, images: Float[Tensor, "i t 3 h w"]) -> dict[str, Float[Tensor, "i c y x"]]:
        """The logits of each attribute's classes, on the middle frame."""
        stages = [lateral(stage) for lateral, stage in zip(self.lateral, self._stages(images), strict=True)]
        features = F.gelu(self.norm(sum_stages(stages)))
        return {name: rearrange(head(features), "i y x c -> i c y x") for name, head in self.heads.items()}

    def _stages(self, images: Float[Tensor, "i t 3 h w"]) -> list[Float[Tensor, "i y x c"]]:
        if isinstance(self.vision, I3D):
            maps = self.vision(rearrange(images, "i t c h w -> i c t h w"))
            found = [over_time(each, "centre") for each in maps]
        else:
            found = self.vision(images[:, images.shape[1] // 2])
        if isinstance(self.vision, Swin):
            return found
        return [rearrange(stage, "i c y x -> i y x c") for stage in found]


def _built(config: SwinConfig | ResNetConfig | I3DConfig) -> Swin | ResNet | I3D:
    if isinstance(config, I3DConfig):
        return I3D(config)
    return Swin(config) if isinstance(config, SwinConfig) else ResNet(config)
