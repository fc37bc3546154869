"""A photo or a window of a clip's frames, read and preprocessed once and asked as often as needed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from ..batch import Batch, Output
from ..data.transforms import Preprocess
from ..errors import ModelError
from ..records import MaskRule
from .expressions import Expressions, TokenizedExpressions
from .outputs import evidence_arrays, is_finite, mask_probabilities, presence_probabilities
from .prediction import Prediction, postprocess
from .presence import check_threshold

if TYPE_CHECKING:
    from .segmenter import Segmenter

Maps = Float32[np.ndarray, "y x"]
Change = Callable[[int, Maps], Maps]  # of an expression's number and its probabilities, at the size the system reads


@dataclass(frozen=True, kw_only=True)
class Question:
    """Expressions as a segmenter reads them, and how their probabilities become masks; for one image or many frames."""

    segmenter: "Segmenter"
    read: TokenizedExpressions
    rule: MaskRule
    threshold: float | None = None
    presence_threshold: float | None = None
    explain: bool = False

    @classmethod
    def of(
        cls,
        segmenter: "Segmenter",
        expressions: str | Expressions,
        *,
        threshold: float | None = None,
        presence_threshold: float | None = None,
        explain: bool = False,
    ) -> "Question":
        return cls(
            segmenter=segmenter,
            read=segmenter.tokenized(expressions),
            rule=segmenter.mask_rule(threshold),
            threshold=threshold,
            presence_threshold=presence_threshold,
            explain=explain,
        )

    def to(self, segmenter: "Segmenter") -> "Question":
        """The same expressions as another segmenter reads them."""
        if segmenter is self.segmenter:
            return self
        threshold = self.presence_threshold if segmenter.has_presence else None
        return Question.of(
            segmenter,
            self.read.expressions,
            threshold=self.threshold,
            presence_threshold=threshold,
            explain=self.explain,
        )

    def __post_init__(self) -> None:
        if self.presence_threshold is not None:
            check_threshold("presence threshold", self.presence_threshold)


class EncodedImage:
    """One image, read and preprocessed; calling it with expressions gives the Predictions of `Segmenter`."""

    def __init__(
        self,
        segmenter: "Segmenter",
        photo: UInt8[np.ndarray, "h w 3"],
        images: Float[Tensor, "1 t 3 y x"],
        features: Any,
        note: str = "",
    ) -> None:
        """`note` says that the image is outside the segmenter's domain; it is empty inside."""
        self.segmenter, self.photo, self.images, self.features = segmenter, photo, images, features
        self.note = note

    def __repr__(self) -> str:
        height, width = self.size
        return f"EncodedImage({width}x{height} pixels, {self.segmenter!r})"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the photo."""
        return self.photo.shape[0], self.photo.shape[1]

    @overload
    def __call__(
        self,
        expression: str,
        *,
        threshold: float | None = None,
        presence_threshold: float | None = None,
        explain: bool = False,
    ) -> Prediction: ...
    @overload
    def __call__(
        self,
        expression: Expressions,
        *,
        threshold: float | None = None,
        presence_threshold: float | None = None,
        explain: bool = False,
    ) -> list[Prediction]: ...
    def __call__(
        self,
        expression: str | Expressions,
        *,
        threshold: float | None = None,
        presence_threshold: float | None = None,
        explain: bool = False,
    ) -> Prediction | list[Prediction]:
        """As `Segmenter.__call__`, without reading the image again."""
        predictions = list(
            self.stream(expression, threshold=threshold, presence_threshold=presence_threshold, explain=explain)
        )
        return predictions[0] if isinstance(expression, str) else predictions

    def stream(
        self,
        expressions: str | Expressions,
        *,
        threshold: float | None = None,
        presence_threshold: float | None = None,
        explain: bool = False,
    ) -> Iterator[Prediction]:
        """As `Segmenter.stream`, without reading the image again."""
        asked = Question.of(
            self.segmenter,
            expressions,
            threshold=threshold,
            presence_threshold=presence_threshold,
            explain=explain,
        )
        return self.ask(asked)

    def ask(self, asked: "Question", change: Change | None = None) -> Iterator[Prediction]:
        """The Prediction of each expression; `change` is applied to its probabilities before they become a mask."""
        chunks = range(0, len(asked.read), self.segmenter.largest_batch)
        return chain.from_iterable(self._predictions(asked, start, change) for start in chunks)

    def batch(self, read: TokenizedExpressions, start: int = 0, stop: int | None = None) -> Batch:
        """Expressions `start` to `stop` as one Batch over this image."""
        expressions = read.expressions[start:stop]
        return Batch(
            images=self.images,
            token_ids=torch.as_tensor(read.token_ids[start:stop]),
            token_mask=torch.as_tensor(read.token_mask[start:stop]),
            image_index=torch.zeros(len(expressions), dtype=torch.long),
            sizes=(self.size,) * len(expressions),
            expressions=expressions,
        ).to(self.segmenter.device)

    def _predictions(self, asked: "Question", start: int, change: Change | None) -> Iterator[Prediction]:
        read, explain = asked.read, asked.explain
        preprocess = self.segmenter.preprocess
        batch = self.batch(read, start, start + self.segmenter.largest_batch)
        output = self._output(batch, explain)
        presences = self.segmenter.presences(output, asked.presence_threshold)
        if self.note:  # the head has seen no such images
            presences = [None] * len(batch)
        probabilities, evidence = mask_probabilities(output), evidence_arrays(output)
        if explain and (raw := presence_probabilities(output)) is not None:
            evidence["presence"] = raw.astype(np.float32)
        padding = batch.token_ids.shape[1]
        for position, number in enumerate(range(start, start + len(batch))):
            tokens = read.tokens[number]
            changed = probabilities[position] if change is None else change(number, probabilities[position])
            values, used = preprocess.restore(changed, self.size), asked.rule
            if self.segmenter.refine is not None:
                values, used = self.segmenter.refine.refine(self.photo, values, asked.rule)
            yield postprocess(
                read.expressions[number],
                self.photo,
                values,
                rule=used,
                presence=presences[position],
                tokens=(*tokens, *["[PAD]"] * (padding - len(tokens))),
                evidence={name: _over_photo(maps[position], preprocess, self.size) for name, maps in evidence.items()},
                notes=(*read.notes[number], *self.segmenter.notes, *([self.note] if self.note else [])),
                model=self.segmenter.name,
                highest=min(read.known[number], self.segmenter.known_outside if self.note else 1.0),
            )

    @torch.inference_mode()
    def _output(self, batch: Batch, explain: bool) -> Output:
        one = self.segmenter
        one.check_process()
        if self.features is None:
            output = one.predict(batch, explain=explain)
        else:
            output = one.system.decode_expressions(self.features, batch, explain=explain)  # type: ignore[operator]
        if not is_finite(output):
            narrow = "" if one.dtype == torch.float32 else f", or {str(one.dtype)[6:]} is too narrow: try float32"
            raise ModelError(
                f"The model {one.name!r} computes numbers that are not finite: its weights are broken{narrow}."
            )
        return output


def _over_photo(values: Any, preprocess: Preprocess, size: tuple[int, int]) -> np.ndarray:
    """One expression's evidence; of maps, the cells that the photo fills."""
    values = np.asarray(values)
    return preprocess.cut(values, size) if values.ndim >= 2 else values
