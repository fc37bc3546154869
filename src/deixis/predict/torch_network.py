"""A system run by PyTorch: on a device, in a dtype, compiled or not."""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor, nn

from ..batch import Batch, Output
from ..metrics.domain import DomainStatistics
from ..system import EncodesImages
from .compiled import Compiled
from .domain import distances
from .network import Answers
from .outputs import evidence_arrays, is_finite, mask_probabilities, presence_probabilities
from .processes import check_process

LARGEST_BATCH = 8  # expressions that share one pass over the image; more only cost memory
LARGEST_BATCH_OF_A_CPU = 4  # one batch of eight was measured to take longer than two of four


class TorchNetwork:
    """A `Network` that holds no state between calls."""

    def __init__(
        self, system: nn.Module, device: torch.device | str, dtype: torch.dtype | str, compiled: bool, max_tokens: int
    ) -> None:
        self.dtype = getattr(torch, dtype) if isinstance(dtype, str) else dtype
        self.device = torch.device(device)
        self.system: Any = system.to(device=self.device, dtype=self.dtype).eval()
        self._loaded_in = os.getpid()
        on_a_cpu = 1 if compiled else LARGEST_BATCH_OF_A_CPU
        self.largest_batch = on_a_cpu if self.device.type == "cpu" else LARGEST_BATCH
        # Compiled systems return evidence for `max_tokens` tokens whatever the batch has.
        self.pad_to = max_tokens if compiled else None
        self.compiled = Compiled(system, tokens=max_tokens, sentences=self.largest_batch) if compiled else None

    @property
    def computed(self) -> dict[str, Any]:
        return {
            "device": self.device.type,
            "dtype": str(self.dtype).removeprefix("torch."),
            "compiled": self.compiled is not None,
        }

    @property
    def has_presence(self) -> bool:
        return bool(getattr(getattr(self.system, "config", None), "presence", False))

    def check_process(self, name: str) -> None:
        """Also warns, once, in a forked process in which the model can run."""
        check_process(self._loaded_in, self.device, self.compiled is not None, name)

    def place(self, frames: Sequence[Float32[np.ndarray, "3 y x"]]) -> Float[Tensor, "1 t 3 y x"]:
        return torch.as_tensor(np.stack(list(frames))[None]).to(device=self.device, dtype=self.dtype)

    @torch.inference_mode()
    def encode(self, images: Float[Tensor, "1 t 3 y x"]) -> Any:
        is_shared = isinstance(self.system, EncodesImages) and self.compiled is None
        return self.system.encode_images(images) if is_shared else None

    def distances(
        self, statistics: DomainStatistics, images: Float[Tensor, "i t 3 y x"]
    ) -> Float[np.ndarray, " i"] | None:
        frames = images[:, images.shape[1] // 2].to(device=self.device, dtype=self.dtype)
        return distances(self.system, statistics, frames)

    @torch.inference_mode()
    def answer(
        self,
        images: Float[Tensor, "1 t 3 y x"],
        features: Any,
        token_ids: Int64[np.ndarray, "b l"],
        token_mask: Bool[np.ndarray, "b l"],
        *,
        explain: bool = False,
    ) -> Answers:
        return self.answer_batch(self.batch(images, token_ids, token_mask), features, explain=explain)

    @torch.inference_mode()
    def answer_batch(self, batch: Batch, features: Any = None, *, explain: bool = False) -> Answers:
        """The same for a Batch, which may be about several images."""
        if features is None:
            output = (self.compiled or self.system)(batch, explain=explain)
        else:
            output = self.system.decode_expressions(features, batch, explain=explain)
        return Answers(
            probabilities=mask_probabilities(output),
            presence=presence_probabilities(output),
            evidence=evidence_arrays(output),
            is_finite=is_finite(output),
        )

    def batch(
        self,
        images: Float[Tensor, "1 t 3 y x"],
        token_ids: Int64[np.ndarray, "b l"],
        token_mask: Bool[np.ndarray, "b l"],
    ) -> Batch:
        """The Batch of expressions about one clip."""
        return Batch(
            images=images,
            token_ids=torch.as_tensor(token_ids),
            token_mask=torch.as_tensor(token_mask),
            image_index=torch.zeros(len(token_ids), dtype=torch.long),
        ).to(self.device)

    @torch.inference_mode()
    def predict(self, batch: Batch, *, explain: bool = False) -> Output:
        placed = replace(batch, images=batch.images.to(self.dtype)).to(self.device)
        return (self.compiled or self.system)(placed, explain=explain)
