"""One optimiser step of an objective, on one process or many, and the state that it leaves."""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Literal, cast

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast
from torch import Tensor, nn

from ..batch import Batch, Domains, Pair
from ..compiling import compile_once
from ..data.collate import check_labels
from ..errors import InputError, ModelError
from ..layers.moving_average import MovingAverage, warmed_decay
from .optim import INSIDE, Optimiser, build, set_rate
from .processes import processes
from .state import State, seed_step

Precision = Literal["fp32", "bf16", "fp16"]
AGREE_EVERY = 8  # steps of a GPU


class Engine:
    """The objective, its optimiser, and the moving average of its system."""

    def __init__(
        self, objective: nn.Module, optimiser: Optimiser, precision: Precision, seed: int, compiled: bool, parts: int
    ) -> None:
        AcceleratorState._reset_state()  # an earlier run in this process may have had another precision
        try:
            self.accelerator = Accelerator(
                cpu=processes().device.type == "cpu", mixed_precision="no" if precision == "fp32" else precision
            )
        except ValueError as error:
            raise ModelError(f"This machine cannot train in {precision} ({error}); choose fp32.") from error
        device = self.accelerator.device
        self.objective: Any = sync_batch_norms(objective, self.accelerator.num_processes, device).to(device).train()
        self.settings, self.seed, self.parts = optimiser, seed, parts
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self.plain_optimiser = build(self.objective, optimiser, dtype)
        self.trained = {name: each for name, each in self.objective.named_parameters() if each.requires_grad}
        system = cast(nn.Module, self.objective.system)
        self.average = None if optimiser.average is None else MovingAverage(system)
        if compiled:
            compile_once(system)
        self.wrapped, self.optimiser = self.accelerator.prepare(self.objective, self.plain_optimiser)

    @property
    def published(self) -> nn.Module:
        """The system with the weights that are scored and published."""
        return self.objective.system if self.average is None else self.average.network

    @property
    def rate(self) -> float:
        """The learning rate of the last step, of the first group."""
        return self.plain_optimiser.param_groups[0]["lr"]

    def prepare(self, batches: Iterable[Batch] | Domains) -> None:
        """What the objective computes once before the first step."""
        seed_step(self.seed, 0, rank=0)
        device = self.accelerator.device
        moved = batches.to(device) if isinstance(batches, Domains) else (batch.to(device) for batch in batches)
        self.objective.prepare(moved)
        self.objective.train()

    def step(self, batches: Sequence[Batch | Pair], step: int, factor: float) -> dict[str, Tensor]:
        """Step 0, 1, …: the mean of each loss term over the accumulated parts, still on the device."""
        seed_step(self.seed, step, self.accelerator.process_index)
        set_rate(self.plain_optimiser, factor)
        terms: dict[str, Tensor] = {}
        for position, batch in enumerate(batches):
            for domain in (batch.source, batch.target) if isinstance(batch, Pair) else (batch,):
                check_labels(domain, self.objective.takes_unlabelled)
            waiting = position + 1 < len(batches)  # only the last part's backward synchronises the processes
            with self.accelerator.no_sync(self.wrapped) if waiting else nullcontext():
                parts = self.wrapped(batch.to(self.accelerator.device), step)
                self.accelerator.backward(torch.stack(list(parts.values())).sum() / self.parts)
            for name, term in parts.items():
                terms[name] = terms.get(name, 0) + term.detach() / self.parts
        self._check_gradients()
        if self.settings.clip is not None:
            self.accelerator.clip_grad_norm_(list(self.trained.values()), self.settings.clip)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.objective.after_step(step)
        if self.average is not None and self.settings.average is not None:
            self.average.update(self.objective.system, warmed_decay(self.settings.average, step + 1))
        return terms

    def resume(self, state: State) -> None:
        _fit_buffers(self.objective, state.objective)
        self.objective.load_state_dict(state.objective)
        self.plain_optimiser.load_state_dict(state.optimiser)
        if self.average is not None and state.average is not None:
            self.average.network.load_state_dict(state.average)
        if self.accelerator.scaler is not None and state.scaler is not None:
            self.accelerator.scaler.load_state_dict(state.scaler)

    def state(self, step: int, best: float | None, best_by: str) -> State:
        scaler = self.accelerator.scaler
        return State(
            step=step,
            objective=self.objective.state_dict(),
            optimiser=self.plain_optimiser.state_dict(),
            average=None if self.average is None else self.average.network.state_dict(),
            scaler=None if scaler is None else scaler.state_dict(),
            best=best,
            best_by=best_by,
        )

    def share_buffers(self) -> None:
        """Give each process the main one's buffers, such as the statistics of batch norms, which are published."""
        if self.accelerator.num_processes > 1:
            for module in (self.objective, self.published):
                for buffer in module.buffers():
                    broadcast(buffer)

    def agree(self, stop: threading.Event, step: int) -> bool:
        """Whether to stop; many processes ask each other, so that all stop at the same step.

        Launchers kill processes half a minute after a signal. GPUs, which wait for the answer, are asked every few
        steps only.
        """
        if self.accelerator.num_processes == 1:
            return stop.is_set()
        if self.accelerator.device.type != "cpu" and step % AGREE_EVERY:
            return False
        is_set = torch.tensor(float(stop.is_set()), device=self.accelerator.device)
        return bool(self.accelerator.reduce(is_set, "sum").item())

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside it the objective's system is the one that is published."""
        own = self.objective.system
        self.objective.system = self.published
        try:
            yield
        finally:
            self.objective.system = own

    def _check_gradients(self) -> None:
        """Data-parallel training waits for the gradient of each parameter; one that has none would stay different."""
        if self.accelerator.num_processes > 1:
            missing = [name.removeprefix(INSIDE) for name, each in self.trained.items() if each.grad is None]
            if missing:
                raise InputError(
                    f"The loss does not depend on {', '.join(missing[:3])}{' …' if missing[3:] else ''}; with several "
                    "processes each trained parameter needs a gradient in each step. Freeze them with "
                    "`optimiser.frozen`, or train in one process."
                )


def sync_batch_norms(module: nn.Module, num_processes: int, device: torch.device) -> nn.Module:
    """In place: batch norms over the whole batch of all processes, which PyTorch has on GPUs only."""
    if num_processes > 1 and device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(module)
    return module


def _fit_buffers(module: nn.Module, stored: Mapping[str, Tensor]) -> None:
    """Give buffers that `prepare` filled the shapes that they were stored in."""
    for name, buffer in list(module.named_buffers()):
        if name in stored and stored[name].shape != buffer.shape:
            parent, _, own = name.rpartition(".")
            setattr(module.get_submodule(parent), own, torch.empty_like(stored[name], device=buffer.device))
