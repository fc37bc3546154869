"""Weights as they lie in files that others wrote: nothing in them is executed, and every fault is one sentence."""

import pickle
import re
import warnings
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from .errors import InputError
from .files import is_lfs_pointer

Weights = dict[str, Tensor]


def read_file(path: Path) -> dict[str, Any]:
    """What a `.safetensors` or a PyTorch file holds: tensors by name, or parts that hold them."""
    return dict(read_safetensors(path)) if path.suffix == ".safetensors" else read_pickle(path)


def read_safetensors(path: Path) -> Weights:
    """The file's tensors as they are, whatever the file is called."""
    try:
        return load_file(path)
    except (SafetensorError, RuntimeError, ValueError, OSError) as error:
        refuse_lfs_pointer(path)
        raise InputError(
            f"{path} is no safetensors file, or a truncated one ({_first(error)}); get a whole copy."
        ) from None


def refuse_lfs_pointer(path: Path) -> None:
    """Raises InputError where Git's pointer is in place of the weights."""
    if is_lfs_pointer(path):
        raise InputError(f"{path} is a Git LFS pointer, not the weights themselves; run `git lfs pull`.")


def read_pickle(path: Path) -> dict[str, Any]:
    """A PyTorch file's dict. Only tensors, plain containers and the published arguments' namespace may be in it."""
    with path.open("rb") as file:
        start = file.read(512).lstrip()
    if not start:
        raise InputError(f"{path} is empty; download it again.")
    refuse_lfs_pointer(path)
    if start[:1] == b"<":
        raise InputError(f"{path} is a web page, not a checkpoint; download the file itself.")
    try:
        with torch.serialization.safe_globals([Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd pickle protocols: what cannot be read is an error anyway
            raw = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # PyTorch goes on to say how to execute it nevertheless.
        asked = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"it asks for {asked[1]}, which is no weight" if asked else "it is no such file"
        raise InputError(f"{path} cannot be read safely as a checkpoint ({reason}); get the published one.") from None
    except Exception as error:  # a broken file fails in every way there is
        raise InputError(f"{path} is truncated or no checkpoint ({_first(error)}); download it again.") from None
    if not isinstance(raw, dict):
        raise InputError(
            f"{path} holds a {type(raw).__name__}, and a dict of weights is wanted; get the published one."
        )
    return raw


def tensors_in(part: Any, path: str | Path) -> Weights:
    """The tensors of a mapping by name, floats as float32; anything else holds none.

    Raises DeixisError for a kind of tensor that no network here has.
    """
    tensors = part.items() if isinstance(part, Mapping) else ()
    return {str(name): _plain(str(name), tensor, path) for name, tensor in tensors if isinstance(tensor, Tensor)}


def check_finite(weights: Mapping[str, Tensor], path: str | Path) -> None:
    """Raises DeixisError with the first weight that holds no finite number."""
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise InputError(f"{path} has a weight {name!r} with values that are no numbers; it cannot be used.")


def _plain(name: str, tensor: Tensor, path: str | Path) -> Tensor:
    is_odd = tensor.is_complex() or tensor.is_quantized or tensor.is_meta or tensor.layout != torch.strided
    try:
        if not is_odd:
            return tensor.float() if tensor.is_floating_point() else tensor
    except NotImplementedError:
        pass  # numbers of four bits, of which PyTorch only knows how to store them
    kind = str(tensor.dtype if tensor.layout == torch.strided else tensor.layout).removeprefix("torch.")
    raise InputError(f"{path} has a weight {name!r} of type {kind}; store it as float32 or float16.") from None


def _first(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
