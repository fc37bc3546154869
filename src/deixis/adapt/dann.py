"""DANN: features that a discriminator cannot tell the domain of (Ganin and Lempitsky, ICML 2015).

As SDA's Appendix C.3 compares it: the source's own loss, and one discriminator for the pixels of the last map of the
vision encoder and one for the words of the query, behind a reversed gradient. The system's optimiser is Adam here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..batch import Domains, Pair
from ..errors import InputError
from ..layers.domains import cells, compared_rows, joined, parted, ramp, words
from ..records import Config
from ..system import chosen_features


@dataclass(frozen=True, kw_only=True)
class DANNConfig(Config):
    """`num_steps` is the length of the training, over which the reversal grows; None takes the Run's.

    `width` is the discriminators'.
    """

    num_steps: int | None = None
    weight: float = 0.1
    width: int = 1024
    dropout: float = 0.5
    most: int = 1024
    seed: int = 0

    def __post_init__(self) -> None:
        counts = [each for each in (self.num_steps, self.most, self.width) if each is not None]
        if min(counts) < 1 or not self.weight >= 0 or not 0 <= self.dropout < 1:
            raise InputError(
                f"DANN's num_steps are {self.num_steps}, its most {self.most}, its width {self.width}, its weight "
                f"{self.weight} and its dropout {self.dropout}; expected positive numbers, a weight of 0 or more and a "
                "probability below 1."
            )

    def build(self, system: nn.Module, vocabulary: tuple[str, ...]) -> "DANN":
        return DANN(system, self)


class DANN(nn.Module):
    """The terms of the system's own loss on the source, and `pixels` and `words`, the discriminators' losses."""

    needs_whole_batch = True
    takes_unlabelled = False  # the source has masks, the target none
    takes_pairs = True

    def __init__(self, system: nn.Module, config: DANNConfig) -> None:
        super().__init__()
        self.system: Any = system
        self.config = config
        self.requires: tuple[str, ...] = (*cast(Any, system).loss_features, "visual", "query")
        offered = {name: partial(int, width) for name, width in cast(Any, system).feature_widths.items()}
        widths = chosen_features(("visual", "query"), offered, type(system).__name__)
        self.pixels = _discriminator(widths["visual"], config.width, config.dropout)
        self.words = _discriminator(widths["query"], config.width, config.dropout)

    def forward(self, batch: Pair, step: int) -> dict[str, Tensor]:
        return self.terms(batch, step)

    def terms(self, batch: Pair, step: int) -> dict[str, Tensor]:
        output = self.system(joined(batch), features=self.requires)
        with torch.autocast(batch.source.images.device.type, enabled=False):
            source, target = parted(output.float(), len(batch.source))
            terms: dict[str, Tensor] = self.system.loss(batch.source, source)
            reversal = ramp(step, self.config.num_steps)
            domains = ((source, batch.source), (target, batch.target))
            pixel_rows = [self._rows(torch.cat(cells(each.features["visual"], of)), step) for each, of in domains]
            word_rows = [self._rows(words(each.features["query"], of), step) for each, of in domains]
            return terms | {
                "pixels": self.config.weight * domain_loss(self.pixels, pixel_rows, reversal),
                "words": self.config.weight * domain_loss(self.words, word_rows, reversal),
            }

    def _rows(self, own: Tensor, step: int) -> Tensor:
        return compared_rows(own, self.config.most, self.config.seed + step, is_training=self.training)

    def after_step(self, step: int) -> None:
        """Nothing follows a step."""

    def prepare(self, batches: Domains) -> None:
        """Nothing precedes the first step."""


def domain_loss(
    discriminator: nn.Module, domains: Sequence[Float[Tensor, "_ d"]], reversal: float
) -> Float[Tensor, ""]:
    """½ (BCE(source, 1) + BCE(target, 0)); the features receive the gradient times minus `reversal`."""
    source, target = (discriminator(_Reversed.apply(rows, reversal)) for rows in domains)
    # BCE of the label 1 is softplus(-logit), of the label 0 softplus(logit).
    return (F.softplus(-source).mean() + F.softplus(target).mean()) / 2


class _Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, reversal: float) -> Tensor:
        ctx.reversal = reversal
        return rows.view_as(rows)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.reversal * gradient, None


def _discriminator(inputs: int, width: int, dropout: float) -> nn.Sequential:
    first = (nn.Linear(inputs, width), nn.ReLU(), nn.Dropout(dropout))
    return nn.Sequential(*first, nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, 1))
