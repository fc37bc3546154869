"""The card of a checkpoint or of an export: how its system is built, fed and read, and where it is from; no PyTorch."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..data.transforms import Preprocess
from ..errors import InputError
from ..metrics.calibration import Calibration
from ..metrics.domain import DomainStatistics
from ..records import MaskRule, PresenceRule
from .configs import from_dict

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
    presence_rule: PresenceRule = field(default_factory=PresenceRule)  # of the calibrated ones
    domain_statistics: DomainStatistics | None = None  # of the training images; None: any image is as good
    highest_score: float = 1.0  # multiplies scores: the measured fraction of right answers, of a model that errs often
    score_means: str = ""  # the meaning of a prediction's score; filled in, whatever an older card says
    format: int = FORMAT

    def __post_init__(self) -> None:
        object.__setattr__(self, "score_means", SCORE_OF_HEAD if self.config.get("presence") else SCORE_OF_MASK)
        if self.format != FORMAT:
            raise InputError(
                f"The checkpoint has format {self.format}; expected {FORMAT}: install the deixis that wrote it."
            )


def read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not text ({error.reason}); get a whole copy of the checkpoint.") from error


def parse_card(text: str, where: str) -> Card:
    return from_dict(Card, parse_json(text, where), where)


def parse_json(text: str, where: str) -> Any:
    """What the JSON holds. Raises `InputError` where it is broken, nested deeply or has a number without end."""
    try:
        plain = json.loads(text, parse_int=_whole)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not JSON ({error}); get a whole copy of the checkpoint.") from error
    if _is_deeper(plain, DEEPEST):
        raise InputError(f"{where} is nested deeper than {DEEPEST} levels; get an unchanged copy of the checkpoint.")
    return plain


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
