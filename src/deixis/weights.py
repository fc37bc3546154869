"""Read files of weights that others wrote: no code in them is executed, and every fault is one sentence."""

import pickle
import re
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.overrides import TorchFunctionMode

from .errors import InputError, ModelError
from .files import is_lfs_pointer

Weights = dict[str, Tensor]
# Training scripts store scores as NumPy's numbers; building one of these, or a dtype, executes nothing of the file.
_SCALAR: Any = np.float64(0).__reduce__()[0]
SAFE: list[Any] = [
    *(Namespace, np.dtype, _SCALAR, (_SCALAR, "numpy.core.multiarray.scalar")),
    *(type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8", "?")),
]


def read_file(path: Path) -> dict[str, Any]:
    """The contents of a `.safetensors` or a PyTorch file: tensors by name, or mappings that contain them."""
    return dict(read_safetensors(path)) if path.suffix == ".safetensors" else read_pickle(path)


def read_safetensors(path: Path) -> Weights:
    """The tensors of a safetensors file, whatever its name."""
    try:
        return load_file(path)
    except (SafetensorError, RuntimeError, ValueError, OSError) as error:
        refuse_lfs_pointer(path)
        raise ModelError(
            f"{path} is not a safetensors file, or is truncated ({_first_line(error)}); download it again."
        ) from None


def refuse_lfs_pointer(path: Path) -> None:
    """Raises InputError where Git's pointer is in place of the weights."""
    if is_lfs_pointer(path):
        raise InputError(f"{path} is a Git LFS pointer, not the weights themselves; run `git lfs pull`.")


def read_pickle(path: Path) -> dict[str, Any]:
    """The dict in a PyTorch file: tensors, plain containers, NumPy's numbers and argparse's Namespace only."""
    with path.open("rb") as file:
        start = file.read(512).lstrip()
    if not start:
        raise ModelError(f"{path} is empty; download it again.")
    refuse_lfs_pointer(path)
    if start[:1] == b"<":
        raise ModelError(f"{path} is a web page, not a checkpoint; download the file itself.")
    try:
        with torch.serialization.safe_globals(SAFE), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about unusual pickle protocols: what cannot be read raises anyway
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # PyTorch's message also explains how to execute the file; that part is left out.
        found = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"it refers to {found[1]}, which is not a weight" if found else "its format is unknown"
        raise ModelError(
            f"{path} cannot be read safely as a checkpoint ({reason}); download the published file."
        ) from None
    except Exception as error:  # a broken file can raise anything
        raise ModelError(
            f"{path} is truncated, or not a checkpoint ({_first_line(error)}); download it again."
        ) from None
    if not isinstance(content, dict):
        raise ModelError(
            f"{path} holds a {type(content).__name__}; expected a dict of weights: download the published file."
        )
    return content


def tensors_in(part: Any, path: str | Path) -> Weights:
    """The tensors of a mapping by name, floats as float32; empty if `part` is not a mapping.

    Raises ModelError for a kind of tensor that no network here has, such as a complex or a sparse one.
    """
    tensors = part.items() if isinstance(part, Mapping) else ()
    return {str(name): _plain(str(name), tensor, path) for name, tensor in tensors if isinstance(tensor, Tensor)}


def check_finite(weights: Mapping[str, Tensor], path: str | Path) -> None:
    """Raises ModelError with the first weight that has a value that is not finite."""
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ModelError(
                f"{path} has a weight {name!r} with values that are not finite; download or train it again."
            )


@contextmanager
def without_memory() -> Iterator[None]:
    """Modules that are built here have weights of the right shapes on the meta device, for a checkpoint to fill."""
    with torch.device("meta"), _NothingDrawn():
        yield


class _NothingDrawn(TorchFunctionMode):
    """Skips `normal_`: on the meta device it has no effect, but imports the compiler, which takes a second."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") == "normal_":  # of torch.nn.init, or of a tensor
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


def _plain(name: str, tensor: Tensor, path: str | Path) -> Tensor:
    is_odd = tensor.is_complex() or tensor.is_quantized or tensor.is_meta or tensor.layout != torch.strided
    try:
        if not is_odd:
            return tensor.float() if tensor.is_floating_point() else tensor
    except NotImplementedError:
        pass  # numbers of four bits, which PyTorch can store but not convert
    kind = str(tensor.dtype if tensor.layout == torch.strided else tensor.layout).removeprefix("torch.")
    raise ModelError(f"{path} has a weight {name!r} of type {kind}; store it as float32 or float16.") from None


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
