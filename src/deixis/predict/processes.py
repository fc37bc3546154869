"""What a model does in a process that was forked after the model was loaded."""

import os
import warnings

import torch

from ..errors import ModelError

_prepared = os.getpid()


def check_process(loaded_in: int, device: torch.device, compiled: bool, name: str) -> None:
    """Make a forked child safe and warn in it, once; raises `ModelError` where the model cannot run in it.

    `loaded_in` is the id of the process that loaded the model. The threads of PyTorch do not survive a fork: work that
    is given to them never ends. So the child computes with one thread.
    """
    global _prepared
    if loaded_in == (process := os.getpid()):
        return
    if compiled or device.type != "cpu":
        kind = "compiled" if compiled else f"on {device.type}"
        raise ModelError(
            f"The model {name!r} is {kind} and was loaded before this process was forked, where it cannot run; load it "
            "in the child, start processes with 'spawn', or use threads."
        )
    if _prepared != process:
        _prepared = process
        torch.set_num_threads(1)
        warnings.warn(
            f"The model {name!r} was loaded before this process was forked; it runs with one thread here. Start "
            "processes with 'spawn' and load the model in each, or use threads.",
            RuntimeWarning,
            stacklevel=2,
        )
