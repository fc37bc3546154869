"""MaskedAutoencoder (He et al., CVPR 2022): pre-trains a ViT on pictures alone, without sentences or masks.

- the ViT encodes the patches that are kept, so most of an image costs nothing
- a small transformer fills a learned token in for each removed patch, and a linear layer paints its pixels
- only the encoder's weights (`vision.*`) are published, for SaG and others that start from it
- which patches are kept, and the loss: `objectives/masked_autoencoding.py`
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn

from ..errors import InputError
from ..layers.entities import SelfLayer, sine_positions
from ..records import Config
from ..vision.vit import ViT, ViTConfig


@dataclass(frozen=True, kw_only=True)
class MaskedAutoencoderConfig(Config):
    """The encoder, and the size of the decoder that is thrown away."""

    publishes: ClassVar[tuple[str, ...]] = ("vision.*",)  # the weights that a run saves

    vision: ViTConfig
    layers: int = 2
    width: int = 96
    heads: int = 3

    def __post_init__(self) -> None:
        if min(self.layers, self.heads) < 1 or self.width < 4 or self.width % 4 or self.width % self.heads:
            raise InputError(
                f"The decoder has {self.layers} layers, the width {self.width} and {self.heads} heads; expected "
                "positive numbers, and a width that 4 and the heads divide."
            )

    def build(self) -> "MaskedAutoencoder":
        return MaskedAutoencoder(self)


class MaskedAutoencoder(nn.Module):
    """The pixels of every patch, predicted from the patches that are kept."""

    def __init__(self, config: MaskedAutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.vision = ViT(config.vision)
        self.narrow = nn.Linear(config.vision.width, config.width)
        self.removed = nn.Parameter(torch.zeros(config.width))
        head_width = config.width // config.heads
        self.decoder = nn.ModuleList(
            SelfLayer(config.width, config.heads, head_width, dropout=0.0) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.paint = nn.Linear(config.width, 3 * config.vision.patch**2)
        nn.init.trunc_normal_(self.removed, std=0.02)

    def forward(self, images: Float[Tensor, "i 3 h w"], kept: Int64[Tensor, "i k"]) -> Float[Tensor, "i n p"]:
        """For each patch its pixels, `kept` being the positions of those that the encoder reads."""
        patches = self.vision.embed(images)
        rows, columns = patches.shape[1:3]
        chosen = _gathered(rearrange(patches, "i y x d -> i (y x) d"), kept)
        seen = self.narrow(self.vision.encode(chosen))
        tokens = self.removed.to(seen.dtype).expand(len(images), rows * columns, -1)
        tokens = tokens.scatter(1, kept[..., None].expand_as(seen), seen)
        tokens = tokens + rearrange(sine_positions(rows, columns, tokens.shape[-1], tokens), "y x d -> (y x) d")
        for layer in self.decoder:
            tokens = layer(tokens)
        return self.paint(self.norm(tokens))


def _gathered(tokens: Float[Tensor, "i n d"], kept: Int64[Tensor, "i k"]) -> Float[Tensor, "i k d"]:
    return tokens.gather(1, kept[..., None].expand(-1, -1, tokens.shape[-1]))
