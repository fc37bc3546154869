"""BERT weights that others published, under our names: hub files and bare or wrapped state dicts."""

import re
from pathlib import Path

from ..errors import InputError
from ..weights import Weights, check_finite, read_file, tensors_in
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
        layer = re.match(r"encoder\.layer\.(\d{1,9})\.", plain)
        is_deeper = layer is not None and int(layer[1]) >= bert.config.layers
        if not is_deeper and not re.fullmatch(IGNORED, plain):
            weights[plain] = tensor
    wanted = bert.bert.state_dict()
    for problem, names in (("lacks", wanted.keys() - weights.keys()), ("has", weights.keys() - wanted.keys())):
        if names:
            first = ", ".join(sorted(names)[:4])
            raise InputError(
                f"{path} {problem} {first} ({len(names)} in all) unlike this BERT; take the weights of the same BERT."
            )
    for name, tensor in weights.items():
        if tensor.shape != wanted[name].shape:
            raise InputError(
                f"{path} has {name} of shape {list(tensor.shape)}, and this BERT wants {list(wanted[name].shape)}; "
                "take the weights of the same size."
            )
    check_finite(weights, path)
    bert.bert.load_state_dict(weights)


def _read(file: Path) -> Weights:
    if not file.is_file():
        raise InputError(f"There are no weights at {file}; give BERT's model.safetensors or pytorch_model.bin.")
    return tensors_in(read_file(file), file)
