"""How long a run trains, and its learning rate as a pure function of the step."""

from dataclasses import dataclass

from ..errors import InputError


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Polynomial decay per step, as published, after an optional linear warm-up; all counts are optimiser steps."""

    steps: int | None = None  # where given it rules, else epochs do
    epochs: int = 40
    batch_size: int = 32  # expressions of one optimiser step, over all processes and accumulated parts
    accumulate: int = 1
    warm_up: int = 0
    power: float = 0.9
    log_every: int = 50
    validate_every: int | None = None  # None: after every epoch
    save_every: int | None = None  # None: at every validation

    def __post_init__(self) -> None:
        counts = (self.epochs, self.batch_size, self.accumulate, self.log_every)
        optional = [every for every in (self.steps, self.validate_every, self.save_every) if every is not None]
        if min(*counts, *optional, self.warm_up + 1) < 1 or self.power < 0:
            raise InputError(f"A count of the schedule is not positive, or its power negative: {self}.")
        if self.batch_size % self.accumulate:
            raise InputError(
                f"A batch of {self.batch_size} cannot be accumulated in {self.accumulate} parts; choose a multiple."
            )

    def total(self, steps_per_epoch: int) -> int:
        return self.epochs * steps_per_epoch if self.steps is None else self.steps

    def factor(self, step: int, total: int) -> float:
        """What the learning rate is multiplied with in step 0, 1, …, `total` - 1."""
        if step < self.warm_up:
            return (step + 1) / (self.warm_up + 1)
        return (1 - (step - self.warm_up) / max(1, total - self.warm_up)) ** self.power
