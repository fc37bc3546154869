"""The training loop: an Objective and a stream of Batches in, a run folder with its best and last weights out.

- a step's batch and random numbers depend on seed and step alone, so a stopped run resumes to the same bits
- one process or many (accelerate), whole batches or accumulated parts: gradients are means over equal shares, so the
  numbers are the same except for dropout's random numbers and for means over part of a batch (batch norms, which are
  synchronised on GPUs only; LAVT's class weights; losses over the referents that are present)
- losses are read from the device only when they are written; a loss that is not finite stops the run there
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import nn

from ..batch import Batch
from ..data.batches import STOP_SIGNALS, PairedBatches
from ..data.transforms import Preprocess
from ..errors import InputError, did_you_mean
from ..records import MaskRule
from .checkpointer import LOSS, Checkpointer, Publish
from .engine import Engine, Precision
from .logging import MetricLogger
from .optim import Optimiser
from .schedule import Schedule
from .state import seed_step
from .validation import MASK_SCORES, SampleGrid, validate


@runtime_checkable
class Batches(Protocol):
    """Training batches, or Pairs of them, that can be entered at any step."""

    @property
    def steps_per_epoch(self) -> int: ...

    def stream(self, start: int, stop: int, *, rank: int = 0, ranks: int = 1, parts: int = 1) -> Iterator[Any]: ...


@runtime_checkable
class Validation(Protocol):
    """Validation batches, shared among processes."""

    def share(self, rank: int = 0, ranks: int = 1) -> Iterator[Batch]: ...


@dataclass(frozen=True, kw_only=True)
class Result:
    """Where a call of `train` ended; `finished` is False where a signal stopped it.

    `scores` are those of the last validation, `best` is the best value of the score `best_by`.
    """

    step: int
    finished: bool
    scores: dict[str, float] | None
    best: float | None
    best_by: str


def train(
    objective: nn.Module,
    batches: Batches,
    optimiser: Optimiser,
    schedule: Schedule,
    *,
    out: Path,
    publish: Publish,
    validation: Validation | None = None,
    preprocess: Preprocess | None = None,
    mask_rule: MaskRule | None = None,
    precision: Precision = "fp32",
    seed: int = 0,
    compiled: bool = False,
    quiet: bool = False,
    choose_best: str = "mIoU",
    on_start: Callable[[], None] = lambda: None,
) -> Result:
    """Train to the end of the schedule, from the state in `out/last` where it exists.

    SIGTERM, SIGHUP and Ctrl-C finish the step, save and return. `choose_best` names the score of validation by which
    the best weights are chosen. `on_start` is called before anything is written, when all else has been checked.
    Raises `ModelError` when a loss or a weight is not finite, with the step.
    """
    _check(objective, schedule, choose_best)
    engine = Engine(objective, optimiser, precision, seed, compiled, parts=schedule.accumulate)
    checkpointer = Checkpointer(engine, out, publish, choose_best)
    start = checkpointer.resume()
    total = schedule.total(batches.steps_per_epoch)
    validate_every = schedule.validate_every or batches.steps_per_epoch
    save_every = schedule.save_every or validate_every
    ranks, rank = engine.accelerator.num_processes, engine.accelerator.process_index
    stream = batches.stream(start, total, rank=rank, ranks=ranks, parts=schedule.accumulate)
    if not start:
        engine.prepare(_once(batches))
    on_start()
    scores, step = None, start
    with _stop_signals() as stop, MetricLogger(out, start, total, quiet=quiet) as log:
        for step in range(start + 1, total + 1):
            parts = list(islice(stream, schedule.accumulate))
            log.add(step, engine.step(parts, step - 1, schedule.factor(step - 1, total)))
            stopping = engine.agree(stop, step)
            last, fresh = step == total or stopping, None
            if step % schedule.log_every == 0 or last:
                epoch = step / batches.steps_per_epoch
                log.write_losses(step, epoch=epoch, rate=engine.rate, batch_size=schedule.batch_size)
            if validation is not None and (step % validate_every == 0 or step == total):
                log.read()
                grid = SampleGrid(preprocess or Preprocess())
                with_loss = not isinstance(batches, PairedBatches)
                scores = fresh = _validate(engine, validation, grid, step, mask_rule, with_loss)
                log.write_scores(step, scores)
                _choose(checkpointer, scores, log)
                if checkpointer.is_main:
                    picture = grid.save(out / "samples" / f"step_{step:07}.png")
                    if picture is not None:
                        log.write_picture(step, "samples", picture)
            if step % save_every == 0 or last:
                log.read()
                checkpointer.save(step, fresh)
            if stopping:
                break
    return Result(
        step=step,
        finished=step == total,
        scores=scores,
        best=checkpointer.best,
        best_by=checkpointer.choose_best,
    )


def _once(batches: Batches) -> Any:
    """What an objective is prepared from: an epoch of batches, or both domains of pairs in order."""
    if isinstance(batches, PairedBatches):
        return batches.domains()
    return batches.stream(0, batches.steps_per_epoch)


def _check(objective: Any, schedule: Schedule, choose_best: str) -> None:
    if not isinstance(objective, nn.Module):
        raise TypeError(f"An objective is a torch.nn.Module, not a {type(objective).__name__}.")
    if objective.needs_whole_batch and schedule.accumulate > 1:
        raise InputError(
            f"{type(objective).__name__} compares all samples of a batch with each other, so a batch cannot be "
            f"accumulated in {schedule.accumulate} parts; set schedule.accumulate to 1, and lower the batch size if "
            "memory is short."
        )
    if schedule.batch_size < (smallest := getattr(objective, "smallest_batch", 1)):
        raise InputError(
            f"{type(objective).__name__} compares the images of a batch with each other, but schedule.batch_size is "
            f"{schedule.batch_size}; set it to {smallest} or more."
        )
    known = (*MASK_SCORES, LOSS)
    if choose_best not in known and not hasattr(objective, "scores"):
        raise InputError(f"Validation has no score {choose_best!r}. {did_you_mean(choose_best, known)}")


def _validate(
    engine: Engine,
    validation: Validation,
    grid: SampleGrid,
    step: int,
    mask_rule: MaskRule | None,
    with_loss: bool,
) -> dict[str, float]:
    """Score the weights that would be published."""
    engine.share_buffers()
    rank, ranks = engine.accelerator.process_index, engine.accelerator.num_processes
    seed_step(engine.seed, step, rank)
    with engine.averaged():
        return validate(
            engine.objective,
            validation.share(rank, ranks),
            engine.accelerator.device,
            step=step,
            mask_rule=mask_rule,
            show=grid.add,
            with_loss=with_loss,
        )


def _choose(checkpointer: Checkpointer, scores: dict[str, float], log: MetricLogger) -> None:
    """Without masks the loss chooses the best weights, where a score of masks was to."""
    if checkpointer.choose_best in MASK_SCORES and checkpointer.choose_best not in scores and LOSS in scores:
        log.note(
            f"The validation split has no masks, so there is no {checkpointer.choose_best}: "
            "the smallest mean loss chooses the best weights."
        )
        checkpointer.choose_best = LOSS
    checkpointer.keep_best(scores)


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM, SIGHUP and Ctrl-C set; a second Ctrl-C interrupts at once.

    Only the main thread gets signals. A signal that is ignored stays so: `nohup` ignores SIGHUP.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(number: int, frame: object) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    numbers = [number for number in STOP_SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
