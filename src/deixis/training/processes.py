"""Which of a run's processes this is, on GPUs as on processors."""

import os

import torch
from accelerate import PartialState
from accelerate.utils import str_to_bool


def processes() -> PartialState:
    """The processes that `accelerate launch` or `torchrun` started. Without accelerators that meet, they do on the CPU.

    Left to itself, accelerate takes processes that have no GPU, or Apple's one, for strangers, each the main one.
    """
    wanted = bool(str_to_bool(os.environ.get("ACCELERATE_USE_CPU", "false")))
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return PartialState(cpu=wanted or found is None or (several and found.type == "mps"))
