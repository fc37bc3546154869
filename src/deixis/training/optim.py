"""AdamW, alone or with Muon, in groups of parameters that are chosen by their names."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import torch
from torch import nn

from ..errors import InputError, did_you_mean
from .muon import Muon, is_matrix

INSIDE = "system."  # how an objective's names of its system's parameters begin


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    """AdamW; `no_decay`, `frozen` and the keys of `lr_multipliers` are patterns of parameter names (`vision.*norm*`).

    Names are those of the system, or of the objective's own parts. The first pattern of `lr_multipliers` that matches
    applies. With `muon_lr` the weights of linear layers and convolutions are trained by Muon at that rate (0.02 is
    usual).
    """

    lr: float = 5e-5
    muon_lr: float | None = None
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    no_decay: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    lr_multipliers: Mapping[str, float] = field(default_factory=dict)
    clip: float | None = None  # the largest norm of all gradients together
    average: float | None = None  # decay of the exponential moving average; None: no average

    def __post_init__(self) -> None:
        rates = (
            self.lr,
            self.epsilon,
            *self.lr_multipliers.values(),
            *([] if self.muon_lr is None else [self.muon_lr]),
        )
        if not all(rate > 0 for rate in rates) or not self.weight_decay >= 0:
            raise InputError(
                f"The learning rates, their multipliers and epsilon must be positive, the weight decay not negative: "
                f"{self}."
            )
        if not all(0 <= beta < 1 for beta in (*self.betas, self.average or 0.0)):
            raise InputError(f"The betas and the decay of the average must be at least 0 and below 1: {self}.")
        if self.clip is not None and not self.clip > 0:
            raise InputError(f"Gradients cannot be clipped to a norm of {self.clip}; give a positive number or None.")


def parameter_groups(objective: nn.Module, optimiser: Optimiser) -> list[dict[str, object]]:
    """The optimiser's groups; frozen parameters stop to require gradients. Each pattern must match something.

    `objective` is an objective, or a system alone.
    """
    named = {name.removeprefix(INSIDE): parameter for name, parameter in objective.named_parameters()}
    for pattern in (*optimiser.no_decay, *optimiser.frozen, *optimiser.lr_multipliers):
        if not any(fnmatchcase(name, pattern) for name in named):
            raise InputError(
                f"The optimiser names {pattern!r}, but no parameter matches. {did_you_mean(pattern, named)}"
            )
    muon_lr = optimiser.lr if optimiser.muon_lr is None else optimiser.muon_lr
    matrices = set() if optimiser.muon_lr is None else _matrices(objective)
    groups: dict[tuple[bool, float, bool], list[nn.Parameter]] = {}
    for name, parameter in named.items():
        if _matches(name, optimiser.frozen):
            parameter.requires_grad_(False)
        if parameter.requires_grad:
            multiplier = next((by for key, by in optimiser.lr_multipliers.items() if fnmatchcase(name, key)), 1.0)
            kind = (_matches(name, optimiser.no_decay), multiplier, parameter in matrices)
            groups.setdefault(kind, []).append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": 0.0 if no_decay else optimiser.weight_decay,
            "base_lr": (muon_lr if orthogonal else optimiser.lr) * multiplier,
            "orthogonal": orthogonal,
        }
        for (no_decay, multiplier, orthogonal), parameters in groups.items()
    ]


def build(objective: nn.Module, optimiser: Optimiser, dtype: torch.dtype = torch.float32) -> torch.optim.AdamW:
    """The optimiser of an objective's parameters; `dtype` is what Muon orthogonalises in."""
    groups = parameter_groups(objective, optimiser)
    if not groups:
        raise InputError("All parameters are frozen, so nothing would be trained; shorten `optimiser.frozen`.")
    device = next(objective.parameters()).device.type
    rates = {"lr": optimiser.lr, "betas": optimiser.betas, "eps": optimiser.epsilon}
    if optimiser.muon_lr is None:
        return torch.optim.AdamW(groups, **rates, fused=device in {"cpu", "cuda"})  # type: ignore[arg-type]
    # On a GPU a fused AdamW unscales fp16's gradients inside its own step, so Muon would see scaled ones.
    return Muon(groups, dtype=dtype, **rates, fused=device == "cpu")


def set_rate(optimiser: torch.optim.Optimizer, factor: float) -> None:
    """Set each group's rate to its base rate times `factor`."""
    for group in optimiser.param_groups:
        group["lr"] = group["base_lr"] * factor


def _matrices(objective: nn.Module) -> set[nn.Parameter]:
    return {
        parameter
        for module in objective.modules()
        for parameter in module.parameters(recurse=False)
        if is_matrix(module, parameter)
    }


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
