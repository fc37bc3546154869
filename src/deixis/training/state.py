"""Everything a run needs to go on as if it had not been stopped, in one file that is whole or not there."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..files import replaced

_FORMAT = 1
STATE = Path("last/state.pt")  # in a run's folder


@dataclass(frozen=True, kw_only=True)
class State:
    """A run after `step` optimiser steps. Random numbers are a function of seed and step: none are kept."""

    step: int
    weights: dict[str, Tensor]
    optimiser: dict[str, Any]
    average: dict[str, Tensor] | None
    scaler: dict[str, Any] | None
    best: float | None

    def save(self, path: Path) -> None:
        """A kill leaves the old state or the new one, and so does a full disk, for which DeixisError is raised."""
        try:
            with replaced(path) as beside:
                torch.save({"format": _FORMAT, **vars(self)}, beside)
        except RuntimeError as error:  # what torch makes of a full disk
            raise InputError(
                f"{path} cannot be written ({error}); is the disk full? Make room, then --resume."
            ) from error

    @classmethod
    def load(cls, path: Path) -> "State":
        try:
            kept = torch.load(path, map_location="cpu", weights_only=True)
            if kept.pop("format") != _FORMAT:
                raise InputError(f"{path} was written by another version of deixis; train anew.")
            return cls(**kept)
        except (RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
            raise InputError(f"{path} is no state of a run, or broken ({error}); train anew.") from error


def seed_step(seed: int, step: int, rank: int) -> None:
    """Make every draw of this step (dropout, stochastic depth, noise) a function of seed, step and rank alone."""
    import random

    import numpy as np

    low, high = (int(word) for word in np.random.SeedSequence([seed, step, rank]).generate_state(2))
    random.seed(low)
    np.random.seed(low)  # for parts that draw from NumPy's global generator
    torch.manual_seed(high << 32 | low)
