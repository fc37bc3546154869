"""The training loop: a System and a stream of Batches in, a run folder with its best and last weights out.

- a step's batch and randomness depend on seed and step alone, so a stopped run resumes to the same bits
- one process or many (accelerate), parts of a batch or all of it at once: gradients are means over equal shares, so the
  numbers are the same but for dropout's draws and for what is a mean over part of a batch (batch norms, which meet
  on GPUs only; LAVT's weights of classes; the referents that are there)
- losses are read from the device only when they are written down; a loss that is no number stops the run there
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol, runtime_checkable

from torch import nn

from ..batch import Batch
from ..data.transforms import Preprocess
from ..system import System
from .checkpointer import Held, Keeper, Publish
from .engine import Engine, Precision
from .optim import Optimiser
from .schedule import Schedule
from .state import STATE, State
from .validation import Scores


@runtime_checkable
class Source(Protocol):
    """Training batches that can be entered at any step."""

    @property
    def steps_per_epoch(self) -> int: ...

    def stream(self, start: int, stop: int, *, rank: int = 0, ranks: int = 1, parts: int = 1) -> Iterator[Batch]: ...


@dataclass(frozen=True, kw_only=True)
class Result:
    """Where a call of `train` ended; `finished` is False where a signal asked it to stop."""

    step: int
    finished: bool
    scores: Scores | None
    best: float | None


def train(
    system: System,
    batches: Source,
    optimiser: Optimiser,
    schedule: Schedule,
    *,
    out: Path,
    publish: Publish,
    validation: Held | None = None,
    preprocess: Preprocess | None = None,
    precision: Precision = "fp32",
    seed: int = 0,
    compiled: bool = False,
    quiet: bool = False,
    claim: Callable[[], None] = lambda: None,
) -> Result:
    """Train to the schedule's end, or on from `out/last/state.pt` where it exists.

    SIGTERM and Ctrl-C finish the step, save and return. `claim` is called once nothing but training is left to fail,
    before anything is written here. Raises DeixisError when a loss or a weight is no number, naming the step.
    """
    if not isinstance(system, nn.Module):
        raise TypeError(f"A system is a torch.nn.Module; {type(system).__name__} is none.")
    engine = Engine(system, optimiser, precision, seed, compiled, parts=schedule.accumulate)
    state_path = out / STATE
    start = engine.resume(State.load(state_path)) if state_path.exists() else 0
    total = schedule.total(batches.steps_per_epoch)
    validate_every = schedule.validate_every or batches.steps_per_epoch
    save_every = schedule.save_every or validate_every
    ranks, rank = engine.accelerator.num_processes, engine.accelerator.process_index
    stream = batches.stream(start, total, rank=rank, ranks=ranks, parts=schedule.accumulate)
    keeper = Keeper(engine, out, publish, validation, preprocess)
    claim()
    scores, step = None, start
    with _stop_signals() as stop, keeper.diary(start, total, quiet) as diary:
        for step in range(start + 1, total + 1):
            parts = list(islice(stream, schedule.accumulate))
            engine.step(parts, step - 1, schedule.factor(step - 1, total))
            stopping = engine.agree(stop, step)
            last, fresh = step == total or stopping, None
            if step % schedule.log_every == 0 or last:
                diary.losses(step, step / batches.steps_per_epoch, schedule.batch_size)
            diary.advance(step)
            if validation is not None and (step % validate_every == 0 or step == total):
                diary.drain(step)
                scores = fresh = keeper.validate(step)
                diary.scores(step, scores)
            if step % save_every == 0 or last:
                diary.drain(step)
                keeper.save(step, fresh)
            if stopping:
                break
    return Result(step=step, finished=step == total, scores=scores, best=engine.best)


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and Ctrl-C set; a second Ctrl-C interrupts at once. Other threads cannot listen."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, frame: object) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
