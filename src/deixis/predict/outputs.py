"""From a system's Output to NumPy: probabilities of pixels and of presence, and evidence."""

import numpy as np
import torch
from jaxtyping import Float, Float32

from ..batch import Output


def mask_probabilities(output: Output) -> Float32[np.ndarray, "b h w"]:
    """The probability of each pixel, at the size that the system reads."""
    return output.logits.float().sigmoid().cpu().numpy()


def presence_probabilities(output: Output) -> Float[np.ndarray, " b"] | None:
    """The presence head's probabilities before any calibration; None without a head."""
    return None if output.presence is None else output.presence.float().sigmoid().cpu().double().numpy()


def evidence_arrays(output: Output) -> dict[str, np.ndarray]:
    """The evidence by name, boolean maps as booleans and all others in single precision."""
    # NumPy has no bfloat16.
    return {
        name: (maps if maps.dtype == torch.bool else maps.float()).cpu().numpy()
        for name, maps in output.evidence.items()
    }


def is_finite(output: Output) -> bool:
    """Whether all logits of masks and of presence are finite numbers."""
    heads = [output.logits] if output.presence is None else [output.logits, output.presence]
    return all(bool(logits.isfinite().all()) for logits in heads)
