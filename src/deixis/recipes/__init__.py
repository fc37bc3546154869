"""The only composer: one file a paper, one function for each published number."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .catalogue import RECIPES as RECIPES
    from .run import Run as Run
    from .run import execute as execute
    from .systems import SYSTEMS as SYSTEMS
    from .systems import build as build

# Who loads a model needs nothing of what training needs; each name is imported from its file when it is asked for.
_HOMES = {"RECIPES": "catalogue", "Run": "run", "execute": "run", "SYSTEMS": "systems", "build": "systems"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
