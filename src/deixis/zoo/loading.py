"""`load`: from a name or a path to a Segmenter; `segment`: one call from a photo and a sentence to a mask."""

import json
from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, overload

import torch
from torch import nn

from ..checkpoints import native
from ..checkpoints.configs import from_dict, to_dict
from ..checkpoints.official.published import PUBLISHED, published_name
from ..data.images import Source
from ..errors import InputError, did_you_mean
from ..predict.alternatives import Alternatives
from ..predict.prediction import Prediction
from ..predict.refine import DenseCRF, refinement
from ..predict.segmenter import Expressions, Segmenter
from ..records import Config
from ..text.tokenizers import tokenizer_for
from ..weights import without_memory
from . import hub_models
from .bundled import ADVICE, AUTO, BUNDLED_MODELS, bundled_named, defaults
from .conversion import kept, obtain
from .systems import ENCODERS, system_of_card

CHAIN_FILE = "chain.json"  # in the folder of a chain of runs
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
FOREIGN_ENDINGS = {".pth", ".pt", ".bin", ".ckpt"}


def load(
    name_or_path: str | Path = AUTO,
    *,
    system: type[Config] | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | str = "float32",
    download: bool = False,
    compiled: bool = False,
    refine: str | DenseCRF | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Segmenter:
    """A model that is ready for photos.

    `name_or_path` is `auto` for the bundled model whose domain an image is in, `bundled` for the one of drawings on any
    image, the folder of a checkpoint, of a run (its best) or of a chain of runs (its last run), a
    weights file, or the name of a published checkpoint such as `magnet-refcoco`. `system` is the config class of a
    system of your own: a checkpoint never chooses which module is imported.

    Without `device` the fastest one available is used. Only a published checkpoint is ever downloaded, once, and only
    if `download` allows it. A `compiled` model takes minutes for its first prediction and less time for the others; it
    needs a C++ compiler. `refine` post-processes every mask: `crf`, with parameters as in `crf:iterations=10`.
    `settings` replace fields of the config that belong to the prediction and change no weight, such as SaG's
    `iterations`. Raises `InputError` if there is no such model or its files are broken or do not fit the system, and
    `ModelError` if its weights are not finite or this machine cannot compile it.
    """
    chosen, precision, refined = _device(device), _dtype(dtype), refinement(refine)
    bundled, alternatives = bundled_named(str(name_or_path)), None
    if str(name_or_path) == AUTO:
        name_or_path, *others = [*defaults()] or [AUTO]
        options: dict[str, Any] = {"device": chosen, "dtype": precision, "compiled": compiled, "refine": refine}
        alternatives = Alternatives({name: partial(load, name, **options) for name in others}, ADVICE)
    place = find(name_or_path, download=download)
    checkpoint = native.read(place)
    where = f"The checkpoint {place}"
    config: Any = _with_settings(_config(checkpoint, system, where), settings or {}, str(name_or_path))
    return Segmenter(
        _filled(checkpoint, config, where),
        tokenizer_for(config, checkpoint.vocabulary),
        checkpoint.card.preprocess,
        checkpoint.card,
        chosen,
        precision,
        name=str(name_or_path),
        compiled=compiled,
        weights=place / native.WEIGHTS if place.is_dir() else place,
        refine=refined,
        settings=settings,
        alternatives=alternatives,
        note="" if bundled is None else bundled.note,
    )


@overload
def segment(
    image: Source,
    expression: str,
    *,
    model: str | Path = AUTO,
    threshold: float | None = None,
    presence_threshold: float | None = None,
) -> Prediction: ...
@overload
def segment(
    image: Source,
    expression: Expressions,
    *,
    model: str | Path = AUTO,
    threshold: float | None = None,
    presence_threshold: float | None = None,
) -> list[Prediction]: ...
def segment(
    image: Source,
    expression: str | Expressions,
    *,
    model: str | Path = AUTO,
    threshold: float | None = None,
    presence_threshold: float | None = None,
) -> Prediction | list[Prediction]:
    """The prediction for the expression; the model is loaded at the first call and cached for the next."""
    return _cached(model)(image, expression, threshold=threshold, presence_threshold=presence_threshold)


def find(name_or_path: str | Path, *, download: bool = False) -> Path:
    """The place of a model's checkpoint. Raises `InputError` with the nearest name if there is none.

    An existing folder or file has priority over a published checkpoint of the same name.
    """
    if (bundled := bundled_named(str(name_or_path))) is not None:
        if not bundled.exists:
            raise InputError("This copy of deixis has no bundled model; give the folder of a checkpoint as the model.")
        return bundled.folder
    path = Path(name_or_path)
    if path.is_dir():
        return _inside(path)
    if path.is_file():
        if path.suffix in FOREIGN_ENDINGS:
            raise InputError(f"{path} is a PyTorch file; convert it once: deixis checkpoint convert {path} OUT.")
        return path
    if (name := published_name(str(name_or_path))) is not None:
        return _published(name, download)
    if str(name_or_path) in hub_models.HUB_MODELS:
        return hub_models.find(str(name_or_path), download=download)
    beside = path.parent if path.parent.is_dir() else Path()
    names = [
        AUTO,
        *BUNDLED_MODELS,
        *PUBLISHED,
        *hub_models.HUB_MODELS,
        *(str(place) for place in beside.glob("*") if _holds_model(place)),
    ]
    raise InputError(f"There is no model {str(name_or_path)!r}. {did_you_mean(str(name_or_path), names)}")


def _inside(folder: Path) -> Path:
    """The checkpoint in the folder of a checkpoint, a run or a chain."""
    for place in (folder, folder / "best", folder / "last"):
        if (place / native.WEIGHTS).exists():
            return place
    if (folder / CHAIN_FILE).exists():
        *earlier, last = json.loads((folder / CHAIN_FILE).read_text(encoding="utf-8"))["runs"]
        if _holds_model(folder / last):
            return _inside(folder / last)
        raise InputError(
            f"The chain in {folder} has not trained its last run, {last!r}, yet; resume its training, or give the "
            f"folder of an earlier run ({', '.join(earlier)})."
        )
    raise InputError(f"The folder {str(folder)!r} holds no {native.WEIGHTS}; give the folder of a checkpoint or a run.")


def _config(checkpoint: native.Checkpoint, given: type[Config] | None, where: str) -> Config:
    """The card's config, as long as the vocabulary and the longest sentence fit it."""
    card = checkpoint.card
    if card.system in ENCODERS:
        raise InputError(
            f"{where} holds an encoder to start a training from (`--start-from.checkpoint`), and segments nothing; "
            "give the checkpoint of a system."
        )
    kind = system_of_card(card.system, given)
    config: Any = from_dict(kind, card.config, f"The card's config of {card.system!r}")
    words, read = len(checkpoint.vocabulary), card.preprocess.max_tokens
    if words > config.vocabulary_size or read > config.longest_sentence:
        raise InputError(
            f"{where} has a vocabulary of {words} and reads {read} tokens at a time, but its text encoder supports "
            f"{config.vocabulary_size} and {config.longest_sentence}; get an unchanged copy."
        )
    return config


def _with_settings(config: Any, settings: Mapping[str, Any], name: str) -> Any:
    """The config with other values of the fields that its class lists in `prediction_settings`."""
    known: tuple[str, ...] = getattr(config, "prediction_settings", ())
    for setting in settings:
        if setting not in known:
            offered = did_you_mean(setting, known) if known else "This system has none: omit it."
            raise InputError(f"The model {name!r} has no setting {setting!r} of its predictions. {offered}")
    return from_dict(type(config), {**to_dict(config), **settings}, f"The settings of {name!r}") if settings else config


def _filled(checkpoint: native.Checkpoint, config: Any, where: str) -> nn.Module:
    """The card's system with the checkpoint's weights; it takes no memory before every shape has been compared."""
    # Even without memory a million layers take minutes; each has weights, so a card cannot ask for more than there are.
    if config.num_layers > len(checkpoint.weights):
        raise InputError(
            f"{where} has a card that asks for {config.num_layers} layers, but holds {len(checkpoint.weights)} "
            "weights; get an unchanged copy."
        )
    try:
        with without_memory():
            system = config.build()
    except (RuntimeError, TypeError, OverflowError) as error:  # a tensor of more values than PyTorch can count
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(
            f"{where} has a card that asks for weights of impossible size ({reason}); get an unchanged copy."
        ) from error
    stored = system.state_dict()
    native.fill(system, checkpoint.weights, where)
    if any(name not in stored for name, _ in system.named_buffers()):
        # A buffer that no checkpoint holds has a value only in a system that was built with memory.
        system = config.build()
        native.fill(system, checkpoint.weights, where)
    return system


def _published(name: str, download: bool) -> Path:
    place = kept(name)
    if download or (place / native.WEIGHTS).exists():
        return obtain(name)
    raise InputError(
        f"The published checkpoint {name!r} is not on this machine, and nothing is downloaded without permission; "
        f"allow it once (some 1.2 GB) with `deixis checkpoint download {name}`, --download or load(…, download=True)."
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
    except (RuntimeError, AssertionError) as error:  # AssertionError: PyTorch was built without this device
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"The device {str(device)!r} cannot be used ({reason}); cpu always works.") from error
    return chosen


def _dtype(dtype: torch.dtype | str) -> torch.dtype:
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise InputError(f"There is no dtype {name!r} for models. {did_you_mean(name, DTYPES)}")
    return DTYPES[name]


@lru_cache(maxsize=2)
def _cached(model: str | Path) -> Segmenter:
    return load(model)
