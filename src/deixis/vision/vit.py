"""ViT, the plain vision transformer (Dosovitskiy et al., ICLR 2021), which returns the features of the patches.

- the image is padded at the right and the bottom to whole patches; the class token takes part, but is not returned
- the position table is resized bilinearly where the image has another number of patches than it
- weights have timm's names, so that its files load as they are; `rename_vit` reads those of transformers too
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import InputError
from ..weights import read_file, tensors_in

EPSILON = 1e-5  # of the layer norms, as in SaG's published code; timm's own is 1e-6
TRANSFORMERS = (
    (r"embeddings\.cls_token", "cls_token"),
    (r"embeddings\.position_embeddings", "pos_embed"),
    (r"embeddings\.patch_embeddings\.projection\.(.+)", r"patch_embed.proj.\1"),
    (r"encoder\.layer\.(\d+)\.layernorm_before\.(.+)", r"blocks.\1.norm1.\2"),
    (r"encoder\.layer\.(\d+)\.layernorm_after\.(.+)", r"blocks.\1.norm2.\2"),
    (r"encoder\.layer\.(\d+)\.attention\.output\.dense\.(.+)", r"blocks.\1.attn.proj.\2"),
    (r"encoder\.layer\.(\d+)\.intermediate\.dense\.(.+)", r"blocks.\1.mlp.fc1.\2"),
    (r"encoder\.layer\.(\d+)\.output\.dense\.(.+)", r"blocks.\1.mlp.fc2.\2"),
    (r"layernorm\.(.+)", r"norm.\1"),
)
THIRD = re.compile(r"encoder\.layer\.(\d+)\.attention\.attention\.(query|key|value)\.(weight|bias)")


@dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """The size of a ViT; the defaults are those of ViT-S/16 at 384 pixels. `grid` is that of the position table."""

    layers: int = 12
    width: int = 384
    heads: int = 6
    patch: int = 16
    grid: int = 24
    drop_path: float = 0.1  # of the last block; it grows linearly from 0

    def __post_init__(self) -> None:
        for name in ("layers", "width", "heads", "patch", "grid"):
            if (size := getattr(self, name)) < 1:
                raise InputError(f"ViT's {name!r} is {size}; expected a positive number.")
        if self.width % self.heads:
            raise InputError(
                f"ViT's width {self.width} is not divisible by its {self.heads} heads; choose a divisor of the width."
            )
        if not 0 <= self.drop_path < 1:
            raise InputError(f"ViT's 'drop_path' is {self.drop_path}; expected a probability in [0, 1).")


class ViT(nn.Module):
    """Images to the features of their patches, after the last norm."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = config
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + config.grid**2, config.width))
        self.patch_embed = _Patches(config.width, config.patch)
        rates = torch.linspace(0, config.drop_path, config.layers, device="cpu").tolist()
        self.blocks = nn.ModuleList(_Block(config.width, config.heads, rate) for rate in rates)
        self.norm = nn.LayerNorm(config.width, eps=EPSILON)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.trunc_normal_(self.cls_token, std=0.02)

    def forward(self, images: Float[Tensor, "i 3 h w"]) -> Float[Tensor, "i y x d"]:
        patches = self.embed(images)
        features = self.encode(rearrange(patches, "i y x d -> i (y x) d"))
        return rearrange(features, "i (y x) d -> i y x d", y=patches.shape[1])

    def embed(self, images: Float[Tensor, "i 3 h w"]) -> Float[Tensor, "i y x d"]:
        """The patches with their positions, before the first block."""
        height, width, size = *images.shape[-2:], self.config.patch
        images = F.pad(images, (0, -width % size, 0, -height % size))
        patches = rearrange(self.patch_embed.proj(images), "i d y x -> i y x d")
        positions = self._positions(*patches.shape[1:3])[:, 1:]
        return patches + rearrange(positions, "1 (y x) d -> 1 y x d", y=patches.shape[1])

    def encode(self, patches: Float[Tensor, "i n d"]) -> Float[Tensor, "i n d"]:
        """The features of embedded patches, of all of an image or of some, after the last norm."""
        first = (self.cls_token + self.pos_embed[:, :1]).expand(patches.shape[0], -1, -1)
        tokens = torch.cat([first, patches], 1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)[:, 1:]

    def _positions(self, rows: int, columns: int) -> Float[Tensor, "1 n d"]:
        grid = self.config.grid
        if (rows, columns) == (grid, grid):
            return self.pos_embed
        table = rearrange(self.pos_embed[:, 1:], "1 (y x) d -> 1 d y x", y=grid)
        table = F.interpolate(table, size=(rows, columns), mode="bilinear", align_corners=False)
        return torch.cat([self.pos_embed[:, :1], rearrange(table, "1 d y x -> 1 (y x) d")], 1)


def rename_vit(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of timm's or transformers' ViT by our names; heads and poolers are omitted."""
    ours: dict[str, Tensor] = {}
    thirds: dict[str, dict[str, Tensor]] = {}
    for full_name, tensor in published.items():
        name = full_name.removeprefix("vit.")
        if third := THIRD.fullmatch(name):
            thirds.setdefault(f"blocks.{third[1]}.attn.qkv.{third[3]}", {})[third[2]] = tensor
            continue
        for pattern, our_name in TRANSFORMERS:
            if match := re.fullmatch(pattern, name):
                name = match.expand(our_name)
                break
        if not name.startswith(("head.", "classifier.", "pooler.", "pre_logits.")):
            ours[name] = tensor
    for name, parts in thirds.items():
        if missing := {"query", "key", "value"} - parts.keys():
            raise InputError(f"The ViT weights lack the {', '.join(sorted(missing))} of {name}; get the whole file.")
        ours[name] = torch.cat([parts["query"], parts["key"], parts["value"]])
    return ours


def resized_positions(table: Float[Tensor, "1 n d"], grid: int) -> Float[Tensor, "1 m d"]:
    """A published position table for another grid, resized bicubically as timm does at loading."""
    own = math.isqrt(table.shape[1] - 1)
    cells = rearrange(table[:, 1:], "1 (y x) d -> 1 d y x", y=own)
    cells = F.interpolate(cells, size=(grid, grid), mode="bicubic", align_corners=False)
    return torch.cat([table[:, :1], rearrange(cells, "1 d y x -> 1 (y x) d")], 1)


def load_vit(vit: ViT, file: str | Path) -> None:
    """Fill a ViT from a published file. Raises `InputError` where its weights are missing or of another shape."""
    path = Path(file)
    if not path.is_file():
        raise InputError(f"There is no file {path}; give the weights of a ViT as timm or transformers publish them.")
    raw = read_file(path)
    weights, expected = rename_vit(tensors_in(raw.get("model", raw), path)), vit.state_dict()
    if "pos_embed" in weights:
        weights["pos_embed"] = resized_positions(weights["pos_embed"], vit.config.grid)
    for name, tensor in expected.items():
        if name not in weights or weights[name].shape != tensor.shape:
            found = list(weights[name].shape) if name in weights else "nothing"
            raise InputError(
                f"{path} has {found} as {name}; expected {list(tensor.shape)}: give the file of a ViT of this size."
            )
    vit.load_state_dict({name: weights[name] for name in expected})


class _Patches(nn.Module):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, size, stride=size)


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=EPSILON)
        self.attn = _SelfAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=EPSILON)
        self.mlp = _FeedForward(width)
        self.drop_path = drop_path

    def forward(self, tokens: Float[Tensor, "i n d"]) -> Float[Tensor, "i n d"]:
        tokens = tokens + self._dropped(self.attn(self.norm1(tokens)))
        return tokens + self._dropped(self.mlp(self.norm2(tokens)))

    def _dropped(self, branch: Tensor) -> Tensor:
        """Stochastic depth: in training the branch of some images is 0."""
        if not self.training or not self.drop_path:
            return branch
        kept = torch.rand(len(branch), 1, 1, device=branch.device) >= self.drop_path
        return branch * kept / (1 - self.drop_path)


class _SelfAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Float[Tensor, "i n d"]) -> Float[Tensor, "i n d"]:
        query, key, value = rearrange(self.qkv(tokens), "i n (part h d) -> part i h n d", part=3, h=self.heads)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.proj(rearrange(mixed, "i h n d -> i n (h d)"))


class _FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, tokens: Float[Tensor, "i n d"]) -> Float[Tensor, "i n d"]:
        return self.fc2(F.gelu(self.fc1(tokens)))
