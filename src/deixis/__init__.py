"""deixis segments what a sentence points at, in an image or a video."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import DeixisError as DeixisError
    from .predict.prediction import Prediction as Prediction
    from .predict.segmenter import Segmenter as Segmenter
    from .recipes.catalogue import RECIPES as RECIPES
    from .recipes.loading import load as load
    from .recipes.loading import segment as segment
    from .recipes.systems import SYSTEMS as SYSTEMS
    from .records import Batch as Batch
    from .records import Output as Output
    from .records import Sample as Sample
    from .system import System as System

# Name -> the file it is imported from when it is first asked for: `deixis --help` must not wait for PyTorch.
_HOMES = {
    "load": "recipes.loading",
    "segment": "recipes.loading",
    "Segmenter": "predict.segmenter",
    "Prediction": "predict.prediction",
    "Sample": "records",
    "Batch": "records",
    "Output": "records",
    "System": "system",
    "SYSTEMS": "recipes.systems",
    "RECIPES": "recipes.catalogue",
    "DeixisError": "errors",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'deixis' has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
