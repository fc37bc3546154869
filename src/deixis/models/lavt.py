"""LAVT: language-aware vision transformer (Yang et al., CVPR 2022); words enter the vision encoder while it sees.

- BERT reads the expression, Swin the image; after each of Swin's four stages every pixel gathers the words that
  matter to it (PWAM), and a language gate adds the answer to what the next stage sees
- the answers themselves, normalised, go to a convolutional decoder from coarse to fine, which scores two classes
- supervision: cross-entropy over background and target, weighted 0.9 and 1.1
- published training: AdamW lr 5e-5, BERT's last two layers (and its pooler) left as they were
- differs from the paper's code in speed only: the first stage runs once an image, padding costs no projection, the
  decoder never enlarges what it convolves; weights that reach no output (see `layers/fusion.py`) are absent, and the
  two classes' scores become one logit, their difference, whose cross-entropy is the same number
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from .. import losses
from ..batch import Batch, Output
from ..errors import InputError
from ..layers.decoders import ConvolutionalDecoder
from ..layers.early_fusion import EarlyFusion
from ..layers.fusion import check_heads
from ..records import Config
from ..text.bert import Bert, BertConfig
from ..vision.swin import Swin, SwinConfig


@dataclass(frozen=True, kw_only=True)
class LAVTConfig(Config):
    """The defaults are the published LAVT: Swin-B with window 12, BERT-base, one head of fusion a stage."""

    vision: SwinConfig = field(default_factory=SwinConfig)
    text: BertConfig = field(default_factory=BertConfig)
    fusion_heads: Sequence[int] = (1, 1, 1, 1)
    decoder_width: int | None = None  # four times the vision's embedding by default
    class_weights: tuple[float, float] = (0.9, 1.1)  # background, target
    dice_weight: float = 0.0  # ours: the published model is trained without

    def __post_init__(self) -> None:
        object.__setattr__(self, "fusion_heads", tuple(self.fusion_heads))
        object.__setattr__(self, "class_weights", tuple(self.class_weights))
        check_heads("LAVT", self.vision.embed_dim, self.fusion_heads)
        if self.decoder_width is not None and self.decoder_width < 1:
            raise InputError(
                f"decoder_width={self.decoder_width} leaves the decoder no channels; give 1 or more, or None for four "
                "times the vision's embedding."
            )
        if len(self.class_weights) != 2 or not all(weight > 0 for weight in self.class_weights):
            raise InputError(f"class_weights are two positive numbers, not {self.class_weights}.")
        if not self.dice_weight >= 0:
            raise InputError(f"dice_weight={self.dice_weight} is negative or no number; give 0 or more.")

    def build(self) -> "LAVT":
        return LAVT(self)

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


class LAVT(nn.Module):
    """Images and expressions to one logit a pixel: the target's score less the background's."""

    def __init__(self, config: LAVTConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or LAVTConfig()
        self.text = Bert(config.text)
        self.fusion = EarlyFusion(Swin(config.vision), config.text.width, config.fusion_heads)
        width = 4 * config.vision.embed_dim if config.decoder_width is None else config.decoder_width
        self.decoder = ConvolutionalDecoder(self.fusion.widths, width)

    def forward(self, batch: Batch) -> Output:
        images = batch.images[:, batch.images.shape[1] // 2]
        words = self.text(batch.token_ids, batch.token_mask)
        maps, attention = self.fusion.fuse(images, words, batch.token_mask, batch.image_index)
        background, target = self.decoder(maps).unbind(dim=-1)
        # Enlarging is linear: one map of differences instead of two maps of scores.
        difference = rearrange(target - background, "b y x -> b 1 y x")
        logits = F.interpolate(difference, size=images.shape[-2:], mode="bilinear", align_corners=True)[:, 0]
        looked = {f"pixel_word_attention_{stage}": of.detach() for stage, of in enumerate(attention, start=1)}
        if torch.is_grad_enabled():  # what auxiliary losses are made of
            looked |= {"words": words, "pixels": maps[-1]}
        return Output(logits=logits, evidence=looked)

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        """Cross-entropy over two classes, written for the difference of their scores; Dice where it has a weight."""
        if batch.masks is None:
            raise InputError("LAVT learns from masks and this batch has none; give labelled samples.")
        background, target = self.config.class_weights
        weights = torch.where(batch.masks, target, background)
        signed = torch.where(batch.masks, -output.logits, output.logits).float()
        terms = {"mask": (weights * F.softplus(signed)).sum() / weights.sum()}
        if self.config.dice_weight:
            terms["dice"] = self.config.dice_weight * losses.dice(output.logits, batch.masks)
        return terms
