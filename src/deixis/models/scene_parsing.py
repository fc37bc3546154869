"""SceneParsing: what ImageNet is to the published models, Toyland's pixels are to ours.

- an image classifier's weights start every published system; no download may stand between a newcomer and ours
- so Swin first learns to say of every pixel what it shows: kind, colour, size and pattern, or background
- all things of a scene teach at once, where a sentence teaches about one of them
- only the encoder's weights (`vision.*`) go on, to pointing and from there to the others; the heads are thrown away
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..errors import InputError
from ..layers.pyramid import sum_stages
from ..vision.swin import Swin, SwinConfig


@dataclass(frozen=True, kw_only=True)
class SceneParsingConfig:
    """The encoder, the width its stages are summed at, and each attribute with its number of values."""

    vision: SwinConfig
    attributes: tuple[tuple[str, int], ...]
    width: int = 96

    def __post_init__(self) -> None:
        if not self.attributes:
            raise InputError("Parsing needs at least one attribute to learn, and none came; name one.")
        if min(self.width, *(count for _, count in self.attributes)) < 1:
            raise InputError(
                f"Parsing wants a width and values of 1 or more, not {self.width} and {self.attributes}; raise them."
            )


class SceneParsing(nn.Module):
    """Swin, its four stages summed at stride 4, and one linear head an attribute (class 0 is background)."""

    def __init__(self, config: SceneParsingConfig) -> None:
        super().__init__()
        self.config = config
        self.vision = Swin(config.vision)
        self.lateral = nn.ModuleList(nn.Linear(width, config.width) for width in self.vision.widths)
        self.norm = nn.LayerNorm(config.width)
        self.heads = nn.ModuleDict({name: nn.Linear(config.width, count + 1) for name, count in config.attributes})

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> dict[str, Float[Tensor, "b c y x"]]:
        stages = [lateral(stage) for lateral, stage in zip(self.lateral, self.vision(images), strict=True)]
        features = F.gelu(self.norm(sum_stages(stages)))
        return {name: rearrange(head(features), "b y x c -> b c y x") for name, head in self.heads.items()}

    def loss(
        self, logits: Mapping[str, Float[Tensor, "b _ y x"]], classes: Mapping[str, Int[Tensor, "b y x"]]
    ) -> dict[str, Float[Tensor, ""]]:
        """Cross-entropy an attribute; things weigh as much as the background, which covers most pixels."""
        terms = {}
        for name, target in classes.items():
            weight = torch.ones(logits[name].shape[1], device=target.device)
            weight[0] = 0.3
            terms[name] = F.cross_entropy(logits[name], target, weight=weight)
        return terms
