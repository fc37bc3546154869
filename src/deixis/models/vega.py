"""VEGA: let the decoder look at what the words' pixels look like, not only at the words.

- words enter the vision encoder after each stage, as in LAVT
- the words then look at the pixels of the last fused map (the enhanced linguistic expression)
- each word selects the pixels most similar to it and makes a visual token of them: the visual expression
- words and visual expression together guide every stage of the decoder by cross-attention
- a pixel contrast loss teaches the global word which pixels are the target's
- where the paper is silent: queries are normalised before attention and the residual is added to the normalised
  ones; a decoder stage is a linear projection of the concatenation, a 3x3 convolution, cross-attention and ReLU,
  its width halving as its map doubles; the contrast's target comes down to the feature grid by areas
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .. import losses
from ..batch import Batch, Output
from ..errors import InputError, did_you_mean
from ..layers.attention import CrossAttention
from ..layers.early_fusion import EarlyFusion
from ..layers.fusion import check_heads
from ..layers.similarity import Similarity
from ..layers.visual_expression import Cues, Normalise, Selection, VisualExpression, select
from ..records import Config
from ..text.bert import Bert, BertConfig
from ..vision.swin import Swin, SwinConfig

# What the decoder looks at (Table 2).
Guidance = Literal["words", "enhanced", "enhanced+visual"]
# What stands for the image in the guidance set (Table 3a); top-pixels are those that the global word selects.
VisualGuidance = Literal["all-pixels", "top-pixels", "expression"]
CHOICES = {
    "guidance": Guidance,
    "visual_guidance": VisualGuidance,
    "cues": Cues,
    "selection": Selection,
    "normalise": Normalise,
}


@dataclass(frozen=True, kw_only=True)
class VEGAConfig(Config):
    """Encoders, widths, and every choice that the paper's tables compare; the defaults are the published model.

    `decoder_widths` go from stride 4 to stride 16, as the encoder's do; at stride 32 the decoder has `width`.
    """

    vision: SwinConfig = field(default_factory=SwinConfig)
    text: BertConfig = field(default_factory=BertConfig)
    fusion_heads: Sequence[int] = (1, 1, 1, 1)
    width: int = 512
    heads: int = 8
    decoder_widths: Sequence[int] = (128, 256, 512)
    guidance: Guidance = "enhanced+visual"
    visual_guidance: VisualGuidance = "expression"
    cues: Cues = "both"
    selection: Selection = "top-k"
    selection_ratio: float = 0.3
    weigh_by_similarity: bool = True
    normalise: Normalise = "selected"
    attend_to_selected: bool = True
    pixel_contrast: bool = True
    pixel_contrast_weight: float = 1.0
    dice_weight: float = 0.0  # ours: the published model is trained without

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if (value := getattr(self, name)) not in (known := get_args(choices)):
                raise InputError(f"VEGA has no {name} {value!r}. {did_you_mean(str(value), known)}")
        object.__setattr__(self, "fusion_heads", tuple(self.fusion_heads))
        object.__setattr__(self, "decoder_widths", tuple(self.decoder_widths))
        check_heads("VEGA", self.vision.embed_dim, self.fusion_heads)
        if len(self.decoder_widths) != 3:
            raise InputError(f"VEGA's decoder wants widths for strides 4, 8 and 16, not {self.decoder_widths}.")
        if self.heads < 1 or any(width < 1 or width % self.heads for width in (self.width, *self.decoder_widths)):
            raise InputError(
                f"VEGA's widths {self.width} and {self.decoder_widths} cannot be shared by {self.heads} heads; "
                "make each a multiple."
            )
        if not 0 < self.selection_ratio <= 1:
            raise InputError(f"selection_ratio is a share in (0, 1], not {self.selection_ratio}.")
        if not all(weight >= 0 for weight in (self.pixel_contrast_weight, self.dice_weight)):
            raise InputError("A loss weight is negative or no number; give 0 or more.")

    @property
    def has_visual(self) -> bool:
        return self.guidance == "enhanced+visual"

    @property
    def selects(self) -> bool:
        """Whether similarities exist at all, and with them the pixel contrast."""
        return self.has_visual and self.visual_guidance != "all-pixels"

    def build(self) -> "VEGA":
        return VEGA(self)

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


@dataclass(frozen=True)
class GuidanceSet:
    """What the decoder looks at, and what there is to show of it."""

    tokens: Float[Tensor, "b g d"]
    mask: Bool[Tensor, "b g"]
    words: int  # how many of the tokens are words; the others are visual
    similarity: Float[Tensor, "b l n"] | None = None
    selected: Bool[Tensor, "b l n"] | None = None


class VEGA(nn.Module):
    """Images and words to mask logits, with each word's similarity to the pixels and the pixels it selected."""

    def __init__(self, config: VEGAConfig) -> None:
        super().__init__()
        self.config = config
        self.text = Bert(config.text)
        self.fusion = EarlyFusion(Swin(config.vision), self.text.width, config.fusion_heads)
        widths = (*config.decoder_widths, config.width)
        self.pixels = nn.Linear(self.fusion.widths[-1], config.width)
        self.words = nn.Linear(self.text.width, config.width)
        self.guide = Guide(config)
        self.look = CrossAttention(config.width, config.heads)
        self.stages = nn.ModuleList(
            DecoderStage(encoder, coarser, width, config.width, config.heads)
            for encoder, coarser, width in zip(self.fusion.widths, widths[1:], widths, strict=False)
        )
        self.mask = nn.Linear(widths[0], 1)
        # Eq. 5's learnable temperature, as its logarithm, so that it stays positive.
        self.log_temperature = nn.Parameter(torch.tensor(-2.5)) if config.selects and config.pixel_contrast else None

    def forward(self, batch: Batch) -> Output:
        images = batch.images[:, batch.images.shape[1] // 2]
        words = self.text(batch.token_ids, batch.token_mask)
        *finer, coarsest = self.fusion(images, words, batch.token_mask, batch.image_index)
        height, width = coarsest.shape[1:3]
        pixels = rearrange(self.pixels(coarsest), "b y x d -> b (y x) d")
        guidance = self.guide(pixels, self.words(words), batch.token_mask)
        features, shares = self.look.with_shares(pixels, guidance.tokens, guidance.mask[:, None])
        features, received = rearrange(F.relu(features), "b (y x) d -> b y x d", y=height), [shares]
        for stage, encoded in zip(reversed(self.stages), reversed(finer), strict=True):
            features, shares = stage(encoded, features, guidance)
            received.insert(0, shares)
        logits = rearrange(self.mask(features), "b y x 1 -> b 1 y x")
        logits = F.interpolate(logits, size=images.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
        evidence = self._evidence(guidance, torch.stack(received, 1), height, width)
        if torch.is_grad_enabled():  # what auxiliary losses are made of
            evidence |= {"words": words, "pixels": coarsest}
        return Output(logits=logits, evidence=evidence)

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        """Binary cross-entropy of the mask; pixel contrast where pixels are selected; Dice where it has a weight."""
        if batch.masks is None:
            raise InputError("VEGA learns from masks, but the batch has none; give masks or choose another system.")
        terms = {"mask": losses.bce(output.logits, batch.masks)}
        if self.config.dice_weight:
            terms["dice"] = self.config.dice_weight * losses.dice(output.logits, batch.masks)
        if self.log_temperature is not None:
            contrast = losses.pixel_contrast(output.evidence["pixel_contrast"], batch.masks)
            terms["pixel_contrast"] = self.config.pixel_contrast_weight * contrast
        return terms

    def _evidence(self, guidance: GuidanceSet, received: Tensor, height: int, width: int) -> dict[str, Tensor]:
        """Maps on the coarsest grid, and for each decoder stage (fine to coarse) the visual share of its attention."""
        evidence = {}
        if guidance.similarity is not None and guidance.selected is not None:
            similarity = rearrange(guidance.similarity, "b l (y x) -> b l y x", y=height, x=width)
            evidence["similarity"] = similarity.detach()
            evidence["selected"] = rearrange(guidance.selected, "b l (y x) -> b l y x", y=height, x=width)
            if self.log_temperature is not None:
                evidence["pixel_contrast"] = similarity[:, 0] / self.log_temperature.exp()
        if self.config.has_visual:
            evidence["attention_to_visual_expression"] = received[..., guidance.words :].sum(-1)
        return evidence

    @torch.no_grad()
    def vectors(self, batch: Batch) -> dict[str, Tensor]:
        """What Figure 5 lays out in the plane: `pixels` and, on each side of the guidance set, `words` and `visual`.

        Where pixels are selected, `joint_pixels` and `joint_words` are the unit vectors whose products rank them.
        """
        images = batch.images[:, batch.images.shape[1] // 2]
        words = self.text(batch.token_ids, batch.token_mask)
        coarsest = self.fusion(images, words, batch.token_mask, batch.image_index)[-1]
        return self.guide.vectors(
            rearrange(self.pixels(coarsest), "b y x d -> b (y x) d"), self.words(words), batch.token_mask
        )


class Guide(nn.Module):
    """Pixels and words to the guidance set."""

    def __init__(self, config: VEGAConfig) -> None:
        super().__init__()
        self.config = config
        width, heads = config.width, config.heads
        self.enhance = CrossAttention(width, heads) if config.guidance != "words" else None
        self.expression, self.similarity = None, None
        if config.has_visual and config.visual_guidance == "expression":
            self.expression = VisualExpression(
                width,
                heads,
                cues=config.cues,
                selection=config.selection,
                ratio=config.selection_ratio,
                weigh_by_similarity=config.weigh_by_similarity,
                normalise=config.normalise,
                attend_to_selected=config.attend_to_selected,
            )
        elif config.selects:
            self.similarity = Similarity(width)

    def forward(
        self, pixels: Float[Tensor, "b n d"], words: Float[Tensor, "b l d"], token_mask: Bool[Tensor, "b l"]
    ) -> GuidanceSet:
        if self.enhance is not None:
            words = self.enhance(words, pixels)
        count = words.shape[1]
        if not self.config.has_visual:
            return GuidanceSet(words, token_mask, count)
        similarity = selected = None
        if self.expression is not None:
            found = self.expression(pixels, words, token_mask)
            tokens, mask, similarity, selected = found.tokens, found.mask, found.similarity, found.selected
        else:
            tokens, mask = pixels, token_mask.new_ones(pixels.shape[:2])
            if self.similarity is not None:
                similarity = self.similarity(pixels, words)
                selected = select(similarity, self.config.selection, self.config.selection_ratio)
                mask = selected[:, 0]
        return GuidanceSet(torch.cat((words, tokens), 1), torch.cat((token_mask, mask), 1), count, similarity, selected)

    def vectors(self, pixels: Tensor, words: Tensor, token_mask: Tensor) -> dict[str, Tensor]:
        guidance = self(pixels, words, token_mask)
        found = {
            "pixels": pixels,
            "words": guidance.tokens[:, : guidance.words],
            "visual": guidance.tokens[:, guidance.words :],
        }
        similarity = self.similarity if self.expression is None else self.expression.similarity
        if similarity is not None:
            found["joint_pixels"], found["joint_words"] = similarity.embed(pixels, found["words"])
        return found


class DecoderStage(nn.Module):
    """The coarser stage's features, upsampled and joined with the encoder's, look at the guidance set."""

    def __init__(self, encoder_width: int, coarser_width: int, width: int, guidance_width: int, heads: int) -> None:
        super().__init__()
        self.encoded = nn.Linear(encoder_width, width)
        self.coarser = nn.Linear(coarser_width, width, bias=False)
        self.convolution = nn.Conv2d(width, width, 3, padding=1)
        self.look = CrossAttention(width, heads, context_width=guidance_width)

    def forward(
        self, encoded: Float[Tensor, "b y x c"], coarser: Float[Tensor, "b y2 x2 d2"], guidance: GuidanceSet
    ) -> tuple[Float[Tensor, "b y x d"], Float[Tensor, "b g"]]:
        height, width = encoded.shape[1:3]
        # A linear projection of the concatenation is the sum of two, and interpolation is linear too: so the coarser
        # part is projected before it is upsampled, on a quarter of the cells. Same numbers.
        coarser = rearrange(self.coarser(coarser), "b y x d -> b d y x")
        coarser = F.interpolate(coarser, size=(height, width), mode="bilinear", align_corners=False)
        joined = rearrange(self.encoded(encoded), "b y x d -> b d y x") + coarser
        features = rearrange(self.convolution(joined), "b d y x -> b (y x) d")
        features, shares = self.look.with_shares(features, guidance.tokens, guidance.mask[:, None])
        return rearrange(F.relu(features), "b (y x) d -> b y x d", y=height), shares
