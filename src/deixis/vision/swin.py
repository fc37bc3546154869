"""Swin: a vision transformer over shifted windows, its stages exposed so that others can weave something between them.

- maps are channels-last everywhere: `[b y x d]`
- queries, keys and values are computed on the real cells only; a padded cell is a row that holds their bias
- padding, shifting and cutting into windows are one gather; windows of one size lie side by side, so that each kind
  is one attention, and none has a mask (see `windows.py`)
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
from .windows import Kind, Layout, attend, cut, join, layout, relative_positions

PATCH = 4
WAVES = 4  # octaves of sines that tell a cell where it is


@dataclass(frozen=True, kw_only=True)
class SwinConfig:
    """The size of a Swin; the defaults are Swin-B for 384 pixels."""

    embed_dim: int = 128
    depths: Sequence[int] = (2, 2, 18, 2)
    heads: Sequence[int] = (4, 8, 16, 32)
    window: int = 12
    drop_path: float = 0.3
    coordinates: bool = False  # ours: tell each stage's cells where they lie; no published model has it

    def __post_init__(self) -> None:
        object.__setattr__(self, "depths", tuple(self.depths))
        object.__setattr__(self, "heads", tuple(self.heads))
        if len(self.depths) != 4 or len(self.heads) != 4:
            raise InputError(f"Swin has 4 stages, but depths={self.depths} and heads={self.heads}; give 4 of each.")
        if min(self.embed_dim, *self.heads) < 1:
            raise InputError(
                f"Swin wants channels and heads, not embed_dim={self.embed_dim} and heads={self.heads}; "
                "give numbers of 1 or more."
            )
        for stage, heads in enumerate(self.heads):
            if self.embed_dim * 2**stage % heads:
                raise InputError(
                    f"Stage {stage} has {self.embed_dim * 2**stage} channels, which {heads} heads cannot share; "
                    "choose a divisor."
                )
        if self.window < 2 or min(self.depths) < 1:
            raise InputError(
                f"Swin wants a window of 2 or more and a block a stage, not {self.window} and {self.depths}."
            )
        if not 0 <= self.drop_path < 1:
            raise InputError(f"drop_path is a probability in [0, 1), not {self.drop_path}.")


class Swin(nn.Module):
    """Four stages at strides 4, 8, 16 and 32; `widths` are their channels."""

    def __init__(self, config: SwinConfig) -> None:
        super().__init__()
        self.config = config
        self.widths: tuple[int, ...] = tuple(config.embed_dim * 2**stage for stage in range(4))
        self.patches = PatchEmbedding(config.embed_dim, config.coordinates)
        # Numbers to count with, so they stay on the CPU where the network itself is built without memory.
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
        batch, height, width, _ = features.shape
        for block in cast(nn.ModuleList, self.stages[index]):
            features = block(
                features, layout(batch, height, width, self.config.window, block.shifted, str(features.device))
            )
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
    """Adds to each cell a linear map of where it lies; told to the patches alone, it fades before the last stage."""

    def __init__(self, width: int) -> None:
        super().__init__(2 + 4 * WAVES, width)

    def forward(self, features: Float[Tensor, "b y x d"]) -> Float[Tensor, "b y x d"]:
        height, width = features.shape[1:3]
        return features + super().forward(positions(height, width, features.device).to(features))


class Block(nn.Module):
    """Attention within windows, then an MLP; both pre-norm and residual, dropped at random in training."""

    def __init__(self, width: int, heads: int, window: int, *, shifted: bool, drop_path: float) -> None:
        super().__init__()
        self.shifted = shifted
        self.drop_path = drop_path
        self.attention_norm = nn.LayerNorm(width)
        self.attention = WindowAttention(width, heads, window)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(_linear(width, 4 * width), nn.GELU(), _linear(4 * width, width))

    def forward(self, features: Float[Tensor, "b y x d"], windows: Layout) -> Float[Tensor, "b y x d"]:
        features = features + self._drop(self.attention(self.attention_norm(features), windows))
        return features + self._drop(self.mlp(self.mlp_norm(features)))

    def _drop(self, branch: Tensor) -> Tensor:
        """Stochastic depth: a sample keeps the branch with probability 1 - drop_path, and then a stronger one."""
        if not self.training or self.drop_path == 0:
            return branch
        keep = 1 - self.drop_path
        return branch * branch.new_empty(branch.shape[0], 1, 1, 1).bernoulli_(keep).div_(keep)


class WindowAttention(nn.Module):
    """Attention of each cell to the cells of its window, with a learned bias for each relative position."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.qkv = _linear(width, 3 * width)
        self.projection = _linear(width, width)
        self.position_bias = nn.Parameter(nn.init.trunc_normal_(torch.empty((2 * window - 1) ** 2, heads), std=0.02))

    def forward(self, features: Float[Tensor, "b y x d"], windows: Layout) -> Float[Tensor, "b y x d"]:
        # A padded cell is zero after the norm, so its query, key and value are the bias.
        places = cut(self.qkv(features).flatten(0, 2), self.qkv.bias, windows)
        parts, count, bias = places.split(windows.counts), len(windows.kinds), self._bias()
        attended = [self._attend(kind, bias, *parts[number::count]) for number, kind in enumerate(windows.kinds)]
        joined = attended[0] if len(attended) == 1 else torch.cat(attended)
        return self.projection(join(joined, windows)).view_as(features)

    def _bias(self) -> Float[Tensor, "h y x y x"]:
        """What is added to the scores of each cell of a window (the first two sides) for each of its cells."""
        index = relative_positions(self.window, str(self.position_bias.device))
        bias = F.embedding(index, self.position_bias)
        return rearrange(bias, "(qy qx) (ky kx) h -> h qy qx ky kx", qy=self.window, ky=self.window).contiguous()

    def _attend(self, kind: Kind, bias: Tensor, query: Tensor, key: Tensor, value: Tensor) -> Float[Tensor, "n d"]:
        """Attention within all windows of one kind; only offsets matter to the bias, so any corner serves."""
        (rows, columns), (seen_rows, seen_columns) = kind.asks, kind.seen
        bias = bias[:, :rows, :columns, :seen_rows, :seen_columns]
        bias = rearrange(bias, "h qy qx ky kx -> h (qy qx) (ky kx)")
        query, key, value = (
            rearrange(each, "(w n) (h d) -> w h n d", w=kind.windows, h=self.heads) for each in (query, key, value)
        )
        return rearrange(attend(query, key, value, bias), "w h n d -> (w n) (h d)")


def positions(height: int, width: int, device: torch.device) -> Float[Tensor, "y x features"]:
    """Where each cell's centre lies, as x and y in (-1, 1) and their sines and cosines; the same at any size."""
    y = (torch.arange(height, device=device) + 0.5) * (2 / height) - 1
    x = (torch.arange(width, device=device) + 0.5) * (2 / width) - 1
    place = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=-1)
    waves = torch.cat([place * torch.pi * 2**octave for octave in range(WAVES)], dim=-1)
    return torch.cat([place, waves.sin(), waves.cos()], dim=-1)


def _linear(width: int, out: int, *, bias: bool = True) -> nn.Linear:
    layer = nn.Linear(width, out, bias=bias)
    nn.init.trunc_normal_(layer.weight, std=0.02)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer
