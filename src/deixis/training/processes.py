"""Which of a run's processes this is, and sums over all of them, on GPUs as on CPUs."""

import os
from collections.abc import Mapping

import torch
from accelerate import PartialState
from accelerate.utils import gather_object, str_to_bool


def processes() -> PartialState:
    """The processes that `accelerate launch` or `torchrun` started; without GPUs that can communicate, on the CPU.

    Unless told to use the CPU backend, accelerate does not join CPU or MPS processes into one group: each believes it
    is rank 0.
    """
    is_cpu_chosen = bool(str_to_bool(os.environ.get("ACCELERATE_USE_CPU", "false")))
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return PartialState(cpu=is_cpu_chosen or found is None or (several and found.type == "mps"))


def sum_over_processes(numbers: Mapping[str, float]) -> dict[str, float]:
    """The sum of each number over all processes; a name that a process lacks counts 0 there."""
    sums: dict[str, float] = {}
    for each in gather_object([dict(numbers)]):
        for name, number in each.items():
            sums[name] = sums.get(name, 0.0) + number
    return sums
