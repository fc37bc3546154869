"""Our checkpoint format: a folder with weights (safetensors), a card and a vocabulary.

The card says how to build the system, how to prepare its inputs and how to read its output.
"""

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
from ..errors import InputError, ModelError
from ..files import replaced
from ..metrics.calibration import Calibration
from ..metrics.domain import DomainStatistics
from ..records import MaskRule
from ..weights import check_finite, refuse_lfs_pointer, tensors_in
from .configs import from_dict, to_dict

WEIGHTS, CARD, VOCABULARY = "model.safetensors", "card.json", "vocab.txt"
FORMAT = 1
DEEPEST, LONGEST = 50, 18  # levels of a card, and digits of its numbers; far more than cards have
SCORE_OF_HEAD = "the presence head's probability that the referent is in the image"
SCORE_OF_MASK = "the mean probability of the mask's pixels, not the probability that the mask is right"


@dataclass(frozen=True, kw_only=True)
class Card:
    """Facts about weights: system, config, preprocessing, mask rule, origin and scores."""

    system: str
    config: dict[str, Any]
    preprocess: Preprocess = field(default_factory=Preprocess)
    mask_rule: MaskRule = field(default_factory=MaskRule)
    description: str = ""
    domain: str = ""  # the kind of images it was trained on, such as "drawings"; empty where it is not limited
    licence: str = "Apache-2.0"
    scores: dict[str, Any] = field(default_factory=dict)  # by protocol and split
    run: dict[str, Any] = field(default_factory=dict)  # the whole Run that made the weights, as `run.json`
    origin: dict[str, Any] = field(default_factory=dict)  # of weights that others published
    calibration: Calibration | None = None  # of the presence head's probabilities
    domain_statistics: DomainStatistics | None = None  # of the training images; None: any image is as good
    score_means: str = ""  # the meaning of a prediction's score; filled in, whatever an older card says
    format: int = FORMAT

    def __post_init__(self) -> None:
        object.__setattr__(self, "score_means", SCORE_OF_HEAD if self.config.get("presence") else SCORE_OF_MASK)
        if self.format != FORMAT:
            raise InputError(
                f"The checkpoint has format {self.format}; expected {FORMAT}: install the deixis that wrote it."
            )


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint as read: float32 weights, the card, and the vocabulary's tokens."""

    weights: dict[str, Tensor]
    card: Card
    vocabulary: tuple[str, ...]


def save(
    folder: Path, weights: Mapping[str, Tensor], card: Card, vocabulary: tuple[str, ...], *, half: bool = False
) -> None:
    """Write the folder; each file appears whole or not at all, first the vocabulary, then the weights, then the card.

    The card and the vocabulary are also in the header of the weights' file, which is a checkpoint by itself.
    `half` stores floats as float16; they are read as float32. Raises `ModelError` for weights that are not finite.
    """
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ModelError(f"The weight {name!r} has values that are not finite numbers; nothing was saved.")
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
    """The checkpoint in a folder or in its weights' file alone; raises `DeixisError` where it is missing or broken."""
    place = Path(path)
    file = place / WEIGHTS if place.is_dir() else place
    if not file.exists():
        raise InputError(
            f"There is no checkpoint at {path}; expected a folder with {WEIGHTS}, {CARD} and {VOCABULARY}."
        )
    weights, header = _tensors(file)
    card_file, words_file = file.with_name(CARD), file.with_name(VOCABULARY)
    text = _read_text(card_file) if place.is_dir() and card_file.exists() else header.get("deixis")
    words = _read_text(words_file) if place.is_dir() and words_file.exists() else header.get("vocabulary")
    if text is None or words is None:
        raise InputError(f"{file} has weights but no {CARD} or {VOCABULARY}; give a checkpoint that deixis wrote.")
    return Checkpoint(weights=weights, card=_card(text, f"The card of {path}"), vocabulary=tuple(words.splitlines()))


def read_card(path: str | Path) -> Card:
    """The card alone, without reading the weights."""
    place = Path(path)
    if place.is_dir() and (place / CARD).exists():
        return _card(_read_text(place / CARD), f"The card of {path}")
    return read(path).card


def write_card(folder: Path, card: Card) -> None:
    """Replace a checkpoint's card, in the folder and in the header of its weights' file."""
    checkpoint = read(folder)
    with safe_open(str(folder / WEIGHTS), framework="pt") as file:
        half = any(file.get_slice(name).get_dtype() == "F16" for name in file.keys())  # noqa: SIM118  # no iterator
    save(folder, checkpoint.weights, card, checkpoint.vocabulary, half=half)


def fill(system: nn.Module, weights: Mapping[str, Tensor], where: str) -> None:
    """Load every weight; raises `InputError` with the first names and shapes that do not fit.

    A system on the meta device gets memory once everything fits; it must not have buffers that no checkpoint holds.
    """
    expected = system.state_dict()
    missing, surplus = sorted(set(expected) - set(weights)), sorted(set(weights) - set(expected))
    if missing or surplus:
        parts = [f"lacks {len(missing)} weights ({', '.join(missing[:3])})"] if missing else []
        parts += [f"has {len(surplus)} that the system does not have ({', '.join(surplus[:3])})"] if surplus else []
        raise InputError(f"{where} {' and '.join(parts)}; it was made for another system or config.")
    for name, tensor in weights.items():
        if tensor.shape != expected[name].shape:
            raise InputError(
                f"{where} has {name!r} of shape {list(tensor.shape)}, but the system has {list(expected[name].shape)}; "
                "it was made for another config."
            )
    is_meta = any(tensor.is_meta for tensor in expected.values())
    if is_meta:  # `to_empty` would do as well, but imports a symbolic algebra library
        weights = {name: tensor.to(expected[name].dtype, copy=True) for name, tensor in weights.items()}
    system.load_state_dict(dict(weights), assign=is_meta)


def _tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(str(file), framework="pt") as opened:
            header = dict(opened.metadata() or {})
            weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  # no iterator
    except (SafetensorError, OSError) as error:
        refuse_lfs_pointer(file)
        raise InputError(f"{file} is not a safetensors file, or is truncated ({error}); get a whole copy.") from error
    weights = tensors_in(weights, file)
    check_finite(weights, file)
    return weights, header


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not text ({error.reason}); get a whole copy of the checkpoint.") from error


def _card(text: str, where: str) -> Card:
    try:
        plain = json.loads(text, parse_int=_whole)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not JSON ({error}); get a whole copy of the checkpoint.") from error
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
