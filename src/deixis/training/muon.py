"""Muon (Jordan et al., 2024) for matrices, AdamW for all other parameters.

- the momentum of a matrix is replaced by the nearest orthogonal matrix, so that all directions move equally far
- PyTorch's Muon (2.9) always works in bfloat16, which many CPUs only emulate; this one uses the run's precision
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

MOMENTUM = 0.95
# Jordan's quintic polynomial: five rounds bring singular values from 0.01 to 1 into 0.7 to 1.2.
QUINTIC = (3.4445, -4.7750, 2.0315)
ROUNDS = 5


def is_matrix(module: nn.Module, parameter: nn.Parameter) -> bool:
    """Whether Muon trains it: weights that map features to several features; not embeddings, bias tables or norms."""
    return isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d) and parameter.ndim > 1 and len(parameter) > 1


class Muon(torch.optim.AdamW):
    """AdamW, except in groups marked `orthogonal`, whose `lr` is the length of a step in spectral norm."""

    def __init__(self, groups: list[dict[str, Any]], *, dtype: torch.dtype, **adamw: Any) -> None:
        super().__init__(groups, **adamw)
        self.dtype = dtype  # of the orthogonalisation

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        for group in self.param_groups:
            if group.get("orthogonal"):
                for parameters in _by_shape(group["params"]):
                    self._update(parameters, group["lr"], group["weight_decay"])
        return super().step(closure)

    def _update(self, parameters: list[nn.Parameter], lr: float, weight_decay: float) -> None:
        """One step of matrices of one shape; AdamW skips them, because their gradients are removed."""
        directions = torch.stack([self._direction(parameter) for parameter in parameters])
        rows, columns = directions.shape[1:]
        length = lr * max(1, rows / columns) ** 0.5
        for parameter, update in zip(parameters, orthogonalise(directions), strict=True):
            parameter.mul_(1 - lr * weight_decay)
            parameter.add_(update.to(parameter.dtype).view_as(parameter), alpha=-length)
            parameter.grad = None

    def _direction(self, parameter: nn.Parameter) -> Float[Tensor, "m n"]:
        """Nesterov's momentum of a parameter that has a gradient."""
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        if not state:
            state["step"] = torch.zeros(())  # required by AdamW's load_state_dict
            state["momentum"] = torch.zeros_like(parameter)
        state["step"] += 1
        state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        return gradient.lerp(state["momentum"], MOMENTUM).flatten(1).to(self.dtype)


def orthogonalise(matrices: Float[Tensor, "count m n"]) -> Float[Tensor, "count m n"]:
    """U Vᵀ of each matrix's singular value decomposition U S Vᵀ, approximately: five Newton-Schulz iterations."""
    a, b, c = QUINTIC
    tall = matrices.shape[1] > matrices.shape[2]
    wide = matrices.mT if tall else matrices
    result = wide / wide.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(ROUNDS):
        gram = result @ result.mT
        result = torch.baddbmm(result, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), result, beta=a)
    return result.mT if tall else result


def _by_shape(parameters: list[nn.Parameter]) -> list[list[nn.Parameter]]:
    """The parameters with a gradient; small matrices of one shape are orthogonalised together, at half the cost."""
    by_shape: dict[torch.Size, list[nn.Parameter]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            by_shape.setdefault(parameter.shape, []).append(parameter)
    return list(by_shape.values())
