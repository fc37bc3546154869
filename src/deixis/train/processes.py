"""Which of a run's processes this is, on GPUs as on processors."""

import os

import torch
from accelerate import PartialState
from accelerate.utils import str_to_bool


def processes() -> PartialState:
    """The processes that `accelerate launch` or `torchrun` started. Without an accelerator they meet on the CPU.

    Left to itself, accelerate takes processes that have no GPU for strangers, each of them the main one.
    """
    wanted = bool(str_to_bool(os.environ.get("ACCELERATE_USE_CPU", "false")))
    return PartialState(cpu=wanted or not torch.accelerator.is_available())
