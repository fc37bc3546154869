"""What a run leaves in its folder: scores, pictures, checkpoints, the journal; only the main process writes."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from accelerate import Accelerator
from torch import Tensor

from ..batch import Batch
from ..data.transforms import Preprocess
from ..errors import InputError
from .engine import Engine
from .logging import Journal
from .progress import Display
from .state import STATE, State
from .validation import Album, Scores, validate

Publish = Callable[[Path, dict[str, Tensor], dict[str, float]], None]
"""Writes a checkpoint for users: its folder, the weights, the scores that go with them."""

REMEDY = "the weights kept are of an earlier step: try a lower learning rate, a warm-up or `--optimiser.clip 1`."


@runtime_checkable
class Held(Protocol):
    """Validation batches, shared out among processes."""

    def share(self, rank: int = 0, ranks: int = 1) -> Iterator[Batch]: ...


class Keeper:
    """What a run leaves in its folder; only the main process writes."""

    def __init__(
        self, engine: Engine, out: Path, publish: Publish, validation: Held | None, preprocess: Preprocess | None
    ) -> None:
        self.engine, self.out, self.publish, self.validation = engine, out, publish, validation
        self.preprocess = preprocess or Preprocess()
        self.writes = engine.accelerator.is_main_process

    @contextmanager
    def diary(self, start: int, total: int, quiet: bool) -> Iterator["Diary"]:
        self.out.mkdir(parents=True, exist_ok=True)
        journal = Journal(self.out, start) if self.writes else nullcontext()
        with journal as opened, Display(total, start, quiet=quiet or not self.writes) as display:
            yield Diary(self.engine, opened, display)

    def validate(self, step: int) -> Scores:
        """Score the weights that would be published; a new best one is published at once."""
        assert self.validation is not None
        self.engine.share_buffers()
        accelerator, album = self.engine.accelerator, Album(self.preprocess)
        share = self.validation.share(accelerator.process_index, accelerator.num_processes)
        with self.engine.averaged():
            scores = validate(
                self.engine.system,
                share,
                accelerator.device,
                lambda sums: over_processes(accelerator, sums, "sum"),
                album.show,
            )
            better = self.engine.best is None or scores.miou > self.engine.best
            if better:
                self.engine.best = scores.miou
            if self.writes:
                album.save(self.out / "samples" / f"step_{step:07}.png")
                if better:
                    self.publish(self.out / "best", self.engine.system.state_dict(), asdict(scores))
        return scores

    def save(self, step: int, scores: Scores | None) -> None:
        """Raises DeixisError before anything is written where a weight is no finite number.

        The state comes last: a run that was killed before it does these steps again, and publishes them again.
        """
        state = self.engine.state(step)
        _check_finite(state)
        if self.writes:
            with self.engine.averaged():
                self.publish(self.out / STATE.parent, self.engine.system.state_dict(), asdict(scores) if scores else {})
            state.save(self.out / STATE)
        self.engine.accelerator.wait_for_everyone()


class Diary:
    """Reads losses off the device, and hands numbers to the journal and the display."""

    def __init__(self, engine: Engine, journal: Journal | None, display: Display) -> None:
        self.engine, self.journal, self.display = engine, journal, display
        self.clock, self.since = time.monotonic(), 0
        self.sums: dict[str, float] = {}

    def advance(self, step: int) -> None:
        self.display.advance(step)

    def drain(self, step: int) -> None:
        """Read the losses since the last reading. Raises DeixisError at the first that is no number."""
        for at, terms in self.engine.losses:
            for name, value in terms.items():
                number = float(value)
                if not math.isfinite(number):
                    raise InputError(f"The loss {name!r} became {number} in step {at}; {REMEDY}")
                self.sums[name] = self.sums.get(name, 0.0) + number
        self.since += len(self.engine.losses)
        self.engine.losses.clear()

    def losses(self, step: int, epoch: float, batch_size: int) -> None:
        self.drain(step)
        means = torch.tensor([total / self.since for total in self.sums.values()], dtype=torch.float64)
        means = over_processes(self.engine.accelerator, means, "mean")
        now = time.monotonic()
        numbers = {"loss": float(means.sum())} | dict(
            zip((f"loss/{name}" for name in self.sums), means.tolist(), strict=True)
        )
        numbers |= {
            "epoch": epoch,
            "rate": self.engine.plain_optimiser.param_groups[0]["lr"],
            "expressions_per_second": self.since * batch_size / max(now - self.clock, 1e-9),
        }
        self.clock, self.since, self.sums = now, 0, {}
        self._write(step, numbers)

    def scores(self, step: int, scores: Scores) -> None:
        self._write(step, {f"val/{name}": value for name, value in asdict(scores).items()})
        self.clock = time.monotonic()  # validation is not training time

    def _write(self, step: int, numbers: dict[str, float]) -> None:
        if self.journal is not None:
            self.journal.write(step, numbers)
        self.display.say(step, numbers)


def over_processes(accelerator: Accelerator, numbers: Tensor, how: str) -> Tensor:
    """Their "sum" or "mean", reduced on the device; one process alone needs none, and Apple's knows no float64."""
    if accelerator.num_processes == 1:
        return numbers
    return accelerator.reduce(numbers.to(accelerator.device), how)


def _check_finite(state: State) -> None:
    for kind, tensors in (("weight", state.weights), ("average", state.average or {})):
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
                raise InputError(f"The {kind} {name!r} is no finite number after step {state.step}; {REMEDY}")
