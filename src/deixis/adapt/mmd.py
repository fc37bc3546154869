"""MMD: the maximum mean discrepancy of pixels and of words between two domains (Long et al., ICML 2015).

As SDA's Appendix C.3 compares it: the source's own loss, and the discrepancy of the last map of the vision encoder and
of the query features. Weights and schedule are ours, because no source prints them.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from .. import losses
from ..batch import Domains, Pair
from ..errors import InputError
from ..layers.domains import cells, compared_rows, joined, parted, ramp, words
from ..records import Config


@dataclass(frozen=True, kw_only=True)
class MMDConfig(Config):
    """`num_steps` is the length of the training, over which the weight grows; None takes the Run's.

    At most `most` cells and words of a domain are compared, drawn anew in every step.
    """

    num_steps: int | None = None
    weight: float = 0.1
    most: int = 1024
    seed: int = 0

    def __post_init__(self) -> None:
        counts = [each for each in (self.num_steps, self.most) if each is not None]
        if min(counts) < 1 or not self.weight >= 0:
            raise InputError(
                f"MMD's num_steps are {self.num_steps}, its most {self.most} and its weight {self.weight}; expected "
                "positive numbers and a weight of 0 or more."
            )

    def build(self, system: nn.Module, vocabulary: tuple[str, ...]) -> "MMD":
        return MMD(system, self)


class MMD(nn.Module):
    """The terms of the system's own loss on the source, and `pixels` and `words`, discrepancies of the two domains."""

    needs_whole_batch = True
    takes_unlabelled = False  # the source has masks, the target none
    takes_pairs = True

    def __init__(self, system: nn.Module, config: MMDConfig) -> None:
        super().__init__()
        self.system: Any = system
        self.config = config
        self.requires: tuple[str, ...] = (*cast(Any, system).loss_features, "visual", "query")

    def forward(self, batch: Pair, step: int) -> dict[str, Tensor]:
        return self.terms(batch, step)

    def terms(self, batch: Pair, step: int) -> dict[str, Tensor]:
        output = self.system(joined(batch), features=self.requires)
        with torch.autocast(batch.source.images.device.type, enabled=False):
            source, target = parted(output.float(), len(batch.source))
            terms: dict[str, Tensor] = self.system.loss(batch.source, source)
            weight = self.config.weight * ramp(step, self.config.num_steps)
            domains = ((source, batch.source), (target, batch.target))
            pixel_rows = [self._rows(torch.cat(cells(each.features["visual"], of)), step) for each, of in domains]
            word_rows = [self._rows(words(each.features["query"], of), step) for each, of in domains]
            return terms | {"pixels": weight * losses.mmd(*pixel_rows), "words": weight * losses.mmd(*word_rows)}

    def _rows(self, own: Tensor, step: int) -> Tensor:
        return compared_rows(own, self.config.most, self.config.seed + step, is_training=self.training)

    def after_step(self, step: int) -> None:
        """Nothing follows a step."""

    def prepare(self, batches: Domains) -> None:
        """Nothing precedes the first step."""
