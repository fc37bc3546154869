"""From a photo and sentences to Predictions: reading, batching, and back to the photo's own size."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from jaxtyping import Float, Float32, UInt8

from ..data.clips import Clip
from ..data.images import Source, open_image
from ..data.transforms import Preprocess
from ..errors import InputError, ModelError
from ..metrics.calibration import Calibration
from ..records import MaskRule, PresenceRule
from ..text.tokenizers import AnyTokenizer
from .alternatives import Alternatives, RefusedImage
from .encoded import EncodedImage, Question
from .expressions import Expressions, TokenizedExpressions, for_each, fraction_known, tokenize
from .network import Network
from .prediction import Prediction
from .presence import Presence, check_threshold
from .refine import DenseCRF
from .video import FrameChoice, Smoother, as_clip, ask_clip

if TYPE_CHECKING:
    from ..batch import Batch, Output
else:  # an exported model runs without PyTorch
    Batch = Output = Any

Images = list[Any] | tuple[Any, ...]  # of what `open_image` reads


class Segmenter:
    """A trained system with its tokenizer and preprocessing, for any photo.

    It holds no state between calls, so several threads may call one Segmenter.
    """

    def __init__(
        self,
        system: Any,
        tokenizer: AnyTokenizer,
        preprocess: Preprocess,
        card: Any = None,
        device: Any = "cpu",
        dtype: Any = "float32",
        name: str = "model",
        compiled: bool = False,
        weights: Path | None = None,
        refine: DenseCRF | None = None,
        settings: Mapping[str, Any] | None = None,
        alternatives: Alternatives | None = None,
        note: str = "",
    ) -> None:
        """`system` is a `torch.nn.Module`, or a `Network` that runs an exported one on a device of its own.

        `weights` is the file that the system's weights were read from; `refine` moves every mask to the edges.
        `settings` are the fields of the system's config that differ from the checkpoint's. With `alternatives` an
        image outside this model's domain is answered by one of them, or not at all. `note` is on every Prediction.
        """
        self.refine, self.settings = refine, dict(settings or {})
        self.alternatives, self.note = alternatives, note
        self.tokenizer, self.preprocess, self.card, self.name = tokenizer, preprocess, card, name
        self.weights = weights
        self.network = _network(system, device, dtype, compiled, preprocess.max_tokens)

    def __repr__(self) -> str:
        computed = self.computed
        kind = "export" if "runtime" in computed else type(self.system).__name__
        how = [*(["compiled"] if computed["compiled"] else []), *([computed["runtime"]] if kind == "export" else [])]
        return f"Segmenter({', '.join([repr(self.name), kind, computed['device'], computed['dtype'], *how])})"

    @property
    def system(self) -> Any:
        """The PyTorch module. Raises `ModelError` for an exported model, which has none."""
        if not hasattr(self.network, "system"):
            raise ModelError(f"The model {self.name!r} is an export, which has no PyTorch module; load the checkpoint.")
        return self.network.system

    @system.setter
    def system(self, system: Any) -> None:
        self.network.system = system  # type: ignore[attr-defined]

    @property
    def device(self) -> Any:
        """The `torch.device`; of an exported model its name."""
        return self.network.device

    @property
    def dtype(self) -> Any:
        """The `torch.dtype`; of an exported model its name."""
        return self.network.dtype

    @property
    def largest_batch(self) -> int:
        """The most expressions that share one pass over an image."""
        return self.network.largest_batch

    @overload
    def __call__(
        self,
        image: Source,
        expression: str,
        *,
        threshold: float | None = None,
        presence_threshold: float | None = None,
        explain: bool = False,
    ) -> Prediction: ...
    @overload
    def __call__(
        self,
        image: Source,
        expression: Expressions,
        *,
        threshold: float | None = None,
        presence_threshold: float | None = None,
        explain: bool = False,
    ) -> list[Prediction]: ...
    @overload
    def __call__(
        self,
        image: Images,
        expression: str,
        *,
        threshold: float | None = None,
        presence_threshold: float | None = None,
        explain: bool = False,
    ) -> list[Prediction]: ...
    @overload
    def __call__(
        self,
        image: Images,
        expression: Sequence[Expressions],
        *,
        threshold: float | None = None,
        presence_threshold: float | None = None,
        explain: bool = False,
    ) -> list[list[Prediction]]: ...
    def __call__(
        self,
        image: Source | Images,
        expression: str | Expressions | Sequence[Expressions],
        *,
        threshold: float | None = None,
        presence_threshold: float | None = None,
        explain: bool = False,
    ) -> Prediction | list[Prediction] | list[list[Prediction]]:
        """The Prediction for the expression; for a list of expressions, a list of Predictions in its order.

        For a list of images with one expression it returns one Prediction for each image; with a list of expressions
        for each image, one list of Predictions for each image.

        A list costs less than its expressions one by one: the image is read once, and what depends on the image alone
        is computed once for every eight of them (on a CPU for every four, compiled for each). `threshold` replaces the
        threshold of the checkpoint's mask rule. With a presence head the mask is empty unless the probability that the
        referent is in the image exceeds `presence_threshold`, by default the checkpoint's. `explain` asks for evidence.
        """
        options: dict[str, Any] = {
            "threshold": threshold,
            "presence_threshold": presence_threshold,
            "explain": explain,
        }
        if not isinstance(image, list | tuple):
            return self.encode(image)(expression, **options)  # type: ignore[arg-type]
        expressions = for_each(image, expression)
        return [self.encode(one)(each, **options) for one, each in zip(image, expressions, strict=True)]

    def stream(
        self,
        image: Source,
        expressions: str | Expressions,
        *,
        threshold: float | None = None,
        presence_threshold: float | None = None,
        explain: bool = False,
    ) -> Iterator[Prediction]:
        """The same Predictions one after another, each as soon as it is computed; none is kept here.

        For many expressions about a large photo, whose Predictions together would fill the memory. Errors in the photo
        or in an expression are raised at once, before the first Prediction is requested.
        """
        return self.encode(image).stream(
            expressions, threshold=threshold, presence_threshold=presence_threshold, explain=explain
        )

    def video(
        self,
        source: str | Path | Clip,
        expressions: str | Expressions,
        *,
        every: int = 1,
        fps: float | None = None,
        start: float | None = None,
        end: float | None = None,
        smooth: float | None = None,
        threshold: float | None = None,
        presence_threshold: float | None = None,
        explain: bool = False,
    ) -> Iterator[Prediction]:
        """For each frame of a clip the Predictions of all expressions in their order, with `frame` and `time`.

        `source` is a video file, a folder of numbered frames, or what `deixis.data.clips.open_clip` returns. Every
        `every`-th frame is asked, or `fps` a second, from `start` to `end` in seconds. A system that reads one image
        sees each frame alone; a system that reads clips sees the frames around it, as they follow in the file.
        `smooth`, between 0 and 1, is the weight of the frames before in an exponential average of each expression's
        probability maps. The memory does not grow with the clip's length, and the last frame's notes say where a
        cut-off file ended.

        Errors in an option or an expression are raised at once, errors in the clip when its frames are read.
        """
        asked = Question.of(
            self, expressions, threshold=threshold, presence_threshold=presence_threshold, explain=explain
        )
        choice = FrameChoice(every=every, fps=fps, start=start, end=end)
        return ask_clip(self, as_clip(source), asked, choice, Smoother(smooth))

    def encode(self, image: Source) -> EncodedImage:
        """The image read and preprocessed once, to be called with expressions as often as needed.

        Systems that implement `EncodesImages` (late fusion) also run their vision half here, once. The others fuse
        words and pixels early and run again for each batch of expressions; so does every compiled system.
        """
        photo, images = self._read(image)
        encoded = self.encode_window(photo, images)
        if isinstance(encoded, RefusedImage) and self.alternatives is not None:
            other = self.alternatives.choose(photo)
            return encoded if other is None else other.encode(photo)
        return encoded

    def encode_window(self, photo: UInt8[np.ndarray, "h w 3"], images: Any) -> EncodedImage:
        """The same for frames that `placed` returned; `photo` is the frame that is asked about.

        With alternatives it refuses a frame outside the domain, because a clip is answered by one model.
        """
        note = self._outside(images)
        if note and self.alternatives is not None:
            return RefusedImage(self, photo, images, None, note)
        return EncodedImage(self, photo, images, self.network.encode(images), note)

    def chosen_for(self, photo: UInt8[np.ndarray, "h w 3"]) -> "Segmenter":
        """The alternative whose domain the photo is in, if it is not in this model's; without one, this model."""
        if self.alternatives is None or not self.outside(photo):
            return self
        return self.alternatives.choose(photo) or self

    def batch(self, image: Source, expressions: str | Expressions) -> Batch:
        """The Batch that the system reads for one image and expressions."""
        return EncodedImage(self, *self._read(image), None).batch(self.tokenized(expressions))

    def predict(self, batch: Batch, *, explain: bool = False) -> Output:
        """The system's Output for a batch, compiled where that was chosen."""
        self.check_process()
        return self.network.predict(batch, explain=explain)

    @property
    def notes(self) -> tuple[str, ...]:
        """What every Prediction's notes say: the kind of images that the model was trained on, if it is limited.

        With domain statistics only images outside the domain get such a note.
        """
        notes, domain = (self.note,) if self.note else (), getattr(self.card, "domain", "")
        if not domain or getattr(self.card, "domain_statistics", None) is not None:
            return notes
        others = "photographs" if domain == "drawings" else "other images"
        return (*notes, f"The model was trained on {domain}; answers on {others} are guesses.")

    @property
    def known_outside(self) -> float:
        """The highest score of an answer outside the domain; 0 where this model gives none there."""
        if self.alternatives is not None:
            return 0.0
        statistics = getattr(self.card, "domain_statistics", None)
        return 1.0 if statistics is None else float(statistics.known_outside)

    def highest_score(self, known: float, is_outside: bool) -> float:
        """What an answer's score is multiplied by, of which `known` is the fraction of known words."""
        return min(known, self.known_outside if is_outside else getattr(self.card, "highest_score", 1.0))

    def outside(self, photo: UInt8[np.ndarray, "h w 3"]) -> str:
        """A note where the photo is outside the domain; empty inside, and where the domain is not known."""
        return self._outside(self._read(photo)[1])

    def is_outside(self, images: Any) -> list[bool]:
        """Whether the middle frame of each preprocessed clip is outside the domain; False where that is not known."""
        return (self._distances(images) > 1).tolist()

    def _distances(self, images: Any) -> Float[np.ndarray, " i"]:
        """Each middle frame's distance from the domain as a multiple of the limit; 0 where that is not known."""
        statistics = getattr(self.card, "domain_statistics", None)
        found = None if statistics is None else self.network.distances(statistics, images)
        return np.zeros(len(images)) if found is None else found

    def _outside(self, images: Any) -> str:
        """As `outside`, of the middle frame."""
        if (far := self._distances(images)[0]) <= 1:
            return ""
        domain = getattr(self.card, "domain", "")
        begin = {"drawings": "Not a drawing: the", "photographs": "Not a photograph: the"}.get(domain, "The")
        return (
            f"{begin} image is unlike those that the model {self.name!r} was trained on (its distance is "
            f"{max(far, 1.01):.2f} times the limit); an answer of this model is a guess."
        )

    def check_process(self) -> None:
        """Warns in a process that was forked after the model was loaded; raises `ModelError` if it cannot run there."""
        self.network.check_process(self.name)

    @property
    def computed(self) -> dict[str, Any]:
        """What rounding depends on, and the settings and the parameters of the refinement where there are any."""
        refined = {} if self.refine is None else {"refine": {"method": "crf", **asdict(self.refine)}}
        changed = {"settings": self.settings} if self.settings else {}
        return refined | changed | self.network.computed

    @property
    def calibration(self) -> Calibration | None:
        """The calibration of the presence head's probabilities in the checkpoint's card."""
        return getattr(self.card, "calibration", None)

    @property
    def presence_rule(self) -> PresenceRule:
        """The rule in the checkpoint's card for the presence head's probabilities, after the calibration."""
        return getattr(self.card, "presence_rule", None) or PresenceRule()

    @property
    def has_presence(self) -> bool:
        """Whether the system has a presence head."""
        return self.network.has_presence

    def mask_rule(self, threshold: float | None = None) -> MaskRule:
        """The rule in the checkpoint's card, with another threshold where one is given."""
        rule: MaskRule = getattr(self.card, "mask_rule", None) or MaskRule()
        if threshold is None:
            return rule
        check_threshold("threshold", threshold)
        if rule.kind == "half-maximum":
            raise InputError(
                f"The masks of the model {self.name!r} are the pixels above half the maximum, which has no threshold; "
                "omit the threshold."
            )
        return replace(rule, threshold=threshold, chosen_on="")

    def presences(
        self, raw: Float[np.ndarray, " b"] | None, count: int, threshold: float | None = None
    ) -> list[Presence] | list[None]:
        """For each of `count` expressions the probability that its referent is in the image; None without a head.

        `raw` are the head's own probabilities, which are calibrated here. Raises `InputError` where a threshold is
        given and there is no head.
        """
        if raw is None:
            if threshold is not None:
                raise InputError(
                    f"The model {self.name!r} has no presence head, so it has no presence threshold; omit it."
                )
            return [None] * count
        known = raw if self.calibration is None else self.calibration(raw)
        return [
            Presence(
                probability=probability,
                calibrated=self.calibration is not None,
                threshold=self.presence_rule.threshold if threshold is None else threshold,
            )
            for probability in known.tolist()
        ]

    def _read(self, image: Source) -> tuple[UInt8[np.ndarray, "h w 3"], Any]:
        """The photo, and its preprocessed pixels as `placed` returns them; a clip system gets a clip that stands."""
        self.check_process()
        photo = open_image(image)
        return photo, self.placed([self.preprocess.image(photo)] * self.preprocess.num_frames)

    def placed(self, frames: Sequence[Float32[np.ndarray, "3 y x"]]) -> Any:
        """Preprocessed frames as one clip, as the network holds it: a tensor, or an array of an exported model's."""
        return self.network.place(frames)

    def known(self, expression: str) -> float:
        """The fraction of an expression's words that the model knows, which caps its score."""
        return fraction_known(expression, self.tokenizer, self.preprocess.max_tokens)

    def tokenized(self, expressions: str | Expressions) -> TokenizedExpressions:
        """The expressions as the system reads them; raises `InputError` for one that is not a sentence."""
        limit = self.preprocess.max_tokens
        return tokenize(expressions, self.tokenizer, limit, self.name, pad_to=self.network.pad_to)


def _network(system: Any, device: Any, dtype: Any, compiled: bool, max_tokens: int) -> Network:
    if isinstance(system, Network):
        return system
    from .torch_network import TorchNetwork

    return TorchNetwork(system, device, dtype, compiled, max_tokens)
