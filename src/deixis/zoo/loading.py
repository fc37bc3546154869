"""`load`: from a name or a path to a Segmenter, and `segment` for who wants one answer."""

from functools import lru_cache
from pathlib import Path
from typing import Any, overload

import torch
from torch import nn

from ..checkpoints import native
from ..checkpoints.official.published import PUBLISHED, published_name
from ..data.images import Source
from ..errors import InputError, did_you_mean
from ..predict.prediction import Prediction
from ..predict.segmenter import Expressions, Segmenter
from ..text.tokenizer import Tokenizer
from ..weights import without_memory
from .conversion import kept, obtain
from .systems import SYSTEMS, build

EMBEDDED = Path(__file__).parents[1] / "embedded"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
FOREIGN_ENDINGS = {".pth", ".pt", ".bin", ".ckpt"}


def load(
    name_or_path: str | Path = "embedded",
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | str = "float32",
    download: bool = False,
    compiled: bool = False,
) -> Segmenter:
    """A model ready for photos: `embedded`, the folder of a checkpoint or of a run (its best), a weights' file, or
    the name of a published checkpoint, such as `magnet-refcoco`.

    Without `device` the fastest one at hand is taken. Nothing is downloaded but a published checkpoint, once, where
    `download` allows it. A `compiled` model takes minutes for its first answer and less time for the others; it wants
    a C++ compiler. Raises DeixisError where there is no such model, its files are broken or fit no system, or
    PyTorch is too old to compile.
    """
    chosen, precision = _device(device), _dtype(dtype)
    place = find(name_or_path, download=download)
    checkpoint = native.read(place)
    config = native.config_of(checkpoint.card, SYSTEMS)
    read, known = checkpoint.card.preprocess.max_tokens, config.text
    if len(checkpoint.vocabulary) > known.vocabulary or read > known.positions:
        raise InputError(
            f"The checkpoint {place} has {len(checkpoint.vocabulary)} words and reads {read} at a time, but its text "
            f"encoder knows {known.vocabulary} and reads {known.positions}; get an unchanged copy."
        )
    system = _filled(checkpoint, config, f"The checkpoint {place}")
    tokenizer = Tokenizer(checkpoint.vocabulary)
    return Segmenter(
        system,
        tokenizer,
        checkpoint.card.preprocess,
        checkpoint.card,
        chosen,
        precision,
        name=str(name_or_path),
        compiled=compiled,
        weights=place / native.WEIGHTS if place.is_dir() else place,
    )


@overload
def segment(
    image: Source,
    expression: str,
    *,
    model: str | Path = "embedded",
    threshold: float | None = None,
    presence_threshold: float | None = None,
) -> Prediction: ...
@overload
def segment(
    image: Source,
    expression: Expressions,
    *,
    model: str | Path = "embedded",
    threshold: float | None = None,
    presence_threshold: float | None = None,
) -> list[Prediction]: ...
def segment(
    image: Source,
    expression: str | Expressions,
    *,
    model: str | Path = "embedded",
    threshold: float | None = None,
    presence_threshold: float | None = None,
) -> Prediction | list[Prediction]:
    """What the expression points at in the image; the model is loaded at the first call and kept for the next."""
    return _kept(model)(image, expression, threshold=threshold, presence_threshold=presence_threshold)


def find(name_or_path: str | Path, *, download: bool = False) -> Path:
    """Where a model's checkpoint is. Raises DeixisError with the nearest name where there is none.

    A folder or file that is there is meant before a published checkpoint of its name.
    """
    if str(name_or_path) == "embedded":
        if not (EMBEDDED / native.WEIGHTS).exists():
            raise InputError("This copy of deixis has no embedded model; give the folder of a checkpoint as the model.")
        return EMBEDDED
    path = Path(name_or_path)
    if path.is_dir():
        for place in (path, path / "best", path / "last"):
            if (place / native.WEIGHTS).exists():
                return place
        raise InputError(f"The folder {str(path)!r} holds no {native.WEIGHTS}; give a checkpoint's or a run's folder.")
    if path.is_file():
        if path.suffix in FOREIGN_ENDINGS:
            raise InputError(f"{path} is a PyTorch file; convert it once: deixis checkpoint convert {path} OUT.")
        return path
    if (name := published_name(str(name_or_path))) is not None:
        return _published(name, download)
    beside = path.parent if path.parent.is_dir() else Path()
    names = ["embedded", *PUBLISHED, *(str(place) for place in beside.glob("*") if _holds_model(place))]
    raise InputError(f"There is no model {str(name_or_path)!r}. {did_you_mean(str(name_or_path), names)}")


def _filled(checkpoint: native.Checkpoint, config: Any, where: str) -> nn.Module:
    """The card's system with the checkpoint's weights; it takes no memory before every shape is compared."""
    # Even without memory a million layers take minutes; each has weights, so a card cannot ask for more than there are.
    layers = config.text.layers + sum(config.vision.depths)
    layers += sum(getattr(config, name, 0) for name in ("pixel_layers", "query_layers"))
    if layers + len(getattr(config, "pooled_sides", ())) > len(checkpoint.weights):
        raise InputError(
            f"{where} has a card that asks for {layers} layers, but holds {len(checkpoint.weights)} weights; get an "
            "unchanged copy."
        )
    try:
        with without_memory():
            system = build(checkpoint.card.system, config)
    except (RuntimeError, TypeError, OverflowError) as error:  # a tensor of more values than PyTorch can count
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(
            f"{where} has a card that asks for weights of impossible size ({reason}); get an unchanged copy."
        ) from error
    native.fill(system, checkpoint.weights, where)
    return system


def _published(name: str, download: bool) -> Path:
    place = kept(name)
    if download or (place / native.WEIGHTS).exists():
        return obtain(name)
    raise InputError(
        f"The published checkpoint {name!r} is not on this machine, and nothing is downloaded unasked; allow it once "
        f"(some 1.2 GB) with `deixis checkpoint download {name}`, with --download or with load(…, download=True)."
    )


def _holds_model(place: Path) -> bool:
    return any((place / folder / native.WEIGHTS).is_file() for folder in ("", "best", "last"))


def _device(device: torch.device | str | None) -> torch.device:
    if device is None:
        mps = torch.backends.mps.is_available()
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:  # AssertionError: PyTorch was built without it
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"The device {str(device)!r} cannot be used ({reason}); cpu always can.") from error
    return chosen


def _dtype(dtype: torch.dtype | str) -> torch.dtype:
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise InputError(f"There is no dtype {name!r} for models. {did_you_mean(name, DTYPES)}")
    return DTYPES[name]


@lru_cache(maxsize=2)
def _kept(model: str | Path) -> Segmenter:
    return load(model)
