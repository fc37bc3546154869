"""What a default model does with an image outside its domain: another model answers, or nobody does."""

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from .encoded import Change, EncodedImage, Question
from .prediction import Prediction, postprocess

if TYPE_CHECKING:
    from .segmenter import Segmenter


class Alternatives:
    """Models in the order in which they are tried, each loaded when it is first needed; `advice` is what else to do."""

    def __init__(self, loaders: Mapping[str, Callable[[], "Segmenter"]], advice: str) -> None:
        self.loaders, self.advice = dict(loaders), advice
        self._loaded: dict[str, Segmenter] = {}
        self._loading = threading.Lock()

    def choose(self, photo: UInt8[np.ndarray, "h w 3"]) -> "Segmenter | None":
        """The first model whose domain the photo is in."""
        for name, load in self.loaders.items():
            with self._loading:
                if name not in self._loaded:
                    self._loaded[name] = load()
            if not self._loaded[name].outside(photo):
                return self._loaded[name]
        return None


class RefusedImage(EncodedImage):
    """An image that no model was trained for: every Prediction is empty, has the score 0 and says what to do."""

    def _predictions(self, asked: Question, start: int, change: Change | None) -> Iterator[Prediction]:
        alternatives = self.segmenter.alternatives
        advice = () if alternatives is None else (alternatives.advice,)
        read, stop = asked.read, start + self.segmenter.largest_batch
        for expression, notes in zip(read.expressions[start:stop], read.notes[start:stop], strict=True):
            yield postprocess(
                expression,
                self.photo,
                np.zeros(self.size, dtype=np.float32),
                model=self.segmenter.name,
                notes=(*notes, self.note, *advice),
            )
