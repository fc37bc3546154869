"""Muon for the matrices, AdamW for the rest: on a small budget a model learns from about half the steps.

- the momentum of a matrix is replaced by the nearest orthogonal one, so that every direction moves as far
- PyTorch's own Muon (2.9) always works in bfloat16, which many processors only emulate; ours follows the run
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

MOMENTUM = 0.95
# Keller Jordan's quintic: singular values from 0.01 to 1 come within 0.7 to 1.2 in five rounds.
QUINTIC = (3.4445, -4.7750, 2.0315)
ROUNDS = 5


def is_matrix(module: nn.Module, parameter: nn.Parameter) -> bool:
    """Whether Muon may turn it: what maps features to several features, no embedding, bias table or norm."""
    return isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d) and parameter.ndim > 1 and len(parameter) > 1


class Muon(torch.optim.AdamW):
    """AdamW, but for groups that are marked `orthogonal`, whose `lr` is the length of a step in spectral norm."""

    def __init__(self, groups: list[dict[str, Any]], *, dtype: torch.dtype, **adamw: Any) -> None:
        super().__init__(groups, **adamw)
        self.dtype = dtype  # of the orthogonalisation

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        for group in self.param_groups:
            if group.get("orthogonal"):
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        self._turn(parameter, group["lr"], group["weight_decay"])
                        parameter.grad = None  # AdamW passes over it
        return super().step(closure)

    def _turn(self, parameter: nn.Parameter, lr: float, weight_decay: float) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())  # AdamW's loading looks for it
            state["momentum"] = torch.zeros_like(parameter)
        state["step"] += 1
        gradient, momentum = parameter.grad, state["momentum"]
        momentum.lerp_(gradient, 1 - MOMENTUM)
        direction = gradient.lerp(momentum, MOMENTUM).flatten(1)  # type: ignore[union-attr]  # Nesterov's
        rows, columns = direction.shape
        parameter.mul_(1 - lr * weight_decay)
        update = orthogonalise(direction.to(self.dtype)).to(parameter.dtype).view_as(parameter)
        parameter.add_(update, alpha=-lr * max(1, rows / columns) ** 0.5)


def orthogonalise(matrix: Float[Tensor, "m n"]) -> Float[Tensor, "m n"]:
    """U Vᵀ of the matrix's singular value decomposition U S Vᵀ, roughly: Newton-Schulz in five rounds."""
    a, b, c = QUINTIC
    tall = matrix.shape[0] > matrix.shape[1]
    turned = matrix.T if tall else matrix
    turned = turned / turned.norm().clamp(min=1e-7)
    for _ in range(ROUNDS):
        gram = turned @ turned.T
        turned = torch.addmm(turned, torch.addmm(gram, gram, gram, beta=b, alpha=c), turned, beta=a)
    return turned.T if tall else turned
