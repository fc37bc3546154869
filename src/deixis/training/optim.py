"""AdamW, or Muon with it, with groups told apart by parameter names; and the running average of weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from ..errors import InputError, did_you_mean
from .muon import Muon, is_matrix


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    """AdamW; `no_decay`, `slow` and `frozen` are patterns of parameter names (`vision.*norm*`).

    With a `matrix_lr` the weights of linear layers and convolutions take Muon's steps at that rate (0.02 is usual).
    """

    lr: float = 5e-5
    matrix_lr: float | None = None
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    no_decay: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    slow: tuple[str, ...] = ()  # learn with `lr` times `slowness`: what comes pre-trained
    slowness: float = 0.1
    clip: float | None = None  # the largest norm of all gradients together
    average: float | None = None  # decay of the exponential moving average; None: no average

    def __post_init__(self) -> None:
        if (
            self.lr <= 0
            or (self.matrix_lr is not None and self.matrix_lr <= 0)
            or self.weight_decay < 0
            or self.epsilon <= 0
            or self.slowness <= 0
        ):
            raise InputError(
                f"The learning rates, epsilon and slowness must be positive, the decay not negative: {self}."
            )
        if not all(0 <= beta < 1 for beta in (*self.betas, self.average or 0.0)):
            raise InputError(f"The betas and the average's decay lie from 0 up to, not including, 1: {self}.")
        if self.clip is not None and self.clip <= 0:
            raise InputError(f"Gradients cannot be clipped to a norm of {self.clip}; give a positive number or none.")


def parameter_groups(system: nn.Module, optimiser: Optimiser) -> list[dict[str, object]]:
    """The optimiser's groups; frozen parameters are switched off. Every pattern must match something."""
    names = [name for name, _ in system.named_parameters()]
    for pattern in (*optimiser.no_decay, *optimiser.frozen, *optimiser.slow):
        if not any(fnmatchcase(name, pattern) for name in names):
            raise InputError(
                f"The optimiser names {pattern!r}, but no parameter matches. {did_you_mean(pattern, names)}"
            )
    matrix_lr = optimiser.lr if optimiser.matrix_lr is None else optimiser.matrix_lr
    matrices = set() if optimiser.matrix_lr is None else _matrices(system)
    groups: dict[tuple[bool, bool, bool], list[nn.Parameter]] = {}
    for name, parameter in system.named_parameters():
        if _matches(name, optimiser.frozen):
            parameter.requires_grad_(False)
        if parameter.requires_grad:
            kind = (_matches(name, optimiser.no_decay), _matches(name, optimiser.slow), parameter in matrices)
            groups.setdefault(kind, []).append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": 0.0 if no_decay else optimiser.weight_decay,
            "base_lr": (matrix_lr if orthogonal else optimiser.lr) * (optimiser.slowness if slow else 1.0),
            "orthogonal": orthogonal,
        }
        for (no_decay, slow, orthogonal), parameters in groups.items()
    ]


def build(system: nn.Module, optimiser: Optimiser, dtype: torch.dtype = torch.float32) -> torch.optim.AdamW:
    """The optimiser of a system; `dtype` is what Muon orthogonalises in."""
    groups = parameter_groups(system, optimiser)
    if not groups:
        raise InputError("Every parameter is frozen, so there is nothing to train; shorten `optimiser.frozen`.")
    device = next(system.parameters()).device.type
    rates = {"lr": optimiser.lr, "betas": optimiser.betas, "eps": optimiser.epsilon}
    if optimiser.matrix_lr is None:
        return torch.optim.AdamW(groups, **rates, fused=device in {"cpu", "cuda"})  # type: ignore[arg-type]
    # Fused on a GPU, AdamW unscales fp16's gradients by itself, behind Muon's back.
    return Muon(groups, dtype=dtype, **rates, fused=device == "cpu")


def set_rate(optimiser: torch.optim.Optimizer, factor: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = group["base_lr"] * factor


class Average:
    """The exponential moving average of a module's trained parameters; buffers and frozen ones are its own.

    The decay grows from 2/11 towards `decay` as (1 + step) / (10 + step), so that the start is soon forgotten.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.names = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
        self.live = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self.values = [parameter.detach().clone() for parameter in self.live]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """After step 1, 2, …: average ← decay · average + (1 - decay) · parameter."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.values, [parameter.detach() for parameter in self.live], 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The module carries the average inside the block, its own weights again after it."""
        own = [parameter.detach().clone() for parameter in self.live]
        self._fill(self.values)
        try:
            yield
        finally:
            self._fill(own)

    def state(self) -> dict[str, Tensor]:
        return dict(zip(self.names, self.values, strict=True))

    @torch.no_grad()
    def load(self, state: dict[str, Tensor]) -> None:
        for name, value in zip(self.names, self.values, strict=True):
            value.copy_(state[name])

    @torch.no_grad()
    def _fill(self, values: list[Tensor]) -> None:
        torch._foreach_copy_([parameter.detach() for parameter in self.live], values)


def _matrices(system: nn.Module) -> set[nn.Parameter]:
    return {
        parameter
        for module in system.modules()
        for parameter in module.parameters(recurse=False)
        if is_matrix(module, parameter)
    }


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
