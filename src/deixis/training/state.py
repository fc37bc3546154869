"""Everything that a stopped run needs to continue to the same bits, in one file that is written whole or not at all.

The file is safetensors: its tensors, and all else as JSON in its header, so that reading it executes nothing.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import InputError, ModelError
from ..files import replaced

_FORMAT = 3
STATE = Path("last/state.safetensors")  # in a run's folder
_PICKLED = "state.pt"  # what older versions wrote


@dataclass(frozen=True, kw_only=True)
class State:
    """A run after `step` optimiser steps. Random numbers are a function of seed and step, so none are stored."""

    step: int
    objective: dict[str, Tensor]  # all weights and buffers; those of the system begin with `system.`
    optimiser: dict[str, Any]
    average: dict[str, Tensor] | None  # the averaged system, under its own names
    scaler: dict[str, Any] | None
    best: float | None  # value of the score `best_by`
    best_by: str

    def save(self, path: Path) -> None:
        """After a kill or on a full disk the file is the old one or the new one; a full disk raises `ModelError`."""
        tensors: dict[str, Tensor] = {}
        header = json.dumps(_packed(vars(self), tensors))
        try:
            with replaced(path) as beside:
                save_file(tensors, beside, metadata={"format": str(_FORMAT), "state": header})
        except SafetensorError as error:
            raise ModelError(
                f"{path} cannot be written ({error}); is the disk full? Free some space, then continue with --resume."
            ) from error

    @classmethod
    def load(cls, path: Path) -> "State":
        """Raises `InputError` for a broken file and for one of another version."""
        try:
            with safe_open(path, framework="pt", device="cpu") as file:
                header = file.metadata() or {}
                if header["format"] != str(_FORMAT):
                    raise InputError(f"{path} was written by another version of deixis; start the training again.")
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return cls(**_unpacked(json.loads(header["state"]), tensors))
        except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{path} is not the state of a run, or broken ({error}); start the training again."
            ) from error


def refuse_pickled(out: Path) -> None:
    """Raises `InputError` where the run in the folder has only the state that an older version wrote."""
    old = out / STATE.with_name(_PICKLED)
    if old.exists() and not (out / STATE).exists():
        raise InputError(
            f"{old} is the state of an older version of deixis, which is not read any more; train again in another "
            "--out, or remove the folder."
        )


def _packed(value: Any, tensors: dict[str, Tensor]) -> Any:
    """The value as JSON: tensors by their numbers, and every container with its type, because keys may be numbers."""
    if isinstance(value, Tensor):
        number = str(len(tensors))
        # Tensors that share memory are stored apart: a copy of each.
        tensors[number] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {"tensor": number}
    if isinstance(value, Mapping):
        return {"mapping": [[key, _packed(each, tensors)] for key, each in value.items()]}
    if isinstance(value, tuple | list):
        return {type(value).__name__: [_packed(each, tensors) for each in value]}
    return value


def _unpacked(plain: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(plain, dict):
        return plain
    ((kind, content),) = plain.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "mapping":
        return {key: _unpacked(each, tensors) for key, each in content}
    return {"tuple": tuple, "list": list}[kind](_unpacked(each, tensors) for each in content)


def seed_step(seed: int, step: int, rank: int) -> None:
    """Make all random numbers of this step (dropout, stochastic depth, noise) a function of seed, step and rank."""
    import random

    import numpy as np

    low, high = (int(word) for word in np.random.SeedSequence([seed, step, rank]).generate_state(2))
    random.seed(low)
    np.random.seed(low)  # for parts that draw from NumPy's global generator
    torch.manual_seed(high << 32 | low)
