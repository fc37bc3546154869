"""BERT weights that others published, under our names: hub files and bare or wrapped state dicts."""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..errors import DeixisError
from .bert import Bert

# What a published file holds beside the encoder: the pooler, the pre-training heads, and counting buffers.
IGNORED = r"(pooler|cls)\..*|embeddings\.(position_ids|token_type_ids)"


def load_pretrained(bert: Bert, path: str | Path) -> None:
    """Fill `bert` from a `model.safetensors` or `pytorch_model.bin`; a file with more layers gives its first ones.

    Raises DeixisError naming what is missing, unexpected or of another shape.
    """
    weights = {}
    for name, tensor in _read(Path(path)).items():
        plain = re.sub(r"^(module\.)?(bert\.)?", "", name)
        plain = plain.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        layer = re.match(r"encoder\.layer\.(\d+)\.", plain)
        is_deeper = layer is not None and int(layer[1]) >= bert.config.layers
        if not is_deeper and not re.fullmatch(IGNORED, plain):
            weights[plain] = tensor
    wanted = bert.bert.state_dict()
    for problem, names in (("lacks", wanted.keys() - weights.keys()), ("has", weights.keys() - wanted.keys())):
        if names:
            first = ", ".join(sorted(names)[:4])
            raise DeixisError(
                f"{path} {problem} {first} ({len(names)} in all) unlike this BERT; take the weights of the same BERT."
            )
    for name, tensor in weights.items():
        if tensor.shape != wanted[name].shape:
            raise DeixisError(
                f"{path} has {name} of shape {list(tensor.shape)}, and this BERT wants {list(wanted[name].shape)}; "
                "take the weights of the same size."
            )
    bert.bert.load_state_dict(weights)


def _read(file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        raise DeixisError(f"There are no weights at {file}; give BERT's model.safetensors or pytorch_model.bin.")
    try:
        raw: Any = load_file(file) if file.suffix == ".safetensors" else torch.load(file, "cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise DeixisError(f"{file} is truncated or holds no weights ({reason}); download it again.") from None
    if not isinstance(raw, Mapping):
        raise DeixisError(f"{file} holds a {type(raw).__name__}, and a dict of weights is wanted.")
    return {str(name): tensor for name, tensor in raw.items() if isinstance(tensor, Tensor)}
