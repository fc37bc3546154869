"""The weights that a run stores: `best/` by a score of validation, `last/` with the state that a run resumes from."""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from ..errors import InputError, ModelError, did_you_mean
from .engine import Engine
from .logging import ADVICE
from .state import STATE, State, refuse_pickled

Publish = Callable[[Path, dict[str, Tensor], dict[str, float]], None]
"""Writes a checkpoint for users: its folder, the weights of the system, their scores."""

LOSS = "loss"  # the one score of which the smallest is the best


class Checkpointer:
    """Publishes the best and the last weights of an engine; only the main process writes."""

    def __init__(self, engine: Engine, out: Path, publish: Publish, choose_best: str) -> None:
        self.engine, self.out, self.publish = engine, out, publish
        self.choose_best = choose_best
        self.best: float | None = None
        self.is_main = engine.accelerator.is_main_process

    def resume(self) -> int:
        """Continue from the stored state, if there is one; returns its step, or 0."""
        refuse_pickled(self.out)
        if not (self.out / STATE).exists():
            return 0
        state = State.load(self.out / STATE)
        self.engine.resume(state)
        self.best, self.choose_best = state.best, state.best_by
        return state.step

    def keep_best(self, scores: Mapping[str, float]) -> None:
        """Publish the weights if the chosen score is better than before. Raises `InputError` for an unknown score."""
        if self.choose_best not in scores:
            raise InputError(
                f"Validation has no score {self.choose_best!r} to choose the best weights by. "
                f"{did_you_mean(self.choose_best, scores)}"
            )
        score = scores[self.choose_best]
        if self.best is None or (score < self.best if self.choose_best == LOSS else score > self.best):
            self.best = score
            if self.is_main:
                self.publish(self.out / "best", self.engine.published.state_dict(), dict(scores))

    def save(self, step: int, scores: Mapping[str, float] | None) -> None:
        """Raises `ModelError` before anything is written where a weight is not finite.

        The state is written last: a run that is killed before repeats these steps, and publishes them again.
        """
        state = self.engine.state(step, self.best, self.choose_best)
        _check_finite(state)
        if self.is_main:
            self.publish(self.out / STATE.parent, self.engine.published.state_dict(), dict(scores or {}))
            state.save(self.out / STATE)
        self.engine.accelerator.wait_for_everyone()


def _check_finite(state: State) -> None:
    for kind, tensors in (("weight", state.objective), ("average", state.average or {})):
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
                raise ModelError(f"The {kind} {name!r} is not finite after step {state.step}; {ADVICE}")
