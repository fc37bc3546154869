"""Whether what is meant is there at all: what a system's presence head says, calibrated, and the mask that follows."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32

from ..batch import Output
from ..errors import InputError
from ..metrics.calibration import Calibration

PRESENT = "present"  # the evidence in which a head says, for each expression, how likely its referent is there
THRESHOLD = 0.5


@dataclass(frozen=True, kw_only=True)
class Presence:
    """The chance that what is meant is there, and what it must exceed for an answer."""

    chance: float
    calibrated: bool = False
    threshold: float = THRESHOLD


def chances(output: Output) -> Float[np.ndarray, " b"] | None:
    """What the presence head says, before any calibration; None where the system has no such head."""
    raw = output.evidence.get(PRESENT)
    return None if raw is None else raw.cpu().double().numpy()


def presences(output: Output, calibration: Calibration | None, threshold: float) -> list[Presence] | list[None]:
    """For each expression the calibrated chance; None without a presence head."""
    raw = chances(output)
    if raw is None:
        return [None] * len(output.logits)
    known = raw if calibration is None else calibration(raw)
    return [
        Presence(chance=chance, calibrated=calibration is not None, threshold=threshold) for chance in known.tolist()
    ]


def decide(
    probability: Float32[np.ndarray, "h w"], threshold: float, presence: Presence | None = None
) -> tuple[Bool[np.ndarray, "h w"], float]:
    """The mask and its score: the pixels above the threshold, none of them where the referent is likely not there."""
    mask = probability > threshold
    if presence is not None:
        return mask & (presence.chance > presence.threshold), presence.chance
    return mask, float(probability[mask].mean(dtype=np.float64)) if mask.any() else 0.0


def is_finite(output: Output) -> bool:
    """Whether masks and presence are numbers."""
    raw = chances(output)
    return bool(output.logits.isfinite().all()) and (raw is None or bool(np.isfinite(raw).all()))


def check_threshold(name: str, value: float) -> None:
    """Raises `DeixisError` for anything but a probability that can be exceeded and missed."""
    if not 0 < value < 1:
        raise InputError(f"The {name} is {value}; a probability between 0 and 1 is wanted.")
