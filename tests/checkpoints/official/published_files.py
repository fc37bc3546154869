"""Tiny files in the layouts of LAVT's, MagNet's and SaG's authors, with weights computed from names."""

import json
import runpy
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Weights = dict[str, Tensor]

GOLDENS = Path(__file__).parents[2] / "goldens"
RECIPE = runpy.run_path(str(GOLDENS / "weights.py"))
VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "red", "blue", "left", "right", *"abcdefghij")
SMALLER = {768: 64, 30522: len(VOCABULARY)}  # BERT's width and vocabulary, to keep the files small
POOLER = {"pooler.dense.weight": torch.ones(64, 64), "pooler.dense.bias": torch.ones(64)}


def lavt() -> dict[str, Weights]:
    """Both parts, `model` and `bert_model`, with integer buffers and without BERT's pooler."""
    parts = {part: _made(names, part == "bert_model") for part, names in _names("lavt_small_w7").items()}
    parts["model"]["backbone.layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(49, 49, dtype=torch.long)
    parts["model"]["classifier.bn1_4.num_batches_tracked"] = torch.tensor(7)
    return parts


def magnet() -> dict[str, Weights]:
    """The one part, `model`, without BERT's pooler, as the published runs saved it."""
    model = _made(_names("magnet_small_w12"))
    model["image_model.layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(144, 144, dtype=torch.long)
    return {"model": model}


SAG_ARGUMENTS = Namespace(img_num_embeds=6, cascade_factor=3, agg_cross_head=2, agg_latent_head=2, cma_heads=2)
DISCOVERY = "encoders.img_enc.set_pred_module."


def sag(slots: str = "entity", positions: str = "learned", iterations: int = 3) -> Weights:
    """`model` of a SaG that the code of its authors writes: shared blocks under a name for each iteration, parts that
    it does not use, and the buffer of older versions of transformers.
    """
    shapes: dict[str, tuple[int, ...]] = {}

    def linear(name: str, outputs: int, inputs: int) -> None:
        shapes.update({f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)})

    def norm(name: str, width: int) -> None:
        shapes.update({f"{name}.weight": (width,), f"{name}.bias": (width,)})

    def attention(name: str, inner: int, *, has_context: bool) -> None:
        shapes.update({f"{name}.fn.to_{part}.weight": (inner, 32) for part in "qkv"})
        linear(f"{name}.fn.to_out.0", 32, inner)
        for part in ("norm", "norm_context")[: 1 + has_context]:
            norm(f"{name}.{part}", 32)

    def feed_forward(name: str) -> None:
        linear(f"{name}.fn.net.0", 128, 32)
        linear(f"{name}.fn.net.3", 32, 128)
        norm(f"{name}.norm", 32)

    vision, bert, image = "encoders.img_enc.img_backbone", "encoders.txt_enc.bert", "encoders.img_enc"
    shapes |= {f"{vision}.cls_token": (1, 1, 64), f"{vision}.pos_embed": (1, 1 + 30**2, 64)}
    shapes |= {f"{vision}.patch_embed.proj.weight": (64, 3, 16, 16), f"{vision}.patch_embed.proj.bias": (64,)}
    for block in range(2):
        for part, outputs, inputs in (("attn.qkv", 192, 64), ("attn.proj", 64, 64), ("mlp.fc1", 256, 64)):
            linear(f"{vision}.blocks.{block}.{part}", outputs, inputs)
        linear(f"{vision}.blocks.{block}.mlp.fc2", 64, 256)
        norm(f"{vision}.blocks.{block}.norm1", 64)
        norm(f"{vision}.blocks.{block}.norm2", 64)
    norm(f"{vision}.norm", 64)
    linear(f"{vision}.head", 10, 64)
    linear(f"{image}.spm_1x1", 32, 64)
    linear(f"{image}.residual_fc", 32, 64)
    linear(f"{DISCOVERY}fc", 64, 32)
    norm(f"{DISCOVERY}residual_norm", 32)
    linear(f"{DISCOVERY}agg.last_layer.1", 32, 32)
    if slots == "query":
        shapes[f"{DISCOVERY}agg.queries.params"] = (6, 32)
    else:
        count = 2 if slots == "entity" else 1
        shapes |= {f"{DISCOVERY}agg.queries.{part}": (1, count, 32) for part in ("slots_mu", "slots_log_sigma")}
    block = f"{DISCOVERY}agg.agg_blocks.0"
    attention(f"{block}.0", 16, has_context=True)
    feed_forward(f"{block}.2")
    attention(f"{block}.4.0.0", 8, has_context=False)
    feed_forward(f"{block}.4.0.2")
    for part, height in (
        ("word_embeddings", len(VOCABULARY)),
        ("position_embeddings", 80),
        ("token_type_embeddings", 2),
    ):
        shapes[f"{bert}.embeddings.{part}.weight"] = (height, 64)
    norm(f"{bert}.embeddings.LayerNorm", 64)
    layer = f"{bert}.encoder.layer.0"
    for part in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
        linear(f"{layer}.{part}", 64, 64)
    linear(f"{layer}.intermediate.dense", 128, 64)
    linear(f"{layer}.output.dense", 64, 128)
    norm(f"{layer}.attention.output.LayerNorm", 64)
    norm(f"{layer}.output.LayerNorm", 64)
    linear(f"{bert}.pooler.dense", 64, 64)
    linear("encoders.txt_enc.linear", 32, 64)
    attention("cma.attn", 24, has_context=True)
    feed_forward("cma.ff")
    if positions == "learned":
        shapes |= {f"decoder.pos_emb.{part}_embed.weight": (50, 16) for part in ("row", "col")}
    for number in (0, 2, 4):
        linear(f"decoder.mlp.{number}", 32, 32)
    linear("decoder.mlp.6", 65, 32)
    weights: Weights = {name: RECIPE["weight"](name, shape) for name, shape in shapes.items()}
    for number in range(1, iterations):
        other = f"{DISCOVERY}agg.agg_blocks.{number}"
        weights |= {name.replace(block, other): weights[name] for name in shapes if name.startswith(block)}
    return weights | {f"{bert}.embeddings.position_ids": torch.arange(80)[None]}


def save(path: Path, parts: dict[str, Any], **rest: Any) -> Path:
    """Write the file; `rest` is what training stores beside the weights."""
    torch.save(parts | rest, path)
    return path


def save_vocabulary(path: Path) -> Path:
    path.write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    return path


def _names(golden: str) -> dict[str, Any]:
    return json.loads((GOLDENS / f"{golden}.json").read_text())["state_dict"]


def _made(names: dict[str, list[int]], is_bert: bool = False) -> Weights:
    return {
        name: RECIPE["weight"](name, _shape(name, shape, is_bert))
        for name, shape in names.items()
        if "pooler." not in name
    }


def _shape(name: str, shape: list[int], is_bert: bool) -> tuple[int, ...]:
    of_words = is_bert or name.startswith(("language_model.", "lang_proj.")) or ".f_key." in name or ".f_value." in name
    return tuple(SMALLER.get(side, side) if of_words else side for side in shape)
