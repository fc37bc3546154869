"""CMSA: cross-modal self-attention (Linwei Ye et al., CVPR 2019), as SDA's Appendix C.3 compares it.

- every pair of a word and a cell is one token: the cell's features, the word's, and the cell's place
- at three levels all pairs of an image attend to all others, so that words and far places enter each cell
- the mean over the words is a map of the level; each level decides by gates what it takes from the other two
- SDA's encoders: ResNet-101 and GloVe, without a recurrent network; the coarser maps are enlarged to stride 8, where
  the published code has dilated convolutions. Masks: probability > 0.5
- loss: binary cross-entropy, the mean over the pixels; the published sum has the same minimum, and Adam the same steps
- differs from the published code: padding words are left out of the attention and of the mean, so that a sentence does
  not depend on the others of its batch
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .. import losses
from ..batch import Batch, Output
from ..errors import InputError
from ..layers.coordinates import NUM_COORDINATES, coordinates, unit
from ..system import chosen_features
from ..text.glove import WordConfig, WordTable
from ..text.reads_text import ReadsText
from ..vision.resnet import ResNet, ResNetConfig

LEVELS = 3  # the last stages of the encoder


@dataclass(frozen=True, kw_only=True)
class CMSAConfig(ReadsText):
    """The defaults are the published network; `text.glove` is for a run that has a GloVe file.

    `width` is that of a word and of the coarsest map's cells. Pairs of the two finer maps, the finest first, are
    narrowed to `narrowed`. Attention is as wide as `attention_widths`, finest first.
    """

    vision: ResNetConfig = field(default_factory=ResNetConfig)
    text: WordConfig = field(default_factory=WordConfig)
    width: int = 1000
    narrowed: Sequence[int] = (128, 256)
    attention_widths: Sequence[int] = (64, 128, 512)
    fused_width: int = 500

    def __post_init__(self) -> None:
        for name, count in (("narrowed", LEVELS - 1), ("attention_widths", LEVELS)):
            object.__setattr__(self, name, values := tuple(getattr(self, name)))
            if len(values) != count or min(values) < 1:
                raise InputError(f"CMSA's {name} are {values}; expected {count} positive numbers.")
        if min(self.width, self.fused_width) < 1:
            raise InputError(
                f"CMSA's width is {self.width} and its fused_width {self.fused_width}; expected positive numbers."
            )

    def build(self) -> "CMSA":
        return CMSA(self)

    @property
    def num_layers(self) -> int:
        """A lower bound of the number of weights: a card that claims more layers is rejected before it is built."""
        return sum(self.vision.depths)


class CMSA(nn.Module):
    """Images and expressions to one logit per pixel.

    Expressions share the vision encoder's maps of their image.
    """

    loss_features: tuple[str, ...] = ()

    def __init__(self, config: CMSAConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or CMSAConfig()
        self.vision = ResNet(config.vision)
        self.words = WordTable(config.text.vocabulary, config.text.embedding, fixed=config.text.glove)
        self.word_projection = nn.Linear(config.text.embedding, config.width)
        *fine, coarsest = self.vision.widths[-LEVELS:]
        self.projection = nn.Conv2d(coarsest, config.width, 1)
        levels = zip((*fine, config.width), (*config.narrowed, None), config.attention_widths, strict=True)
        self.attention = nn.ModuleList(
            PairAttention(visual, config.width, narrowed, inner, config.fused_width)
            for visual, narrowed, inner in levels
        )
        self.gates = nn.ModuleList(LevelGate(config.fused_width) for _ in range(LEVELS))
        self.score = nn.Conv2d(config.fused_width, 1, 3, padding=1)

    @property
    def feature_widths(self) -> dict[str, int]:
        return {"query": self.config.width, "embeddings": self.config.text.embedding}

    def forward(self, batch: Batch, *, features: Iterable[str] = (), explain: bool = False) -> Output:
        encoded = self.encode_images(batch.target_frames()[:, None])
        return self.decode_expressions(encoded, batch, features=features, explain=explain)

    def encode_images(self, images: Float[Tensor, "i 1 3 h w"]) -> list[Tensor]:
        """Maps `[i c y x]` of unit vectors on the finest of the three grids, fine to coarse."""
        *fine, coarsest = self.vision(rearrange(images, "i 1 c h w -> i c h w"))[-LEVELS:]
        size = fine[0].shape[-2:]
        # A 1x1 convolution and an interpolation, whose weights sum to 1, give the same numbers in either order.
        maps = [*fine, self.projection(coarsest)]
        return [unit(F.interpolate(each, size=size, mode="bilinear", align_corners=False), dim=1) for each in maps]

    def decode_expressions(
        self,
        encoded: list[Tensor],
        batch: Batch,
        *,
        features: Iterable[str] = (),
        explain: bool = False,
    ) -> Output:
        """The output of `batch`, whose images are those that `encoded` was made from."""
        embeddings = self.words(batch.token_ids)
        words = unit(self.word_projection(embeddings), dim=-1)
        levels, evidence = [], {}
        for stage, level, attention in zip(range(5 - LEVELS, 5), encoded, self.attention, strict=True):
            fused, activity = attention(batch.expand(level), words, batch.token_mask)
            levels.append(fused)
            evidence[f"word_activity_{stage}"] = activity.detach()
        scores = self.score(self._fused(levels))
        available: dict[str, Callable[[], Tensor]] = {"query": lambda: words, "embeddings": embeddings.detach}
        return Output(
            logits=F.interpolate(scores, size=batch.images.shape[-2:], mode="bilinear", align_corners=False)[:, 0],
            features=chosen_features(features, available, "CMSA"),
            evidence=evidence if explain else {},
        )

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        if (masks := batch.masks) is None:
            raise InputError("CMSA's loss needs masks, but this batch has none; use labelled samples.")
        return {"mask": losses.bce(output.logits, masks)}

    def _fused(self, levels: list[Tensor]) -> Float[Tensor, "b c y x"]:
        """Each level with what its gate takes from the other two, the coarser of them first; summed."""
        total = []
        for place, gate in enumerate(self.gates):
            coarser, finer = (level for other, level in reversed(list(enumerate(levels))) if other != place)
            total.append(gate(levels[place], coarser, finer))
        return torch.stack(total).sum(0)


class PairAttention(nn.Module):
    """Self-attention over all pairs of a word and a cell, with a residual; then the mean over words, narrowed."""

    def __init__(self, visual: int, words: int, narrowed: int | None, inner: int, outputs: int) -> None:
        super().__init__()
        widths = (visual, words, NUM_COORDINATES)
        self.narrow = None if narrowed is None else PairLinear(widths, narrowed)
        width = sum(widths) if narrowed is None else narrowed
        projection: Callable[[], nn.Module] = (
            (lambda: PairLinear(widths, inner)) if narrowed is None else (lambda: nn.Linear(width, inner))
        )
        self.query, self.key, self.value = projection(), projection(), projection()  # θ, φ, g
        self.out = nn.Linear(inner, width)
        self.fuse = nn.Linear(width, outputs)

    def forward(
        self, visual: Float[Tensor, "b c y x"], words: Float[Tensor, "b l d"], token_mask: Bool[Tensor, "b l"]
    ) -> tuple[Float[Tensor, "b e y x"], Float[Tensor, "b l y x"]]:
        """The level's map, and the mean of what each pair of a word and a cell gathered."""
        height, width = visual.shape[-2:]
        grid = {"l": words.shape[1], "y": height, "x": width}
        parts = (
            rearrange(visual, "b c y x -> b 1 (y x) c"),
            rearrange(words, "b l d -> b l 1 d"),
            rearrange(coordinates(visual), "n d -> 1 1 n d"),
        )
        pairs = None if self.narrow is None else F.relu(self.narrow(parts))
        query, key, value = (
            rearrange(F.relu(each(parts if pairs is None else pairs)), "b l (y x) d -> b d l y x", y=height)
            for each in (self.query, self.key, self.value)
        )
        gathered = _attend(query, key, value, token_mask)
        gathered = F.relu(self.out(rearrange(gathered, "b (l y x) d -> b l (y x) d", **grid)))
        real = token_mask[..., None, None].to(gathered.dtype)
        weights = real / real.sum(1, keepdim=True).clamp(min=1)
        mean = (gathered * weights).sum(1)
        if pairs is not None:
            mean = mean + (pairs * weights).sum(1)
        else:  # of the pairs themselves: the cell's own features, the mean word, the cell's place
            word = (parts[1] * weights).sum(1)
            cells = mean.shape[0], mean.shape[1], -1
            mean = mean + torch.cat([parts[0][:, 0], word.expand(cells), parts[2][0].expand(cells)], dim=-1)
        fused = rearrange(F.relu(self.fuse(mean)), "b (y x) e -> b e y x", y=height)
        activity = rearrange(gathered.mean(-1) * real[..., 0], "b l (y x) -> b l y x", y=height)
        return fused, activity


class PairLinear(nn.Linear):
    """A linear layer of concatenated parts, each of which is the same for some of the pairs: the sum of its products.

    The same numbers as for the concatenation, which would take 260 MB for an expression of 20 words.
    """

    def __init__(self, widths: Sequence[int], outputs: int) -> None:
        super().__init__(sum(widths), outputs)
        self.widths = tuple(widths)

    def forward(self, parts: Sequence[Float[Tensor, "_ _ _ _"]]) -> Float[Tensor, "b l n e"]:  # type: ignore[override]
        visual, words, places = (
            F.linear(part, weight) for part, weight in zip(parts, self.weight.split(self.widths, dim=1), strict=True)
        )
        return visual + (words + self.bias) + places


class LevelGate(nn.Module):
    """What a level keeps of itself, and what it takes from two others, gated as in an LSTM."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, 3 * width, 3, padding=1)
        self.balance = nn.Parameter(torch.tensor(0.5))

    def forward(
        self, own: Float[Tensor, "b c y x"], second: Float[Tensor, "b c y x"], third: Float[Tensor, "b c y x"]
    ) -> Float[Tensor, "b c y x"]:
        new, forget, keep = self.conv(own).chunk(3, dim=1)
        forget, keep = torch.sigmoid(forget + 1), torch.sigmoid(keep + 1)
        others = self.balance * second + (1 - self.balance) * third
        cell = forget * others + (1 - forget) * new
        return keep * torch.tanh(cell) + (1 - keep) * own


def _attend(
    query: Float[Tensor, "b d l y x"],
    key: Float[Tensor, "b d l y x"],
    value: Float[Tensor, "b d l y x"],
    token_mask: Bool[Tensor, "b l"],
) -> Float[Tensor, "b p d"]:
    """softmax(θ φᵀ) g for each pair; φ and g are maxima over blocks of two words, rows and columns."""
    # All are outputs of a ReLU: a zero in place of padding never exceeds a real value.
    real = token_mask[:, None, :, None, None]
    sides = [(0, size % 2) for size in (query.shape[4], query.shape[3], query.shape[2])]
    padding = [number for side in sides for number in side]
    key, value = (
        rearrange(F.max_pool3d(F.pad(each * real, padding), 2), "b d l y x -> b 1 (l y x) d") for each in (key, value)
    )
    is_real = reduce(F.pad(token_mask, (0, token_mask.shape[1] % 2)), "b (l two) -> b l", "max", two=2)
    per_block = key.shape[2] // is_real.shape[1]
    lowest = torch.finfo(key.dtype).min
    bias = torch.zeros_like(is_real, dtype=key.dtype).masked_fill(~is_real, lowest)
    bias = bias.repeat_interleave(per_block, dim=1)[:, None, None]
    gathered = F.scaled_dot_product_attention(
        rearrange(query, "b d l y x -> b 1 (l y x) d"), key, value, attn_mask=bias, scale=1.0
    )
    return gathered[:, 0]
