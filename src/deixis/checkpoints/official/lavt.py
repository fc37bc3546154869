"""Rename the published weights of LAVT to ours."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .renaming import (
    Rules,
    Weights,
    bert_config,
    bert_names,
    bert_rules,
    first_of,
    published_name,
    rename,
    swin_config,
    swin_names,
    swin_rules,
)

FUSION = r"backbone\.layers\.(\d)\.fusion\."
RULES: Rules = (
    *swin_rules("backbone"),
    (FUSION + r"vis_project\.0\.(.+)", r"fusion.fusions.\1.vision.\2"),
    # Biases without effect: an instance norm removes them, or they raise the scores of all tokens equally.
    (FUSION + r"image_lang_att\.(f_query|f_key|W)\.0\.bias", None),
    (FUSION + r"image_lang_att\.f_query\.0\.(.+)", r"fusion.fusions.\1.query.\2"),
    (FUSION + r"image_lang_att\.f_key\.0\.(.+)", r"fusion.fusions.\1.key.\2"),
    (FUSION + r"image_lang_att\.f_value\.0\.(.+)", r"fusion.fusions.\1.value.\2"),
    (FUSION + r"image_lang_att\.W\.0\.(.+)", r"fusion.fusions.\1.output.\2"),
    (FUSION + r"project_mm\.0\.(.+)", r"fusion.fusions.\1.fuse.\2"),
    (r"backbone\.layers\.3\.res_gate\..+", None),
    (r"backbone\.layers\.(\d)\.res_gate\.0\.weight", r"fusion.gates.\1.hidden.weight"),
    (r"backbone\.layers\.(\d)\.res_gate\.2\.weight", r"fusion.gates.\1.gate.weight"),
    (r"backbone\.norm(\d)\.(.+)", r"fusion.norms.\1.\2"),
    (r"classifier\.(conv|bn)([12])_4\.(.+)", r"decoder.levels.0.\1\2.\3"),
    (r"classifier\.(conv|bn)([12])_3\.(.+)", r"decoder.levels.1.\1\2.\3"),
    (r"classifier\.(conv|bn)([12])_2\.(.+)", r"decoder.levels.2.\1\2.\3"),
    (r"classifier\.conv1_1\.(weight|bias)", r"decoder.classes.\1"),
    *bert_rules("text_encoder"),
)
CONVOLUTIONS = r"classifier\.conv[12]_[234]"  # those with kernels larger than 1x1


def rename_lavt(official: Mapping[str, Tensor]) -> tuple[Weights, list[str]]:
    """The weights by our names, and the names that LAVT does not have. BERT's published names begin with
    `text_encoder.`.
    """
    return rename(official, RULES, CONVOLUTIONS)


def original(name: str) -> str:
    """The published name of one of our weights."""
    return published_name(name, RULES)


def infer_config(official: Mapping[str, Tensor], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of LAVT's config, from shapes; the number of the fusion's heads cannot be seen in them."""
    return {
        "vision": swin_config(official, "backbone"),
        "text": bert_config(official, "text_encoder"),
        "fusion_heads": arguments.get("fusion_heads", [1, 1, 1, 1]),
        "decoder_width": first_of(4, official["classifier.conv1_4.weight"]),
    }


def expected_names(official: Mapping[str, Tensor]) -> set[str]:
    """Our names of every weight of a LAVT with as many blocks and layers as the file has."""
    linear = ("weight", "bias")
    names = swin_names(official, "backbone") | bert_names(official, "text_encoder")
    for stage in range(4):
        fusion = f"fusion.fusions.{stage}"
        names |= {f"{fusion}.{part}.{of}" for part in ("vision", "value", "fuse") for of in linear}
        names |= {f"{fusion}.{part}.weight" for part in ("query", "key", "output")}
        names |= {f"fusion.norms.{stage}.{of}" for of in linear}
    for stage in range(3):
        names |= {f"fusion.gates.{stage}.{part}.weight" for part in ("hidden", "gate")}
        level, norm = f"decoder.levels.{stage}", (*linear, "running_mean", "running_var")
        names |= {f"{level}.conv{number}.weight" for number in (1, 2)}
        names |= {f"{level}.bn{number}.{of}" for number in (1, 2) for of in norm}
    return names | {f"decoder.classes.{of}" for of in linear}
