"""The protocols between networks, objectives and training."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from .batch import Batch, Output
from .errors import ModelError


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """What an objective found, for people: facts that JSON can hold, and pictures, each by its title."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    pictures: Mapping[str, UInt8[np.ndarray, "h w 3"]] = field(default_factory=dict)


BatchT = TypeVar("BatchT", contravariant=True)  # Batch, or Pair for adaptation


@runtime_checkable
class System(Protocol):
    """A `torch.nn.Module` that segments what the expressions of a batch refer to.

    `features` names the tensors of `Output.features` that a loss will read; `explain` asks for `Output.evidence`.
    Neither changes the logits. A system with a loss of its own has `loss(batch, output)`, which returns named, weighted
    terms, and `loss_features`, the names of the features that it reads.
    """

    def forward(self, batch: Batch, *, features: Iterable[str] = (), explain: bool = False) -> Output: ...


@runtime_checkable
class EncodesImages(Protocol):
    """A system whose vision half does not depend on the words: one image is encoded once for many expressions."""

    def encode_images(self, images: Float[Tensor, "i t 3 h w"]) -> Any: ...

    def decode_expressions(
        self, encoded: Any, batch: Batch, *, features: Iterable[str] = (), explain: bool = False
    ) -> Output:
        """The Output of `batch`, whose images are those that `encoded` was made from."""
        ...


@runtime_checkable
class Adaptable(Protocol):
    """A system whose decoder can be run, or replaced, behind a shared encoder."""

    def fuse(self, batch: Batch) -> Any: ...

    def decode(self, fused: Any, decoder: nn.Module | None = None) -> Output: ...


@runtime_checkable
class Objective(Protocol[BatchT]):
    """A `torch.nn.Module` whose `forward` is `terms`: what is minimised, and when.

    - `system` is what is scored and published, under its own weight names
    - `requires` names the features that the terms read
    - `needs_whole_batch`: the terms compare samples with each other, so a batch is not accumulated in parts, and
      features are gathered over processes
    - `takes_unlabelled`: a batch may mix samples with and without masks; `Batch.targets["labelled"]` tells them apart

    Optional:

    - `takes_pairs = True`: the terms are computed from a Pair, and `prepare` reads Domains; the run has a target domain
    - `scores(batch) -> dict[str, Tensor]`: means over a batch of validation, one of which may choose the best weights
    - `use_folders(own, earlier)`: the run's folder, for what is too large for buffers, such as a file for each image,
      and the folders of the chain's earlier Runs by their names; called before everything else, also when a run is
      resumed
    - `report() -> RunReport`: what the run's folder shows of the objective; called when the training has ended
    - `smallest_batch`: of samples, below which a run is refused
    """

    system: nn.Module
    requires: tuple[str, ...]
    needs_whole_batch: bool
    takes_unlabelled: bool

    def terms(self, batch: BatchT, step: int) -> dict[str, Tensor]:
        """Named, weighted terms; training sums them."""
        ...

    def after_step(self, step: int) -> None:
        """Called after the optimiser's step: updates a teacher or a memory, which are submodules and buffers."""
        ...

    def prepare(self, batches: Any) -> None:
        """Called once before the first step of a run that is not resumed; computes, and trains nothing.

        `batches` are one epoch of whole training batches; for an objective over Pairs they are `Domains`, all sentences
        of both domains in order. Every process of a run gets all of them.

        What it assigns to buffers that `__init__` registered, as `torch.empty(0)` or in their shape, is stored with the
        state of the run.
        """
        ...


def chosen_features(names: Iterable[str], available: Mapping[str, Callable[[], Any]], system: str) -> dict[str, Any]:
    """The named features, each computed by its function. Raises `ModelError` with what is needed and what there is."""
    names = tuple(names)
    if missing := [name for name in names if name not in available]:
        raise ModelError(
            f"The objective needs the features {', '.join(missing)}, but {system} has "
            f"{', '.join(available) or 'none'}; choose another objective or another system."
        )
    return {name: available[name]() for name in names}
