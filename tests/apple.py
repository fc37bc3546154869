"""Tensors as on an Apple GPU, for machines without one."""

from typing import Any

import torch
from torch import Tensor, nn


class OnApple(Tensor):
    """Knows neither float64 nor antialiased resizing until it is brought to the CPU."""

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        if function == Tensor.device.__get__:  # type: ignore[attr-defined]
            return torch.device("mps")
        if function is Tensor.cpu:
            with torch._C.DisableTorchFunctionSubclass():
                return arguments[0].as_subclass(Tensor)
        if function is nn.functional.interpolate:
            raise NotImplementedError("antialiased resizing is not implemented for MPS")
        result = super().__torch_function__(function, types, arguments, options or {})
        if isinstance(result, OnApple) and result.dtype == torch.float64:
            raise TypeError("the MPS framework does not support float64")
        return result


def on_apple(tensor: Tensor) -> Tensor:
    return tensor.as_subclass(OnApple)
