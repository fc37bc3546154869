"""Whether the referent is in the image: a presence head's probability, and the mask and score that follow."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

from ..errors import InputError
from ..records import MaskRule


@dataclass(frozen=True, kw_only=True)
class Presence:
    """The probability that the referent is in the image, and the threshold that it must exceed."""

    probability: float
    calibrated: bool = False
    threshold: float = 0.5

    @property
    def is_present(self) -> bool:
        return self.probability > self.threshold


def decide(
    probability: Float32[np.ndarray, "h w"], rule: MaskRule, presence: Presence | None = None, highest: float = 1.0
) -> tuple[Bool[np.ndarray, "h w"], float]:
    """The mask of a probability map by the checkpoint's rule, and its score.

    With a presence head the mask is empty where the referent is absent, and the score is the head's probability.
    Without one the score is the mean probability of the mask's pixels, 0 for an empty mask. It is multiplied by
    `highest`; where that is 0, nothing is known of the referent, and the mask is empty.
    """
    mask = rule(probability) & (highest > 0)
    if presence is not None:
        return mask & presence.is_present, highest * presence.probability
    return mask, highest * (float(probability[mask].mean(dtype=np.float64)) if mask.any() else 0.0)


def check_threshold(name: str, value: float) -> None:
    """Raises `InputError` unless the value is a probability that can be exceeded and missed."""
    if not 0 < value < 1:
        raise InputError(f"The {name} is {value}; expected a number between 0 and 1.")
