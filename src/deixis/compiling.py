"""Compiling a system once instead of twice, by a compiler whose gradients are right."""

from collections.abc import Callable
from typing import Any

import torch
from einops import rearrange
from torch import nn

from .errors import InputError

LEAST = "2.11"  # of PyTorch; with 2.6 the test that compares gradients fails


_constant: list[Callable[..., Any]] = []


def constant_when_compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a function whose result depends on its arguments alone: the compiler then calls it instead of tracing it.

    PyTorch's own mark, set at once, would import the whole compiler, which takes longer than importing PyTorch.
    """
    _constant.append(function)
    return function


def check_compiler() -> None:
    """Raises `DeixisError` where this PyTorch's compiler is older than those that are known to be right."""
    if torch.__version__ < LEAST:  # which compares as versions do, not letter by letter
        raise InputError(
            f"PyTorch {torch.__version__} is here, but to compile a system {LEAST} or later is wanted: earlier "
            "compilers gave wrong gradients or were not tried. Upgrade it, or go on without compiling."
        )


def compile_once(system: nn.Module, *, dynamic: bool | None = None) -> None:
    """In place, at the first call. Raises as `check_compiler` does.

    Where it is not `dynamic`, sizes that changed once are not left open: every new shape is compiled for itself.
    """
    check_compiler()
    for function in _constant:
        torch.compiler.assume_constant_result(function)
    # einops notes the types that it meets. The compiler would take that for a change, and begin again.
    for kind in (torch.empty(1), nn.Parameter(torch.empty(1))):
        rearrange(kind, "n -> n")
    system.compile(dynamic=dynamic)
