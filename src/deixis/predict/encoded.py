"""A photo or a window of a clip's frames, read and preprocessed once and asked as often as needed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from jaxtyping import Float32, UInt8

from ..data.transforms import Preprocess
from ..errors import ModelError
from ..records import MaskRule
from .expressions import Expressions, TokenizedExpressions
from .network import Answers
from .prediction import Prediction, postprocess
from .presence import check_threshold

if TYPE_CHECKING:
    from ..batch import Batch
    from .segmenter import Segmenter
else:  # an exported model runs without PyTorch
    Batch = Any

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
        images: Any,
        features: Any,
        note: str = "",
    ) -> None:
        """`images` and `features` are what the Segmenter's network placed and encoded.

        `note` says that the image is outside the Segmenter's domain; it is empty inside.
        """
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
        return Question.of(
            self.segmenter,
            expressions,
            threshold=threshold,
            presence_threshold=presence_threshold,
            explain=explain,
        )

    def ask(self, asked: "Question", change: Change | None = None) -> Iterator[Prediction]:
        """The Prediction of each expression; `change` is applied to its probabilities before they become a mask."""
        chunks = range(0, len(asked.read), self.segmenter.largest_batch)
        return chain.from_iterable(self._predictions(asked, start, change) for start in chunks)

    def batch(self, read: TokenizedExpressions) -> Batch:
        """The expressions as one Batch over this image. Raises `ModelError` for an export, which reads no Batch."""
        _ = self.segmenter.system
        count = len(read)
        batch = self.segmenter.network.batch(self.images, read.token_ids, read.token_mask)  # type: ignore[attr-defined]
        return replace(batch, sizes=(self.size,) * count, expressions=read.expressions)

    def _predictions(self, asked: "Question", start: int, change: Change | None) -> Iterator[Prediction]:
        read = asked.read
        stop = min(start + self.segmenter.largest_batch, len(read))
        answers = self._answers(read, start, stop, asked.explain)
        yield from self.read_off(asked, answers, read.token_ids.shape[1], start, change)

    def read_off(
        self, asked: "Question", answers: Answers, padding: int, start: int = 0, change: Change | None = None
    ) -> Iterator[Prediction]:
        """The Predictions in the answers for the expressions from `start` on, whose tokens were padded to `padding`."""
        read, preprocess = asked.read, self.segmenter.preprocess
        count = len(answers.probabilities)
        presences = self.segmenter.presences(answers.presence, count, asked.presence_threshold)
        if self.note:  # the head has seen no such images
            presences = [None] * count
        evidence = dict(answers.evidence) if asked.explain else {}
        if asked.explain and (said := [one.probability for one in presences if one is not None]):
            evidence["presence"] = np.array(said, dtype=np.float32)
        for position, number in enumerate(range(start, start + count)):
            tokens, probability = read.tokens[number], answers.probabilities[position]
            changed = probability if change is None else change(number, probability)
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
                highest=self.segmenter.highest_score(read.known[number], bool(self.note)),
            )

    def _answers(self, read: TokenizedExpressions, start: int, stop: int, explain: bool) -> Answers:
        one = self.segmenter
        one.check_process()
        token_ids, token_mask = read.token_ids[start:stop], read.token_mask[start:stop]
        return self.checked(one.network.answer(self.images, self.features, token_ids, token_mask, explain=explain))

    def checked(self, answers: Answers) -> Answers:
        """The same answers. Raises `ModelError` where a number in them is not finite."""
        one = self.segmenter
        if not answers.is_finite:
            dtype = one.computed["dtype"]
            narrow = "" if dtype == "float32" else f", or {dtype} is too narrow: try float32"
            raise ModelError(
                f"The model {one.name!r} computes numbers that are not finite: its weights are broken{narrow}."
            )
        return answers


def _over_photo(values: Any, preprocess: Preprocess, size: tuple[int, int]) -> np.ndarray:
    """One expression's evidence; of maps, the cells that the photo fills."""
    values = np.asarray(values)
    return preprocess.cut(values, size) if values.ndim >= 2 else values
