"""Readers of the checkpoints that the papers' authors published: their files, our names."""

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import DeixisError

Weights = dict[str, Tensor]

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


def rename_lavt(official: Mapping[str, Tensor]) -> tuple[Weights, list[str]]:
    """Our names and shapes, and the names that LAVT does not know; BERT's names begin with `text_encoder.`."""
    ours: Weights = {}
    unknown: list[str] = []
    for name, tensor in official.items():
        for pattern, ours_name in LAVT_NAMES:
            if match := re.fullmatch(pattern, name):
                if ours_name is not None:
                    ours[match.expand(ours_name)] = _reshape(name, tensor)
                break
        else:
            unknown.append(name)
    return ours, unknown


def _reshape(name: str, tensor: Tensor) -> Tensor:
    """Convolutions over single cells are linear layers of ours, and so is the one over a patch."""
    if name.startswith("classifier.conv1_1.weight"):
        return tensor.flatten(1)
    if name.startswith("classifier."):
        return tensor
    return tensor.flatten(1) if tensor.ndim > 2 else tensor
