"""LateFusion: words and pixels meet once, at the end; what pre-trains Toyland's systems, and the least they must beat.

- Swin sees the image alone, its four stages are summed at stride 4; BERT reads the expression alone
- every word says of every pixel how much it speaks for it, by a dot product and a bias; the words' votes are summed
- so an image is seen once for all of its expressions, and each of them teaches for the price of its words: what the
  words for kinds, colours and places look like is learnt many times faster than through a fused encoder
- the names of the encoders' weights are those of LAVT, VEGA and MagNet, which start from them
- no paper's; binary cross-entropy and Dice
"""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor, nn

from .. import losses
from ..batch import Batch, Output
from ..errors import InputError
from ..layers.pyramid import sum_stages
from ..records import Config
from ..text.bert import Bert, BertConfig
from ..vision.swin import Swin, SwinConfig


@dataclass(frozen=True, kw_only=True)
class LateFusionConfig(Config):
    """The encoders and the width in which words and pixels meet."""

    vision: SwinConfig = field(default_factory=SwinConfig)
    text: BertConfig = field(default_factory=BertConfig)
    width: int = 256
    dice_weight: float = 1.0

    def __post_init__(self) -> None:
        if self.width < 1 or not self.dice_weight >= 0:
            raise InputError(
                f"LateFusion wants a positive width and no negative weight, not {self.width} and {self.dice_weight}."
            )

    def build(self) -> "LateFusion":
        return LateFusion(self)

    @property
    def tokenizer(self) -> str:
        return "wordpiece"

    @property
    def vocabulary_size(self) -> int:
        return self.text.vocabulary

    @property
    def longest_sentence(self) -> int:
        """In tokens."""
        return self.text.positions

    @property
    def num_layers(self) -> int:
        """At least this many weights belong to the config: a card that asks for more is refused before it is built."""
        return self.text.layers + sum(self.vision.depths)


class LateFusion(nn.Module):
    """Images and expressions to mask logits: the sum of what every word says of every pixel."""

    def __init__(self, config: LateFusionConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or LateFusionConfig()
        self.text = Bert(config.text)
        self.fusion = SummedStages(Swin(config.vision), config.width)
        self.vote = nn.Linear(config.text.width, config.width + 1)
        self.bias = nn.Parameter(torch.tensor(-2.0))  # few pixels are meant

    def forward(self, batch: Batch) -> Output:
        images = batch.images[:, batch.images.shape[1] // 2]
        words = self.text(batch.token_ids, batch.token_mask)
        votes = self.vote(words) * batch.token_mask[..., None]
        pixels = self.fusion(images)
        # The sum over words comes first: one product an expression, whatever its length.
        said = votes.sum(1)
        scale = self.config.width**-0.5
        scores = einsum(batch.expand(pixels), said[:, :-1], "b y x d, b d -> b y x") * scale
        scores = scores + rearrange(said[:, -1] + self.bias, "b -> b 1 1")
        size = (images.shape[-2], images.shape[-1])
        logits = F.interpolate(scores[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
        evidence = {}
        if torch.is_grad_enabled():  # what auxiliary losses are made of
            evidence = {"words": words, "pixels": batch.expand(pixels)}
        else:
            each = einsum(batch.expand(pixels), votes[..., :-1], "b y x d, b l d -> b l y x") * scale
            evidence["word_votes"] = each + rearrange(votes[..., -1], "b l -> b l 1 1")
        return Output(logits=logits, evidence=evidence)

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        if batch.masks is None:
            raise InputError("LateFusion learns from masks, but the batch has none; give labelled samples.")
        dice = self.config.dice_weight * losses.dice(output.logits, batch.masks)
        return {"mask": losses.bce(output.logits, batch.masks), "dice": dice}


class SummedStages(nn.Module):
    """The encoder's four stages in one width, summed from coarse to fine at stride 4."""

    def __init__(self, vision: Swin, width: int) -> None:
        super().__init__()
        self.vision = vision
        self.widths = (width,) * 4  # of what is handed out, as the fused encoders have it
        self.lateral = nn.ModuleList(nn.Linear(own, width) for own in vision.widths)
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Linear(width, width)

    def forward(self, images: Float[Tensor, "i 3 h w"]) -> Float[Tensor, "i y x d"]:
        stages = [lateral(stage) for lateral, stage in zip(self.lateral, self.vision(images), strict=True)]
        return self.mix(F.gelu(self.norm(sum_stages(stages))))
