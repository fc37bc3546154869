"""VEGA: visual expressions guide the decoder (referring image segmentation on top of LAVT's fusion).

- words enter the vision encoder after each stage, as in LAVT
- the words then attend to the pixels of the last fused map (the enhanced linguistic expression)
- each word selects the pixels most similar to it, which become a visual token: the visual expression
- words and visual expression guide every stage of the decoder by cross-attention
- a pixel contrast loss teaches the global word which pixels belong to the target

Where the paper is silent: queries are normalised before attention, and the residual is added to the normalised ones; a
decoder stage is a linear projection of the concatenation, a 3x3 convolution, cross-attention and ReLU, and its width
halves as its map doubles; the contrast's target is resized to the feature grid by areas.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast, get_args

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from .. import losses
from ..batch import Batch, Output
from ..errors import InputError, did_you_mean
from ..layers.attention import CrossAttention
from ..layers.early_fusion import EarlyFusion, Fused
from ..layers.fusion import check_heads
from ..layers.guidance import (
    EnhancedWordGuidance,
    GuidanceSet,
    PixelGuidance,
    TopPixelGuidance,
    VisualGuidance,
    WordGuidance,
)
from ..layers.presence import Chosen, PresenceHead, presence_terms
from ..layers.similarity import Similarity
from ..layers.visual_expression import Cues, Normalise, Selection, VisualExpression, selector
from ..system import chosen_features
from ..text.bert import Bert, BertConfig
from ..text.reads_text import ReadsText
from ..vision.swin import Swin, SwinConfig

# What the decoder attends to (Table 2).
Guidance = Literal["words", "enhanced", "enhanced+visual"]
# What represents the image in the guidance set (Table 3a); top-pixels are those that the global word selects.
VisualRepresentation = Literal["all-pixels", "top-pixels", "expression"]
CHOICES = {
    "guidance": Guidance,
    "visual_guidance": VisualRepresentation,
    "cues": Cues,
    "selection": Selection,
    "normalise": Normalise,
}


@dataclass(frozen=True, kw_only=True)
class VEGAConfig(ReadsText):
    """Encoders, widths, and every choice that the paper's tables compare; the defaults are the published model.

    `decoder_widths` are those at strides 4, 8 and 16; at stride 32 the decoder has `width`.
    """

    vision: SwinConfig = field(default_factory=SwinConfig)
    text: BertConfig = field(default_factory=BertConfig)
    fusion_heads: Sequence[int] = (1, 1, 1, 1)
    width: int = 512
    heads: int = 8
    decoder_widths: Sequence[int] = (128, 256, 512)
    guidance: Guidance = "enhanced+visual"
    visual_guidance: VisualRepresentation = "expression"
    cues: Cues = "both"
    selection: Selection = "top-k"
    selection_ratio: float = 0.3
    weigh_by_similarity: bool = True
    normalise: Normalise = "selected"
    attend_to_selected: bool = True
    pixel_contrast: bool = True
    pixel_contrast_weight: float = 1.0
    dice_weight: float = 0.0  # not in the paper
    presence: bool = False  # not in the paper: a head that predicts whether the referent is in the image
    presence_weight: float = 1.0

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if (value := getattr(self, name)) not in (known := get_args(choices)):
                raise InputError(f"VEGA has no {name} {value!r}. {did_you_mean(str(value), known)}")
        object.__setattr__(self, "fusion_heads", tuple(self.fusion_heads))
        object.__setattr__(self, "decoder_widths", tuple(self.decoder_widths))
        check_heads("VEGA", self.vision.embed_dim, self.fusion_heads)
        if len(self.decoder_widths) != 3:
            raise InputError(f"decoder_widths are {self.decoder_widths}; give three, for strides 4, 8 and 16.")
        if self.heads < 1 or any(width < 1 or width % self.heads for width in (self.width, *self.decoder_widths)):
            raise InputError(
                f"VEGA's widths {self.width} and {self.decoder_widths} cannot be shared by {self.heads} heads; "
                "make each a multiple of the heads."
            )
        if not 0 < self.selection_ratio <= 1:
            raise InputError(f"selection_ratio is {self.selection_ratio}; expected a fraction in (0, 1].")
        for name in ("pixel_contrast_weight", "dice_weight", "presence_weight"):
            if not (weight := getattr(self, name)) >= 0:
                raise InputError(f"{name} is {weight}; expected 0 or more.")

    @property
    def has_visual(self) -> bool:
        return self.guidance == "enhanced+visual"

    @property
    def has_contrast(self) -> bool:
        """The pixel contrast needs the similarities that pixels are selected by."""
        return self.pixel_contrast and self.has_visual and self.visual_guidance != "all-pixels"

    def build(self) -> "VEGA":
        return VEGA(self)

    @property
    def num_layers(self) -> int:
        """A lower bound of the number of weights: a card that claims more layers is rejected before it is built."""
        return self.text.layers + sum(self.vision.depths)


@dataclass(frozen=True)
class Guided:
    """Everything before the decoder: the fused maps, the last one in the decoder's width, and the guidance set."""

    encoded: Fused
    pixels: Float[Tensor, "b y x d"]
    guidance: GuidanceSet


class VEGA(nn.Module):
    """Images and expressions to mask logits.

    Expressions share the first stage of their image's encoding, which does not read the words.
    """

    def __init__(self, config: VEGAConfig) -> None:
        super().__init__()
        self.config = config
        self.text = Bert(config.text)
        self.fusion = EarlyFusion(Swin(config.vision), self.text.width, config.fusion_heads)
        widths = (*config.decoder_widths, config.width)
        self.pixels = nn.Linear(self.fusion.widths[-1], config.width)
        self.words = nn.Linear(self.text.width, config.width)
        self.guide = build_guidance(config)
        # The parts of the decoder; `decoder` is the whole.
        self.look = CrossAttention(config.width, config.heads)
        self.stages = nn.ModuleList(
            DecoderStage(encoder, coarser, width, config.width, config.heads)
            for encoder, coarser, width in zip(self.fusion.widths, widths[1:], widths, strict=False)
        )
        self.mask = nn.Linear(widths[0], 1)
        # Eq. 5's learnable temperature, as its logarithm, so that it stays positive.
        self.log_temperature = nn.Parameter(torch.tensor(-2.5)) if config.has_contrast else None
        head = (self.fusion.widths[1:], config.width, config.width, config.heads)
        self.present = PresenceHead(*head) if config.presence else None
        self.loss_features = ("pixel_contrast",) if config.has_contrast else ()
        terms = {"mask": (1.0, losses.bce), "dice": (config.dice_weight, losses.dice)}
        self.terms = {name: (weight, term) for name, (weight, term) in terms.items() if weight}

    @property
    def feature_widths(self) -> dict[str, int]:
        return {"query": self.text.width, "visual": self.fusion.widths[-1], "embeddings": self.text.width}

    @property
    def decoder(self) -> "GuidedDecoder":
        """The decoder as one module that shares this system's weights; a deep copy of it has its own."""
        return GuidedDecoder(self.look, self.stages, self.mask)

    def forward(self, batch: Batch, *, features: Iterable[str] = (), explain: bool = False) -> Output:
        return self.decode(self.fuse(batch), features=features, explain=explain)

    def fuse(self, batch: Batch) -> Guided:
        words = self.text(batch.token_ids, batch.token_mask)
        maps, attention = self.fusion(batch.target_frames(), words, batch.token_mask, batch.image_index)
        pixels = self.pixels(maps[-1])
        guidance = self.guide(rearrange(pixels, "b y x d -> b (y x) d"), self.words(words), batch.token_mask)
        return Guided(Fused(batch, words, maps, attention), pixels, guidance)

    def decode(
        self,
        fused: Guided,
        decoder: "GuidedDecoder | None" = None,
        *,
        features: Iterable[str] = (),
        explain: bool = False,
    ) -> Output:
        """The output of `decoder`, for example a copy of `self.decoder`, or of this system's own."""
        decoder = self.decoder if decoder is None else decoder
        received: list[Tensor] | None = [] if explain else None
        scores = decoder(fused.pixels, fused.encoded.maps[:-1], fused.guidance, received)
        words = fused.guidance.tokens, fused.guidance.mask
        presence = None if self.present is None else self.present(fused.encoded.maps[1:], *words, scores)
        size = fused.encoded.batch.images.shape[-2:]
        return Output(
            logits=F.interpolate(scores[:, None], size=size, mode="bilinear", align_corners=False)[:, 0],
            presence=presence,
            features=chosen_features(features, self._features(fused), "VEGA"),
            evidence={} if received is None else self._evidence(fused, received),
        )

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        """Binary cross-entropy of the mask; pixel contrast where words select pixels; Dice where it has a weight.

        With a presence head these are means over the referents that are in their image, and the head has its own term.
        """
        if (masks := batch.masks) is None:
            raise InputError("VEGA's loss needs masks, but this batch has none; use labelled samples.")
        if not output.features.keys() >= set(self.loss_features):
            raise InputError(
                f"VEGA's loss reads the features {', '.join(self.loss_features)}, but the output has "
                f"{', '.join(output.features) or 'none'}; run the system with features=system.loss_features."
            )

        def terms_of(chosen: Chosen) -> dict[str, Tensor]:
            logits, targets = output.logits[chosen], masks[chosen]
            terms = {name: weight * term(logits, targets) for name, (weight, term) in self.terms.items()}
            for name in self.loss_features:
                contrast = losses.pixel_contrast(output.features[name][chosen], targets)
                terms[name] = self.config.pixel_contrast_weight * contrast
            return terms

        return presence_terms(terms_of, masks, output.presence, self.config.presence_weight)

    def _features(self, fused: Guided) -> dict[str, Callable[[], Tensor]]:
        available = fused.encoded.features(self.text.bert.embeddings.word_embeddings)
        return available | dict.fromkeys(self.loss_features, lambda: self._pixel_contrast(fused))

    def _pixel_contrast(self, fused: Guided) -> Float[Tensor, "b y x"]:
        """Eq. 5's logits: the global word's similarity to each pixel over the temperature."""
        similarity = rearrange(fused.guidance.maps["similarity"][:, 0], "b (y x) -> b y x", y=fused.pixels.shape[1])
        return similarity / cast(nn.Parameter, self.log_temperature).exp()

    def _evidence(self, fused: Guided, received: list[Tensor]) -> dict[str, Tensor]:
        """Maps for each word, and the visual tokens' fraction of each stage's attention, from fine to coarse."""
        height = fused.pixels.shape[1]
        evidence = {
            name: rearrange(values.detach(), "b l (y x) -> b l y x", y=height)
            for name, values in fused.guidance.maps.items()
        }
        if self.config.has_visual:
            visual = [fractions[:, fused.guidance.num_words :].sum(-1) for fractions in reversed(received)]
            evidence["attention_to_visual_expression"] = torch.stack(visual, 1)
        return evidence

    @torch.no_grad()
    def vectors(self, batch: Batch) -> dict[str, Float[Tensor, "b _ d"]]:
        """What Figure 5 projects to the plane: `pixels`, and the guidance set's `words` and `visual` tokens."""
        fused = self.fuse(batch)
        tokens, num_words = fused.guidance.tokens, fused.guidance.num_words
        pixels = rearrange(fused.pixels, "b y x d -> b (y x) d")
        return {"pixels": pixels, "words": tokens[:, :num_words], "visual": tokens[:, num_words:]}


def build_guidance(config: VEGAConfig) -> nn.Module:
    """Pixels, words and their mask to the guidance set that the config names."""
    width, heads = config.width, config.heads
    if config.guidance == "words":
        return WordGuidance()
    enhance = CrossAttention(width, heads)
    if config.guidance == "enhanced":
        return EnhancedWordGuidance(enhance)
    if config.visual_guidance == "all-pixels":
        return PixelGuidance(enhance)
    if config.visual_guidance == "top-pixels":
        return TopPixelGuidance(enhance, Similarity(width), selector(config.selection, config.selection_ratio))
    expression = VisualExpression(
        width,
        heads,
        cues=config.cues,
        selection=config.selection,
        ratio=config.selection_ratio,
        weigh_by_similarity=config.weigh_by_similarity,
        normalise=config.normalise,
        attend_to_selected=config.attend_to_selected,
    )
    return VisualGuidance(enhance, expression)


class GuidedDecoder(nn.Module):
    """From stride 32 to stride 4, each stage attending to the guidance set; then one score for each cell."""

    def __init__(self, look: CrossAttention, stages: nn.ModuleList, mask: nn.Linear) -> None:
        super().__init__()
        self.look, self.stages, self.mask = look, stages, mask

    def forward(
        self,
        pixels: Float[Tensor, "b y x d"],
        finer: Sequence[Tensor],
        guidance: GuidanceSet,
        received: list[Tensor] | None = None,
    ) -> Float[Tensor, "b y4 x4"]:
        """`finer` are the fused maps at strides 4 to 16.

        To the list `received` is appended, from coarse to fine, the fraction of a stage's attention that each guidance
        token receives, `[b g]`.
        """
        features = attend(self.look, pixels, guidance, received)
        for stage, encoded in zip(reversed(self.stages), reversed(finer), strict=True):
            features = attend(cast(DecoderStage, stage).look, stage(encoded, features), guidance, received)
        return rearrange(self.mask(features), "b y x 1 -> b y x")


class DecoderStage(nn.Module):
    """The coarser stage's features, upsampled, join the encoder's; `look` then attends to the guidance set."""

    def __init__(self, encoder_width: int, coarser_width: int, width: int, guidance_width: int, heads: int) -> None:
        super().__init__()
        self.encoded = nn.Linear(encoder_width, width)
        self.coarser = nn.Linear(coarser_width, width, bias=False)
        self.convolution = nn.Conv2d(width, width, 3, padding=1)
        self.look = CrossAttention(width, heads, context_width=guidance_width)

    def forward(
        self, encoded: Float[Tensor, "b y x c"], coarser: Float[Tensor, "b y2 x2 d2"]
    ) -> Float[Tensor, "b y x d"]:
        # A linear projection of the concatenation is the sum of two, and interpolation is linear too: so the coarser
        # part is projected before it is upsampled, on a quarter of the cells. The numbers are the same.
        coarser = rearrange(self.coarser(coarser), "b y x d -> b d y x")
        coarser = F.interpolate(coarser, size=encoded.shape[1:3], mode="bilinear", align_corners=False)
        joined = rearrange(self.encoded(encoded), "b y x d -> b d y x") + coarser
        return rearrange(self.convolution(joined), "b d y x -> b y x d")


def attend(
    look: CrossAttention, features: Float[Tensor, "b y x d"], guidance: GuidanceSet, received: list[Tensor] | None
) -> Float[Tensor, "b y x d"]:
    cells, mask = rearrange(features, "b y x d -> b (y x) d"), guidance.mask[:, None]
    if received is not None:
        with torch.no_grad():
            received.append(look.with_shares(cells, guidance.tokens, mask)[1])
    return rearrange(F.relu(look(cells, guidance.tokens, mask)), "b (y x) d -> b y x d", y=features.shape[1])
