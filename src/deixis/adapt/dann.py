"""DANN: features that a discriminator cannot tell the domain of (Ganin and Lempitsky, ICML 2015).

As SDA's Appendix C.3 compares it: the source's own loss, and one discriminator for the pixels of the last map of the
vision encoder and one for the words of the query, behind a reversed gradient. The system's optimiser is Adam here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import InputError
from ..layers.domains import Domain, PairObjective
from ..records import Config


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


class DANN(PairObjective):
    """The terms of the system's own loss on the source, and `pixels` and `words`, the discriminators' losses."""

    def __init__(self, system: nn.Module, config: DANNConfig) -> None:
        super().__init__(system, config)
        visual, query = self.widths("visual", "query")
        self.pixels = _discriminator(visual, config.width, config.dropout)
        self.words = _discriminator(query, config.width, config.dropout)

    def alignment(self, source: Domain, target: Domain, step: int) -> dict[str, Tensor]:
        reversal = self.ramp(step)
        pixels = [self.some(domain.cells(), step) for domain in (source, target)]
        words = [self.some(domain.words(), step) for domain in (source, target)]
        return {
            "pixels": self.config.weight * domain_loss(self.pixels, pixels, reversal),
            "words": self.config.weight * domain_loss(self.words, words, reversal),
        }


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
