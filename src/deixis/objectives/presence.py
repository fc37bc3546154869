"""Presence alone: train a system's presence head, and leave everything else as it is.

- for a system that segments already: its masks, and so its IoU where the referent is found, do not change
- the data need sentences whose referent is in the image and others whose referent is not; hard ones differ from a right
  sentence in one word
- everything but the head is frozen and in evaluation mode, without dropout
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..batch import Batch, Output
from ..errors import InputError
from ..records import Config

HEAD = "present"  # the attribute of a system that has a presence head


@dataclass(frozen=True, kw_only=True)
class PresenceConfig(Config):
    """With `weigh_by_iou` a referent counts as much as the mask overlaps it.

    Where the mask would be elsewhere, an empty one is no worse. It makes the head reject as many absent referents as
    possible for a given loss of mean IoU; its probability is then that of a mask that is right.
    """

    weigh_by_iou: bool = False

    def build(self, system: nn.Module, vocabulary: tuple[str, ...]) -> "Presence":
        return Presence(system, self)


class Presence(nn.Module):
    """The binary cross-entropy of the presence head. Raises `InputError` for a system without one."""

    requires: tuple[str, ...] = ()
    needs_whole_batch = False
    takes_unlabelled = False

    def __init__(self, system: nn.Module, config: PresenceConfig | None = None) -> None:
        super().__init__()
        self.config = config or PresenceConfig()
        if getattr(system, HEAD, None) is None:
            raise InputError(
                f"This {type(system).__name__} has no presence head to train; add --system.presence True, or choose "
                "another objective."
            )
        self.system: Any = system
        for name, parameter in system.named_parameters():
            parameter.requires_grad_(name.startswith(f"{HEAD}."))

    def train(self, mode: bool = True) -> "Presence":
        super().train(mode)
        self.system.eval()
        getattr(self.system, HEAD).train(mode)
        return self

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        return self.terms(batch, step)

    def terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        output, masks = self._predict(batch)
        is_present = masks.flatten(1).any(1).float()
        with torch.autocast(batch.images.device.type, enabled=False):
            weights = torch.where(is_present > 0, _iou(output, masks), 1.0) if self.config.weigh_by_iou else None
            return {"presence": F.binary_cross_entropy_with_logits(_presence(output), is_present, weights)}

    @torch.no_grad()
    def scores(self, batch: Batch) -> dict[str, Tensor]:
        """The fraction of expressions of which the head is right."""
        output, masks = self._predict(batch)
        return {"presence": ((_presence(output) > 0) == masks.flatten(1).any(1)).float().mean()}

    def after_step(self, step: int) -> None:
        """Nothing follows a step."""

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Nothing precedes the first step."""

    def _predict(self, batch: Batch) -> tuple[Output, Bool[Tensor, "b h w"]]:
        if batch.masks is None:
            raise InputError("The presence of a referent is read from its mask, but this batch has none.")
        return self.system(batch), batch.masks


def _presence(output: Output) -> Float[Tensor, " b"]:
    return cast(Tensor, output.presence).float()


def _iou(output: Output, masks: Bool[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    found = output.logits > 0
    return (found & masks).flatten(1).sum(1) / (found | masks).flatten(1).sum(1).clamp(min=1)
