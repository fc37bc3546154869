"""MagNet against the published code with the same weights, within its rounding noise."""

import json
import re
import runpy
from collections.abc import Callable
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from deixis.batch import Batch
from deixis.checkpoints.configs import from_dict
from deixis.checkpoints.official.magnet import expected_names, infer_config, rename_magnet
from deixis.models.magnet import MagNet, MagNetConfig

COMMITTED = Path(__file__).parents[1] / "goldens"
SHARED = Path(__file__).parents[3] / "shared" / "goldens"
# Maps that no module of ours returns alone, the published mask in another form, and class scores of one query.
BETWEEN = (
    r"bert_embeddings|lang\d_(bert|gate)|lang3_.+|stage\d_blocks_out|patch_embed|attn_blocked_share_\d+"
    r"|semantic|pred_logits|mask_gt_half"
)


def test_the_logits_are_the_published_ones() -> None:
    recipe = runpy.run_path(str(COMMITTED / "weights.py"))
    facts = json.loads((COMMITTED / "magnet_small_w12.json").read_text())
    golden = load_file(COMMITTED / "magnet_small_w12.safetensors")
    official = {name: recipe["weight"](name, tuple(shape)) for name, shape in facts["state_dict"].items()}
    weights, unknown = rename_magnet(official)
    assert unknown == []
    assert expected_names(official) == weights.keys()
    config, made = infer_config(official, {"fusion_heads": facts["config"]["fusion_heads"]}), facts["config"]
    assert config["vision"] == {field: made[field] for field in ("embed_dim", "depths", "heads", "window")}
    config["language_heads"] = made["language_heads"]
    model = MagNet(from_dict(MagNetConfig, config)).eval()
    model.load_state_dict(weights)
    words, mask = recipe["words"](facts["words"], 10)  # the network pads to 20
    with torch.inference_mode():
        images = recipe["image"](*facts["image_size"])[:, None]
        logits = model(Batch(images=images, token_ids=words, token_mask=mask)).logits
    assert (logits[:, ::3, ::3] - golden["logits"]).abs().max() < facts["tensors"]["logits"]["tolerance"]
    answer = np.unpackbits(golden["mask"].numpy())[: logits.numel()].astype(bool)
    assert ((logits.flatten().numpy() > 0) != answer).sum() <= 3


@pytest.mark.parametrize(
    "name", ["magnet_small_w7", "magnet_small_w12", pytest.param("magnet_full", marks=pytest.mark.slow)]
)
def test_every_intermediate_map_is_the_published_one(name: str) -> None:
    if not (SHARED / f"{name}.json").exists():
        pytest.skip("the goldens are not beside this checkout")
    recipe = runpy.run_path(str(SHARED / "recipe.py"))
    facts, golden = json.loads((SHARED / f"{name}.json").read_text()), load_file(SHARED / f"{name}.safetensors")
    salt = facts["inputs"]["salt_of_names_starting_with_classifier_predictor"]
    official = {
        key: torch.from_numpy(recipe["weight"](key, shape, salt if key.startswith("classifier.predictor.") else ""))
        for key, (shape, dtype) in facts["state_dict"].items()
        if dtype == "float32"
    }
    weights, unknown = rename_magnet(official)
    assert unknown == []
    assert expected_names(official) == weights.keys()
    config, made = infer_config(official, {}), facts["config"]
    config["fusion_heads"] = made.get("mha", [1, 1, 1, 1])
    config["language_heads"] = made.get("bert_num_heads_fusion", [1, 1, 1, 1])[:3]
    model = MagNet(from_dict(MagNetConfig, config)).eval()
    model.load_state_dict(weights)
    words, mask = map(torch.from_numpy, recipe["tokens"](facts["inputs"]["token_ids"], 10))  # the network pads to 20
    size = (480, 480) if name == "magnet_full" else (224, 200)
    images = torch.from_numpy(recipe["image"](0, *size))[:, None]
    maps = {}

    def watch(key: str, module: torch.nn.Module, pick: Callable[[Any], Tensor] = lambda made: made) -> None:
        def keep(_: torch.nn.Module, inputs: tuple, made: object) -> None:
            maps[key] = pick(made)

        module.register_forward_hook(keep)

    for stage, alignment in enumerate(model.fusion.alignments):
        watch(f"stage{stage}_mixer", alignment, itemgetter(0))
        watch(f"stage{stage}_pwam", alignment, itemgetter(1))
        for number, scale in enumerate(alignment.scales):
            watch(f"stage{stage}_pyr{number}_pwam", scale)
        if stage < 3:
            watch(f"stage{stage}_next", model.fusion.vision.mergers[stage])
            watch(f"lang{stage}_pwam", model.fusion.word_fusions[stage])
    for number, layer in enumerate(model.pixels.layers):
        watch(f"pixdec_msda{number}", layer.attention)
        watch(f"pixdec_enc{number}", layer)
    for number, layer in enumerate(model.referent.layers):
        watch(f"dec_cross{number}", layer.attention_norm)
        watch(f"query_layer{number}", layer)
    watch("mask_features", model.pixels, lambda made: made[1].permute(0, 3, 1, 2))
    watch("pred_masks", model.referent, lambda decoded: decoded.masks[:, -1:])
    with torch.inference_mode():
        maps["mask_logits_fullres"] = model(Batch(images=images, token_ids=words, token_mask=mask.bool())).logits
    for key in maps.keys() & facts["tensors"].keys():
        tensor = facts["tensors"][key]
        stored = maps[key].reshape(tensor["full_shape"])[tuple(slice(None, None, step) for step in tensor["step"])]
        deviation = (stored - golden[key]).abs().max().item()
        assert deviation < max(5 * tensor["max_abs_diff_fp32_vs_fp64"], 3e-4 * tensor["std"]), f"{key}: {deviation}"
    left_out = {key for key in facts["tensors"] if key not in maps}
    assert all(re.fullmatch(BETWEEN, key) for key in left_out), left_out
    logits = maps["mask_logits_fullres"].flatten().numpy()
    answer = np.unpackbits(golden["mask_gt_half"].numpy())[: logits.size].astype(bool)
    assert ((logits > 0) != answer).sum() <= 3
