"""Compiling a system once, with a compiler whose gradients are correct; the constants of systems that are traced."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, TypeVar

import torch
from einops import rearrange
from torch import nn

from .errors import ModelError

OLDEST = "2.11"  # of PyTorch; with 2.6 the test that compares gradients fails

_constant: list[Callable[..., Any]] = []
Built = TypeVar("Built", bound=Callable[..., Any])


def constant_when_compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a function whose result depends on its arguments alone: the compiler then calls it instead of tracing it.

    PyTorch's own mark, set at once, would import the whole compiler, which takes longer than importing PyTorch.
    """
    _constant.append(function)
    return function


def cached_constant(maxsize: int) -> Callable[[Built], Built]:
    """Cache the tensors that a function builds from numbers and texts alone.

    While `torch.export` traces a system, every new tensor is a fake one without values. One in the cache would break
    each later call of the system, so the function runs outside of the tracing, and its result is a constant there.
    """

    def decorate(function: Built) -> Built:
        @lru_cache(maxsize)
        @wraps(function)
        def build(*arguments: Any) -> Any:
            with torch.inference_mode(False):
                if not torch.compiler.is_exporting():
                    return function(*arguments)
                # There is no public name for it; its import takes a second.
                with torch.utils._python_dispatch._disable_current_modes():
                    return function(*arguments)

        return build  # type: ignore[return-value]

    return decorate


def check_compiler() -> None:
    """Raises `ModelError` where PyTorch is older than the compilers that were found to be correct."""
    if torch.__version__ < OLDEST:  # compares as versions do, not letter by letter
        raise ModelError(
            f"PyTorch is {torch.__version__}; compiling a system needs {OLDEST} or later, because earlier compilers "
            "gave wrong gradients or were not tested. Upgrade PyTorch, or run without compiling."
        )


def compile_once(system: nn.Module, *, dynamic: bool | None = None) -> None:
    """In place, at the first call. Raises as `check_compiler` does.

    Unless `dynamic`, each new shape is compiled anew, also after sizes have changed.
    """
    check_compiler()
    for function in _constant:
        torch.compiler.assume_constant_result(function)
    # einops stores the types that it has seen. The compiler would treat that as a change, and compile again.
    for kind in (torch.empty(1), nn.Parameter(torch.empty(1))):
        rearrange(kind, "n -> n")
    system.compile(dynamic=dynamic)
