"""From a photo and sentences to Predictions: reading, batching, and back to the photo's own size."""

import warnings
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, overload

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Float32, Int, UInt8
from torch import Tensor, nn

from ..batch import Batch, Output
from ..data.images import Source, open_image
from ..data.transforms import Preprocess
from ..errors import InputError
from ..metrics.calibration import Calibration
from ..text.tokenizer import Tokenizer
from .compiled import Compiled
from .prediction import Prediction, answer
from .presence import PRESENT, THRESHOLD, Presence, check_threshold, is_finite, presences

Expressions = list[str] | tuple[str, ...]
LARGEST_BATCH = 8  # expressions that share one pass over the image; more only cost memory
LARGEST_BATCH_OF_A_CPU = 4  # eight at once were measured to take longer than four twice


class ExpressionWarning(UserWarning):
    """Part of an expression is lost on the model: too many words, or words that it does not know."""


class Segmenter:
    """A trained system with its own tokenizer and preprocessing, ready for anybody's photos."""

    def __init__(
        self,
        system: nn.Module,
        tokenizer: Tokenizer,
        preprocess: Preprocess,
        card: Any = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        name: str = "model",
        compiled: bool = False,
    ) -> None:
        self.system = system.to(device=device, dtype=dtype).eval()
        self.tokenizer, self.preprocess, self.card, self.name = tokenizer, preprocess, card, name
        self.device, self.dtype = torch.device(device), dtype
        on_a_cpu = 1 if compiled else LARGEST_BATCH_OF_A_CPU
        self._at_once = on_a_cpu if self.device.type == "cpu" else LARGEST_BATCH
        words = preprocess.max_tokens
        self._compiled = Compiled(self.system, words=words, sentences=self._at_once) if compiled else None

    @overload
    def __call__(
        self, image: Source, expression: str, *, threshold: float = 0.5, presence_threshold: float | None = None
    ) -> Prediction: ...
    @overload
    def __call__(
        self, image: Source, expression: Expressions, *, threshold: float = 0.5, presence_threshold: float | None = None
    ) -> list[Prediction]: ...
    def __call__(
        self,
        image: Source,
        expression: str | Expressions,
        *,
        threshold: float = 0.5,
        presence_threshold: float | None = None,
    ) -> Prediction | list[Prediction]:
        """What the expression points at in the image; for a list of expressions, a list of answers in its order.

        A list costs less than its expressions one by one: the image is read once, and what does not depend on the
        words is computed once for every eight of them (on a CPU for every four, or compiled for each). Words beyond
        what the model reads are left out with an `ExpressionWarning`. A pixel is in the mask above `threshold`; a
        system with a presence head answers nothing unless the chance that the referent is there is above
        `presence_threshold` (0.5 by default).
        """
        predictions = list(self._in_turn(image, _listed(expression), threshold, presence_threshold))
        return predictions[0] if isinstance(expression, str) else predictions

    def stream(
        self,
        image: Source,
        expressions: str | Expressions,
        *,
        threshold: float = 0.5,
        presence_threshold: float | None = None,
    ) -> Iterator[Prediction]:
        """The same answers one after another, each as soon as it is known, and none kept here.

        For many expressions about a large photo, whose answers would fill the memory together. What is wrong with the
        photo or an expression is said before the first answer is asked for.
        """
        return self._in_turn(image, _listed(expressions), threshold, presence_threshold)

    def batch(self, image: Source, expressions: str | Expressions) -> Batch:
        """What the system sees of an image and expressions: for who wants more of the system than masks."""
        expressions = _listed(expressions)
        words, token_mask = self._encode(expressions)
        picture = open_image(image)
        return self._batch(self.preprocess.image(picture), words, token_mask, expressions, picture.shape[:2])

    @torch.inference_mode()
    def ask(self, batch: Batch) -> Output:
        """What the system answers, compiled where that was asked for."""
        return (self._compiled or self.system)(batch)

    @property
    def computed(self) -> dict[str, Any]:
        """What rounding depends on: the kind of device, the dtype, and whether the system is compiled."""
        return {
            "device": self.device.type,
            "dtype": str(self.dtype).removeprefix("torch."),
            "compiled": self._compiled is not None,
        }

    @property
    def calibration(self) -> Calibration | None:
        """What the checkpoint's card says about the presence head's chances."""
        return getattr(self.card, "calibration", None)

    @property
    def has_presence(self) -> bool:
        """Whether the system says if what is meant is there; one that can, has `presence` in its config."""
        return bool(getattr(getattr(self.system, "config", None), "presence", False))

    def presences(self, output: Output, threshold: float | None = None) -> list[Presence] | list[None]:
        """For each expression the calibrated chance that its referent is there; None without a presence head.

        Raises `DeixisError` where a threshold is given that nothing could be held against.
        """
        if threshold is not None and PRESENT not in output.evidence:
            raise InputError(
                f"The model {self.name!r} does not say whether the referent is there, so it knows no presence "
                "threshold; leave that away."
            )
        return presences(output, self.calibration, THRESHOLD if threshold is None else threshold)

    def _in_turn(
        self, image: Source, expressions: list[Any], threshold: float, presence_threshold: float | None
    ) -> Iterator[Prediction]:
        check_threshold("threshold", threshold)
        if presence_threshold is not None:
            check_threshold("presence threshold", presence_threshold)
        expressions = list(map(_plain, expressions))
        words, token_mask = self._encode(expressions, stacklevel=4)
        picture = open_image(image)
        pixels = self.preprocess.image(picture)
        chunks = (slice(part, part + self._at_once) for part in range(0, len(expressions), self._at_once))
        batches = (
            self._batch(pixels, words[chunk], token_mask[chunk], expressions[chunk], picture.shape[:2])
            for chunk in chunks
        )
        return chain.from_iterable(self._answers(batch, picture, threshold, presence_threshold) for batch in batches)

    def _encode(self, expressions: list[Any], stacklevel: int = 3) -> tuple[Int[Tensor, "b l"], Bool[Tensor, "b l"]]:
        limit = self.preprocess.max_tokens
        for expression in expressions:
            if not isinstance(expression, str):
                raise InputError(f"An expression is {type(expression).__name__}; a sentence as text is wanted.")
            if not expression.strip():
                raise InputError("The expression is empty; say what to look for, for example 'the red cup'.")
            unknown = self.tokenizer.tokens(expression, limit).count("[UNK]")
            if unknown:
                message = f"The model {self.name!r} does not know {unknown} of the words of {_short(expression)!r}."
                warnings.warn(message, ExpressionWarning, stacklevel=stacklevel)
            if self.tokenizer.is_truncated(expression, limit):
                message = f"Only the first {limit - 1} words or word pieces of {_short(expression)!r} are read."
                warnings.warn(message, ExpressionWarning, stacklevel=stacklevel)
        if not expressions:
            return torch.zeros(0, limit, dtype=torch.long), torch.zeros(0, limit, dtype=torch.bool)
        pad_to = limit if self._compiled else None  # else evidence would tell of more words than the batch has
        words, token_mask = map(torch.as_tensor, self.tokenizer.encode(expressions, limit, pad_to))
        for expression, count in zip(expressions, token_mask.sum(dim=1).tolist(), strict=True):
            if count <= 2:  # [CLS] and [SEP] alone: control characters, for example
                raise InputError(f"The expression {_short(expression)!r} has no word in it; say what to look for.")
        return words, token_mask

    def _batch(
        self,
        pixels: Float[Tensor, "3 h w"],
        words: Int[Tensor, "b l"],
        token_mask: Bool[Tensor, "b l"],
        expressions: list[str],
        size: tuple[int, ...],
    ) -> Batch:
        """Many expressions, one image: what is said of the picture alone is computed once."""
        return Batch(
            images=rearrange(pixels, "c h w -> 1 1 c h w").to(self.dtype),
            token_ids=words,
            token_mask=token_mask,
            image_index=torch.zeros(len(expressions), dtype=torch.long),
            sizes=((size[0], size[1]),) * len(expressions),
            expressions=tuple(expressions),
        ).to(self.device)

    def _output(self, batch: Batch) -> Output:
        output = self.ask(batch)
        if not is_finite(output):
            narrow = "" if self.dtype == torch.float32 else f", or {str(self.dtype)[6:]} is too narrow: try float32"
            raise InputError(
                f"The model {self.name!r} answers with numbers that are not finite: its weights are broken{narrow}."
            )
        return output

    def _answers(
        self, batch: Batch, picture: UInt8[np.ndarray, "h w 3"], threshold: float, presence_threshold: float | None
    ) -> Iterator[Prediction]:
        output = self._output(batch)
        logits = output.logits.float()
        evidence = {name: _numbers(maps) for name, maps in output.evidence.items()}
        present = self.presences(output, presence_threshold)
        height, width = picture.shape[:2]
        for position, expression in enumerate(batch.expressions):
            yield answer(
                expression,
                picture,
                resize_probability(logits[position].sigmoid(), height, width),
                threshold=threshold,
                presence=present[position],
                words=self._spelled(expression, batch.token_ids.shape[1]),
                evidence={name: np.asarray(maps[position]) for name, maps in evidence.items()},
            )

    def _spelled(self, expression: str, length: int) -> tuple[str, ...]:
        """The tokens, with a name for each padding word of the batch as well."""
        tokens = self.tokenizer.tokens(expression, self.preprocess.max_tokens)
        return (*tokens, *["[PAD]"] * (length - len(tokens)))


def _numbers(maps: Tensor) -> np.ndarray:
    """NumPy knows no bfloat16; choices stay choices."""
    return (maps if maps.dtype == torch.bool else maps.float()).cpu().numpy()


def _listed(expressions: str | Expressions) -> list[Any]:
    """A sentence alone is a list of one; its letters are not meant."""
    if isinstance(expressions, str):
        return [expressions]
    if not isinstance(expressions, Iterable):
        raise InputError(
            f"An expression is {type(expressions).__name__}; a sentence as text, or a list of them, is wanted."
        )
    return list(expressions)


def _plain(expression: Any) -> Any:
    """Bytes of a command line that were no UTF-8 become question marks: as they come, nothing could write them."""
    return expression.encode("utf-8", "replace").decode() if isinstance(expression, str) else expression


def resize_probability(probability: Float32[Tensor, "y x"], height: int, width: int) -> Float32[np.ndarray, "h w"]:
    """Probabilities, not the mask, are stretched to the photo: the outline is then smooth and the threshold exact."""
    if probability.device.type == "mps":
        probability = probability.cpu()  # where PyTorch 2.6 cannot antialias
    maps = rearrange(probability, "y x -> 1 1 y x")
    resized = nn.functional.interpolate(maps, (height, width), mode="bilinear", antialias=True, align_corners=False)
    return resized[0, 0].cpu().numpy()


def _short(expression: str) -> str:
    return expression if len(expression) <= 60 else expression[:57] + "…"
