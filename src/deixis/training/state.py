"""Everything that a stopped run needs to continue to the same bits, in one file that is written whole or not at all."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError, ModelError
from ..files import replaced

_FORMAT = 2
STATE = Path("last/state.pt")  # in a run's folder


@dataclass(frozen=True, kw_only=True)
class State:
    """A run after `step` optimiser steps. Random numbers are a function of seed and step, so none are stored."""

    step: int
    objective: dict[str, Tensor]  # all weights and buffers; those of the system begin with `system.`
    optimiser: dict[str, Any]
    average: dict[str, Tensor] | None  # the averaged system, under its own names
    scaler: dict[str, Any] | None
    best: float | None  # value of the score `best_by`
    best_by: str

    def save(self, path: Path) -> None:
        """After a kill or on a full disk the file is the old one or the new one; a full disk raises `ModelError`."""
        try:
            with replaced(path) as beside:
                torch.save({"format": _FORMAT, **vars(self)}, beside)
        except RuntimeError as error:  # torch's exception for a full disk
            raise ModelError(
                f"{path} cannot be written ({error}); is the disk full? Free some space, then continue with --resume."
            ) from error

    @classmethod
    def load(cls, path: Path) -> "State":
        """Raises `InputError` for a broken file and for one of another version."""
        try:
            stored = torch.load(path, map_location="cpu", weights_only=True)
            if stored.pop("format") != _FORMAT:
                raise InputError(f"{path} was written by another version of deixis; start the training again.")
            return cls(**stored)
        except (RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
            raise InputError(
                f"{path} is not the state of a run, or broken ({error}); start the training again."
            ) from error


def seed_step(seed: int, step: int, rank: int) -> None:
    """Make all random numbers of this step (dropout, stochastic depth, noise) a function of seed, step and rank."""
    import random

    import numpy as np

    low, high = (int(word) for word in np.random.SeedSequence([seed, step, rank]).generate_state(2))
    random.seed(low)
    np.random.seed(low)  # for parts that draw from NumPy's global generator
    torch.manual_seed(high << 32 | low)
