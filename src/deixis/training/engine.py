"""One optimiser step of a system, on one process or many, and the state that it leaves."""

import threading
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Literal

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast
from torch import Tensor, nn

from ..batch import Batch
from ..compiling import compile_once
from ..errors import InputError
from .optim import Average, Optimiser, build, set_rate
from .processes import processes
from .state import State, seed_step

Precision = Literal["fp32", "bf16", "fp16"]
AGREE_EVERY = 8  # steps of a GPU


class Objective(nn.Module):
    """Forward and loss as one call, so that data-parallel wrappers see every use of every parameter."""

    def __init__(self, system: nn.Module) -> None:
        super().__init__()
        self.system = system

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        output = self.system(batch)
        evidence = {
            name: value.float() if value.is_floating_point() else value for name, value in output.evidence.items()
        }
        with torch.autocast(batch.images.device.type, enabled=False):  # losses are summed in full precision
            full = replace(output, logits=output.logits.float(), evidence=evidence)
            return self.system.loss(batch, full)  # type: ignore[operator]


class Engine:
    """One optimiser step, and the state that it leaves."""

    def __init__(
        self, system: nn.Module, optimiser: Optimiser, precision: Precision, seed: int, compiled: bool, parts: int
    ) -> None:
        AcceleratorState._reset_state()  # a second run in one process may want another precision
        try:
            unused = DistributedDataParallelKwargs(find_unused_parameters=True)  # a loss may leave some out
            self.accelerator = Accelerator(
                cpu=processes().device.type == "cpu",
                mixed_precision="no" if precision == "fp32" else precision,
                kwargs_handlers=[unused],
            )
        except ValueError as error:
            raise InputError(f"This machine cannot train in {precision} ({error}); choose fp32.") from error
        system = meeting(system, self.accelerator.num_processes, self.accelerator.device)
        self.system = system.to(self.accelerator.device).train()
        self.settings, self.seed, self.parts = optimiser, seed, parts
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self.plain_optimiser = build(self.system, optimiser, dtype)
        self.trained = [parameter for parameter in self.system.parameters() if parameter.requires_grad]
        self.average = None if optimiser.average is None else Average(self.system, optimiser.average)
        if compiled:
            compile_once(self.system)
        self.objective, self.optimiser = self.accelerator.prepare(Objective(self.system), self.plain_optimiser)
        self.losses: list[tuple[int, dict[str, Tensor]]] = []
        self.best: float | None = None

    def step(self, batches: list[Batch], step: int, factor: float) -> None:
        seed_step(self.seed, step, self.accelerator.process_index)
        set_rate(self.plain_optimiser, factor)
        terms: dict[str, Tensor] = {}
        for position, batch in enumerate(batches):
            waiting = position + 1 < len(batches)  # only the last part's backward talks to the other processes
            with self.accelerator.no_sync(self.objective) if waiting else nullcontext():
                parts = self.objective(batch.to(self.accelerator.device))
                self.accelerator.backward(torch.stack(list(parts.values())).sum() / self.parts)
            for name, term in parts.items():
                terms[name] = terms.get(name, 0) + term.detach() / self.parts
        if self.settings.clip is not None:
            self.accelerator.clip_grad_norm_(self.trained, self.settings.clip)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(step + 1)
        self.losses.append((step + 1, terms))

    def resume(self, state: State) -> int:
        self.system.load_state_dict(state.weights)
        self.plain_optimiser.load_state_dict(state.optimiser)
        if self.average is not None and state.average is not None:
            self.average.load(state.average)
        if self.accelerator.scaler is not None and state.scaler is not None:
            self.accelerator.scaler.load_state_dict(state.scaler)
        self.best = state.best
        return state.step

    def state(self, step: int) -> State:
        scaler = self.accelerator.scaler
        return State(
            step=step,
            weights=self.system.state_dict(),
            optimiser=self.plain_optimiser.state_dict(),
            average=None if self.average is None else self.average.state(),
            scaler=None if scaler is None else scaler.state_dict(),
            best=self.best,
        )

    def share_buffers(self) -> None:
        """Every process carries what the main one has counted in passing (batch norms): that is what is published."""
        if self.accelerator.num_processes > 1:
            for buffer in self.system.buffers():
                broadcast(buffer)

    def agree(self, stop: threading.Event, step: int) -> bool:
        """Whether to stop; many processes ask each other, so that all stop at the same step.

        Who started them kills them half a minute after the signal. GPUs, which a question holds up, are asked every
        few steps only.
        """
        if self.accelerator.num_processes == 1:
            return stop.is_set()
        if self.accelerator.device.type != "cpu" and step % AGREE_EVERY:
            return False
        wish = torch.tensor(float(stop.is_set()), device=self.accelerator.device)
        return bool(self.accelerator.reduce(wish, "sum").item())

    def averaged(self) -> AbstractContextManager[None]:
        """Inside it the system carries the weights that are scored and published."""
        return nullcontext() if self.average is None else self.average.in_place()


def meeting(system: nn.Module, processes: int, device: torch.device) -> nn.Module:
    """In place: batch norms over the whole batch of all processes, where PyTorch has them, which is on GPUs."""
    if processes > 1 and device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(system)
    return system
