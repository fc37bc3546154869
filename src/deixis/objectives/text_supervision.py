"""SaG's training from sentences alone: a contrast of images and a reconstruction of the image's features.

- every sentence is fused with every image of the batch; its own image must match it best (InfoNCE over images)
- the slots of an image must suffice to reconstruct the features of its patches
- as published, each sentence has a copy of its image, so two sentences of one image are each other's negatives;
  distinct images in a batch avoid that
- as published, the loss is warmed up rather than the learning rate
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..batch import Batch
from ..errors import InputError
from ..layers.gather import gather
from ..records import Config


@dataclass(frozen=True, kw_only=True)
class TextSupervisionConfig(Config):
    """The weights of the losses, and the number of steps over which both rise to them; the defaults are as published.

    The products of the contrast are divided by `temperature`. With `detached` a sentence's embedding is a target that
    only the fusion trains, as published; a text encoder that is not pre-trained learns faster without it. In training a
    random `reconstructed` fraction of the patches, the same of every image, is reconstructed: most of the decoder's
    time is saved, and the loss has the same mean. With `shared_images` the sentences about one image share it: it is
    encoded once and is not a negative of its own sentences, as the copies of the published code are.
    """

    contrastive_weight: float = 1.0
    reconstruction_weight: float = 1.0
    warmup_steps: int = 5000
    temperature: float = 1.0
    detached: bool = True
    reconstructed: float = 1.0
    shared_images: bool = False

    def __post_init__(self) -> None:
        for name in ("contrastive_weight", "reconstruction_weight", "warmup_steps"):
            if not (value := getattr(self, name)) >= 0:
                raise InputError(f"{name} is {value}; expected 0 or more.")
        if not self.temperature > 0:
            raise InputError(f"temperature is {self.temperature}; expected a positive number.")
        if not 0 < self.reconstructed <= 1:
            raise InputError(f"reconstructed is {self.reconstructed}; expected a fraction of the patches, up to 1.")

    def build(self, system: nn.Module, vocabulary: tuple[str, ...]) -> "TextSupervision":
        return TextSupervision(system, self)


class TextSupervision(nn.Module):
    """The losses of a system with `match`, `reconstruct` and the features in `requires`; no mask is read."""

    needs_whole_batch = True
    smallest_batch = 2
    takes_unlabelled = True
    requires: tuple[str, ...] = ("sentence", "slots", "patches")

    def __init__(self, system: nn.Module, config: TextSupervisionConfig | None = None) -> None:
        super().__init__()
        if not hasattr(system, "match"):
            raise InputError(f"{type(system).__name__} does not fuse sentences with other images; train SaG this way.")
        self.system: Any = system
        self.config = config or TextSupervisionConfig()

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        return self.terms(batch, step)

    def terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        is_shared = self.config.shared_images
        if self.training and not is_shared:
            # The means of the losses are then over sentences, and each process has as many images as sentences.
            batch = batch.with_own_images()
        found = self.system(batch, features=self.requires).float().features
        sentences, slots, own = found["sentence"], found["slots"], _own_images(batch)
        if self.training:
            if is_shared:
                _check_one_process()
            else:
                sentences, slots = gather(sentences), gather(slots)
                own = torch.arange(len(slots), device=slots.device)
            if len(slots) < 2:
                raise InputError("A batch of 1 image has nothing to contrast; set schedule.batch_size to 2 or more.")
        matches = self.system.match(sentences, slots).float()
        targets = sentences.detach() if self.config.detached else sentences
        with torch.autocast(batch.images.device.type, enabled=False):
            contrastive = image_contrast(targets / self.config.temperature, matches, own)
        reconstruction = self._reconstruction(found["slots"], found["patches"])
        warm = min(1.0, (step + 1) / self.config.warmup_steps) if self.config.warmup_steps and self.training else 1.0
        return {
            "contrastive": warm * self.config.contrastive_weight * contrastive,
            "reconstruction": warm * self.config.reconstruction_weight * reconstruction,
        }

    def _reconstruction(self, slots: Float[Tensor, "i k d"], patches: Float[Tensor, "i y x c"]) -> Float[Tensor, ""]:
        """The mean squared error of the patches, or of some of them."""
        rows, columns = patches.shape[1:3]
        targets = rearrange(patches.detach(), "i y x c -> i (y x) c")
        cells = None
        if self.training and self.config.reconstructed < 1:
            count = max(1, round(self.config.reconstructed * rows * columns))
            cells = torch.randperm(rows * columns, device=slots.device)[:count]
            targets = targets[:, cells]
        return F.mse_loss(self.system.reconstruct(slots, rows, columns, cells).float(), targets)

    def after_step(self, step: int) -> None:
        """Nothing follows a step."""

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Nothing precedes the first step."""


def image_contrast(
    sentences: Float[Tensor, "b d"], matches: Float[Tensor, "b i d"], own: Int[Tensor, " b"]
) -> Float[Tensor, ""]:
    """Cross-entropy over the images: each sentence's product with its fusion with its own one must be the largest."""
    return F.cross_entropy((matches @ sentences[..., None])[..., 0], own)


def _check_one_process() -> None:
    """Processes may have different numbers of images, which cannot be gathered."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        raise InputError(
            "Several processes cannot share the images of their sentences; train in one process, or set "
            "objective.shared_images to False."
        )


def _own_images(batch: Batch) -> Int[Tensor, " b"]:
    if batch.image_index is not None:
        return batch.image_index
    return torch.arange(len(batch), device=batch.token_ids.device)
