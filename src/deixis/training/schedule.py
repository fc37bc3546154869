"""How long a run trains, and its learning rate as a function of the step."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from ..errors import InputError, did_you_mean

Decay = Literal["polynomial", "cosine", "inverse", "constant"]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A linear warm-up, the full rate until `decay_from`, then a decay; all counts are optimiser steps.

    - `polynomial`: (remaining fraction of the steps)^power, 0 at the end (LAVT, VEGA, MagNet)
    - `cosine`: half a period in as many steps as follow the warm-up; with a later `decay_from` it ends above 0 (SaG)
    - `inverse`: square root of (first step of the decay / step) (SDA)
    - `constant`: none

    `warm_up_from` is the fraction of the rate that the warm-up starts from. A run that continues the rates of an
    earlier one gives its length as `after`, in steps or epochs as its own length.
    """

    steps: int | None = None  # replaces epochs
    epochs: int = 40
    batch_size: int = 32  # expressions of one optimiser step, over all processes and accumulated parts
    accumulate: int = 1
    warm_up: int = 0
    warm_up_from: float = 0.0
    decay: Decay = "polynomial"
    decay_from: int | None = None  # None: after the warm-up
    power: float = 0.9
    after: int = 0  # steps, or epochs where `steps` is None, of the earlier run whose rates are continued
    log_every: int = 50
    validate_every: int | None = None  # None: after each epoch
    save_every: int | None = None  # None: at each validation

    def __post_init__(self) -> None:
        counts = (self.epochs, self.batch_size, self.accumulate, self.log_every)
        optional = [every for every in (self.steps, self.validate_every, self.save_every) if every is not None]
        if min(*counts, *optional, self.warm_up + 1, self.after + 1) < 1 or self.power < 0:
            raise InputError(f"A count of the schedule is not positive, or its power is negative: {self}.")
        if self.batch_size % self.accumulate:
            raise InputError(
                f"A batch of {self.batch_size} cannot be accumulated in {self.accumulate} parts; choose a multiple."
            )
        if self.decay not in (known := get_args(Decay)):
            raise InputError(f"There is no decay {self.decay!r}. {did_you_mean(str(self.decay), known)}")
        if not 0 <= self.warm_up_from <= 1:
            raise InputError(f"warm_up_from is {self.warm_up_from}; expected a fraction of the rate, from 0 to 1.")
        if self.decay_from is not None and self.decay_from < self.warm_up:
            raise InputError(
                f"The decay starts at step {self.decay_from}, during the warm-up of {self.warm_up} steps; "
                "raise decay_from or lower warm_up."
            )

    def total(self, steps_per_epoch: int) -> int:
        """The steps of the whole run."""
        return self.epochs * steps_per_epoch if self.steps is None else self.steps

    def factor(self, step: int, total: int) -> float:
        """What the learning rate is multiplied by in step 0, 1, …, `total` - 1."""
        before = self.after * total // self.epochs if self.steps is None else self.after
        step, total = step + before, total + before
        if step < self.warm_up:
            return self.warm_up_from + (1 - self.warm_up_from) * (step + 1) / (self.warm_up + 1)
        start = self.warm_up if self.decay_from is None else self.decay_from
        if self.decay == "constant" or step < start:
            return 1.0
        if self.decay == "cosine":
            return (1 + math.cos(math.pi * (step - start) / max(1, total - self.warm_up))) / 2
        if self.decay == "inverse":
            return math.sqrt((start + 1) / (step + 1))
        return (1 - (step - start) / max(1, total - start)) ** self.power
