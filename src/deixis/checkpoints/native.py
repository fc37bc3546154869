"""Our own checkpoint: a folder of weights (safetensors), a card that says how to build and feed them, a vocabulary."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..data.transforms import Preprocess
from ..errors import InputError
from ..files import replaced
from ..metrics.calibration import Calibration
from ..weights import check_finite, tensors_in
from .configs import from_dict, to_dict

WEIGHTS, CARD, VOCABULARY = "model.safetensors", "card.json", "vocab.txt"
FORMAT = 1
DEEPEST, LONGEST = 50, 18  # levels of a card, and digits of its numbers; no card of ours comes near
SCORE_OF_HEAD = (
    "the chance that what is meant is there, as the presence head says it; present where an answer was given"
)
SCORE_OF_MASK = "the mean probability of the mask's pixels, which is no chance of being right; present where it has any"


@dataclass(frozen=True, kw_only=True)
class Card:
    """What weights are: the system and its config, how inputs are made, where they come from, what they score."""

    system: str
    config: dict[str, Any]
    preprocess: Preprocess = field(default_factory=Preprocess)
    description: str = ""
    licence: str = "Apache-2.0"
    scores: dict[str, Any] = field(default_factory=dict)  # by protocol and split
    run: dict[str, Any] = field(default_factory=dict)  # the whole Run that made the weights, as `run.json`
    origin: dict[str, Any] = field(default_factory=dict)  # where weights that others published come from
    calibration: Calibration | None = None  # of the presence head's chances, where there is such a head
    score_means: str = ""  # what a prediction's score is, filled in
    format: int = FORMAT

    def __post_init__(self) -> None:
        if not self.score_means:
            object.__setattr__(self, "score_means", SCORE_OF_HEAD if self.config.get("presence") else SCORE_OF_MASK)
        if self.format != FORMAT:
            raise InputError(
                f"The checkpoint has format {self.format}, this deixis reads {FORMAT}; install the deixis that made it."
            )


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint as read: float32 weights, the card, and the vocabulary's words, one a line."""

    weights: dict[str, Tensor]
    card: Card
    vocabulary: tuple[str, ...]


def save(
    folder: Path, weights: Mapping[str, Tensor], card: Card, vocabulary: tuple[str, ...], *, half: bool = False
) -> None:
    """Write the folder; each file appears whole or not at all, the weights last but for the card's copy beside them.

    The card and vocabulary also stand in the weights' header, so the one file is a checkpoint by itself.
    `half` stores floats as float16, to be read back as float32.
    """
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise InputError(f"The weight {name!r} holds values that are no numbers; nothing was saved.")
    text = json.dumps(to_dict(card), indent=1, ensure_ascii=False)
    words = "\n".join(vocabulary) + "\n"
    stored = {name: _stored(tensor, half) for name, tensor in weights.items()}
    header = {"deixis": text, "vocabulary": words}
    folder.mkdir(parents=True, exist_ok=True)
    with replaced(folder / VOCABULARY) as path:
        path.write_text(words, encoding="utf-8")
    try:
        with replaced(folder / WEIGHTS) as path:
            save_file(stored, path, metadata=header)
    except SafetensorError as error:
        raise InputError(f"{folder / WEIGHTS} cannot be written ({error}); is the disk full? Make room.") from error
    with replaced(folder / CARD) as path:
        path.write_text(text + "\n", encoding="utf-8")


def read(path: str | Path) -> Checkpoint:
    """A folder, or its weights' file alone. Raises DeixisError where it is missing, broken or holds no numbers."""
    place = Path(path)
    file = place / WEIGHTS if place.is_dir() else place
    if not file.exists():
        raise InputError(
            f"There is no checkpoint at {path}; a folder with {WEIGHTS}, {CARD} and {VOCABULARY} is wanted."
        )
    weights, header = _tensors(file)
    card_file, words_file = file.with_name(CARD), file.with_name(VOCABULARY)
    text = _read_text(card_file) if place.is_dir() and card_file.exists() else header.get("deixis")
    words = _read_text(words_file) if place.is_dir() and words_file.exists() else header.get("vocabulary")
    if text is None or words is None:
        raise InputError(f"{file} holds weights but neither {CARD} nor {VOCABULARY}; deixis did not write it.")
    return Checkpoint(weights=weights, card=_card(text, f"The card of {path}"), vocabulary=tuple(words.splitlines()))


def read_card(path: str | Path) -> Card:
    """The card alone, without reading the weights."""
    place = Path(path)
    if place.is_dir() and (place / CARD).exists():
        return _card(_read_text(place / CARD), f"The card of {path}")
    return read(path).card


def write_card(folder: Path, card: Card) -> None:
    """Replace a checkpoint's card: scores are often known only after the weights were written."""
    checkpoint = read(folder)
    with safe_open(str(folder / WEIGHTS), framework="pt") as file:
        half = any(file.get_slice(name).get_dtype() == "F16" for name in file.keys())  # noqa: SIM118  # no iterator
    save(folder, checkpoint.weights, card, checkpoint.vocabulary, half=half)


def fill(system: nn.Module, weights: Mapping[str, Tensor], where: str) -> None:
    """Load every weight. Raises DeixisError with the first names and shapes that do not fit.

    A system on the meta device gets memory once everything fits; it must not have buffers that no checkpoint holds.
    """
    wanted = system.state_dict()
    missing, surplus = sorted(set(wanted) - set(weights)), sorted(set(weights) - set(wanted))
    if missing or surplus:
        parts = [f"lacks {len(missing)} weights ({', '.join(missing[:3])})"] if missing else []
        parts += [f"has {len(surplus)} that the system does not know ({', '.join(surplus[:3])})"] if surplus else []
        raise InputError(f"{where} {' and '.join(parts)}; it was made for another system or config.")
    for name, tensor in weights.items():
        if tensor.shape != wanted[name].shape:
            raise InputError(
                f"{where} has {name!r} of shape {list(tensor.shape)}, but the system wants {list(wanted[name].shape)}; "
                "it was made for another config."
            )
    is_meta = any(tensor.is_meta for tensor in wanted.values())
    if is_meta:  # `to_empty` would do as well, but imports a symbolic algebra library
        weights = {name: tensor.to(wanted[name].dtype, copy=True) for name, tensor in weights.items()}
    system.load_state_dict(dict(weights), assign=is_meta)


def _tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(str(file), framework="pt") as opened:
            header = dict(opened.metadata() or {})
            weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  # no iterator
    except (SafetensorError, OSError) as error:
        raise InputError(f"{file} is no safetensors file, or a truncated one ({error}); get a whole copy.") from error
    weights = tensors_in(weights, file)
    check_finite(weights, file)
    return weights, header


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is no text ({error.reason}); get a whole copy of the checkpoint.") from error


def _card(text: str, where: str) -> Card:
    try:
        plain = json.loads(text, parse_int=_whole)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is no JSON ({error}); get a whole copy of the checkpoint.") from error
    if _is_deeper(plain, DEEPEST):
        raise InputError(f"{where} is nested deeper than {DEEPEST} levels; get an unchanged copy of the checkpoint.")
    return from_dict(Card, plain, where)


def _whole(digits: str) -> int:
    if len(digits) > LONGEST:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _is_deeper(plain: Any, levels: int) -> bool:
    inside = [plain]
    for _ in range(levels):
        parts = [part.values() if isinstance(part, dict) else part for part in inside if isinstance(part, dict | list)]
        inside = [each for part in parts for each in part]
    return bool(inside)


def _stored(tensor: Tensor, half: bool) -> Tensor:
    kept = tensor.detach().cpu()
    if not kept.is_floating_point():
        return kept.clone(memory_format=torch.contiguous_format)
    limit = torch.finfo(torch.float16).max
    return (kept.clamp(-limit, limit).half() if half else kept.float()).clone(memory_format=torch.contiguous_format)
