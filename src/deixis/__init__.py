"""deixis segments what a sentence points at, in an image or a video."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .batch import Batch as Batch
    from .batch import Output as Output
    from .errors import DeixisError as DeixisError
    from .predict.prediction import Prediction as Prediction
    from .predict.segmenter import Segmenter as Segmenter
    from .recipes.catalogue import RECIPES as RECIPES
    from .records import Sample as Sample
    from .system import System as System
    from .zoo.loading import load as load
    from .zoo.loading import segment as segment
    from .zoo.systems import SYSTEMS as SYSTEMS

# Name -> the file it is imported from when it is first asked for: `deixis --help` must not wait for PyTorch.
_HOMES = {
    "load": "zoo.loading",
    "segment": "zoo.loading",
    "Segmenter": "predict.segmenter",
    "Prediction": "predict.prediction",
    "Sample": "records",
    "Batch": "batch",
    "Output": "batch",
    "System": "system",
    "SYSTEMS": "zoo.systems",
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
