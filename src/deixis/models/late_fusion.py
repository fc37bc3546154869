"""LateFusion: words and pixels meet once, at the end; it pre-trains Toyland's systems and is their baseline.

- Swin encodes the image alone, its four stages are summed at stride 4; BERT encodes the expression alone
- with `vit` a plain ViT takes Swin's place, and a pixel is a patch
- each word gives each pixel a score, a dot product and a bias; the scores of an expression's words are summed
- an image is encoded once for all of its expressions, and each of them adds only the cost of its words: kinds, colours
  and places are learnt many times faster than through a fused encoder
- the weights of the encoders have the names of those in LAVT, VEGA and MagNet, which start from them
- from no paper; loss: binary cross-entropy and Dice, and with a presence head its own
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor, nn

from .. import losses
from ..batch import Batch, Output
from ..errors import InputError
from ..layers.presence import Chosen, PresenceHead, presence_terms
from ..layers.pyramid import sum_stages
from ..system import chosen_features
from ..text.bert import Bert, BertConfig
from ..text.reads_text import ReadsText
from ..vision.swin import Swin, SwinConfig
from ..vision.vit import ViT, ViTConfig


@dataclass(frozen=True, kw_only=True)
class LateFusionConfig(ReadsText):
    """The encoders, and the width in which words and pixels meet; `vit` replaces `vision`."""

    vision: SwinConfig = field(default_factory=SwinConfig)
    vit: ViTConfig | None = None
    text: BertConfig = field(default_factory=BertConfig)
    width: int = 256
    dice_weight: float = 1.0
    presence: bool = False  # a head that predicts whether the referent is in the image
    presence_weight: float = 1.0

    def __post_init__(self) -> None:
        if self.width < 1 or not self.dice_weight >= 0 or not self.presence_weight >= 0:
            raise InputError(
                f"LateFusion's width is {self.width}, its dice_weight {self.dice_weight} and its presence_weight "
                f"{self.presence_weight}; expected a positive width and weights of 0 or more."
            )

    def build(self) -> "LateFusion":
        return LateFusion(self)

    @property
    def num_layers(self) -> int:
        """A lower bound of the number of weights: a card that claims more layers is rejected before it is built."""
        return self.text.layers + (sum(self.vision.depths) if self.vit is None else self.vit.layers)


class LateFusion(nn.Module):
    """Images and expressions to mask logits: the sum of the words' scores.

    Expressions share the whole encoding of their image.
    """

    loss_features: tuple[str, ...] = ()

    def __init__(self, config: LateFusionConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or LateFusionConfig()
        self.text = Bert(config.text)
        self.fusion: nn.Module = (
            SummedStages(Swin(config.vision), config.width)
            if config.vit is None
            else Patches(ViT(config.vit), config.width)
        )
        self.vote = nn.Linear(config.text.width, config.width + 1)  # a word's direction and bias
        self.bias = nn.Parameter(torch.tensor(-2.0))  # few pixels belong to the target
        head = ((config.width,), config.text.width, config.text.width, config.text.heads)
        self.present = PresenceHead(*head) if config.presence else None

    @property
    def feature_widths(self) -> dict[str, int]:
        return {"query": self.text.width, "embeddings": self.text.width}

    def forward(self, batch: Batch, *, features: Iterable[str] = (), explain: bool = False) -> Output:
        words = self.text(batch.token_ids, batch.token_mask)
        pixels = batch.expand(self.encode_images(batch.target_frames()[:, None]))
        return self._score(words, pixels, batch, features, explain)

    def encode_images(self, images: Float[Tensor, "i 1 3 h w"]) -> Float[Tensor, "i y x d"]:
        return self.fusion(rearrange(images, "i 1 c h w -> i c h w"))

    def decode_expressions(
        self,
        encoded: Float[Tensor, "i y x d"],
        batch: Batch,
        *,
        features: Iterable[str] = (),
        explain: bool = False,
    ) -> Output:
        """The output of `batch`, whose images are those that `encoded` was made from."""
        words = self.text(batch.token_ids, batch.token_mask)
        return self._score(words, batch.expand(encoded), batch, features, explain)

    def _score(
        self,
        words: Float[Tensor, "b l d"],
        pixels: Float[Tensor, "b y x e"],
        batch: Batch,
        features: Iterable[str],
        explain: bool,
    ) -> Output:
        word_scores = self.vote(words) * batch.token_mask[..., None]
        # The sum over words comes first: one product per expression, whatever its length.
        summed = word_scores.sum(1)
        scores = einsum(pixels, summed[:, :-1], "b y x d, b d -> b y x") * self.config.width**-0.5
        scores = scores + rearrange(summed[:, -1] + self.bias, "b -> b 1 1")
        size = batch.images.shape[-2:]
        available = {
            "query": lambda: words,
            "embeddings": lambda: self.text.bert.embeddings.word_embeddings(batch.token_ids).detach(),
        }
        return Output(
            logits=F.interpolate(scores[:, None], size=size, mode="bilinear", align_corners=False)[:, 0],
            presence=None if self.present is None else self.present((pixels,), words, batch.token_mask, scores),
            features=chosen_features(features, available, "LateFusion"),
            evidence=self._evidence(pixels, word_scores) if explain else {},
        )

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        if (masks := batch.masks) is None:
            raise InputError("LateFusion's loss needs masks, but this batch has none; use labelled samples.")

        def terms_of(chosen: Chosen) -> dict[str, Tensor]:
            logits, targets = output.logits[chosen], masks[chosen]
            return {
                "mask": losses.bce(logits, targets),
                "dice": self.config.dice_weight * losses.dice(logits, targets),
            }

        return presence_terms(terms_of, masks, output.presence, self.config.presence_weight)

    @torch.no_grad()
    def _evidence(self, pixels: Tensor, word_scores: Tensor) -> dict[str, Float[Tensor, "b l y x"]]:
        """A map of each word's scores."""
        products = einsum(pixels, word_scores[..., :-1], "b y x d, b l d -> b l y x") * self.config.width**-0.5
        return {"word_scores": products + rearrange(word_scores[..., -1], "b l -> b l 1 1")}


class Patches(nn.Module):
    """The features of a ViT's patches."""

    def __init__(self, vision: ViT, width: int) -> None:
        super().__init__()
        self.vision = vision
        self.mix = nn.Sequential(nn.Linear(vision.config.width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, images: Float[Tensor, "i 3 h w"]) -> Float[Tensor, "i y x d"]:
        return self.mix(self.vision(images))


class SummedStages(nn.Module):
    """The encoder's four stages in one width, summed from coarse to fine at stride 4."""

    def __init__(self, vision: Swin, width: int) -> None:
        super().__init__()
        self.vision = vision
        self.lateral = nn.ModuleList(nn.Linear(own, width) for own in vision.widths)
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Linear(width, width)

    def forward(self, images: Float[Tensor, "i 3 h w"]) -> Float[Tensor, "i y x d"]:
        stages = [lateral(stage) for lateral, stage in zip(self.lateral, self.vision(images), strict=True)]
        return self.mix(F.gelu(self.norm(sum_stages(stages))))
