"""Load published BERT weights: files of the Hugging Face hub, and plain or wrapped state dicts."""

import re
from pathlib import Path

from ..errors import InputError
from ..weights import Weights, check_finite, read_file, tensors_in
from .bert import Bert

# What a published file contains beside the encoder: the pooler, the pre-training heads and index buffers.
IGNORED = r"(pooler|cls)\..*|embeddings\.(position_ids|token_type_ids)"


def load_pretrained(bert: Bert, path: str | Path) -> None:
    """Fill `bert` from a `model.safetensors` or `pytorch_model.bin`; of a deeper BERT only the first layers are read.

    Raises DeixisError with the weights that are missing, unexpected, of another shape or not finite.
    """
    weights = _renamed(_read(Path(path)), bert.config.layers)
    expected = bert.bert.state_dict()
    missing, unexpected = expected.keys() - weights.keys(), weights.keys() - expected.keys()
    for problem, names in (("lacks", missing), ("has an unexpected", unexpected)):
        if names:
            first = ", ".join(sorted(names)[:4])
            raise InputError(f"{path} {problem} {first} ({len(names)} in all); give the weights of the same BERT.")
    for name, tensor in weights.items():
        if tensor.shape != expected[name].shape:
            raise InputError(
                f"{path} has {name} of shape {list(tensor.shape)}; this BERT expects {list(expected[name].shape)}: "
                "give the weights of a BERT of the same size."
            )
    check_finite(weights, path)
    bert.bert.load_state_dict(weights)


def _read(file: Path) -> Weights:
    if not file.is_file():
        raise InputError(f"There are no weights at {file}; give BERT's model.safetensors or pytorch_model.bin.")
    return tensors_in(read_file(file), file)


def _renamed(published: Weights, num_layers: int) -> Weights:
    """The encoder's weights by today's names, without layers beyond the first `num_layers`."""
    weights: Weights = {}
    for name, tensor in published.items():
        plain = re.sub(r"^(module\.)?(bert\.)?", "", name)
        plain = plain.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        layer = re.match(r"encoder\.layer\.(\d{1,9})\.", plain)
        is_deeper = layer is not None and int(layer[1]) >= num_layers
        if not is_deeper and not re.fullmatch(IGNORED, plain):
            weights[plain] = tensor
    return weights
