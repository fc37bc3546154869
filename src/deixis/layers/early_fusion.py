"""Early fusion: words enter the vision encoder after each of its stages, as LAVT, VEGA and MagNet have it."""

from collections.abc import Sequence
from typing import Protocol, cast

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from .fusion import Gate, PixelWordAttention


class StagedVision(Protocol):
    """An encoder whose four stages stand open, on channels-last maps."""

    widths: tuple[int, ...]

    def embed(self, images: Tensor) -> Tensor: ...
    def stage(self, index: int, features: Tensor) -> Tensor: ...
    def merge(self, index: int, features: Tensor) -> Tensor: ...


class EarlyFusion(nn.Module):
    """Images and words to four normalised fused maps, at the encoder's strides.

    The gated sum of a stage feeds the next stage; what is handed out is the norm of the fused map itself. The last
    stage has no gate: nothing would read it.
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
    ) -> list[Tensor]:
        """Four maps `[b y x d]`; without `image_index` every expression has its own image."""
        return self.fuse(images, words, token_mask, image_index)[0]

    def fuse(
        self,
        images: Float[Tensor, "i 3 h w"],
        words: Float[Tensor, "b l d"],
        token_mask: Bool[Tensor, "b l"],
        image_index: Int[Tensor, " b"] | None = None,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The maps, and for each stage how much each pixel looked at each word, `[b l y x]`."""
        # The first stage has not seen the words yet: it runs once an image, however many sentences speak about it.
        vision = cast(StagedVision, self.vision)
        features = vision.stage(0, vision.embed(images))
        if image_index is not None:
            features = features[image_index]
        maps, attention = [], []
        for index in range(4):
            if index > 0:
                features = vision.stage(index, features)
            fused, looked = cast(PixelWordAttention, self.fusions[index]).attend(features, words, token_mask)
            maps.append(self.norms[index](fused))
            attention.append(looked)
            if index < len(self.gates):
                features = vision.merge(index, features + self.gates[index](fused))
        return maps, attention
