"""Mutual fusion (MagNet): image and expression are encoded in parallel and attend to each other after each step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from .alignment import CrossModalAlignment, NoAlignment
from .fusion import Gate, StagedVision

LanguageFusion = Literal["published", "intended"]
PUBLISHED_MASK = -1e4  # the additive mask that the published code multiplies its queries by


@dataclass(frozen=True)
class Fused:
    """The aligned maps, the words after the last step, and the attention of each stage's pixels to the words."""

    maps: list[Tensor]  # [b y x d], at strides 4 to 32
    words: Float[Tensor, "b l d"]
    attention: list[Tensor]  # [b heads n l]


class MutualFusion(nn.Module):
    """Each side attends to the other's features from before the step's gates; the last step has no gates.

    `sides` are those of the alignment module's pooled maps; None omits the module.
    """

    def __init__(
        self,
        vision: nn.Module,
        word_width: int,
        heads: Sequence[int] = (1, 1, 1, 1),
        language_heads: Sequence[int] = (1, 1, 1),
        *,
        sides: Sequence[int] | None = (1, 2, 3, 6),
        language: LanguageFusion = "intended",
    ) -> None:
        super().__init__()
        self.vision = vision
        self.widths = widths = cast(StagedVision, vision).widths
        self.alignments = nn.ModuleList(
            NoAlignment(width, word_width, num) if sides is None else CrossModalAlignment(width, word_width, num, sides)
            for width, num in zip(widths, heads, strict=True)
        )
        # As published: LAVT's gates, but with GELU for pixels.
        self.gates = nn.ModuleList(Gate(width, F.gelu) for width in widths[:-1])
        self.word_fusions = nn.ModuleList(
            WordPixelAttention(word_width, width, num, language)
            for width, num in zip(widths[:-1], language_heads, strict=True)
        )
        self.word_gates = nn.ModuleList(Gate(word_width) for _ in widths[:-1])

    def forward(
        self,
        images: Float[Tensor, "i 3 h w"],
        words: Float[Tensor, "b l d"],
        token_mask: Bool[Tensor, "b l"],
        image_index: Int[Tensor, " b"] | None,
        read: Callable[[int, Tensor], Tensor],
    ) -> Fused:
        """`words` are embeddings; `read(step, words)` runs the language layers of one step."""
        vision = cast(StagedVision, self.vision)
        # The first stage does not read the words: it runs once per image, for all of the image's expressions.
        features = vision.stage(0, vision.embed(images))
        if image_index is not None:
            features = features[image_index]
        maps, attention = [], []
        for index in range(4):
            if index > 0:
                features = vision.stage(index, features)
            words = read(index, words)
            aligned, fused, weights = self.alignments[index](features, words, token_mask)
            maps.append(aligned)
            attention.append(weights)
            if index < len(self.gates):
                gathered = self.word_fusions[index](words, features, token_mask)
                words = words + self.word_gates[index](gathered)
                features = vision.merge(index, features + self.gates[index](fused))
        return Fused(maps, words, attention)


class WordPixelAttention(nn.Module):
    """Each word gathers the pixels that matter to it.

    Keys and values are instance-normalised over pixels, the result over words; biases that such a norm cancels are
    absent. `form` says what the mask does:

    - `intended`: a padding word gathers nothing and counts in no norm
    - `published`: the code multiplies queries by an additive mask. Real words then gather the mean of all pixels,
      padding words one pixel each, and padding counts in the norm: the result depends on the amount of padding.
    """

    def __init__(self, word_width: int, vision_width: int, heads: int, form: LanguageFusion) -> None:
        super().__init__()
        self.heads, self.form = heads, form
        self.masks = MASKS[form]
        self.scale = word_width**-0.5  # the channels of all heads together, as published
        self.words = nn.Linear(word_width, word_width)
        self.query = nn.Linear(word_width, word_width)
        self.key = nn.Linear(vision_width, word_width, bias=False)
        self.value = nn.Linear(vision_width, word_width, bias=False)
        self.output = nn.Linear(word_width, word_width, bias=False)
        self.fuse = nn.Linear(word_width, word_width)

    def forward(
        self, words: Float[Tensor, "b l d"], features: Float[Tensor, "b y x c"], token_mask: Bool[Tensor, "b l"]
    ) -> Float[Tensor, "b l d"]:
        cells = rearrange(features, "b y x c -> b (y x) c")
        factor, counted = self.masks(token_mask)
        gathered = self._gather(self.query(words), factor, cells).to(words.dtype)
        gathered = sequence_norm(self.output(gathered), counted)
        return F.gelu(self.fuse(F.gelu(self.words(words)) * gathered)) * counted[..., None]

    def _gather(
        self, query: Float[Tensor, "b l d"], factor: Float[Tensor, "b l"], cells: Float[Tensor, "b n c"]
    ) -> Float[Tensor, "b l d"]:
        """What each word gathers, in single precision: the published mask overflows float16.

        No pixel is projected to a key or a value. An instance norm over pixels shifts and scales each channel, the
        projections are linear, and attention sums to one: all of it can be applied to the few words instead. A shift
        of the keys adds the same to all scores of a word.
        """
        with torch.autocast(cells.device.type, enabled=False):
            centred = cells.float() - cells.float().mean(dim=1, keepdim=True)
            covariance = centred.mT @ centred / cells.shape[1]
            key, value = self.key.weight.float(), self.value.weight.float()
            query = query.float() * factor[..., None] * self.scale * inverse_deviation(key, covariance)[:, None]
            key, value = (rearrange(weight, "(g d) c -> g d c", g=self.heads) for weight in (key, value))
            query = rearrange(query, "b l (g d) -> b g l d", g=self.heads)
            weights = (query @ key @ centred[:, None].mT).softmax(-1)
            gathered = rearrange(weights @ centred[:, None] @ value.mT, "b g l d -> b l (g d)")
            return gathered * inverse_deviation(self.value.weight.float(), covariance)[:, None]


def intended_masks(token_mask: Bool[Tensor, "b l"]) -> tuple[Float[Tensor, "b l"], Bool[Tensor, "b l"]]:
    """Factors of the queries, and the words that count."""
    return token_mask.float(), token_mask


def published_masks(token_mask: Bool[Tensor, "b l"]) -> tuple[Float[Tensor, "b l"], Bool[Tensor, "b l"]]:
    """Factors of the queries, and the words that count."""
    return (~token_mask).float() * PUBLISHED_MASK, torch.ones_like(token_mask)


MASKS = {"intended": intended_masks, "published": published_masks}


def inverse_deviation(
    weight: Float[Tensor, "d c"], covariance: Float[Tensor, "b c c"], epsilon: float = 1e-5
) -> Float[Tensor, "b d"]:
    """One over the standard deviation of the projected features, from the covariance of the features."""
    variance = ((weight @ covariance) * weight).sum(-1)
    return torch.rsqrt(variance.clamp(min=0) + epsilon)


def sequence_norm(
    features: Float[Tensor, "b n d"], counted: Bool[Tensor, "b n"], epsilon: float = 1e-5
) -> Float[Tensor, "b n d"]:
    """Each channel to zero mean and unit variance over the counted elements of its sequence."""
    fraction = counted / counted.sum(dim=1, keepdim=True).clamp(min=1)
    wide = features.float()
    mean = (fraction[:, None] @ wide).to(wide.dtype)
    variance = fraction[:, None] @ (wide - mean).square()
    return ((wide - mean) * torch.rsqrt(variance + epsilon)).to(features.dtype)
