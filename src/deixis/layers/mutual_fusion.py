"""Mutual fusion: image and expression are encoded side by side, and after each step both look at the other (MagNet)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from .alignment import CrossModalAlignment, WordsAlone
from .early_fusion import StagedVision
from .fusion import Gate

LanguageFusion = Literal["published", "intended"]
PUBLISHED_MASK = -1e4  # the additive mask that the published code multiplies its queries by


@dataclass(frozen=True)
class Fused:
    """The four aligned maps `[b y x d]`, the words after the last step, and each stage's looks `[b l y x]`."""

    maps: list[Tensor]
    words: Float[Tensor, "b l d"]
    looks: list[Tensor]


class MutualFusion(nn.Module):
    """Both sides read what the other was before this step's gates; after the last step nothing reads a gate.

    `sides` are those of the alignment module's pooled maps; None leaves the module away.
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
            WordsAlone(width, word_width, num) if sides is None else CrossModalAlignment(width, word_width, num, sides)
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
        """`words` come embedded; `read(step, words)` runs the language layers of one step."""
        vision = cast(StagedVision, self.vision)
        # The first stage has not seen the words yet: it runs once an image, however many sentences speak about it.
        features = vision.stage(0, vision.embed(images))
        if image_index is not None:
            features = features[image_index]
        maps, looks = [], []
        for index in range(4):
            if index > 0:
                features = vision.stage(index, features)
            words = read(index, words)
            aligned, answer, looked = self.alignments[index](features, words, token_mask)
            maps.append(aligned)
            looks.append(looked)
            if index < len(self.gates):
                told = self.word_fusions[index](words, features, token_mask)
                words = words + self.word_gates[index](told)
                features = vision.merge(index, features + self.gates[index](answer))
        return Fused(maps, words, looks)


class WordPixelAttention(nn.Module):
    """Each word gathers the pixels that matter to it; instance norms over pixels for keys and values, over words after.

    - `intended`: a padding word asks nothing, gets nothing and counts in no norm
    - `published`: queries are multiplied by an additive mask. So real words ask nothing and get the mean of all
      pixels, padding words get one pixel each, and padding counts in the norm: answers depend on how much there is.

    Biases that an instance norm takes away are absent.
    """

    def __init__(self, word_width: int, vision_width: int, heads: int, form: LanguageFusion) -> None:
        super().__init__()
        self.heads, self.form = heads, form
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
        real = token_mask[..., None]
        counted, asks = token_mask, real.float()
        if self.form == "published":
            counted, asks = torch.ones_like(token_mask), (~real).float() * PUBLISHED_MASK
        found = self._gather(self.query(words), asks, cells).to(words.dtype)
        gathered = sequence_norm(self.output(found), counted)
        fused = F.gelu(self.fuse(F.gelu(self.words(words)) * gathered))
        return fused if self.form == "published" else fused * real

    def _gather(
        self, query: Float[Tensor, "b l d"], asks: Float[Tensor, "b l 1"], cells: Float[Tensor, "b n c"]
    ) -> Float[Tensor, "b l d"]:
        """What each word finds among the pixels, in full precision: the published mask overflows half.

        No pixel is projected to a key or a value: an instance norm over pixels is a shift and a scale of each channel,
        the projections are linear and attention sums to one, so all of it can be done to the few words. A shift of
        the keys raises all scores of a word alike.
        """
        with torch.autocast(cells.device.type, enabled=False):
            centred = cells.float() - cells.float().mean(dim=1, keepdim=True)
            covariance = centred.mT @ centred / cells.shape[1]
            key, value = self.key.weight.float(), self.value.weight.float()
            query = query.float() * asks * self.scale * inverse_deviation(key, covariance)[:, None]
            key, value = (rearrange(weight, "(g d) c -> g d c", g=self.heads) for weight in (key, value))
            query = rearrange(query, "b l (g d) -> b g l d", g=self.heads)
            weights = (query @ key @ centred[:, None].mT).softmax(-1)
            found = rearrange(weights @ centred[:, None] @ value.mT, "b g l d -> b l (g d)")
            return found * inverse_deviation(self.value.weight.float(), covariance)[:, None]


def inverse_deviation(
    weight: Float[Tensor, "d c"], covariance: Float[Tensor, "b c c"], epsilon: float = 1e-5
) -> Float[Tensor, "b d"]:
    """One over the standard deviation of what the weight makes of features, told from the features' covariance."""
    variance = ((weight @ covariance) * weight).sum(-1)
    return torch.rsqrt(variance.clamp(min=0) + epsilon)


def sequence_norm(
    features: Float[Tensor, "b n d"], counted: Bool[Tensor, "b n"], epsilon: float = 1e-5
) -> Float[Tensor, "b n d"]:
    """Each channel to zero mean and unit variance over the counted elements of its sequence."""
    share = counted / counted.sum(dim=1, keepdim=True).clamp(min=1)
    wide = features.float()
    mean = (share[:, None] @ wide).to(wide.dtype)
    variance = share[:, None] @ (wide - mean).square()
    return ((wide - mean) * torch.rsqrt(variance + epsilon)).to(features.dtype)
