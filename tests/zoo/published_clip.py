"""Tiny random CLIP and GroupViT in the files that transformers publishes, and a vocabulary in CLIP's layout."""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import pre_tokenizers
from transformers import CLIPConfig, CLIPModel, GroupViTConfig, GroupViTModel

START, END = "<|startoftext|>", "<|endoftext|>"
MERGES = ("t h", "th e</w>", "r e", "re d</w>", "c u", "cu p</w>", "o f</w>", "p h", "ph o", "t o</w>", "pho to</w>")


def write_vocabulary(folder: Path) -> int:
    """CLIP's layout: bytes, bytes that end words, merged pairs, start and end. Returns the number of tokens."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *(pair.replace(" ", "") for pair in MERGES)]
    tokens += [START, END]
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES]) + "\n", encoding="utf-8")
    return len(tokens)


def text_sizes(vocabulary: int) -> dict[str, Any]:
    return {
        "num_hidden_layers": 2,
        "hidden_size": 16,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "vocab_size": vocabulary,
        "max_position_embeddings": 77,
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
        "pad_token_id": vocabulary - 1,
    }


def vision_sizes() -> dict[str, Any]:
    return {
        "image_size": 32,
        "patch_size": 8,
        "hidden_size": 16,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }


def clip(vocabulary: int) -> Any:
    torch.manual_seed(3)
    vision = {**vision_sizes(), "num_hidden_layers": 3}
    model = CLIPModel(CLIPConfig(vision_config=vision, text_config=text_sizes(vocabulary), projection_dim=12))
    return spread(model)


def groupvit(vocabulary: int) -> Any:
    torch.manual_seed(3)
    groups = {"depths": [1, 1, 1], "num_group_tokens": [6, 3, 0], "num_output_groups": [6, 3, 0]}
    sizes = GroupViTConfig(
        vision_config={**vision_sizes(), **groups, "num_hidden_layers": 3},
        text_config=text_sizes(vocabulary),
        projection_dim=12,
        projection_intermediate_dim=20,
    )
    model = spread(GroupViTModel(sizes))
    with torch.no_grad():  # sharper assignments, so that an image has more than one segment
        for name, weight in model.named_parameters():
            weight *= 20 if "assign.q_proj.weight" in name else 1
            weight += torch.randn_like(weight) if "group_token" in name or "position_embeddings" in name else 0
    return model


def spread(model: Any) -> Any:
    """Larger random weights than fresh ones, so that images and sentences differ."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim:
                weight += 0.15 * torch.randn_like(weight)
    return model.eval()


def write_clip(folder: Path) -> Any:
    """As repositories of today: `model.safetensors`."""
    folder.mkdir(parents=True, exist_ok=True)
    model = clip(write_vocabulary(folder))
    model.save_pretrained(folder)
    return model


def write_groupvit(folder: Path) -> Any:
    """As older repositories: `pytorch_model.bin`, with the numbers of the positions among the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    model = groupvit(write_vocabulary(folder))
    model.config.save_pretrained(folder)
    weights = model.state_dict() | {"text_model.embeddings.position_ids": torch.arange(77)[None]}
    torch.save(weights, folder / "pytorch_model.bin")
    return model
