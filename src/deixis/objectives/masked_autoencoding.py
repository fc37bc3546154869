"""Masked autoencoding (He et al., CVPR 2022): predict the pixels of removed patches, to pre-train an image encoder.

- three of four patches are removed, others in every step; the encoder reads what is left
- the target is the patch's pixels, each patch normalised by its own mean and deviation, as published
- neither sentences nor masks are read
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn

from ..batch import Batch
from ..errors import InputError
from ..records import Config

EPSILON = 1e-6  # added to a patch's variance, as published


@dataclass(frozen=True, kw_only=True)
class MaskedAutoencodingConfig(Config):
    """The fraction of the patches that is removed."""

    removed: float = 0.75

    def __post_init__(self) -> None:
        if not 0 < self.removed < 1:
            raise InputError(f"The removed fraction is {self.removed}; expected a number between 0 and 1.")

    def build(self, system: nn.Module, vocabulary: tuple[str, ...]) -> "MaskedAutoencoding":
        return MaskedAutoencoding(system, self)


class MaskedAutoencoding(nn.Module):
    """The mean squared error of the removed patches' pixels, of a system such as `models/masked_autoencoder.py`."""

    requires: tuple[str, ...] = ()
    needs_whole_batch = False
    takes_unlabelled = True

    def __init__(self, system: nn.Module, config: MaskedAutoencodingConfig | None = None) -> None:
        super().__init__()
        self.system: Any = system
        self.config = config or MaskedAutoencodingConfig()

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        return self.terms(batch, step)

    def terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        images = batch.target_frames()
        patch = self.system.config.vision.patch
        if images.shape[-2] % patch or images.shape[-1] % patch:
            raise InputError(
                f"Images of {images.shape[-2]} x {images.shape[-1]} pixels have no whole number of patches of {patch}; "
                "set preprocess.image_size to a multiple."
            )
        target = normalised_patches(images, patch)
        order = self._order(target.shape[0], target.shape[1], images.device)
        count = self._kept(order.shape[1])
        kept, removed = order[:, :count], order[:, count:]
        painted = self.system(images, kept).float()
        index = removed[..., None].expand(-1, -1, target.shape[-1])
        return {"reconstruction": (painted.gather(1, index) - target.gather(1, index)).square().mean()}

    def after_step(self, step: int) -> None:
        """Nothing follows a step."""

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Nothing precedes the first step."""

    def _kept(self, patches: int) -> int:
        """At least one patch is kept, and at least one removed."""
        return min(max(1, round(patches * (1 - self.config.removed))), patches - 1)

    def _order(self, images: int, patches: int, device: torch.device) -> Int64[Tensor, "i n"]:
        """A random order of each image's patches; in validation the same ones each time."""
        generator = None if self.training else torch.Generator().manual_seed(0)
        return torch.rand(images, patches, generator=generator).argsort(1).to(device)


def normalised_patches(images: Float[Tensor, "i 3 h w"], patch: int) -> Float[Tensor, "i n p"]:
    """Each patch's pixels, less their mean and over their deviation."""
    pixels = rearrange(images.float(), "i c (y p) (x q) -> i (y x) (p q c)", p=patch, q=patch)
    variance, mean = torch.var_mean(pixels, -1, keepdim=True)
    return (pixels - mean) / (variance + EPSILON).sqrt()
