"""Weights and inputs that anybody can make again from a name and a shape, so that goldens need no checkpoint.

A tensor's numbers come from NumPy's generator seeded with the CRC-32 of its official name; the rule for its scale is
the first that fits: running variances lie above one, norms near one, biases near zero, embeddings have half a unit,
and matrices keep variance (a quarter of it on BERT's residual branches, whose words would else become all alike).
"""

import math
import zlib

import numpy as np
import torch
from torch import Tensor

EMBEDDINGS = (
    *("embeddings.weight", "relative_position_bias_table"),
    *("level_embed", "level_embed.weight", "query_feat.weight", "query_embed.weight"),
)


def weight(name: str, shape: tuple[int, ...]) -> Tensor:
    noise = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    if name.endswith("running_var"):
        made = 1 + np.float32(0.1) * np.abs(noise)
    elif name.endswith("running_mean"):
        made = np.float32(0.1) * noise
    elif len(shape) == 1:
        made = 1 + np.float32(0.1) * noise if name.endswith(".weight") else np.float32(0.02) * noise
    elif name.endswith(EMBEDDINGS):
        made = np.float32(0.5) * noise
    else:
        residual = np.float32(0.25 if name.endswith("output.dense.weight") else 1)
        made = residual * (noise / np.float32(math.sqrt(math.prod(shape[1:]))))
    return torch.from_numpy(np.asarray(made, dtype=np.float32))


def image(height: int, width: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).standard_normal((1, 3, height, width)).astype(np.float32))


def words(numbers: list[int], length: int = 20) -> tuple[Tensor, Tensor]:
    """Word numbers padded with zeros, and which are real."""
    padded = torch.zeros(1, length, dtype=torch.long)
    padded[0, : len(numbers)] = torch.tensor(numbers)
    return padded, torch.arange(length)[None] < len(numbers)
