"""Mask grounding: predict words that were masked in an expression, from its referent (Chng et al., CVPR 2024).

- words are replaced by [MASK] before the text encoder reads them; later, their neighbours would already contain them
- [MASK] is a token of the vocabulary that published BERTs were pre-trained with, so the system needs no new weights
- a predictor of BERT layers reads the system's features of the corrupted expression and of the pixels, and one token
  that encodes the mask of the referent; the loss is the mean cross-entropy over all masked words
- one forward serves both: the system's own loss is computed from the corrupted expression, so it learns to segment with
  a word missing; each expression of two words or more lacks one, except those that a `fraction` below 1 spares
- where the paper is silent: pixels get sines of their positions, without which the token's centre has no meaning; words
  and pixels are projected with a bias, and all tokens are normalised before the first layer; words of an expression
  with an empty mask are replaced too, or [MASK] would reveal to a presence head that the referent is there, but they
  are not predicted; an unknown word ([UNK]) is never replaced
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast, get_args

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from ..batch import Batch
from ..errors import InputError, did_you_mean
from ..layers.attention import additive
from ..layers.mask_encoders import MaskDescription, mask_encoder
from ..layers.pixel_decoder import sines
from ..records import Config
from ..text.bert import BertLayer

MASK = "[MASK]"
NOT_PREDICTED = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", MASK)


@dataclass(frozen=True, kw_only=True)
class MaskGroundingConfig(Config):
    """The defaults are the published ones, for a BERT-base; `encoder` is how the predictor's token encodes the mask."""

    probability: float = 0.15  # of each word; of two words or more, at least one is replaced
    fraction: float = 1.0  # of the expressions in which words are replaced
    encoder: MaskDescription = "centre"
    layers: int = 8
    width: int = 768
    heads: int = 12
    feed_forward: int = 3072
    dropout: float = 0.1
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.encoder not in (known := get_args(MaskDescription)):
            raise InputError(f"Mask grounding has no encoder {self.encoder!r}. {did_you_mean(self.encoder, known)}")
        if not (0 <= self.probability <= 1 and 0 < self.fraction <= 1 and 0 <= self.dropout < 1 and self.weight >= 0):
            raise InputError(
                f"Mask grounding's probability is {self.probability}, its fraction {self.fraction}, its dropout "
                f"{self.dropout} and its weight {self.weight}; expected a probability and a fraction from 0 to 1, the "
                "fraction above 0, a dropout below 1 and a weight of 0 or more."
            )
        if min(self.layers, self.width, self.heads, self.feed_forward) < 1 or self.width % self.heads or self.width % 4:
            raise InputError(
                f"The predictor has {self.layers} layers of width {self.width}, {self.heads} heads and a feed-forward "
                f"width of {self.feed_forward}; expected positive numbers, and a width that 4 and the heads divide."
            )

    def build(self, system: nn.Module, vocabulary: tuple[str, ...]) -> "MaskGrounding":
        return MaskGrounding(system, self, vocabulary)


class MaskGrounding(nn.Module):
    """The system's own terms on corrupted expressions, and `grounding`. Needs the features `query` and `visual`."""

    needs_whole_batch = False
    takes_unlabelled = False

    def __init__(self, system: nn.Module, config: MaskGroundingConfig, vocabulary: Sequence[str]) -> None:
        super().__init__()
        if MASK not in vocabulary:
            raise InputError(
                f"Mask grounding replaces words by {MASK}, which this vocabulary of {len(vocabulary)} lacks; add it."
            )
        self.system: Any = system
        widths, loss_features = cast(Any, system).feature_widths, cast(Any, system).loss_features
        if not {"query", "visual"} <= widths.keys():
            raise InputError(
                f"Mask grounding needs the features query and visual, but {type(system).__name__} has "
                f"{', '.join(widths) or 'none'}; choose LAVT, MagNet or VEGA, or train without mask grounding."
            )
        self.config = config
        self.requires = tuple(dict.fromkeys(("query", "visual", *loss_features)))
        self.predictor = WordPredictor(config, widths["query"], widths["visual"], len(vocabulary))
        self.mask_id = list(vocabulary).index(MASK)
        replaceable = torch.tensor([token not in NOT_PREDICTED for token in vocabulary])
        self.register_buffer("replaceable", replaceable, persistent=False)
        self.replaceable: Tensor

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        return self.terms(batch, step)

    def terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        if batch.masks is None:
            raise InputError("Mask grounding needs masks, but this batch has none; use labelled samples.")
        replaced = self.draw(batch)
        corrupted = replace(batch, token_ids=batch.token_ids.masked_fill(replaced, self.mask_id))
        output = self.system(corrupted, features=self.requires)
        predicted = replaced & batch.masks.flatten(1).any(dim=1, keepdim=True)  # an empty mask tells no word
        query, visual = output.features["query"], output.features["visual"]
        logits = self.predictor(query, batch.token_mask, visual, batch.masks, predicted)
        with torch.autocast(batch.images.device.type, enabled=False):
            terms = self.system.loss(corrupted, output.float())
            return {**terms, "grounding": self.config.weight * mean_nll(logits.float(), batch.token_ids[predicted])}

    def after_step(self, step: int) -> None:
        """Nothing follows a step."""

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Nothing precedes the first step."""

    @torch.no_grad()
    def draw(self, batch: Batch) -> Bool[Tensor, "b l"]:
        """The words to replace, drawn from torch's global generator. The word of a one-word expression may stay."""
        device = batch.token_ids.device
        chosen = torch.rand(len(batch), device=device) < self.config.fraction
        free = batch.token_mask & self.replaceable[batch.token_ids] & chosen[:, None]
        keys = torch.rand(batch.token_ids.shape, device=device).masked_fill(~free, 2.0)
        smallest = keys == keys.min(dim=1, keepdim=True).values
        has_several = free.sum(dim=1, keepdim=True) > 1
        return free & ((keys < self.config.probability) | (smallest & has_several))


class WordPredictor(nn.Module):
    """BERT layers over words, pixels and a token of the mask; the logits of the words that were replaced."""

    def __init__(self, config: MaskGroundingConfig, word_width: int, pixel_width: int, vocabulary: int) -> None:
        super().__init__()
        width = config.width
        self.words = nn.Linear(word_width, width)
        self.pixels = nn.Linear(pixel_width, width)
        self.target = mask_encoder(config.encoder, width)
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(
            BertLayer(width, config.heads, config.feed_forward, config.dropout) for _ in range(config.layers)
        )
        self.identity = nn.Linear(width, vocabulary)
        # With smaller weights the pixels of the referent hardly differ, and predictions stay at the words' frequencies.
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(
        self,
        query: Float[Tensor, "b l d"],
        token_mask: Bool[Tensor, "b l"],
        visual: Float[Tensor, "b e y x"],
        masks: Bool[Tensor, "b h w"],
        predicted: Bool[Tensor, "b l"],
    ) -> Float[Tensor, "k vocabulary"]:
        """One row for each token of `predicted`, in the order of `query[predicted]`."""
        height, width = visual.shape[2:]
        cells = self.pixels(rearrange(visual, "b e y x -> b (y x) e"))
        cells = cells + sines(height, width, cells.shape[-1], str(cells.device)).to(cells.dtype)
        features = self.norm(torch.cat([self.words(query), cells, self.target(masks)[:, None]], dim=1))
        visible = F.pad(token_mask, (0, features.shape[1] - token_mask.shape[1]), value=True)
        bias = additive(visible, features.dtype)[:, None, None]
        for layer in self.layers:
            features = layer(features, bias)
        return self.identity(features[:, : query.shape[1]][predicted])


def mean_nll(logits: Float[Tensor, "k vocabulary"], token_ids: Int64[Tensor, " k"]) -> Float[Tensor, ""]:
    """The mean negative log-likelihood of the replaced words; 0, with a gradient of 0, where none was replaced."""
    return F.cross_entropy(logits, token_ids) if len(token_ids) else logits.sum() * 0.0
