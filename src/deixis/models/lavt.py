"""LAVT: language-aware vision transformer (Yang et al., CVPR 2022); words enter the vision encoder at every stage.

- BERT encodes the expression, Swin the image; after each of Swin's four stages every pixel gathers the words that
  matter to it (PWAM), and a language gate adds the result to the input of the next stage
- a convolutional decoder turns the normalised results, from coarse to fine, into the scores of two classes
- loss: cross-entropy over background and target, weighted 0.9 and 1.1
- published training: AdamW with lr 5e-5; BERT's last two layers and its pooler are not updated
- differs from the published code: weights that reach no output are absent (see `layers/fusion.py`), and the two
  classes' scores are one logit, their difference, whose cross-entropy is the same number; both are faster
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from .. import losses
from ..batch import Batch, Output
from ..errors import InputError
from ..layers.decoders import ConvolutionalDecoder
from ..layers.early_fusion import EarlyFusion, Fused
from ..layers.fusion import check_heads
from ..layers.presence import Chosen, PresenceHead, presence_terms
from ..system import chosen_features
from ..text.bert import Bert, BertConfig
from ..text.reads_text import ReadsText
from ..vision.swin import Swin, SwinConfig


@dataclass(frozen=True, kw_only=True)
class LAVTConfig(ReadsText):
    """The defaults are the published LAVT: Swin-B with window 12, BERT-base, one head of fusion in each stage."""

    vision: SwinConfig = field(default_factory=SwinConfig)
    text: BertConfig = field(default_factory=BertConfig)
    fusion_heads: Sequence[int] = (1, 1, 1, 1)
    decoder_width: int | None = None  # None: four times the vision encoder's `embed_dim`
    class_weights: tuple[float, float] = (0.9, 1.1)  # background, target
    dice_weight: float = 0.0  # not in the paper
    presence: bool = False  # not in the paper: a head that predicts whether the referent is in the image
    presence_weight: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "fusion_heads", tuple(self.fusion_heads))
        object.__setattr__(self, "class_weights", tuple(self.class_weights))
        check_heads("LAVT", self.vision.embed_dim, self.fusion_heads)
        if self.decoder_width is not None and self.decoder_width < 1:
            raise InputError(
                f"decoder_width is {self.decoder_width}; give 1 or more, or None for four times the vision's embed_dim."
            )
        if len(self.class_weights) != 2 or not all(weight > 0 for weight in self.class_weights):
            raise InputError(f"class_weights are {self.class_weights}; expected two positive numbers.")
        for name in ("dice_weight", "presence_weight"):
            if not (weight := getattr(self, name)) >= 0:
                raise InputError(f"{name} is {weight}; expected 0 or more.")

    def build(self) -> "LAVT":
        return LAVT(self)

    @property
    def num_layers(self) -> int:
        """A lower bound of the number of weights: a card that claims more layers is rejected before it is built."""
        return self.text.layers + sum(self.vision.depths)


class LAVT(nn.Module):
    """Images and expressions to one logit per pixel: the target's score minus the background's.

    Expressions share the first stage of their image's encoding, which does not read the words.
    """

    loss_features: tuple[str, ...] = ()

    def __init__(self, config: LAVTConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or LAVTConfig()
        self.text = Bert(config.text)
        self.fusion = EarlyFusion(Swin(config.vision), config.text.width, config.fusion_heads)
        width = 4 * config.vision.embed_dim if config.decoder_width is None else config.decoder_width
        self.decoder = ConvolutionalDecoder(self.fusion.widths, width)
        head = (self.fusion.widths[1:], config.text.width, config.text.width, config.text.heads)
        self.present = PresenceHead(*head) if config.presence else None
        terms: dict[str, tuple[float, Callable[[Tensor, Tensor], Tensor]]] = {
            "mask": (1.0, partial(cross_entropy, weights=config.class_weights)),
            "dice": (config.dice_weight, losses.dice),
        }
        self.terms = {name: (weight, term) for name, (weight, term) in terms.items() if weight}

    @property
    def feature_widths(self) -> dict[str, int]:
        width = self.config.text.width
        return {"query": width, "visual": self.fusion.widths[-1], "embeddings": width}

    def forward(self, batch: Batch, *, features: Iterable[str] = (), explain: bool = False) -> Output:
        return self.decode(self.fuse(batch), features=features, explain=explain)

    def fuse(self, batch: Batch) -> Fused:
        words = self.text(batch.token_ids, batch.token_mask)
        maps, attention = self.fusion(batch.target_frames(), words, batch.token_mask, batch.image_index)
        return Fused(batch, words, maps, attention)

    def decode(
        self,
        fused: Fused,
        decoder: nn.Module | None = None,
        *,
        features: Iterable[str] = (),
        explain: bool = False,
    ) -> Output:
        """The output of `decoder`, for example a copy of `self.decoder`, or of this system's own."""
        scores = (self.decoder if decoder is None else decoder)(fused.maps)
        background, target = scores.unbind(dim=-1)
        # Interpolation is linear: it is applied to one map of differences instead of two maps of scores.
        difference = rearrange(target - background, "b y x -> b 1 y x")
        size = fused.batch.images.shape[-2:]
        words = fused.words, fused.batch.token_mask
        presence = None if self.present is None else self.present(fused.maps[1:], *words, difference[:, 0])
        return Output(
            logits=F.interpolate(difference, size=size, mode="bilinear", align_corners=True)[:, 0],
            presence=presence,
            features=chosen_features(features, fused.features(self.text.bert.embeddings.word_embeddings), "LAVT"),
            evidence=fused.evidence() if explain else {},
        )

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        """Cross-entropy over two classes, and Dice where it has a weight.

        With a presence head these are means over the referents that are in their image, and the head has its own term.
        """
        if (masks := batch.masks) is None:
            raise InputError("LAVT's loss needs masks, but this batch has none; use labelled samples.")

        def terms_of(chosen: Chosen) -> dict[str, Tensor]:
            logits, targets = output.logits[chosen], masks[chosen]
            return {name: weight * term(logits, targets) for name, (weight, term) in self.terms.items()}

        return presence_terms(terms_of, masks, output.presence, self.config.presence_weight)


def cross_entropy(
    logits: Float[Tensor, "b h w"], masks: Bool[Tensor, "b h w"], weights: tuple[float, float]
) -> Float[Tensor, ""]:
    """Cross-entropy over background and target, weighted per class, for the difference of their scores."""
    background, target = weights
    each = torch.where(masks, target, background)
    signed = torch.where(masks, -logits, logits).float()
    return (each * F.softplus(signed)).sum() / each.sum()
