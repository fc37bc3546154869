"""Dense classes: predict the value of each attribute at every fourth pixel, to pre-train an image encoder.

- the system maps images or clips `[i t 3 h w]` to the logits of each attribute, `[i classes y x]` at stride 4
- `Batch.targets` holds the classes of each attribute at the size of the images; class 0 is the background
- the background has a smaller weight, because it covers most pixels
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from ..batch import Batch
from ..errors import InputError
from ..records import Config

STRIDE = 4


@dataclass(frozen=True, kw_only=True)
class DenseClassesConfig(Config):
    """The weight of the background in the cross-entropy; all other classes weigh 1."""

    background_weight: float = 0.3

    def __post_init__(self) -> None:
        if not self.background_weight >= 0:
            raise InputError(f"background_weight is {self.background_weight}; expected 0 or more.")

    def build(self, system: nn.Module, vocabulary: tuple[str, ...]) -> "DenseClasses":
        return DenseClasses(system, self)


class DenseClasses(nn.Module):
    """One cross-entropy term per attribute of the system, and each attribute's accuracy as a score."""

    requires: tuple[str, ...] = ()
    needs_whole_batch = False
    takes_unlabelled = False

    def __init__(self, system: nn.Module, config: DenseClassesConfig | None = None) -> None:
        super().__init__()
        self.config = config or DenseClassesConfig()
        self.system = system

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        return self.terms(batch, step)

    def terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        logits, classes = self._predict(batch)
        with torch.autocast(batch.images.device.type, enabled=False):
            return {name: self._cross_entropy(each.float(), classes[name]) for name, each in logits.items()}

    @torch.no_grad()
    def scores(self, batch: Batch) -> dict[str, Tensor]:
        """For each attribute, the fraction of the pixels outside the background that get the correct class."""
        logits, classes = self._predict(batch)
        found = {}
        for name, each in logits.items():
            inside = classes[name] > 0
            correct = (each.argmax(1) == classes[name]) & inside
            found[f"accuracy/{name}"] = correct.sum() / inside.sum().clamp(min=1)
        return found

    def after_step(self, step: int) -> None:
        """Nothing follows a step."""

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Nothing precedes the first step."""

    def _predict(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Int64[Tensor, "b y x"]]]:
        logits = {name: batch.expand(each) for name, each in self.system(batch.images).items()}
        if missing := [name for name in logits if name not in batch.targets]:
            raise InputError(
                f"The system predicts {', '.join(logits)}, but the samples have no classes of {', '.join(missing)}; "
                "use a data set with these dense classes."
            )
        middle = slice(STRIDE // 2, None, STRIDE)
        return logits, {name: batch.targets[name][:, middle, middle].long() for name in logits}

    def _cross_entropy(
        self, logits: Float[Tensor, "b classes y x"], classes: Int64[Tensor, "b y x"]
    ) -> Float[Tensor, ""]:
        weight = torch.ones(logits.shape[1], device=logits.device)
        weight[0] = self.config.background_weight
        return F.cross_entropy(logits, classes, weight=weight)
