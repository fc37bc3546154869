"""What every system promises: logits with their evidence, and its own weighted loss terms."""

from typing import Protocol, runtime_checkable

from torch import Tensor

from .records import Batch, Output


@runtime_checkable
class System(Protocol):
    """A `torch.nn.Module` that segments what the words of a batch mean."""

    def forward(self, batch: Batch) -> Output: ...

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        """Terms arrive named and already weighted; training sums them."""
        ...
