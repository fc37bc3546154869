"""Mask grounding: guess the words that were taken out of a sentence, from what it points at (Chng et al., CVPR 2024).

- words of the expression are replaced by [MASK] before the text encoder reads them; later would be too late, for
  their neighbours would already know them
- [MASK] is a word of the vocabulary, with an embedding that the text encoder learns and that published BERTs were
  pre-trained with: any system takes it as it takes every word, and nothing is added to its weights
- a predictor of BERT layers reads the words and pixels that the wrapped system made of the corrupted sentence, and a
  token that says where the target lies, and guesses each missing word among the vocabulary: cross-entropy, the mean
  over all missing words
- one forward serves both: the system's own loss is of the corrupted sentence too, so it learns to point with a word
  missing; every sentence of two words or more then lacks one, but for those that a `share` below 1 leaves as they are
- training only: out of training it answers as the wrapped system does, whose weights and names stay as they were
- where the paper is silent: pixels carry the sines of their places, or else a centre would point nowhere; words and
  pixels are projected with a bias, and all tokens are normalised before the first layer; an expression whose target is
  empty loses words as the others do, or [MASK] would tell a presence head who is there, but nobody guesses them; an
  unknown word ([UNK]) is never taken out
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast, get_args

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertConfig as PublishedConfig
from transformers.models.bert.modeling_bert import BertLayer

from ..batch import Batch, Output
from ..errors import InputError, did_you_mean
from ..layers.attention import additive
from ..layers.mask_encoders import MaskDescription, mask_encoder
from ..layers.pixel_decoder import sines

MASK = "[MASK]"
NEVER = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", MASK)  # these stand for no word that could be guessed


@dataclass(frozen=True, kw_only=True)
class GroundingConfig:
    """The defaults are the published ones, beside a BERT-base; `encoder` is what the predictor knows of the target."""

    probability: float = 0.15  # of each word; at least one of two or more is taken out
    share: float = 1.0  # of the expressions lose words at all
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
        if not (0 <= self.probability <= 1 and 0 < self.share <= 1 and 0 <= self.dropout < 1 and self.weight >= 0):
            raise InputError(
                "Mask grounding wants a probability and a share from 0 to 1, the share above 0, a dropout below 1 and "
                f"a weight of 0 or more, not {self.probability}, {self.share}, {self.dropout} and {self.weight}."
            )
        if min(self.layers, self.width, self.heads, self.feed_forward) < 1 or self.width % self.heads or self.width % 4:
            raise InputError(
                f"The predictor of {self.layers} layers, width {self.width}, {self.heads} heads and feed-forward "
                f"{self.feed_forward} cannot be built; give positive numbers, and a multiple of 4 and of the heads."
            )


class MaskGrounding(nn.Module):
    """A system with one more loss term, `grounding`; it must show `words` and `pixels` while gradients are on."""

    def __init__(
        self, system: nn.Module, config: GroundingConfig, vocabulary: Sequence[str], word_width: int, pixel_width: int
    ) -> None:
        super().__init__()
        if MASK not in vocabulary:
            raise InputError(
                f"Mask grounding replaces words by {MASK}, which this vocabulary of {len(vocabulary)} lacks; add it."
            )
        self.config = config
        self.system = system
        self.predictor = WordPredictor(config, word_width, pixel_width, len(vocabulary))
        self.mask_word = list(vocabulary).index(MASK)
        guessable = torch.tensor([word not in NEVER for word in vocabulary])
        self.register_buffer("guessable", guessable, persistent=False)
        self.guessable: Tensor

    def forward(self, batch: Batch) -> Output:
        if not (self.training and torch.is_grad_enabled()):
            return self.system(batch)
        if batch.masks is None:
            raise InputError("Mask grounding learns from masks and this batch has none; give labelled samples.")
        replaced = self.draw(batch)
        output = self.system(self._without(batch, replaced))
        if not {"words", "pixels"} <= output.evidence.keys():
            raise InputError(
                f"Mask grounding reads a system's words and pixels, and {type(self.system).__name__} shows "
                f"{', '.join(output.evidence) or 'nothing'}; let its evidence hold both while gradients are on."
            )
        words, pixels = output.evidence["words"], output.evidence["pixels"]
        asked = replaced & batch.masks.flatten(1).any(dim=1, keepdim=True)  # nothing tells what is not there
        guesses = self.predictor(words, batch.token_mask, pixels, batch.masks, asked)
        return replace(output, evidence=output.evidence | {"replaced": replaced, "asked": asked, "guesses": guesses})

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        """The wrapped system's terms and `grounding`; without it where nothing was replaced because nobody trained."""
        system = cast(Any, self.system)
        if "guesses" not in output.evidence:
            return system.loss(batch, output)
        asked, guesses = output.evidence["asked"], output.evidence["guesses"]
        terms = system.loss(self._without(batch, output.evidence["replaced"]), output)  # as the system read it
        right = batch.token_ids[asked]
        surprise = F.cross_entropy(guesses.float(), right) if len(right) else guesses.sum() * 0.0
        return {**terms, "grounding": self.config.weight * surprise}

    @torch.no_grad()
    def draw(self, batch: Batch) -> Bool[Tensor, "b l"]:
        """The words to take out; torch's global generator draws them. A sentence of one word may keep it."""
        device = batch.token_ids.device
        chosen = torch.rand(len(batch), device=device) < self.config.share
        free = batch.token_mask & self.guessable[batch.token_ids] & chosen[:, None]
        luck = torch.rand(batch.token_ids.shape, device=device).masked_fill(~free, 2.0)
        least = luck == luck.min(dim=1, keepdim=True).values
        several = free.sum(dim=1, keepdim=True) > 1
        return free & ((luck < self.config.probability) | (least & several))

    def _without(self, batch: Batch, replaced: Bool[Tensor, "b l"]) -> Batch:
        return replace(batch, token_ids=batch.token_ids.masked_fill(replaced, self.mask_word))


class WordPredictor(nn.Module):
    """BERT layers over words, pixels and the target's token; the identity of the words that were replaced."""

    def __init__(self, config: GroundingConfig, word_width: int, pixel_width: int, vocabulary: int) -> None:
        super().__init__()
        width = config.width
        self.words = nn.Linear(word_width, width)
        self.pixels = nn.Linear(pixel_width, width)
        self.target = mask_encoder(config.encoder, width)
        self.norm = nn.LayerNorm(width)
        published = PublishedConfig(
            hidden_size=width,
            num_attention_heads=config.heads,
            intermediate_size=config.feed_forward,
            hidden_dropout_prob=config.dropout,
            attention_probs_dropout_prob=config.dropout,
        )
        published._attn_implementation = "sdpa"
        self.layers = nn.ModuleList(BertLayer(published) for _ in range(config.layers))
        self.identity = nn.Linear(width, vocabulary)
        # Smaller weights hide which pixels the target's token means: guesses then stay at the words' frequencies.
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(
        self,
        words: Float[Tensor, "b l d"],
        token_mask: Bool[Tensor, "b l"],
        pixels: Float[Tensor, "b y x e"],
        masks: Bool[Tensor, "b h w"],
        replaced: Bool[Tensor, "b l"],
    ) -> Float[Tensor, "k vocabulary"]:
        """One row for each replaced word, in the order of `words[replaced]`."""
        height, width = pixels.shape[1:3]
        cells = rearrange(self.pixels(pixels), "b y x d -> b (y x) d")
        cells = cells + sines(height, width, cells.shape[-1], str(cells.device)).to(cells.dtype)
        features = self.norm(torch.cat([self.words(words), cells, self.target(masks)[:, None]], dim=1))
        visible = F.pad(token_mask, (0, features.shape[1] - token_mask.shape[1]), value=True)
        bias = additive(visible, features.dtype)[:, None, None]
        for layer in self.layers:
            features = layer(features, bias)
        return self.identity(features[:, : words.shape[1]][replaced])
