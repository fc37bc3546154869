"""From a checkpoint's folder to a Segmenter that PyTorch runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..checkpoints import native
from ..checkpoints.configs import from_dict, to_dict
from ..errors import InputError, did_you_mean
from ..predict.alternatives import Alternatives
from ..predict.refine import DenseCRF
from ..predict.segmenter import Segmenter
from ..records import Config
from ..text.tokenizers import tokenizer_for
from ..weights import without_memory
from .systems import ENCODERS, system_of_card

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_checkpoint(
    place: Path,
    name: str,
    *,
    system: type[Config] | None,
    device: torch.device | str | None,
    dtype: torch.dtype | str,
    compiled: bool,
    refine: DenseCRF | None,
    settings: Mapping[str, Any] | None,
    alternatives: Alternatives | None,
    note: str,
) -> Segmenter:
    """As `load`, of the checkpoint at `place`; see Segmenter for `alternatives` and `note`."""
    chosen, precision = device_of(device), dtype_of(dtype)
    checkpoint = native.read(place)
    where = f"The checkpoint {place}"
    config: Any = _with_settings(_config(checkpoint, system, where), settings or {}, name)
    return Segmenter(
        _filled(checkpoint, config, where),
        tokenizer_for(config, checkpoint.vocabulary),
        checkpoint.card.preprocess,
        checkpoint.card,
        chosen,
        precision,
        name=name,
        compiled=compiled,
        weights=place / native.WEIGHTS if place.is_dir() else place,
        refine=refine,
        settings=settings,
        alternatives=alternatives,
        note=note,
    )


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


def device_of(device: torch.device | str | None) -> torch.device:
    """The device, by default the fastest one. Raises `InputError` where it cannot be used."""
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


def dtype_of(dtype: torch.dtype | str) -> torch.dtype:
    """Raises `InputError` where models are not run in it."""
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise InputError(f"There is no dtype {name!r} for models. {did_you_mean(name, DTYPES)}")
    return DTYPES[name]
