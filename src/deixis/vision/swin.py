"""Swin (Liu et al., ICCV 2021): a vision transformer over shifted windows that exposes its four stages.

- maps are channels-last: `[b y x d]`
- queries, keys and values are computed for real cells only; those of a padded cell are the bias of their layer
- differs from later Swin code, as the published referring models do: a map smaller than the window is still shifted
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import InputError
from ..kernels.windows import relative_positions, window_attention

PATCH = 4
WAVES = 4  # octaves of the sines and cosines of a cell's position


@dataclass(frozen=True, kw_only=True)
class SwinConfig:
    """The size of a Swin; the defaults are Swin-B for 384 pixels."""

    embed_dim: int = 128
    depths: Sequence[int] = (2, 2, 18, 2)
    heads: Sequence[int] = (4, 8, 16, 32)
    window: int = 12
    drop_path: float = 0.3
    coordinates: bool = False  # ours, in no published model: every stage gets the positions of its cells

    def __post_init__(self) -> None:
        object.__setattr__(self, "depths", tuple(self.depths))
        object.__setattr__(self, "heads", tuple(self.heads))
        if len(self.depths) != 4 or len(self.heads) != 4:
            raise InputError(f"Swin has 4 stages, but depths={self.depths} and heads={self.heads}; give 4 of each.")
        if min(self.embed_dim, *self.heads, *self.depths) < 1:
            raise InputError(
                f"Swin got embed_dim={self.embed_dim}, heads={self.heads} and depths={self.depths}; "
                "give numbers of 1 or more."
            )
        for stage, heads in enumerate(self.heads):
            if (width := self.embed_dim * 2**stage) % heads:
                raise InputError(f"Stage {stage} has {heads} heads for {width} channels; choose a divisor of {width}.")
        if self.window < 2:
            raise InputError(f"Swin got window={self.window}; give a window of 2 or more.")
        if not 0 <= self.drop_path < 1:
            raise InputError(f"drop_path is {self.drop_path}; expected a probability in [0, 1).")


class Swin(nn.Module):
    """Four stages at strides 4, 8, 16 and 32; `widths` are their channels."""

    def __init__(self, config: SwinConfig) -> None:
        super().__init__()
        self.config = config
        self.widths: tuple[int, ...] = tuple(config.embed_dim * 2**stage for stage in range(4))
        self.patches = PatchEmbedding(config.embed_dim, config.coordinates)
        # On the CPU, because their values are read even where the network is built on the meta device.
        drops = torch.linspace(0, config.drop_path, sum(config.depths), device="cpu").split(list(config.depths))
        self.stages = nn.ModuleList(
            nn.ModuleList(
                Block(width, heads, config.window, shifted=number % 2 == 1, drop_path=drop)
                for number, drop in enumerate(stage_drops.tolist())
            )
            for width, heads, stage_drops in zip(self.widths, config.heads, drops, strict=True)
        )
        self.mergers = nn.ModuleList(PatchMerging(width, config.coordinates) for width in self.widths[:-1])

    def embed(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b y x d"]:
        return self.patches(images)

    def stage(self, index: int, features: Float[Tensor, "b y x d"]) -> Float[Tensor, "b y x d"]:
        """The blocks of one stage (0 to 3), before any patch merging."""
        for block in cast(nn.ModuleList, self.stages[index]):
            features = block(features)
        return features

    def merge(self, index: int, features: Float[Tensor, "b y x d"]) -> Float[Tensor, "b y2 x2 d2"]:
        """From the end of stage `index` to the start of the next: half the side (rounded up), twice the channels."""
        return self.mergers[index](features)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        """The four stages' maps, not normalised."""
        features = self.embed(images)
        maps = []
        for index in range(4):
            features = self.stage(index, features)
            maps.append(features)
            if index < 3:
                features = self.merge(index, features)
        return maps


class PatchEmbedding(nn.Module):
    """A linear map of each 4x4 patch, padded right and below to whole patches; then a norm."""

    def __init__(self, width: int, coordinates: bool) -> None:
        super().__init__()
        self.projection = nn.Linear(3 * PATCH * PATCH, width)
        self.norm = nn.LayerNorm(width)
        self.coordinates = Coordinates(width) if coordinates else None

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b y x d"]:
        height, width = images.shape[-2:]
        if height % PATCH or width % PATCH:
            images = F.pad(images, (0, -width % PATCH, 0, -height % PATCH))
        patches = rearrange(images, "b c (y p) (x q) -> b y x (c p q)", p=PATCH, q=PATCH)
        features = self.norm(self.projection(patches))
        return features if self.coordinates is None else self.coordinates(features)


class PatchMerging(nn.Module):
    """Four neighbours become one cell of twice the channels; odd sides are padded right and below."""

    def __init__(self, width: int, coordinates: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = _linear(4 * width, 2 * width, bias=False)
        self.coordinates = Coordinates(2 * width) if coordinates else None

    def forward(self, features: Float[Tensor, "b y x d"]) -> Float[Tensor, "b y2 x2 d2"]:
        height, width = features.shape[1:3]
        if height % 2 or width % 2:
            features = F.pad(features, (0, 0, 0, width % 2, 0, height % 2))
        merged = self.reduction(self.norm(rearrange(features, "b (y p) (x q) d -> b y x (q p d)", p=2, q=2)))
        return merged if self.coordinates is None else self.coordinates(merged)


class Coordinates(nn.Linear):
    """Adds to each cell a linear map of its position; in every stage, because the first one's fades on the way."""

    def __init__(self, width: int) -> None:
        super().__init__(2 + 4 * WAVES, width)

    def forward(self, features: Float[Tensor, "b y x d"]) -> Float[Tensor, "b y x d"]:
        height, width = features.shape[1:3]
        return features + super().forward(positions(height, width, features.device).to(features))


class Block(nn.Module):
    """Attention within windows, then an MLP; both pre-norm and residual, each dropped at random in training."""

    def __init__(self, width: int, heads: int, window: int, *, shifted: bool, drop_path: float) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.attention_norm = nn.LayerNorm(width)
        self.attention = WindowAttention(width, heads, window, shifted=shifted)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(_linear(width, 4 * width), nn.GELU(), _linear(4 * width, width))

    def forward(self, features: Float[Tensor, "b y x d"]) -> Float[Tensor, "b y x d"]:
        features = features + self._drop(self.attention(self.attention_norm(features)))
        return features + self._drop(self.mlp(self.mlp_norm(features)))

    def _drop(self, branch: Tensor) -> Tensor:
        """Stochastic depth: a sample keeps the branch with probability p = 1 - drop_path, multiplied by 1 / p."""
        if not self.training or self.drop_path == 0:
            return branch
        keep = 1 - self.drop_path
        return branch * branch.new_empty(branch.shape[0], 1, 1, 1).bernoulli_(keep).div_(keep)


class WindowAttention(nn.Module):
    """Attention of each cell to the cells of its window, with a learned bias for each relative position.

    As published: pad the map with zeros to whole windows, roll it by half a window where `shifted`, cut it into
    windows, attend in each with a mask between cells that only the roll made neighbours, join, roll back and crop.
    `window_attention` gives the same sums in one step.
    """

    def __init__(self, width: int, heads: int, window: int, *, shifted: bool) -> None:
        super().__init__()
        self.heads, self.window, self.shifted = heads, window, shifted
        self.qkv = _linear(width, 3 * width)
        self.projection = _linear(width, width)
        self.position_bias = nn.Parameter(nn.init.trunc_normal_(torch.empty((2 * window - 1) ** 2, heads), std=0.02))

    def forward(self, features: Float[Tensor, "b y x d"]) -> Float[Tensor, "b y x d"]:
        bias = F.embedding(relative_positions(self.window, str(features.device)), self.position_bias)
        mixed = window_attention(self.qkv(features), self.qkv.bias, bias, self.window, shifted=self.shifted)
        return self.projection(mixed)


def positions(height: int, width: int, device: torch.device) -> Float[Tensor, "y x features"]:
    """x and y of each cell's centre in (-1, 1), and their sines and cosines; they do not depend on the map's size."""
    y = (torch.arange(height, device=device) + 0.5) * (2 / height) - 1
    x = (torch.arange(width, device=device) + 0.5) * (2 / width) - 1
    position = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=-1)
    waves = torch.cat([position * torch.pi * 2**octave for octave in range(WAVES)], dim=-1)
    return torch.cat([position, waves.sin(), waves.cos()], dim=-1)


def _linear(width: int, out: int, *, bias: bool = True) -> nn.Linear:
    layer = nn.Linear(width, out, bias=bias)
    nn.init.trunc_normal_(layer.weight, std=0.02)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer
