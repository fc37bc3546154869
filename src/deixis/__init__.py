"""deixis segments what an expression refers to, in an image or a video."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .batch import Batch as Batch
    from .batch import Output as Output
    from .errors import DeixisError as DeixisError
    from .evaluation.evaluator import evaluate as evaluate
    from .predict.prediction import Prediction as Prediction
    from .predict.segmenter import Segmenter as Segmenter
    from .recipes.catalogue import RECIPES as RECIPES
    from .recipes.catalogue import train as train
    from .records import Sample as Sample
    from .system import System as System
    from .zoo.loading import load as load
    from .zoo.loading import segment as segment

# Name -> the file that it is imported from on first use: `deixis --help` must not wait for PyTorch.
_HOMES = {
    "load": "zoo.loading",
    "segment": "zoo.loading",
    "train": "recipes.catalogue",
    "evaluate": "evaluation.evaluator",
    "Segmenter": "predict.segmenter",
    "Prediction": "predict.prediction",
    "Sample": "records",
    "Batch": "batch",
    "Output": "batch",
    "System": "system",
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
