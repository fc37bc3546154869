"""Rename the published weights of SaG to ours; blocks that the iterations share have one name for each of them."""

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...errors import ModelError
from .renaming import Rules, Weights, bert_config, bert_names, bert_rules, count, first_of, published_name, rename

IMAGE = r"encoders\.img_enc\."
VISION = IMAGE + r"img_backbone\."
DISCOVERY = IMAGE + r"set_pred_module\.agg\."
BLOCK = DISCOVERY + r"agg_blocks\.\d+\."


def _attention(published: str, ours: str) -> Rules:
    return (
        (rf"{published}fn\.to_q\.weight", f"{ours}.attention.query.weight"),
        (rf"{published}fn\.to_k\.weight", f"{ours}.attention.key.weight"),
        (rf"{published}fn\.to_v\.weight", f"{ours}.attention.value.weight"),
        (rf"{published}fn\.to_out\.0\.(weight|bias)", rf"{ours}.attention.output.\1"),
        (rf"{published}norm\.(weight|bias)", rf"{ours}.norm.\1"),
        (rf"{published}norm_context\.(weight|bias)", rf"{ours}.context_norm.\1"),
    )


def _feed_forward(published: str, ours: str) -> Rules:
    return (
        (rf"{published}fn\.net\.0\.(weight|bias)", rf"{ours}.feed_forward.hidden.\1"),
        (rf"{published}fn\.net\.3\.(weight|bias)", rf"{ours}.feed_forward.output.\1"),
        (rf"{published}norm\.(weight|bias)", rf"{ours}.feed_forward.norm.\1"),
    )


RULES: Rules = (
    (VISION + r"head\..+", None),
    (VISION + r"(.+)", r"vision.\1"),
    (IMAGE + r"spm_1x1\.(weight|bias)", r"patches.\1"),
    (IMAGE + r"set_pred_module\.residual_norm\.(weight|bias)", r"discovery.norm.\1"),
    (IMAGE + r"(set_pred_module\.fc|residual_fc)\.(weight|bias)", None),  # not used by the published code
    (DISCOVERY + r"queries\.(slots_mu|slots_log_sigma|params)", r"discovery.start.\1"),
    *_attention(BLOCK + r"0\.", "discovery.aggregation"),
    *_feed_forward(BLOCK + r"2\.", "discovery.aggregation"),
    *_attention(BLOCK + r"4\.0\.0\.", "discovery.interaction"),
    *_feed_forward(BLOCK + r"4\.0\.2\.", "discovery.interaction"),
    (DISCOVERY + r"last_layer\.1\.(weight|bias)", r"discovery.output.\1"),
    (r"encoders\.txt_enc\.linear\.(weight|bias)", r"sentence.\1"),
    *bert_rules(r"encoders\.txt_enc\.bert"),
    *_attention(r"cma\.attn\.", "fusion"),
    *_feed_forward(r"cma\.ff\.", "fusion"),
    (r"decoder\.pos_emb\.row_embed\.weight", "decoder.rows"),
    (r"decoder\.pos_emb\.col_embed\.weight", "decoder.columns"),
    (r"decoder\.mlp\.(\d)\.(weight|bias)", r"decoder.mlp.\1.\2"),
)


SHARED = re.compile(rf"({DISCOVERY})agg_blocks\.(\d+)\.(.+)")
VIT_BLOCK = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
PLACE = "encoders.img_enc."
# The names in the file's training arguments of what shapes do not tell, with the published values.
ARGUMENTS = {
    "heads": ("agg_cross_head", 4),
    "interaction_heads": ("agg_latent_head", 4),
    "fusion_heads": ("cma_heads", 4),
    "samples": ("cascade_factor", 3),
    "slots": ("img_num_embeds", 36),
}


def rename_sag(official: Mapping[str, Tensor]) -> tuple[Weights, list[str]]:
    """The weights by our names, and the names that SaG does not have. Of a shared block the last name counts."""
    return rename(official, RULES, convolutions=".*")


def rename_checked(official: Mapping[str, Tensor]) -> tuple[Weights, list[str]]:
    """As `rename_sag`. Raises ModelError where the iterations have weights of their own instead of shared ones."""
    first: dict[str, Tensor] = {}
    for name, tensor in official.items():
        if match := SHARED.fullmatch(name):
            other = first.setdefault(match[1] + match[3], tensor)
            if other is not tensor and not torch.equal(other, tensor):
                raise ModelError(
                    f"The iterations of this SaG have weights of their own ({name} is not that of another block), and "
                    "deixis reads those that share them; give a file that was trained with shared weights."
                )
    return rename_sag(official)


def original(name: str) -> str:
    """The published name of one of our weights; of a shared block the first one."""
    return published_name(name, RULES).replace(r"\d+", "0")


def infer_config(official: Mapping[str, Tensor], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of SaG's config: from shapes, and numbers of heads and samples from the training's arguments.

    Raises ValueError where the two contradict each other.
    """
    told = {ours: _positive(arguments, *named) for ours, named in ARGUMENTS.items()}
    query = official[f"{PLACE}set_pred_module.agg.agg_blocks.0.0.fn.to_q.weight"]
    latent = official[f"{PLACE}set_pred_module.agg.agg_blocks.0.4.0.0.fn.to_q.weight"]
    slots, gaussians = _slots(official, told["slots"], told["samples"])
    if told["interaction_heads"] != told["heads"] or told["fusion_heads"] != told["heads"]:
        raise ValueError("expected as many heads of interaction and fusion as of aggregation")
    return {
        "vision": _vit_config(official),
        "text": bert_config(official, "encoders.txt_enc.bert"),
        "width": query.shape[1],
        "gaussians": gaussians,
        "samples": told["samples"],
        "iterations": count(official, rf"{DISCOVERY}agg_blocks\.(\d+)\.0\.fn\.to_q"),
        "heads": told["heads"],
        "head_width": _divided(first_of(2, query), told["heads"]),
        "interaction_head_width": _divided(first_of(2, latent), told["heads"]),
        "fusion_head_width": _divided(first_of(2, official["cma.attn.fn.to_q.weight"]), told["heads"]),
        "slots": slots,
        "decoder_positions": "learned" if "decoder.pos_emb.row_embed.weight" in official else "sinusoidal",
    }


def expected_names(official: Mapping[str, Tensor]) -> set[str]:
    """Our names of every weight of a SaG with as many blocks and layers as the file has."""
    linear = ("weight", "bias")
    names = bert_names(official, "encoders.txt_enc.bert")
    names |= {"vision.cls_token", "vision.pos_embed"}
    parts = ["vision.patch_embed.proj", "vision.norm", "patches", "sentence", "discovery.norm", "discovery.output"]
    parts += [f"vision.blocks.{block}.{part}" for block in range(_vit_layers(official)) for part in VIT_BLOCK]
    for layer in ("discovery.aggregation", "discovery.interaction", "fusion"):
        names |= {f"{layer}.attention.{part}.weight" for part in ("query", "key", "value")}
        parts += [f"{layer}.{part}" for part in ("norm", "attention.output")]
        parts += [f"{layer}.feed_forward.{part}" for part in ("norm", "hidden", "output")]
    parts += ["discovery.aggregation.context_norm", "fusion.context_norm"]
    parts += [f"decoder.mlp.{number}" for number in (0, 2, 4, 6)]
    names |= {f"{part}.{of}" for part in parts for of in linear}
    queries = f"{PLACE}set_pred_module.agg.queries."
    start = {"params"} if f"{queries}params" in official else {"slots_mu", "slots_log_sigma"}
    names |= {f"discovery.start.{part}" for part in start}
    # Sinusoidal positions have no weights; one table without the other is broken.
    has_tables = any(name.startswith("decoder.pos_emb.") for name in official)
    return names | ({"decoder.rows", "decoder.columns"} if has_tables else set())


def _vit_config(official: Mapping[str, Tensor]) -> dict[str, int]:
    place = f"{PLACE}img_backbone."
    patches = official[f"{place}patch_embed.proj.weight"]
    width, positions = first_of(4, patches), official[f"{place}pos_embed"].shape[1] - 1
    if math.isqrt(max(positions, 0)) ** 2 != positions:
        raise ValueError(f"got {positions} positions, expected a square number")
    return {
        "layers": _vit_layers(official),
        "width": width,
        "heads": max(1, width // 64),  # as in every published ViT
        "patch": patches.shape[-1],
        "grid": math.isqrt(positions),
    }


def _vit_layers(official: Mapping[str, Tensor]) -> int:
    return count(official, VISION + r"blocks\.(\d+)\.")


def _slots(official: Mapping[str, Tensor], slots: int, samples: int) -> tuple[str, int]:
    """What the slots start from, and the number of Gaussians, which times the samples is the number of slots."""
    place = f"{PLACE}set_pred_module.agg.queries."
    if f"{place}params" in official:
        return "query", _divided(first_of(2, official[f"{place}params"]), samples)
    gaussians = official[f"{place}slots_mu"].shape[1]
    return ("random", _divided(slots, samples)) if gaussians == 1 else ("entity", gaussians)


def _positive(arguments: Mapping[str, Any], name: str, published: int) -> int:
    value = arguments.get(name, published)
    if not isinstance(value, int) or not 1 <= value <= 10_000:
        raise ValueError(f"{name} is {value!r}, expected a positive whole number")
    return value


def _divided(number: int, by: int) -> int:
    if number % by:
        raise ValueError(f"got {number}, expected a multiple of {by}")
    return number // by
