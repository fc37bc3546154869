"""Published Swin weights, the authors' `.pth` and transformers' safetensors, under our names."""

import math
import re
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from ..errors import InputError, ModelError
from ..weights import Weights, check_finite, read_file, tensors_in
from .swin import Swin

BLOCK = r"layers\.(\d)\.blocks\.(\d+)\."
OURS = r"stages.\1.\2."
# Published name -> ours; None for what an encoder of maps does not need. transformers separates q, k and v.
NAMES: tuple[tuple[str, str | None], ...] = (
    (r"patch_embed\.proj\.(weight|bias)", r"patches.projection.\1"),
    (r"patch_embed\.norm\.(weight|bias)", r"patches.norm.\1"),
    (BLOCK + r"norm1\.(.+)", OURS + r"attention_norm.\3"),
    (BLOCK + r"norm2\.(.+)", OURS + r"mlp_norm.\3"),
    (BLOCK + r"attn\.qkv\.(.+)", OURS + r"attention.qkv.\3"),
    (BLOCK + r"attn\.proj\.(.+)", OURS + r"attention.projection.\3"),
    (BLOCK + r"attn\.relative_position_bias_table", OURS + r"attention.position_bias"),
    (BLOCK + r"(attn\.relative_position_index|attn_mask)", None),
    (BLOCK + r"mlp\.fc1\.(.+)", OURS + r"mlp.0.\3"),
    (BLOCK + r"mlp\.fc2\.(.+)", OURS + r"mlp.2.\3"),
    (r"layers\.(\d)\.downsample\.(.+)", r"mergers.\1.\2"),
    (r"(norm|head)\.(weight|bias)", None),
    (r"embeddings\.patch_embeddings\.projection\.(weight|bias)", r"patches.projection.\1"),
    (r"embeddings\.norm\.(weight|bias)", r"patches.norm.\1"),
    (r"embeddings\.mask_token", None),
    (BLOCK + r"layernorm_before\.(.+)", OURS + r"attention_norm.\3"),
    (BLOCK + r"layernorm_after\.(.+)", OURS + r"mlp_norm.\3"),
    (BLOCK + r"attention\.(?:self\.(query|key|value)|([qkv])_proj)\.(weight|bias)", OURS + r"attention.\3\4.\5"),
    (BLOCK + r"attention\.(?:output\.dense|o_proj)\.(.+)", OURS + r"attention.projection.\3"),
    (
        BLOCK + r"attention\.(?:self|relative_position_bias)\.relative_position_bias_table",
        OURS + "attention.position_bias",
    ),
    (BLOCK + r"attention\.(?:self|relative_position_bias)\.relative_position_index", None),
    (BLOCK + r"intermediate\.dense\.(.+)", OURS + r"mlp.0.\3"),
    (BLOCK + r"output\.dense\.(.+)", OURS + r"mlp.2.\3"),
    (r"(layernorm|classifier)\.(weight|bias)", None),
)


def load_pretrained(swin: Swin, path: str | Path) -> None:
    """Fill `swin` from a published file; position biases are resized where the windows differ.

    The layers of `SwinConfig.coordinates`, which no published model has, are not changed. Raises `InputError` with the
    weights that are missing, unexpected or of another shape, and `ModelError` where the weights themselves are broken.
    """
    weights = read_pretrained(path)
    expected = {name: tensor for name, tensor in swin.state_dict().items() if ".coordinates." not in name}
    missing, unexpected = sorted(expected.keys() - weights.keys()), sorted(weights.keys() - expected.keys())
    if missing or unexpected:
        raise InputError(
            f"{path} does not fit this Swin (depths {swin.config.depths}): missing {_some(missing)}; "
            f"unexpected {_some(unexpected)}. Use the weights of the same Swin."
        )
    for name, tensor in weights.items():
        if name.endswith("position_bias"):
            _check_table(tensor, name, path)
            weights[name] = tensor = resize_position_bias(tensor, swin.config.window)
        if tensor.shape != expected[name].shape:
            raise InputError(
                f"{path} has {name} of shape {list(tensor.shape)}; expected {list(expected[name].shape)}. "
                "Use the weights of a Swin of the same size."
            )
    check_finite(weights, path)
    swin.load_state_dict(weights, strict=False)


def read_pretrained(path: str | Path) -> Weights:
    """The file's weights under our names. Raises `InputError` for a file without Swin weights."""
    file = Path(path)
    if not file.is_file():
        raise InputError(f"There are no weights at {path}; give a published Swin's .pth or model.safetensors.")
    raw = read_file(file)
    ours, unknown = _rename(tensors_in(raw.get("model", raw), file))
    if not any(name.startswith("stages.") for name in ours) or unknown:
        raise InputError(
            f"{path} does not contain a Swin: it has {_some(unknown)}. Give the weights of a published Swin."
        )
    return ours


def resize_position_bias(table: Tensor, window: int) -> Tensor:
    """The table for another window: the biases as an image over the relative positions, resized bicubically."""
    side, new_side = math.isqrt(table.shape[0]), 2 * window - 1
    if side == new_side:
        return table
    biases = rearrange(table, "(y x) heads -> 1 heads y x", y=side)
    biases = F.interpolate(biases.float(), size=(new_side, new_side), mode="bicubic", align_corners=False)
    return rearrange(biases, "1 heads y x -> (y x) heads").to(table.dtype)


def _check_table(table: Tensor, name: str, path: str | Path) -> None:
    side = math.isqrt(table.shape[0]) if table.ndim else 0
    if table.ndim != 2 or not table.numel() or side**2 != table.shape[0] or side % 2 == 0:
        raise ModelError(
            f"{path} has {name} of shape {list(table.shape)}; expected an odd square number of rows, one for each "
            "relative position, and a column for each head. Get an unchanged copy."
        )


def _rename(published: Weights) -> tuple[Weights, list[str]]:
    ours: Weights = {}
    unknown: list[str] = []
    for name, tensor in published.items():
        plain = re.sub(r"^(module\.)?(swin\.)?(encoder\.)?", "", name)
        for pattern, target in NAMES:
            if match := re.fullmatch(pattern, plain):
                if target is not None:
                    ours[match.expand(target)] = tensor.flatten(1) if tensor.ndim == 4 else tensor
                break
        else:
            unknown.append(name)
    return _join_qkv(ours), unknown


def _join_qkv(weights: Weights) -> Weights:
    """Separate projections of queries, keys and values as one layer, in this order."""
    joined: Weights = {}
    for name, tensor in weights.items():
        match = re.fullmatch(r"(.+\.attention)\.(q|k|v|query|key|value)\.(weight|bias)", name)
        if match is None:
            joined[name] = tensor
        elif match[2][0] == "q":
            parts = ("query", "key", "value") if len(match[2]) > 1 else ("q", "k", "v")
            names = [f"{match[1]}.{part}.{match[3]}" for part in parts]
            found = [weights[part] for part in names if part in weights]
            if len(found) == 3 and tensor.ndim and {part.shape for part in found} == {tensor.shape}:
                joined[f"{match[1]}.qkv.{match[3]}"] = torch.cat(found)
    return joined


def _some(names: list[str], limit: int = 4) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return (", ".join(names[:limit]) or "nothing") + more
