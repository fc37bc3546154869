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
    """Expressions, and how their probabilities become masks; checked once, asked about one image or many frames."""

    read: TokenizedExpressions
    rule: MaskRule
    presence_threshold: float | None = None
    explain: bool = False

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
    ) -> None:
        self.segmenter, self.photo, self.images, self.features = segmenter, photo, images, features

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
        options: dict[str, Any] = {"threshold": threshold, "presence_threshold": presence_threshold, "explain": explain}
        return self.ask(self.question(expressions, **options))

    def question(
        self,
        expressions: str | Expressions,
        *,
        threshold: float | None = None,
        presence_threshold: float | None = None,
        explain: bool = False,
    ) -> Question:
        """The expressions and options of one call, checked. Raises `InputError`."""
        return Question(
            read=self.segmenter.tokenized(expressions),
            rule=self.segmenter.mask_rule(threshold),
            presence_threshold=presence_threshold,
            explain=explain,
        )

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
        batch = self.batch(asked.read, start, start + self.segmenter.largest_batch)
        yield from self.read_off(asked, self.output(batch, asked.explain), batch.token_ids.shape[1], start, change)

    def read_off(
        self, asked: "Question", output: Output, padding: int, start: int = 0, change: Change | None = None
    ) -> Iterator[Prediction]:
        """The Predictions in the Output for the expressions from `start` on, whose tokens were padded to `padding`."""
        read, explain, preprocess = asked.read, asked.explain, self.segmenter.preprocess
        presences = self.segmenter.presences(output, asked.presence_threshold)
        probabilities, evidence = mask_probabilities(output), evidence_arrays(output) if explain else {}
        if explain and (raw := presence_probabilities(output)) is not None:
            evidence["presence"] = raw.astype(np.float32)
        for position, number in enumerate(range(start, start + len(probabilities))):
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
                notes=(*read.notes[number], *self.segmenter.notes),
            )

    @torch.inference_mode()
    def output(self, batch: Batch, explain: bool) -> Output:
        """The system's Output. Raises `ModelError` where it is not finite."""
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
