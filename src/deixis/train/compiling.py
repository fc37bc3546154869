"""Compiling a system once instead of twice."""

import torch
from einops import rearrange
from torch import nn


def compile_once(system: nn.Module) -> None:
    """In place, at the first call."""
    # einops notes the types that it meets. The compiler would take that for a change, and begin again.
    for kind in (torch.empty(1), nn.Parameter(torch.empty(1))):
        rearrange(kind, "n -> n")
    system.compile()
