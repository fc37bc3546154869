"""An exported system run by ONNX Runtime or OpenVINO on a CPU; neither PyTorch nor transformers is imported."""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64

from ..checkpoints.card import CARD, VOCABULARY, Card, parse_card, parse_json, read_text
from ..checkpoints.configs import from_dict
from ..errors import InputError, ModelError, did_you_mean
from ..metrics.domain import DomainStatistics
from ..text.tokenizers import tokenizer_for
from ..vision.slic import labels_of
from .network import Answers
from .refine import DenseCRF
from .segmenter import Segmenter

EXPORT, REGIONS = "export.json", "regions"
FORMAT = 1
ENDINGS = {"onnx": ".onnx", "openvino": ".xml"}
NO_EVIDENCE = "An exported model has no evidence; omit explain, or give the checkpoint."
LARGEST_BATCH = 4  # expressions; on a CPU more take as long one after another
Kind = Literal["onnx", "openvino"]
Runtime = Literal["torch", "onnx", "openvino"]
Session = Callable[[Mapping[str, np.ndarray]], Sequence[np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class ExportFacts:
    """What a runtime must know of an export beside its card and its vocabulary.

    `files` are the whole network, which reads an image of its own for each expression; or two files, the part that
    encodes an image and the part that answers expressions about one encoded image. `domain` is the file that computes
    what the card's domain statistics are compared with; without one no image is. `regions` and `compactness` are those
    of the superpixels that the first part reads beside the image; 0 where it reads none.
    """

    kind: Kind
    files: Sequence[str]
    tokenizer: str
    template: str = ""  # of CLIP's tokenizer
    checkpoint: str = ""  # SHA-256 of the weights that were exported
    name: str = ""  # of the model that was exported
    domain: str = ""
    regions: int = 0
    compactness: float = 0.0
    format: int = FORMAT

    def __post_init__(self) -> None:
        if self.format != FORMAT:
            raise InputError(
                f"The export has format {self.format}; expected {FORMAT}: export the model again with this deixis."
            )
        ending = ENDINGS[self.kind]
        if len(self.files) not in (1, 2) or any(Path(file).name != file for file in (*self.files, self.domain)):
            raise InputError(f"The export names the files {list(self.files)}; expected one or two {ending} beside it.")


def is_export(place: str | Path) -> bool:
    return (Path(place) / EXPORT).is_file()


def load_export(
    place: Path,
    name: str,
    *,
    runtime: str | None = None,
    device: Any = None,
    dtype: Any = "float32",
    compiled: bool = False,
    refine: DenseCRF | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Segmenter:
    """As `load`, of the folder of an export; by default in the runtime that it was exported for."""
    facts, card = read_export(place)
    chosen = check_runtime(runtime) or facts.kind
    precision = str(dtype).removeprefix("torch.")
    if chosen == "torch":
        raise InputError(f"{place} is an export, which PyTorch does not run; give the checkpoint, or omit the runtime.")
    if chosen == "onnx" and facts.kind == "openvino":
        raise InputError(f"{place} was exported for OpenVINO only; export the model with --format onnx.")
    if compiled or settings:
        option = "compiled" if compiled else "settings"
        raise InputError(f"{place} is an export, whose network is fixed; omit {option}, or give the checkpoint.")
    if device is not None and str(device) != "cpu":
        raise InputError(f"{place} is an export, which runs on the CPU only; omit the device {str(device)!r}.")
    if precision not in (("float32", "bfloat16") if chosen == "openvino" else ("float32",)):
        raise InputError(
            f"{place} cannot be run in {precision} by {chosen}; expected float32, or bfloat16 with OpenVINO."
        )
    if not facts.domain:
        card = replace(card, domain_statistics=None)
    vocabulary = read_text(place / VOCABULARY).splitlines()
    return Segmenter(
        ExportedNetwork(place, facts, card, chosen, precision),
        tokenizer_for(facts, vocabulary),
        card.preprocess,
        card,
        name=name,
        weights=place / facts.files[-1],
        refine=refine,
    )


def read_export(place: Path) -> tuple[ExportFacts, Card]:
    """Raises `InputError` where a file of the export is missing or broken."""
    for file in (EXPORT, CARD, VOCABULARY):
        if not (place / file).is_file():
            raise InputError(f"The export {place} lacks {file}; export the model again.")
    where = f"The file {place / EXPORT}"
    facts = from_dict(ExportFacts, parse_json(read_text(place / EXPORT), where), where)
    for file in (*facts.files, *([facts.domain] if facts.domain else [])):
        if not (place / file).is_file():
            raise InputError(f"The export {place} lacks {file}; export the model again.")
    return facts, parse_card(read_text(place / CARD), f"The card of {place}")


def check_runtime(runtime: str | None) -> Runtime | None:
    """The runtime as it was given; raises `InputError` with the nearest name where there is none of that name."""
    if runtime is not None and runtime not in (known := get_args(Runtime)):
        raise InputError(f"There is no runtime {runtime!r}. {did_you_mean(runtime, known)}")
    return runtime  # type: ignore[return-value]


class ExportedNetwork:
    """A `Network` of one or two exported files."""

    device = "cpu"
    largest_batch = LARGEST_BATCH

    def __init__(self, place: Path, facts: ExportFacts, card: Card, runtime: Runtime, dtype: str) -> None:
        self.runtime, self.dtype = runtime, dtype
        self.pad_to: int | None = card.preprocess.max_tokens
        self.has_presence = bool(card.config.get("presence"))
        files = [place / file for file in facts.files]
        open_session = openvino_session if runtime == "openvino" else onnx_session
        sessions = [open_session(file, dtype) for file in files]
        self._encode = sessions[0] if len(sessions) == 2 else None
        self._answer = sessions[-1]
        self._domain = open_session(place / facts.domain, dtype) if facts.domain else None
        self._superpixels = (facts.regions, facts.compactness)
        self._loaded_in = os.getpid()

    @property
    def computed(self) -> dict[str, Any]:
        return {"device": self.device, "dtype": self.dtype, "compiled": False, "runtime": self.runtime}

    def check_process(self, name: str) -> None:
        """Raises `ModelError` in a forked child: the threads of the runtimes do not survive a fork."""
        if self._loaded_in != os.getpid():
            raise ModelError(
                f"The model {name!r} was loaded before this process was forked, where it cannot run; load it in the "
                "child, start processes with 'spawn', or use threads."
            )

    def place(self, frames: Sequence[Float32[np.ndarray, "3 y x"]]) -> Float32[np.ndarray, "1 t 3 y x"]:
        return np.stack(list(frames))[None]

    def encode(self, images: Float32[np.ndarray, "1 t 3 y x"]) -> Mapping[str, np.ndarray] | None:
        if self._encode is None:
            return None
        inputs: dict[str, np.ndarray] = {"images": images}
        if self._superpixels[0]:
            inputs[REGIONS] = labels_of(images[:, images.shape[1] // 2], *self._superpixels)
        return {f"feature{number}": each for number, each in enumerate(self._encode(inputs))}

    def distances(self, statistics: DomainStatistics, images: Any) -> Float[np.ndarray, " i"] | None:
        """`images` `[i t 3 y x]` are NumPy's or PyTorch's; the exported network reads one at a time."""
        if self._domain is None:
            return None
        frames = np.asarray(images[:, images.shape[1] // 2], dtype=np.float32)
        moments = [self._domain({"images": frames[at : at + 1]})[0] for at in range(len(frames))]
        return statistics.distance(np.concatenate(moments))

    def answer(
        self,
        images: Float32[np.ndarray, "1 t 3 y x"],
        features: Mapping[str, np.ndarray] | None,
        token_ids: Int64[np.ndarray, "b l"],
        token_mask: Bool[np.ndarray, "b l"],
        *,
        explain: bool = False,
    ) -> Answers:
        if explain:
            raise InputError(NO_EVIDENCE)
        logits, *presence = self._heads(images, features, token_ids, token_mask)
        return Answers(
            probabilities=sigmoid(logits.astype(np.float32)),
            presence=sigmoid(presence[0].astype(np.float64)) if presence else None,
            is_finite=all(bool(np.isfinite(each).all()) for each in (logits, *presence)),
        )

    def _heads(
        self, images: Any, features: Mapping[str, np.ndarray] | None, token_ids: np.ndarray, token_mask: np.ndarray
    ) -> Sequence[np.ndarray]:
        """The logits of the masks, and those of the presence head where there is one."""
        seen = features or {"images": np.repeat(images, len(token_ids), axis=0)}
        return self._answer({**seen, "token_ids": token_ids, "token_mask": token_mask})

    def predict(self, batch: Any, *, explain: bool = False) -> Any:
        """The Output for a Batch, one image after another; it needs PyTorch, whose tensors these are."""
        import torch

        from ..batch import Output

        if explain:
            raise InputError(NO_EVIDENCE)
        index = torch.arange(len(batch)) if batch.image_index is None else batch.image_index.cpu()
        logits = torch.empty(len(batch), *batch.images.shape[-2:])
        presence = torch.empty(len(batch)) if self.has_presence else None
        token_ids, token_mask = _padded(batch.token_ids, self.pad_to), _padded(batch.token_mask, self.pad_to)
        for image in index.unique().tolist():
            images = batch.images[image : image + 1].float().cpu().numpy()
            features = self.encode(images)
            for places in (index == image).nonzero().flatten().split(self.largest_batch):
                rows = places.numpy()  # a tensor of one number would index as that number
                masks, *heads = self._heads(images, features, token_ids[rows], token_mask[rows])
                logits[places] = torch.as_tensor(masks)
                if presence is not None:
                    presence[places] = torch.as_tensor(heads[0])
        return Output(logits=logits, presence=presence)


def sigmoid(logits: Float[np.ndarray, "*size"]) -> Float[np.ndarray, "*size"]:
    """1 / (1 + exp(-x)), for logits of any size."""
    small = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1, small) / (1 + small)


def onnx_session(file: Path, dtype: str) -> Session:
    """What runs an ONNX file by ONNX Runtime; several threads may call it."""
    try:
        import onnxruntime
    except ImportError:
        raise _missing("onnxruntime", "onnx") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _num_threads()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors share no base class
        raise _broken(file, error) from error
    return lambda inputs: session.run(None, dict(inputs))


def openvino_session(file: Path, dtype: str) -> Session:
    """What runs an ONNX or an OpenVINO file by OpenVINO; several threads may call it."""
    try:
        import openvino
    except ImportError:
        raise _missing("openvino", "openvino") from None
    # Left to itself it computes in bfloat16 where the processor has such instructions.
    options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "bf16" if dtype == "bfloat16" else "f32"}
    options |= {"PERFORMANCE_HINT": "LATENCY"} | ({"INFERENCE_NUM_THREADS": n} if (n := _num_threads()) else {})
    try:
        compiled = openvino.Core().compile_model(str(file), "CPU", options)
    except RuntimeError as error:
        raise _broken(file, error) from error
    requests = threading.local()  # one request serves one call at a time

    def run(inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        if not hasattr(requests, "own"):
            requests.own = compiled.create_infer_request()
        found = requests.own.infer(dict(inputs))
        return [np.array(found[output]) for output in compiled.outputs]  # the request reuses its memory

    return run


def _num_threads() -> int:
    """As PyTorch has it from the environment; 0 leaves the choice to the runtime."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() else 0


def _missing(module: str, extra: str) -> ModelError:
    return ModelError(f"This export needs {module}, which is not installed; run `pip install 'deixis[{extra}]'`.")


def _broken(file: Path, error: Exception) -> InputError:
    reason = next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
    return InputError(f"{file} cannot be run ({reason}); export the model again.")


def _padded(tokens: Any, length: int | None) -> np.ndarray:
    """Tokens as an array of `length` columns; what is added is padding, which changes nothing."""
    array = tokens.cpu().numpy()
    return np.pad(array, ((0, 0), (0, (length or 0) - array.shape[1])))
