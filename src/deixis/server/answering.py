"""The model's side of the server: photos are encoded once, and sentences about them become what callers read."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from ..data.images import open_image, opened, reading
from ..errors import DeixisError, InputError
from ..predict.prediction import Prediction
from ..records import MaskRule
from .cache import ByteCache, num_bytes
from .failures import TooLarge, WrongType
from .limits import Limits

NAME = "The image"


@runtime_checkable
class Encoded(Protocol):
    """An image that can be asked without being read again, as `Segmenter.encode` returns it."""

    def stream(
        self,
        expressions: list[str],
        *,
        threshold: float | None = None,
        presence_threshold: float | None = None,
        explain: bool = False,
    ) -> Iterator[Prediction]: ...


@runtime_checkable
class Model(Protocol):
    """What the server needs of a Segmenter."""

    name: str

    def encode(self, image: Any) -> Encoded: ...
    def mask_rule(self, threshold: float | None = None) -> MaskRule: ...
    @property
    def video(self) -> Callable[..., Iterator[Prediction]]: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """One image and the sentences about it; `render` turns each Prediction into something small that is kept."""

    content: bytes  # of the image's file
    sentences: tuple[str, ...]
    render: Callable[[Prediction], Any]
    threshold: float | None = None
    presence_threshold: float | None = None
    explain: bool = False

    can_share_a_pass: ClassVar[bool] = True  # with other tasks, on a GPU

    def predictions(self, answerer: "Answerer") -> Iterator[Prediction]:
        return answerer.encoded(self.content).stream(list(self.sentences), **self.options)

    @property
    def options(self) -> dict[str, Any]:
        """As `EncodedImage.stream` takes them."""
        return {
            "threshold": self.threshold,
            "presence_threshold": self.presence_threshold,
            "explain": self.explain,
        }


@runtime_checkable
class Asked(Protocol):
    """A task that somebody waits for."""

    task: Task

    @property
    def is_abandoned(self) -> bool: ...


class Answerer:
    """Loads the model, and answers tasks in the same thread."""

    def __init__(self, load: Callable[[], Model], limits: Limits) -> None:
        self._load, self.limits = load, limits
        self.cache: ByteCache[bytes, Encoded] = ByteCache(limits.cache_megabytes * 1e6)
        self.facts: dict[str, Any] = {}  # about the model, for callers; empty until it is loaded
        self.hits = 0  # images that were found in the cache

    def start(self) -> None:
        self.model = self._load()
        self.model.name = Path(self.model.name).name  # a path on this machine is nobody's business
        self.facts = facts_of(self.model)

    def stop(self) -> None:
        """Nothing is left to be ended."""

    @property
    def cached_bytes(self) -> int:
        return self.cache.num_bytes

    @property
    def on_accelerator(self) -> bool:
        device = getattr(getattr(self, "model", None), "device", None)
        return device is not None and not str(device).startswith("cpu")

    def run(self, jobs: Sequence[Asked]) -> list[list[Any] | BaseException]:
        """For each job what its task made of each Prediction, or the exception that it failed with."""
        streams: list[Iterator[Prediction] | None] = [None] * len(jobs)
        if len(jobs) > 1 and self.on_accelerator and all(job.task.can_share_a_pass for job in jobs):
            streams = self._together(jobs)
        answers: list[list[Any] | BaseException] = []
        for job, stream in zip(jobs, streams, strict=True):
            try:
                answers.append(_rendered(job, job.task.predictions(self) if stream is None else stream))
            except Exception as error:
                answers.append(error)
        return answers

    def _together(self, jobs: Sequence[Asked]) -> list[Iterator[Prediction] | None]:
        """The Predictions of jobs that one pass of the model answers; None where each must be asked alone."""
        from ..predict.together import ask_together, can_share_a_pass

        try:
            encoded: list[Any] = [self.encoded(job.task.content) for job in jobs]
            asked = [
                (one, one.question(list(job.task.sentences), **job.task.options))
                for one, job in zip(encoded, jobs, strict=True)
            ]
            return [*ask_together(asked)] if can_share_a_pass(asked) else [None] * len(jobs)
        except (DeixisError, RuntimeError):  # the fault of one of them, which is found when each is asked alone
            return [None] * len(jobs)

    def encoded(self, content: bytes) -> Encoded:
        key = hashlib.sha256(content).digest()
        if (known := self.cache.get(key)) is not None:
            self.hits += 1
            return known
        try:
            photo = open_image(content)
        except InputError as error:
            raise WrongType(_named(error)) from error
        encoded = self.model.encode(photo)
        # The Segmenter is shared by all; what is its own are the photo, its pixels and its features.
        own = [value for name, value in vars(encoded).items() if name != "segmenter"]
        self.cache.put(key, encoded, num_bytes(own))
        return encoded


def _rendered(job: Asked, predictions: Iterator[Prediction]) -> list[Any]:
    """What is kept of each Prediction; a job that nobody waits for ends early."""
    answers: list[Any] = []
    for prediction in predictions:
        answers.append(job.task.render(prediction))
        if job.is_abandoned:
            break
    return answers


def check_image(content: bytes, limits: Limits) -> tuple[int, int]:
    """Width and height from the image's header, before a pixel is decoded.

    Raises `WrongType` where this is not an image, and `TooLarge` where it has too many pixels.
    """
    try:
        with reading(NAME), opened(BytesIO(content), NAME) as image:
            width, height = image.size
    except InputError as error:
        too_large = "megapixels" in str(error)
        raise (TooLarge if too_large else WrongType)(_named(error)) from error
    if width * height > limits.pixels:
        raise TooLarge(
            f"The image has {width}x{height} pixels (width x height); at most {limits.megapixels:g} megapixels are "
            "read: make it smaller first."
        )
    return width, height


def facts_of(model: Model) -> dict[str, Any]:
    """Name and version of a model, and what a caller needs to know to read its maps."""
    refined = getattr(model, "refine", None) is not None
    rule = MaskRule() if refined else model.mask_rule()
    return {
        "name": model.name,
        "version": version_of(model),
        "rule": {"kind": rule.kind, "threshold": rule.threshold},
        "has_presence": bool(getattr(model, "has_presence", False)),
        "notes": list(getattr(model, "notes", ())),
    }


def version_of(model: Model) -> str:
    """The model's name and a hash of its weights and of all that changes its answers."""
    digest = hashlib.sha256(repr((model.mask_rule(), getattr(model, "computed", {}))).encode())
    weights: Path | None = getattr(model, "weights", None)
    if weights is not None:
        with weights.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return f"{model.name}-{digest.hexdigest()[:8]}"


def _named(error: InputError) -> str:
    return str(error).replace("The image given as bytes", NAME)
