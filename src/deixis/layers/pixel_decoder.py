"""Mask2Former's pixel decoder (Cheng et al., CVPR 2022): deformable attention between the maps of all stages."""

from collections.abc import Sequence

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ..compiling import cached_constant
from .deformable import DeformableAttention, centres

GROUPS = 32
LONGEST_WAVE = 10_000.0
CELLS = 2048  # per call of the feed-forward network in evaluation on a CPU, so that the hidden layer fits in the cache


class PixelDecoder(nn.Module):
    """The encoder's maps, from fine to coarse, to maps of one width, from coarse to fine, and mask features.

    All stages go through the deformable layers, the finest too; there is no feature pyramid on top.
    """

    def __init__(
        self,
        widths: Sequence[int],
        width: int = 256,
        mask_width: int = 256,
        *,
        heads: int = 8,
        layers: int = 4,
        feed_forward: int = 1024,
        points: int = 4,
    ) -> None:
        super().__init__()
        self.inputs = nn.ModuleList(nn.Linear(each, width) for each in reversed(widths))
        self.norms = nn.ModuleList(nn.GroupNorm(GROUPS, width) for _ in widths)
        self.level = nn.Parameter(torch.randn(len(widths), width))
        self.layers = nn.ModuleList(
            DeformableLayer(width, heads, len(widths), points, feed_forward) for _ in range(layers)
        )
        self.mask_features = nn.Linear(width, mask_width)
        for layer in (*self.inputs, self.mask_features):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], Float[Tensor, "b y x d"]]:
        """Maps `[b y x d]` from coarse to fine, and the finest one's mask features."""
        levels, positions, sizes = [], [], []
        for features, project, norm, level in zip(reversed(maps), self.inputs, self.norms, self.level, strict=True):
            projected = norm(rearrange(project(features), "b y x d -> b d y x"))
            height, width = features.shape[1:3]
            levels.append(rearrange(projected, "b d y x -> b (y x) d"))
            positions.append(sines(height, width, projected.shape[1], str(features.device)).to(level.dtype) + level)
            sizes.append((height, width))
        features, position = torch.cat(levels, dim=1), torch.cat(positions)
        references = centres(sizes, features.device)
        for layer in self.layers:
            features = layer(features, position, references, sizes)
        encoded = [
            rearrange(cells, "b (y x) d -> b y x d", y=height)
            for cells, (height, _) in zip(
                features.split([height * width for height, width in sizes], dim=1), sizes, strict=True
            )
        ]
        return encoded, self.mask_features(encoded[-1])


class DeformableLayer(nn.Module):
    """Deformable attention of all cells to all levels, a feed-forward network; each with a residual, then a norm."""

    def __init__(self, width: int, heads: int, levels: int, points: int, feed_forward: int) -> None:
        super().__init__()
        self.attention = DeformableAttention(width, heads, levels, points)
        self.attention_norm = nn.LayerNorm(width)
        self.hidden = nn.Linear(width, feed_forward)
        self.output = nn.Linear(feed_forward, width)
        self.output_norm = nn.LayerNorm(width)

    def forward(
        self,
        features: Float[Tensor, "b n d"],
        positions: Float[Tensor, "n d"],
        references: Float[Tensor, "n 2"],
        sizes: Sequence[tuple[int, int]],
    ) -> Float[Tensor, "b n d"]:
        """Queries contain the positions, values do not."""
        features = self.attention_norm(features + self.attention(features + positions, references, features, sizes))
        if self.training or torch.compiler.is_compiling() or features.device.type != "cpu":
            return self._feed_forward(features)
        return torch.cat([self._feed_forward(cells) for cells in features.split(CELLS, dim=1)], dim=1)

    def _feed_forward(self, features: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        hidden = F.relu(self.hidden(features), inplace=True)  # the largest tensor of the layer
        return self.output_norm(features + self.output(hidden))


@cached_constant(32)
def sines(height: int, width: int, channels: int, device: str) -> Float[Tensor, "n d"]:
    """Sines and cosines of each cell's row, then of its column; the last row and column are at a full turn."""
    half = channels // 2
    pairs = torch.arange(half, device=device) // 2
    waves = LONGEST_WAVE ** (2 * pairs / half)
    parts = []
    for side in (height, width):
        turn = torch.arange(1, side + 1, device=device) / (side + 1e-6) * (2 * torch.pi)
        angles = turn[:, None] / waves
        parts.append(torch.stack([angles[:, 0::2].sin(), angles[:, 1::2].cos()], dim=-1).flatten(1))
    rows, columns = parts
    return torch.cat(
        [rows[:, None].expand(height, width, half), columns[None].expand(height, width, half)], dim=-1
    ).flatten(0, 1)
