"""Rename the published weights of MagNet to ours."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .renaming import (
    Rules,
    Weights,
    bert_config,
    bert_names,
    bert_rules,
    count,
    first_of,
    published_name,
    rename,
    swin_config,
    swin_names,
    swin_rules,
)


def _attention(official: str, ours: str) -> Rules:
    """The attention of pixels to words; the key's bias has no effect: it raises the scores of all tokens equally."""
    return (
        (rf"{official}vis_project\.0\.(weight|bias)", rf"{ours}.vision.\g<end>"),
        (rf"{official}image_lang_att\.f_key\.0\.bias", None),
        (rf"{official}image_lang_att\.f_key\.0\.(weight)", rf"{ours}.key.\g<end>"),
        (rf"{official}image_lang_att\.f_value\.0\.(weight|bias)", rf"{ours}.value.\g<end>"),
        (rf"{official}image_lang_att\.f_query\.0\.(weight|bias)", rf"{ours}.query.\g<end>"),
        (rf"{official}image_lang_att\.f_query\.1\.(weight|bias)", rf"{ours}.query_norm.\g<end>"),
        (rf"{official}image_lang_att\.W\.0\.(weight|bias)", rf"{ours}.output.\g<end>"),
        (rf"{official}image_lang_att\.W\.1\.(weight|bias)", rf"{ours}.output_norm.\g<end>"),
        (rf"{official}project_mm\.0\.(weight|bias)", rf"{ours}.fuse.\g<end>"),
    )


def _named(rules: Rules) -> Rules:
    """The rules with the last group of each pattern named `end`."""
    return tuple((pattern.replace("(weight", "(?P<end>weight"), ours) for pattern, ours in rules)


STAGE = r"image_model\.layers\.(\d)\."
PREDICTOR = r"classifier\.predictor\."
ENCODER = r"classifier\.pixel_decoder\.transformer\.encoder\.layers\.(\d+)\."
CROSS = PREDICTOR + r"transformer_cross_attention_layers\.(\d+)\."
SELF = PREDICTOR + r"transformer_self_attention_layers\.(\d+)\."
FEED_FORWARD = PREDICTOR + r"transformer_ffn_layers\.(\d+)\."
RULES: Rules = (
    *swin_rules("image_model"),
    *_named(_attention(STAGE + r"fusion\.", r"fusion.alignments.\1.fusion")),
    *_named(_attention(STAGE + r"fusions\.(\d)\.", r"fusion.alignments.\1.scales.\2.fusion")),
    (STAGE + r"pyramids\.(\d)\.1\.weight", r"fusion.alignments.\1.scales.\2.widen.weight"),
    (STAGE + r"pyramids\.(\d)\.2\.(weight|bias)", r"fusion.alignments.\1.scales.\2.norm.\3"),
    (STAGE + r"pyramids\.(\d)\.3\.weight", r"fusion.alignments.\1.scales.\2.narrow.weight"),
    (STAGE + r"pyramids\.(\d)\.5\.weight", r"fusion.alignments.\1.scales.\2.quarter.weight"),
    (STAGE + r"mixer\.0\.(weight|bias)", r"fusion.alignments.\1.mix.\2"),
    (STAGE + r"mixer\.1\.(weight|bias)", r"fusion.alignments.\1.norm.\2"),
    (STAGE + r"mixer\.2\.(weight|bias)", r"fusion.alignments.\1.output.\2"),
    (r"image_model\.layers\.3\.res_gate\..+", None),
    (STAGE + r"res_gate\.0\.weight", r"fusion.gates.\1.hidden.weight"),
    (STAGE + r"res_gate\.2\.weight", r"fusion.gates.\1.gate.weight"),
    (r"image_model\.norm\d\..+", None),
    # Without effect: what words get after the last step is not read, and instance norms remove biases.
    (r"language_model\.(pwams|res_gates)\.3\..+", None),
    (r"language_model\.norms\..+", None),
    (r"language_model\.pwams\.\d\.image_lang_att\.(f_key|f_value|W)\.0\.bias", None),
    (r"language_model\.pwams\.(\d)\.vis_project\.0\.(weight|bias)", r"fusion.word_fusions.\1.words.\2"),
    (r"language_model\.pwams\.(\d)\.image_lang_att\.f_query\.0\.(weight|bias)", r"fusion.word_fusions.\1.query.\2"),
    (r"language_model\.pwams\.(\d)\.image_lang_att\.f_key\.0\.weight", r"fusion.word_fusions.\1.key.weight"),
    (r"language_model\.pwams\.(\d)\.image_lang_att\.f_value\.0\.weight", r"fusion.word_fusions.\1.value.weight"),
    (r"language_model\.pwams\.(\d)\.image_lang_att\.W\.0\.weight", r"fusion.word_fusions.\1.output.weight"),
    (r"language_model\.pwams\.(\d)\.project_mm\.0\.(weight|bias)", r"fusion.word_fusions.\1.fuse.\2"),
    (r"language_model\.res_gates\.(\d)\.0\.weight", r"fusion.word_gates.\1.hidden.weight"),
    (r"language_model\.res_gates\.(\d)\.2\.weight", r"fusion.word_gates.\1.gate.weight"),
    *bert_rules("language_model"),
    (r"classifier\.pixel_decoder\.input_proj\.(\d)\.0\.(weight|bias)", r"pixels.inputs.\1.\2"),
    (r"classifier\.pixel_decoder\.input_proj\.(\d)\.1\.(weight|bias)", r"pixels.norms.\1.\2"),
    (r"classifier\.pixel_decoder\.transformer\.level_embed", "pixels.level"),
    (ENCODER + r"self_attn\.sampling_offsets\.(weight|bias)", r"pixels.layers.\1.attention.offsets.\2"),
    (ENCODER + r"self_attn\.attention_weights\.(weight|bias)", r"pixels.layers.\1.attention.weights.\2"),
    (ENCODER + r"self_attn\.value_proj\.(weight|bias)", r"pixels.layers.\1.attention.value.\2"),
    (ENCODER + r"self_attn\.output_proj\.(weight|bias)", r"pixels.layers.\1.attention.output.\2"),
    (ENCODER + r"norm1\.(weight|bias)", r"pixels.layers.\1.attention_norm.\2"),
    (ENCODER + r"linear1\.(weight|bias)", r"pixels.layers.\1.hidden.\2"),
    (ENCODER + r"linear2\.(weight|bias)", r"pixels.layers.\1.output.\2"),
    (ENCODER + r"norm2\.(weight|bias)", r"pixels.layers.\1.output_norm.\2"),
    (r"classifier\.pixel_decoder\.mask_features\.(weight|bias)", r"pixels.mask_features.\1"),
    (CROSS + r"multihead_attn\.in_key\.bias", None),
    (CROSS + r"multihead_attn\.in_(query|key|value)\.(weight|bias)", r"referent.layers.\1.attention.\2.\3"),
    (CROSS + r"multihead_attn\.out_proj\.(weight|bias)", r"referent.layers.\1.attention.output.\2"),
    (CROSS + r"norm\.(weight|bias)", r"referent.layers.\1.attention_norm.\2"),
    (SELF + r"self_attn\.in_(query|key)\.(weight|bias)", None),  # a single query attends only to itself
    (SELF + r"self_attn\.in_value\.(weight|bias)", r"referent.layers.\1.self_value.\2"),
    (SELF + r"self_attn\.out_proj\.(weight|bias)", r"referent.layers.\1.self_output.\2"),
    (SELF + r"norm\.(weight|bias)", r"referent.layers.\1.self_norm.\2"),
    (FEED_FORWARD + r"linear1\.(weight|bias)", r"referent.layers.\1.hidden.\2"),
    (FEED_FORWARD + r"linear2\.(weight|bias)", r"referent.layers.\1.output.\2"),
    (FEED_FORWARD + r"norm\.(weight|bias)", r"referent.layers.\1.output_norm.\2"),
    (PREDICTOR + r"decoder_norm\.(weight|bias)", r"referent.norm.\1"),
    (PREDICTOR + r"query_feat\.weight", "referent.query"),
    (PREDICTOR + r"query_embed\.weight", "referent.position"),
    (PREDICTOR + r"level_embed\.weight", "referent.level"),
    (PREDICTOR + r"mask_embed\.layers\.0\.(weight|bias)", r"referent.mask.0.\1"),
    (PREDICTOR + r"mask_embed\.layers\.1\.(weight|bias)", r"referent.mask.2.\1"),
    (PREDICTOR + r"mask_embed\.layers\.2\.(weight|bias)", r"referent.mask.4.\1"),
    # Without effect: a softmax over one query is 1 for any class scores; the projection is of a training loss.
    (PREDICTOR + r"class_embed\.(weight|bias)", None),
    (r"lang_proj\.(weight|bias)", None),
)


def rename_magnet(official: Mapping[str, Tensor]) -> tuple[Weights, list[str]]:
    """The weights by our names, and the names that MagNet does not have."""
    split: Weights = {}
    for name, tensor in official.items():
        joint = re.fullmatch(rf"({PREDICTOR}.+)in_proj_(weight|bias)", name)
        if joint is not None and tensor.ndim and tensor.shape[0] % 3 == 0:
            for part, third in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                split[f"{joint[1]}in_{part}.{joint[2]}"] = third
        else:
            split[name] = tensor
    ours, unknown = rename(split, RULES)
    for name in ("referent.query", "referent.position"):
        if name in ours and ours[name].ndim == 2 and ours[name].shape[0] == 1:
            ours[name] = ours[name][0]
    return ours, unknown


def original(name: str) -> str:
    """The published name of one of our weights; query, key and value of an attention are one published weight."""
    return re.sub(r"in_(?:query|key|value)\.", "in_proj_", published_name(name, RULES))


def infer_config(official: Mapping[str, Tensor], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of MagNet's config, from shapes; the number of the fusions' heads cannot be seen in them.

    The config reproduces the published code: its language fusion, and no presence head, since the published code does
    not use its class scores.
    """
    encoder = "classifier.pixel_decoder.transformer.encoder.layers.0."
    scores, width = official[f"{encoder}self_attn.attention_weights.weight"].shape
    return {
        "vision": swin_config(official, "image_model"),
        "text": bert_config(official, "language_model"),
        "fusion_heads": arguments.get("fusion_heads", [1, 1, 1, 1]),
        "language_fusion": "published",
        "width": width,
        "mask_width": first_of(4, official["classifier.pixel_decoder.mask_features.weight"]),
        "heads": max(1, scores // 16),  # four points on each of four levels
        "pixel_layers": count(official, ENCODER),
        "pixel_feed_forward": first_of(2, official[f"{encoder}linear1.weight"]),
        "query_layers": count(official, CROSS),
        "query_feed_forward": first_of(2, official["classifier.predictor.transformer_ffn_layers.0.linear1.weight"]),
        "presence": False,
        "alignment_weight": 0.0,
    }


def expected_names(official: Mapping[str, Tensor]) -> set[str]:
    """Our names of every weight of a MagNet with as many blocks and layers as the file has."""
    linear = ("weight", "bias")
    names = swin_names(official, "image_model") | bert_names(official, "language_model")
    names |= {"pixels.level", "referent.query", "referent.position", "referent.level"}
    attention = ("vision", "query", "query_norm", "value", "output", "output_norm", "fuse")
    for stage in range(4):
        place = f"fusion.alignments.{stage}"
        for at in (f"{place}.fusion", *(f"{place}.scales.{scale}.fusion" for scale in range(4))):
            names |= {f"{at}.key.weight", *(f"{at}.{part}.{of}" for part in attention for of in linear)}
        scale_parts = ("widen.weight", "norm.weight", "norm.bias", "narrow.weight", "quarter.weight")
        names |= {f"{place}.scales.{scale}.{part}" for scale in range(4) for part in scale_parts}
        names |= {f"{place}.{part}.{of}" for part in ("mix", "norm", "output") for of in linear}
        names |= {f"pixels.{part}.{stage}.{of}" for part in ("inputs", "norms") for of in linear}
    for stage in range(3):
        names |= {
            f"fusion.{gates}.{stage}.{of}.weight" for gates in ("gates", "word_gates") for of in ("hidden", "gate")
        }
        place = f"fusion.word_fusions.{stage}"
        names |= {f"{place}.{part}.weight" for part in ("key", "value", "output")}
        names |= {f"{place}.{part}.{of}" for part in ("words", "query", "fuse") for of in linear}
    parts = (*(f"attention.{part}" for part in ("offsets", "weights", "value", "output")), "attention_norm")
    parts = (*parts, "hidden", "output", "output_norm")
    for layer in range(count(official, ENCODER)):
        names |= {f"pixels.layers.{layer}.{part}.{of}" for part in parts for of in linear}
    parts = (*(f"attention.{part}" for part in ("query", "value", "output")), "attention_norm", "self_value")
    parts = (*parts, "self_output", "self_norm", "hidden", "output", "output_norm")
    for layer in range(count(official, CROSS)):
        names |= {f"referent.layers.{layer}.{part}.{of}" for part in parts for of in linear}
        names |= {f"referent.layers.{layer}.attention.key.weight"}
    names |= {f"{part}.{of}" for part in ("pixels.mask_features", "referent.norm") for of in linear}
    return names | {f"referent.mask.{number}.{of}" for number in (0, 2, 4) for of in linear}
