"""What runs a system for a Segmenter: PyTorch, or the runtime of an exported file; NumPy in, NumPy out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64

from ..metrics.domain import DomainStatistics


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a system computed for some expressions about one image."""

    probabilities: Float32[np.ndarray, "b y x"]  # at the size that the system reads
    presence: Float[np.ndarray, " b"] | None = None  # before any calibration
    evidence: Mapping[str, np.ndarray] = field(default_factory=dict)
    is_finite: bool = True


@runtime_checkable
class Network(Protocol):
    """A system that is ready to run.

    `largest_batch` is the most expressions that share a call, `pad_to` the number of tokens where it is fixed.
    `computed` is what rounding depends on.
    """

    device: Any
    dtype: Any
    largest_batch: int
    pad_to: int | None

    @property
    def computed(self) -> dict[str, Any]: ...

    @property
    def has_presence(self) -> bool: ...

    def check_process(self, name: str) -> None:
        """Raises `ModelError` where the model `name` cannot run in this process, which was forked."""
        ...

    def place(self, frames: Sequence[Float32[np.ndarray, "3 y x"]]) -> Any:
        """Preprocessed frames as one clip `[1 t 3 y x]`, as `encode` and `answer` read it."""
        ...

    def encode(self, images: Any) -> Any:
        """What depends on the clip alone, for systems that compute it once for all expressions; None for others."""
        ...

    def distances(self, statistics: DomainStatistics, images: Any) -> Float[np.ndarray, " i"] | None:
        """How far each clip's middle frame is from the training images; None where the network cannot say."""
        ...

    def answer(
        self,
        images: Any,
        features: Any,
        token_ids: Int64[np.ndarray, "b l"],
        token_mask: Bool[np.ndarray, "b l"],
        *,
        explain: bool = False,
    ) -> Answers:
        """`images` is what `place` returned, `features` what `encode` returned."""
        ...

    def predict(self, batch: Any, *, explain: bool = False) -> Any:
        """The Output for a Batch over any number of images, on any device."""
        ...
