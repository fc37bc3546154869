"""Tiny files in the layouts of LAVT's and MagNet's authors, with weights computed from names as in the goldens."""

import json
import runpy
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
