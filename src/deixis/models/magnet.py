"""MagNet: mask grounding for referring image segmentation (Chng et al., CVPR 2024).

- Swin and BERT run in parallel in four steps; after each step pixels attend to words and words to pixels
- the cross-modal alignment module: four pooled scales of each stage attend to the words too
- Mask2Former's pixel decoder and masked-attention decoder, with one query, make the mask; the loss counts the masks
  before the first decoder layer and after each
- a cross-modal alignment loss pulls the pixels of the target to one another and to the sentence
- mask grounding, the paper's third part, is an objective for any system (`objectives/mask_grounding.py`)

Differs from the published code: weights that reach no output are absent; the class head, which has no effect there,
predicts whether the referent is in the image; and the language fusion has a form whose mask works as intended beside
the exact one (`language_fusion`).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import cast, get_args

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from .. import losses
from ..batch import Batch, Output
from ..errors import InputError, did_you_mean
from ..layers.fusion import attention_maps, attention_to_words
from ..layers.mutual_fusion import Fused, LanguageFusion, MutualFusion
from ..layers.pixel_decoder import GROUPS, PixelDecoder
from ..layers.query_decoder import Decoded, QueryDecoder
from ..system import chosen_features
from ..text.bert import Bert, BertConfig
from ..text.reads_text import ReadsText
from ..vision.swin import Swin, SwinConfig

PUBLISHED_TOKENS = 20  # the result of the published language fusion depends on the amount of padding


@dataclass(frozen=True, kw_only=True)
class MagNetConfig(ReadsText):
    """The defaults are the published MagNet, with a class head that predicts presence.

    Without `alignment_module` the pixel decoder reads the norm of the fused maps, as in LAVT; `pooled_sides` are the
    module's pooled maps (empty: none). An `alignment_weight` of zero omits the alignment loss. `mask_weight`,
    `dice_weight` and `presence_weight` are the weights of the terms of every decoder layer.
    """

    vision: SwinConfig = field(default_factory=SwinConfig)
    text: BertConfig = field(default_factory=BertConfig)
    fusion_heads: Sequence[int] = (1, 1, 1, 1)
    language_heads: Sequence[int] = (1, 1, 1)
    language_fusion: LanguageFusion = "intended"
    alignment_module: bool = True
    pooled_sides: Sequence[int] = (1, 2, 3, 6)
    width: int = 256
    mask_width: int = 256
    heads: int = 8
    pixel_layers: int = 4
    pixel_points: int = 4  # per head and level
    pixel_feed_forward: int = 1024
    query_layers: int = 9
    query_feed_forward: int = 2048
    presence: bool = True
    mask_weight: float = 5.0
    dice_weight: float = 5.0
    presence_weight: float = 2.0
    alignment_weight: float = 1.0

    def __post_init__(self) -> None:
        for name in ("fusion_heads", "language_heads", "pooled_sides"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.language_fusion not in (known := get_args(LanguageFusion)):
            raise InputError(
                f"MagNet has no language fusion {self.language_fusion!r}. {did_you_mean(self.language_fusion, known)}"
            )
        if len(self.fusion_heads) != 4 or len(self.language_heads) != 3:
            raise InputError(
                f"fusion_heads are {self.fusion_heads} and language_heads {self.language_heads}; give 4 and 3 numbers."
            )
        self._check_decoders()
        self._check_widths()
        for name in ("mask_weight", "dice_weight", "presence_weight", "alignment_weight"):
            if not (weight := getattr(self, name)) >= 0:
                raise InputError(f"{name} is {weight}; expected 0 or more.")

    def _check_widths(self) -> None:
        for stage, heads in enumerate(self.fusion_heads):
            quarter = self.vision.embed_dim * 2**stage // 4
            if heads < 1 or self.vision.embed_dim % 4 or quarter % heads:
                raise InputError(
                    f"Fusion {stage + 1}'s {heads} heads cannot share a quarter of {4 * quarter} channels; "
                    "choose a divisor, and an embed_dim that 4 divides."
                )
        if any(heads < 1 or self.text.width % heads for heads in self.language_heads):
            raise InputError(f"language_heads={self.language_heads} must divide BERT's width {self.text.width}.")
        if self.width % self.heads or self.width % GROUPS or self.width % 4:
            raise InputError(
                f"MagNet's width {self.width} must be a multiple of {GROUPS} and of its {self.heads} heads."
            )
        if self.text.layers < 4:
            raise InputError(f"MagNet runs BERT in 4 steps, but BERT has {self.text.layers} layers; give 4 or more.")

    def _check_decoders(self) -> None:
        for name in ("width", "heads", "mask_width", "pixel_feed_forward", "query_feed_forward"):
            if (size := getattr(self, name)) < 1:
                raise InputError(f"MagNet's {name} is {size}; expected a positive number.")
        if min(self.pixel_layers, self.pixel_points, self.query_layers, *self.pooled_sides, 1) < 1:
            raise InputError("pixel_layers, pixel_points, query_layers and pooled_sides must each be 1 or more.")

    def build(self) -> "MagNet":
        return MagNet(self)

    @property
    def num_layers(self) -> int:
        """A lower bound of the number of weights: a card that claims more layers is rejected before it is built."""
        return (
            self.text.layers + sum(self.vision.depths) + self.pixel_layers + self.query_layers + len(self.pooled_sides)
        )


class MagNet(nn.Module):
    """Images and expressions to mask logits, and whether the referent is in the image.

    Expressions share the first stage of their image's encoding, which does not read the words.
    """

    def __init__(self, config: MagNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or MagNetConfig()
        self.text = Bert(config.text)
        self.fusion = MutualFusion(
            Swin(config.vision),
            config.text.width,
            config.fusion_heads,
            config.language_heads,
            sides=config.pooled_sides if config.alignment_module else None,
            language=config.language_fusion,
        )
        self.pixels = PixelDecoder(
            self.fusion.widths,
            config.width,
            config.mask_width,
            heads=config.heads,
            layers=config.pixel_layers,
            feed_forward=config.pixel_feed_forward,
            points=config.pixel_points,
        )
        self.referent = QueryDecoder(
            config.width,
            config.mask_width,
            heads=config.heads,
            layers=config.query_layers,
            feed_forward=config.query_feed_forward,
        )
        self.present = nn.Linear(config.width, 1) if config.presence else None
        self.sentence = nn.Linear(config.text.width, config.mask_width) if config.alignment_weight else None
        self.loss_features: tuple[str, ...] = (
            "layer_masks",
            *(("layer_presence",) if config.presence else ()),
            *(("mask_pixels", "sentence") if config.alignment_weight else ()),
        )
        self.pad = PADDING[config.language_fusion]
        count, steps = config.text.layers, range(5)
        self.cuts = tuple(count * step // 4 for step in steps)  # BERT's layers before each step

    @property
    def feature_widths(self) -> dict[str, int]:
        return {"query": self.text.width, "visual": self.fusion.widths[-1], "embeddings": self.text.width}

    def forward(self, batch: Batch, *, features: Iterable[str] = (), explain: bool = False) -> Output:
        token_ids, token_mask = self.pad(batch.token_ids, batch.token_mask)

        def read(step: int, words: Tensor) -> Tensor:
            return self.text.layers(words, token_mask, self.cuts[step], self.cuts[step + 1])

        images = batch.target_frames()
        fused = self.fusion(images, self.text.embed(token_ids), token_mask, batch.image_index, read)
        levels, mask_features = self.pixels(fused.maps)
        decoded = self.referent(levels[:3], mask_features)
        presence = None if self.present is None else self.present(decoded.queries)[..., 0]
        available = self._features(batch, fused, mask_features, decoded, presence)
        return Output(
            logits=enlarge(decoded.masks[:, -1:], (images.shape[-2], images.shape[-1]))[:, 0],
            presence=None if presence is None else presence[:, -1],
            features=chosen_features(features, available, "MagNet"),
            evidence=self._evidence(batch, fused) if explain else {},
        )

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        """Mask, Dice and presence, summed over the masks before the first decoder layer and after each; alignment.

        With a class head, as for Mask2Former's queries without an object, mask terms are means over the referents that
        are in their image, and zero if none is. Without a class head the mask itself learns to be empty.
        """
        if (masks := batch.masks) is None:
            raise InputError("MagNet's loss needs masks, but this batch has none; use labelled samples.")
        if not output.features.keys() >= set(self.loss_features):
            raise InputError(
                f"MagNet's loss reads the features {', '.join(self.loss_features)}, but the output has "
                f"{', '.join(output.features) or 'none'}; run the system with features=system.loss_features."
            )
        config, features = self.config, output.features
        is_present = masks.flatten(1).any(1)
        counted = is_present if config.presence else torch.ones_like(is_present)
        terms = self._mask_terms(features["layer_masks"][counted], masks[counted])
        if config.presence:
            logits = features["layer_presence"]
            each = losses.bce(logits, is_present[:, None].expand_as(logits))
            terms["presence"] = config.presence_weight * logits.shape[1] * each
        if config.alignment_weight:
            alignment = losses.cross_modal_alignment(features["mask_pixels"], features["sentence"], masks)
            terms["alignment"] = config.alignment_weight * alignment
        return terms

    def _mask_terms(self, layer_masks: Float[Tensor, "b k y x"], masks: Bool[Tensor, "b h w"]) -> dict[str, Tensor]:
        """Binary cross-entropy and Dice at the masks' size: means over samples, sums over layers."""
        if not len(masks):
            return {"mask": layer_masks.sum(), "dice": layer_masks.sum()}  # zero, with a gradient of zero
        count = layer_masks.shape[1]
        logits = enlarge(layer_masks, (masks.shape[-2], masks.shape[-1])).flatten(0, 1)
        targets = masks.repeat_interleave(count, dim=0)
        return {
            "mask": self.config.mask_weight * count * losses.bce(logits, targets),
            "dice": self.config.dice_weight * count * losses.dice(logits, targets),
        }

    def _features(
        self, batch: Batch, fused: Fused, mask_features: Tensor, decoded: Decoded, presence: Tensor | None
    ) -> dict[str, Callable[[], Tensor]]:
        """Those of every system, and those of this system's loss; without the padding of the published fusion."""
        length = batch.token_ids.shape[1]
        own: dict[str, Callable[[], Tensor | None]] = {
            "layer_masks": lambda: decoded.masks,
            "layer_presence": lambda: presence,
            "mask_pixels": lambda: mask_features,
            "sentence": lambda: cast(nn.Linear, self.sentence)(fused.words[:, 0]),
        }
        return {
            "query": lambda: fused.words[:, :length],
            "visual": lambda: rearrange(fused.maps[-1], "b y x d -> b d y x"),
            "embeddings": lambda: self.text.bert.embeddings.word_embeddings(batch.token_ids).detach(),
            "attention": lambda: attention_to_words(fused.attention[-1][..., :length], batch.token_mask),
        } | {name: own[name] for name in self.loss_features}

    def _evidence(self, batch: Batch, fused: Fused) -> dict[str, Tensor]:
        length = batch.token_ids.shape[1]
        attention = [weights[..., :length] for weights in fused.attention]
        return attention_maps(attention, [features.shape[1] for features in fused.maps])


def enlarge(masks: Float[Tensor, "b k y x"], size: tuple[int, int]) -> Float[Tensor, "b k h w"]:
    return F.interpolate(masks, size=size, mode="bilinear", align_corners=True)


def as_given(
    token_ids: Int[Tensor, "b l"], token_mask: Bool[Tensor, "b l"]
) -> tuple[Int[Tensor, "b l"], Bool[Tensor, "b l"]]:
    return token_ids, token_mask


def to_published_length(
    token_ids: Int[Tensor, "b l"], token_mask: Bool[Tensor, "b l"]
) -> tuple[Int[Tensor, "b l20"], Bool[Tensor, "b l20"]]:
    """Exactly twenty tokens, padded with zeros."""
    missing = PUBLISHED_TOKENS - token_ids.shape[1]
    if missing < 0:
        raise InputError(
            f"The published language fusion reads {PUBLISHED_TOKENS} tokens, but the batch has {token_ids.shape[1]}; "
            f"set max_tokens={PUBLISHED_TOKENS} in the preprocessing."
        )
    return F.pad(token_ids.masked_fill(~token_mask, 0), (0, missing)), F.pad(token_mask, (0, missing))


PADDING = {"intended": as_given, "published": to_published_length}
