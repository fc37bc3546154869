"""Early fusion: words enter the vision encoder after each of its stages, as in LAVT and VEGA."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..batch import Batch
from .fusion import Gate, PixelWordAttention, StagedVision, attention_maps, attention_to_words


@dataclass(frozen=True)
class Fused:
    """What a system with early fusion has computed before its decoder."""

    batch: Batch
    words: Float[Tensor, "b l d"]
    maps: list[Tensor]  # [b y x d], at strides 4 to 32
    attention: list[Tensor]  # [b heads n l], of the pixels of each stage to the words

    def features(self, token_table: nn.Embedding) -> dict[str, Callable[[], Tensor]]:
        """A function for each feature; `token_table` is the text encoder's input table."""
        return {
            "query": lambda: self.words,
            "visual": lambda: rearrange(self.maps[-1], "b y x d -> b d y x"),
            "embeddings": lambda: token_table(self.batch.token_ids).detach(),
            "attention": lambda: attention_to_words(self.attention[-1], self.batch.token_mask),
        }

    def evidence(self) -> dict[str, Float[Tensor, "b l y x"]]:
        return attention_maps(self.attention, [features.shape[1] for features in self.maps])


class EarlyFusion(nn.Module):
    """Images and words to four normalised fused maps, at the encoder's strides.

    The gated sum of a stage feeds the next stage; the norm of the fused map goes to the decoder. The last stage has no
    gate, because no stage would read it.
    """

    def __init__(self, vision: nn.Module, word_width: int, heads: Sequence[int] = (1, 1, 1, 1)) -> None:
        super().__init__()
        self.vision = vision
        self.widths = widths = cast(StagedVision, vision).widths
        self.fusions = nn.ModuleList(
            PixelWordAttention(width, word_width, num) for width, num in zip(widths, heads, strict=True)
        )
        self.gates = nn.ModuleList(Gate(width) for width in widths[:-1])
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in widths)

    def forward(
        self,
        images: Float[Tensor, "i 3 h w"],
        words: Float[Tensor, "b l d"],
        token_mask: Bool[Tensor, "b l"],
        image_index: Int[Tensor, " b"] | None = None,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Four maps `[b y x d]` and the attention `[b heads n l]` of their pixels to the words.

        Without `image_index` every expression has its own image.
        """
        # The first stage does not read the words: it runs once per image, for all of the image's expressions.
        vision = cast(StagedVision, self.vision)
        features = vision.stage(0, vision.embed(images))
        if image_index is not None:
            features = features[image_index]
        maps, attention = [], []
        for index in range(4):
            if index > 0:
                features = vision.stage(index, features)
            fused, weights = self.fusions[index](features, words, token_mask)
            maps.append(self.norms[index](fused))
            attention.append(weights)
            if index < len(self.gates):
                features = vision.merge(index, features + self.gates[index](fused))
        return maps, attention
