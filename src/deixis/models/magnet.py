"""MagNet: mask grounding for referring image segmentation (Chng et al., CVPR 2024).

- Swin and BERT run side by side in four steps; after each, pixels look at the words and words at the pixels
- the cross-modal alignment module lets four pooled scales of each stage look at the words too
- Mask2Former's pixel decoder and masked-attention decoder, with one query, make the mask; its loss is taken after
  every decoder layer
- a cross-modal alignment loss pulls the pixels of the target to one another and to the sentence
- mask grounding, the third part of the paper, is a wrapper for any system
- differs from the published code: weights that reach no output are absent; the class head, which decides nothing
  there, says whether the referent is there at all; the language fusion has a form that does what it means
  (`intended`) beside the exact one (`published`)
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from .. import losses
from ..batch import Batch, Output
from ..errors import InputError, did_you_mean
from ..layers.mutual_fusion import Fused, LanguageFusion, MutualFusion
from ..layers.pixel_decoder import GROUPS, PixelDecoder
from ..layers.query_decoder import Decoded, QueryDecoder
from ..records import Config
from ..text.bert import Bert, BertConfig
from ..vision.swin import Swin, SwinConfig

PUBLISHED_WORDS = 20  # the published language fusion answers differently for any other amount of padding


@dataclass(frozen=True, kw_only=True)
class MagNetConfig(Config):
    """The defaults are the published MagNet as we train it: with a class head that means something.

    Without `alignment_module` the pixel decoder reads the norm of the words' answer, as LAVT's does; `pooled_sides`
    are the module's pooled maps (none: no pyramid). An `alignment_weight` of zero leaves the alignment loss away.
    `mask_weight`, `dice_weight` and `presence_weight` weigh the terms of every decoder layer.
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
    pixel_points: int = 4  # that each head looks at on each level
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
                f"MagNet wants 4 fusion_heads and 3 language_heads, not {self.fusion_heads} and {self.language_heads}."
            )
        self._check_decoders()
        self._check_widths()
        weights = (self.mask_weight, self.dice_weight, self.presence_weight, self.alignment_weight)
        if not all(weight >= 0 for weight in weights):
            raise InputError("A loss weight is negative or no number; give 0 or more.")

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
            raise InputError(f"MagNet reads in 4 steps, but BERT has {self.text.layers} layers; give 4 or more.")

    def _check_decoders(self) -> None:
        for name in ("width", "heads", "mask_width", "pixel_feed_forward", "query_feed_forward"):
            if (size := getattr(self, name)) < 1:
                raise InputError(f"MagNet's {name} cannot be {size}; give a positive number.")
        if min(self.pixel_layers, self.pixel_points, self.query_layers, *self.pooled_sides, 1) < 1:
            raise InputError("MagNet wants a layer in each decoder, a point to look at and pooled sides of 1 or more.")

    def build(self) -> "MagNet":
        return MagNet(self)

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
        return (
            self.text.layers + sum(self.vision.depths) + self.pixel_layers + self.query_layers + len(self.pooled_sides)
        )


class MagNet(nn.Module):
    """Images and expressions to mask logits, and the chance that what is meant is there."""

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
        count, steps = config.text.layers, range(5)
        self.cuts = tuple(count * step // 4 for step in steps)  # BERT's layers before each step

    def forward(self, batch: Batch) -> Output:
        images = batch.images[:, batch.images.shape[1] // 2]
        words, token_mask = self._words(batch)

        def read(step: int, features: Tensor) -> Tensor:
            return self.text.layers(features, token_mask, self.cuts[step], self.cuts[step + 1])

        fused = self.fusion(images, self.text.embed(words), token_mask, batch.image_index, read)
        levels, mask_features = self.pixels(fused.maps)
        decoded = self.referent(levels[:3], mask_features)
        size = (images.shape[-2], images.shape[-1])
        logits = _enlarge(decoded.masks[:, -1:], size)[:, 0]
        return Output(logits=logits, evidence=self._evidence(batch, fused, mask_features, decoded))

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        """Mask and presence, summed over the query's first guess and the one after each decoder layer; alignment.

        With a class head the mask of an absent referent is taught nothing, as Mask2Former's queries for no object:
        mask terms are means over the present ones, zero where there is none. Without it the mask itself learns to
        be empty.
        """
        if batch.masks is None:
            raise InputError("MagNet learns from masks and this batch has none; give labelled samples.")
        if "layer_masks" not in output.evidence:
            raise InputError("MagNet's loss needs an output that was made with gradients on.")
        config, evidence = self.config, output.evidence
        there = batch.masks.flatten(1).any(1)
        taught = torch.ones_like(there) if self.present is None else there
        terms = self._mask_terms(evidence["layer_masks"][taught], batch.masks[taught])
        if self.present is not None:
            guesses = evidence["layer_presence"]
            surprise = losses.bce(guesses, there[:, None].expand_as(guesses))
            terms["presence"] = config.presence_weight * guesses.shape[1] * surprise
        if self.sentence is not None:
            terms["alignment"] = config.alignment_weight * losses.cross_modal_alignment(
                evidence["mask_pixels"], evidence["sentence"], batch.masks
            )
        return terms

    def _mask_terms(self, guesses: Float[Tensor, "b k y x"], masks: Bool[Tensor, "b h w"]) -> dict[str, Tensor]:
        """Binary cross-entropy and dice of every guess at the masks' size: means over samples, sums over guesses."""
        if not len(masks):
            return {"mask": guesses.sum(), "dice": guesses.sum()}  # zero, with a gradient of zero
        count = guesses.shape[1]
        logits = _enlarge(guesses, (masks.shape[-2], masks.shape[-1])).flatten(0, 1)
        targets = masks.repeat_interleave(count, dim=0)
        return {
            "mask": self.config.mask_weight * count * losses.bce(logits, targets),
            "dice": self.config.dice_weight * count * losses.dice(logits, targets),
        }

    def _words(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The words as the network reads them: exactly twenty for the published fusion, padding with zeros."""
        if self.config.language_fusion == "intended":
            return batch.token_ids, batch.token_mask
        missing = PUBLISHED_WORDS - batch.token_ids.shape[1]
        if missing < 0:
            raise InputError(
                f"The published language fusion reads {PUBLISHED_WORDS} words and {batch.token_ids.shape[1]} came; "
                f"let the preprocessing cut at max_tokens={PUBLISHED_WORDS}."
            )
        words = batch.token_ids.masked_fill(~batch.token_mask, 0)
        return F.pad(words, (0, missing)), F.pad(batch.token_mask, (0, missing))

    def _evidence(self, batch: Batch, fused: Fused, mask_features: Tensor, decoded: Decoded) -> dict[str, Tensor]:
        """What there is to show; and, while gradients are on, what losses are made of."""
        length = batch.token_ids.shape[1]
        evidence = {
            f"pixel_word_attention_{stage}": looked[:, :length].detach()
            for stage, looked in enumerate(fused.looks, start=1)
        }
        presence = None if self.present is None else self.present(decoded.queries)[..., 0]
        if presence is not None:
            evidence["present"] = presence[:, -1].float().sigmoid().detach()  # chances near 1 fall together in bf16
        if torch.is_grad_enabled():
            evidence |= {"words": fused.words[:, :length], "pixels": fused.maps[-1], "layer_masks": decoded.masks}
            if presence is not None:
                evidence["layer_presence"] = presence
            if self.sentence is not None:
                evidence |= {"mask_pixels": mask_features, "sentence": self.sentence(fused.words[:, 0])}
        return evidence


def _enlarge(masks: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(masks, size=size, mode="bilinear", align_corners=True)
