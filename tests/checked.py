"""Checks of types and shapes while tests run, in a fraction of jaxtyping's own time.

`--jaxtyping-packages` gives every function of the package to `jaxtyping.jaxtyped`, whose bookkeeping of axes costs some
6 µs a call also where no annotation has an axis. Here such functions are checked by beartype alone, in 0.3 µs.
"""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, get_args, get_type_hints

import jaxtyping
from beartype import BeartypeConf, beartype

with_shapes = jaxtyping.jaxtyped
of_types = beartype(conf=BeartypeConf(violation_type=jaxtyping.TypeCheckError))  # a TypeError, as jaxtyping raises


def checked(one: Any = None, *, typechecker: Any) -> Any:
    """`one` as `jaxtyped` returns it, without the bookkeeping of axes where no annotation has any."""
    if one is None:
        return lambda one: checked(one, typechecker=typechecker)
    if inspect.isclass(one):
        if dataclasses.is_dataclass(one) and "__init__" in vars(one):
            one.__init__ = _function(one.__init__, typechecker)  # type: ignore[misc]
        return one
    return _function(one, typechecker)


def _function(one: Callable[..., Any], typechecker: Any) -> Any:
    try:
        hints = get_type_hints(one, include_extras=True)
    except (NameError, TypeError):  # a class that is defined below, or imported for type checkers only
        return with_shapes(one, typechecker=typechecker)
    is_shaped = any(map(_has_shape, hints.values()))
    return with_shapes(one, typechecker=typechecker) if is_shaped else of_types(one)


def _has_shape(hint: Any) -> bool:
    if inspect.isclass(hint) and issubclass(hint, jaxtyping.AbstractArray):
        return True
    return any(map(_has_shape, hint if isinstance(hint, list) else get_args(hint)))  # a list in a Callable's arguments
