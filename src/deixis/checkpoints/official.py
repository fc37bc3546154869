"""Readers of the checkpoints that the papers' authors published: their files, our names."""

import math
import pickle
import re
from argparse import Namespace
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import DeixisError

Weights = dict[str, Tensor]

BERT_LAYER = (
    *(f"attention.self.{part}" for part in ("query", "key", "value")),
    *("attention.output.dense", "attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm"),
)

# Official name -> ours; a pattern that maps to None names what has no effect on any output.
LAVT_NAMES: tuple[tuple[str, str | None], ...] = (
    (r"backbone\.patch_embed\.proj\.(weight|bias)", r"fusion.vision.patches.projection.\1"),
    (r"backbone\.patch_embed\.norm\.(weight|bias)", r"fusion.vision.patches.norm.\1"),
    (r"backbone\.layers\.(\d)\.blocks\.(\d+)\.norm1\.(.+)", r"fusion.vision.stages.\1.\2.attention_norm.\3"),
    (r"backbone\.layers\.(\d)\.blocks\.(\d+)\.norm2\.(.+)", r"fusion.vision.stages.\1.\2.mlp_norm.\3"),
    (r"backbone\.layers\.\d\.blocks\.\d+\.attn\.relative_position_index", None),
    (
        r"backbone\.layers\.(\d)\.blocks\.(\d+)\.attn\.relative_position_bias_table",
        r"fusion.vision.stages.\1.\2.attention.position_bias",
    ),
    (r"backbone\.layers\.(\d)\.blocks\.(\d+)\.attn\.qkv\.(.+)", r"fusion.vision.stages.\1.\2.attention.qkv.\3"),
    (r"backbone\.layers\.(\d)\.blocks\.(\d+)\.attn\.proj\.(.+)", r"fusion.vision.stages.\1.\2.attention.projection.\3"),
    (r"backbone\.layers\.(\d)\.blocks\.(\d+)\.mlp\.fc1\.(.+)", r"fusion.vision.stages.\1.\2.mlp.0.\3"),
    (r"backbone\.layers\.(\d)\.blocks\.(\d+)\.mlp\.fc2\.(.+)", r"fusion.vision.stages.\1.\2.mlp.2.\3"),
    (r"backbone\.layers\.(\d)\.downsample\.(.+)", r"fusion.vision.mergers.\1.\2"),
    (r"backbone\.layers\.(\d)\.fusion\.vis_project\.0\.(.+)", r"fusion.fusions.\1.vision.\2"),
    # Biases that an instance norm takes away, or that raise the scores of all words alike.
    (r"backbone\.layers\.\d\.fusion\.image_lang_att\.(f_query|f_key|W)\.0\.bias", None),
    (r"backbone\.layers\.(\d)\.fusion\.image_lang_att\.f_query\.0\.(.+)", r"fusion.fusions.\1.query.\2"),
    (r"backbone\.layers\.(\d)\.fusion\.image_lang_att\.f_key\.0\.(.+)", r"fusion.fusions.\1.key.\2"),
    (r"backbone\.layers\.(\d)\.fusion\.image_lang_att\.f_value\.0\.(.+)", r"fusion.fusions.\1.value.\2"),
    (r"backbone\.layers\.(\d)\.fusion\.image_lang_att\.W\.0\.(.+)", r"fusion.fusions.\1.output.\2"),
    (r"backbone\.layers\.(\d)\.fusion\.project_mm\.0\.(.+)", r"fusion.fusions.\1.fuse.\2"),
    (r"backbone\.layers\.3\.res_gate\..+", None),
    (r"backbone\.layers\.(\d)\.res_gate\.0\.weight", r"fusion.gates.\1.hidden.weight"),
    (r"backbone\.layers\.(\d)\.res_gate\.2\.weight", r"fusion.gates.\1.gate.weight"),
    (r"backbone\.norm(\d)\.(.+)", r"fusion.norms.\1.\2"),
    (r"classifier\.(conv|bn)([12])_4\.(.+)", r"decoder.levels.0.\1\2.\3"),
    (r"classifier\.(conv|bn)([12])_3\.(.+)", r"decoder.levels.1.\1\2.\3"),
    (r"classifier\.(conv|bn)([12])_2\.(.+)", r"decoder.levels.2.\1\2.\3"),
    (r"classifier\.conv1_1\.(weight|bias)", r"decoder.classes.\1"),
    (r"text_encoder\.pooler\..+", None),
    (r"text_encoder\.embeddings\.position_ids", None),
    (r"text_encoder\.((?:embeddings|encoder)\..+)", r"text.bert.\1"),
)


@dataclass(frozen=True, kw_only=True)
class OfficialCheckpoint:
    """What a published file holds, as ours: the system's name, its config's fields, its weights by our names."""

    system: str
    config: dict[str, Any]
    state_dict: Weights


def read_official(path: str | Path) -> OfficialCheckpoint:
    """LAVT's published `.pth`, BERT beside the model or within it; nothing in the file is executed.

    Raises DeixisError where the file is no such checkpoint, lacks a weight or has one too many.
    """
    raw = _load(Path(path))
    official = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in _flat(raw).items()}
    if not any(name.startswith("backbone.layers.") for name in official):
        raise DeixisError(f"{path} is no LAVT checkpoint: it has {_some(official)}, and backbone.layers.* is wanted.")
    ours, unknown = rename_lavt(official)
    if not any(name.startswith("text.") for name in ours):
        raise DeixisError(
            f"{path} has no BERT, neither in `bert_model` nor as text_encoder.*; get the whole checkpoint."
        )
    missing = expected_names(official) - ours.keys()
    if missing or unknown:
        lacks = f"lacks {_some(missing)}" if missing else ""
        knows = f"has {_some(unknown)}, which LAVT does not know" if unknown else ""
        raise DeixisError(f"{path} {' and '.join(filter(None, (lacks, knows)))}; get an unchanged copy.")
    broken = [name for name, tensor in ours.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise DeixisError(f"{path} holds values that are no numbers in {_some(broken)}; get a whole copy.")
    try:
        config = infer_config(official, getattr(raw.get("args"), "mha", None))
    except (KeyError, IndexError, ValueError) as error:
        raise DeixisError(f"{path} has weights of shapes that no LAVT has ({error}); get an unchanged copy.") from None
    return OfficialCheckpoint(system="lavt", config=config, state_dict=ours)


def rename_lavt(official: Mapping[str, Tensor]) -> tuple[Weights, list[str]]:
    """Our names and shapes, and the names that LAVT does not know; BERT's names begin with `text_encoder.`."""
    ours: Weights = {}
    unknown: list[str] = []
    for name, tensor in official.items():
        for pattern, ours_name in LAVT_NAMES:
            if match := re.fullmatch(pattern, name):
                if ours_name is not None:
                    # Convolutions over one cell are linear layers of ours, and so are those over a patch.
                    is_linear = tensor.ndim > 2 and not re.match(r"classifier\.conv[12]_[234]", name)
                    ours[match.expand(ours_name)] = tensor.flatten(1) if is_linear else tensor
                break
        else:
            unknown.append(name)
    return ours, unknown


def infer_config(official: Mapping[str, Tensor], heads: str | None = None) -> dict[str, Any]:
    """The fields of LAVT's config, from shapes; the fusion's heads (`"1-2-1-4"`) leave no trace in them."""
    table = "backbone.layers.{}.blocks.0.attn.relative_position_bias_table"
    cells, _ = official[table.format(0)].shape
    vocabulary, width = official["text_encoder.embeddings.word_embeddings.weight"].shape
    return {
        "vision": {
            "embed_dim": official["backbone.patch_embed.proj.weight"].shape[0],
            "depths": _depths(official),
            "heads": [official[table.format(stage)].shape[1] for stage in range(4)],
            "window": (math.isqrt(cells) + 1) // 2,
        },
        "text": {
            "layers": _count(official, r"text_encoder\.encoder\.layer\.(\d+)\."),
            "width": width,
            "heads": max(1, width // 64),  # as in every published BERT
            "feed_forward": official["text_encoder.encoder.layer.0.intermediate.dense.weight"].shape[0],
            "vocabulary": vocabulary,
            "positions": official["text_encoder.embeddings.position_embeddings.weight"].shape[0],
        },
        "fusion_heads": [int(count) for count in heads.split("-")] if heads else [1, 1, 1, 1],
        "decoder_width": official["classifier.conv1_4.weight"].shape[0],
    }


def expected_names(official: Mapping[str, Tensor]) -> set[str]:
    """Every weight, by our names, of the LAVT whose numbers of stages, blocks and layers the file shows."""
    linear = ("weight", "bias")
    names = {f"fusion.vision.patches.{part}.{of}" for part in ("projection", "norm") for of in linear}
    block = ("attention_norm", "attention.qkv", "attention.projection", "mlp_norm", "mlp.0", "mlp.2")
    for stage, depth in enumerate(_depths(official)):
        for number in range(depth):
            place = f"fusion.vision.stages.{stage}.{number}"
            names |= {f"{place}.attention.position_bias", *(f"{place}.{part}.{of}" for part in block for of in linear)}
        fusion = f"fusion.fusions.{stage}"
        names |= {f"{fusion}.{part}.{of}" for part in ("vision", "value", "fuse") for of in linear}
        names |= {f"{fusion}.{part}.weight" for part in ("query", "key", "output")}
        names |= {f"fusion.norms.{stage}.{of}" for of in linear}
    for stage in range(3):
        names |= {f"fusion.gates.{stage}.{part}.weight" for part in ("hidden", "gate")}
        names |= {f"fusion.vision.mergers.{stage}.{part}" for part in ("norm.weight", "norm.bias", "reduction.weight")}
        level, norm = f"decoder.levels.{stage}", (*linear, "running_mean", "running_var")
        names |= {f"{level}.conv{number}.weight" for number in (1, 2)}
        names |= {f"{level}.bn{number}.{of}" for number in (1, 2) for of in norm}
    names |= {f"decoder.classes.{of}" for of in linear}
    embeddings = ("word_embeddings.weight", "position_embeddings.weight", "token_type_embeddings.weight")
    names |= {f"text.bert.embeddings.{part}" for part in (*embeddings, "LayerNorm.weight", "LayerNorm.bias")}
    for number in range(_count(official, r"text_encoder\.encoder\.layer\.(\d+)\.")):
        names |= {f"text.bert.encoder.layer.{number}.{part}.{of}" for part in BERT_LAYER for of in linear}
    return names


def _load(path: Path) -> dict[str, Any]:
    """The file's dict. Only tensors, plain containers and the published arguments' namespace may be in it."""
    if not path.is_file():
        raise DeixisError(f"There is no checkpoint file at {path}; give the path of a published .pth.")
    with path.open("rb") as file:
        start = file.read(512).lstrip()
    if not start:
        raise DeixisError(f"{path} is empty; download it again.")
    if start[:1] == b"<":
        raise DeixisError(f"{path} is a web page, not a checkpoint; download the file itself.")
    try:
        with torch.serialization.safe_globals([Namespace]):
            raw = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = next((line for line in str(error).splitlines() if "GLOBAL" in line), "it is no such file")
        raise DeixisError(
            f"{path} cannot be read safely as a checkpoint ({reason.strip()}); get the published one."
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DeixisError(f"{path} is truncated or no checkpoint ({reason}); download it again.") from None
    if not isinstance(raw, dict):
        raise DeixisError(
            f"{path} holds a {type(raw).__name__}, and a dict of weights is wanted; get the published one."
        )
    return raw


def _flat(raw: dict[str, Any]) -> Weights:
    """One dict of tensors in the layout that has BERT under `text_encoder.`, without the wrapper's prefix."""
    flat: Weights = {}
    parts = ((raw.get("model", raw), ""), (raw.get("bert_model", {}), "text_encoder."))
    for part, prefix in parts:
        if isinstance(part, Mapping):
            tensors = {str(name): tensor for name, tensor in part.items() if isinstance(tensor, Tensor)}
            flat |= {prefix + name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    return flat


def _depths(official: Mapping[str, Tensor]) -> list[int]:
    return [_count(official, rf"backbone\.layers\.{stage}\.blocks\.(\d+)\.") for stage in range(4)]


def _count(names: Iterable[str], pattern: str) -> int:
    """One more than the highest number that the pattern's group finds."""
    return 1 + max((int(match[1]) for name in names if (match := re.match(pattern, name))), default=-1)


def _some(names: Iterable[str], limit: int = 4) -> str:
    listed = sorted(names)
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return (", ".join(listed[:limit]) or "nothing") + more
