"""The Run that trains the predictor of the words' weights on the source (SDA, Appendix B.1 and Eq. 11).

- "we fix all other network components except for the predictor": the segmenter is inside, without gradients, in eval
  mode; only the predictor's weights are published
- the target of the predictor is ᾱ, the attention of the foreground's cells to the words
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from ...batch import Batch, Output
from ...errors import InputError, ModelError
from ...losses import cell_masks
from ...records import Config
from ...weights import read_safetensors
from .contents import Average, WordPredictor, distillation, guided_attention

LAST_WEIGHTS = Path("last/model.safetensors")  # in the folder of a Run
AROUND = ("[CLS]", "[SEP]")  # tokens that are not words


@dataclass(frozen=True, kw_only=True)
class WordWeighingConfig(Config):
    """The segmenter whose attention the predictor learns from."""

    publishes: ClassVar[tuple[str, ...]] = ("predictor.*",)  # the weights that a run saves

    segmenter: Config

    def build(self) -> "WordWeighing":
        return WordWeighing(self)

    @property
    def tokenizer(self) -> str:
        return cast(Any, self.segmenter).tokenizer

    @property
    def vocabulary_size(self) -> int:
        return cast(Any, self.segmenter).vocabulary_size

    @property
    def longest_sentence(self) -> int:
        return cast(Any, self.segmenter).longest_sentence


class WordWeighing(nn.Module):
    """A fixed segmenter and the predictor beside it; its output is the segmenter's."""

    def __init__(self, config: WordWeighingConfig) -> None:
        super().__init__()
        self.config = config
        self.segmenter: Any = cast(Any, config.segmenter).build().requires_grad_(False)
        self.predictor = WordPredictor(self.segmenter.feature_widths["embeddings"])
        self.train()

    def train(self, mode: bool = True) -> "WordWeighing":
        super().train(mode)
        self.segmenter.eval()
        return self

    @torch.no_grad()
    def forward(self, batch: Batch, *, features: Iterable[str] = (), explain: bool = False) -> Output:
        return self.segmenter(batch, features=features, explain=explain)


@dataclass(frozen=True, kw_only=True)
class WordDistillationConfig(Config):
    """`average` says what Eq. 1's attention is divided by: the foreground's cells, or all (`area`, literally)."""

    average: Average = "foreground"

    def build(self, system: nn.Module, vocabulary: tuple[str, ...]) -> "WordDistillation":
        return WordDistillation(system, self, vocabulary)


class WordDistillation(nn.Module):
    """The term `words`, Eq. 11."""

    requires: tuple[str, ...] = ("attention", "embeddings", "visual")
    needs_whole_batch = False
    takes_unlabelled = False

    def __init__(self, system: nn.Module, config: WordDistillationConfig, vocabulary: tuple[str, ...]) -> None:
        super().__init__()
        if not isinstance(system, WordWeighing):
            raise ModelError(
                f"WordDistillation trains the predictor of a WordWeighing, not a {type(system).__name__}; give the run "
                "the system WordWeighingConfig(segmenter=…)."
            )
        self.system = system
        self.config = config
        self.around = around(vocabulary)

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        return self.terms(batch, step)

    def terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        if batch.masks is None:
            raise InputError("The predictor of words learns from masks, but this batch has none; use labelled samples.")
        output = self.system(batch, features=self.requires)
        with torch.autocast(batch.images.device.type, enabled=False):
            output = output.float()
            guided, is_seen = guided_words(output, batch, self.config.average)
            is_word = real_words(batch, self.around)
            predicted = self.system.predictor(output.features["embeddings"], is_word)
            # A sample without foreground says nothing about its words.
            loss = distillation(predicted[is_seen], guided[is_seen], is_word[is_seen]) if is_seen.any() else None
            return {"words": predicted.sum() * 0.0 if loss is None else loss}

    def after_step(self, step: int) -> None:
        """Nothing follows a step."""

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Nothing precedes the first step."""


def guided_words(output: Output, batch: Batch, average: Average) -> tuple[Tensor, Bool[Tensor, " b"]]:
    """ᾱ `[b l]` of the masks' foreground (before Eq. 1), and whether a sample has a foreground."""
    assert batch.masks is not None
    height, width = output.features["visual"].shape[-2:]
    foreground = cell_masks(batch.masks, (height, width)).flatten(1)
    return guided_attention(output.features["attention"], foreground, average), foreground.any(dim=1)


def around(vocabulary: tuple[str, ...]) -> tuple[int, ...]:
    """The ids of tokens that every expression has around its words."""
    return tuple(number for number, word in enumerate(vocabulary) if word in AROUND)


def real_words(batch: Batch, around: tuple[int, ...]) -> Bool[Tensor, "b l"]:
    """Which tokens are words; where an expression has none, all of its tokens."""
    edges = torch.tensor(around, device=batch.token_ids.device, dtype=batch.token_ids.dtype)
    words = batch.token_mask & ~torch.isin(batch.token_ids, edges)
    return torch.where(words.any(dim=1, keepdim=True), words, batch.token_mask)


def trained_predictor(folder: Path, width: int) -> WordPredictor:
    """The predictor that a Run trained. Raises `InputError` where the folder has none, or one of another width."""
    file = folder / LAST_WEIGHTS
    if not file.is_file():
        raise InputError(f"There is no predictor of words in {folder}; train the Run that makes it first.")
    weights = {name.removeprefix("predictor."): tensor for name, tensor in read_safetensors(file).items()}
    predictor = WordPredictor(width)
    try:
        predictor.load_state_dict(weights)
    except RuntimeError:
        raise InputError(
            f"The predictor in {folder} does not fit words of {width} numbers; train it on the same system."
        ) from None
    return predictor.requires_grad_(False).eval()
