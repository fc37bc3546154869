"""LAVT against the published code with the same weights: every intermediate map, within its rounding noise."""

import json
import runpy
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from einops import rearrange
from safetensors.torch import load_file
from torch import Tensor, nn

from deixis.batch import Batch
from deixis.checkpoints.official.lavt import rename_lavt
from deixis.models.lavt import LAVT, LAVTConfig
from deixis.text.bert import BertConfig
from deixis.vision.swin import SwinConfig

COMMITTED = Path(__file__).parents[1] / "goldens"
SHARED = Path(__file__).parents[3] / "shared" / "goldens"
RECIPE = runpy.run_path(str(COMMITTED / "weights.py"))


@dataclass
class Watch:
    """Intermediate maps under their published names."""

    maps: dict[str, Tensor] = field(default_factory=dict)
    hooks: ExitStack = field(default_factory=ExitStack)

    def after(self, name: str, module: nn.Module) -> None:
        def keep(_: nn.Module, inputs: tuple[Tensor, ...], made: Tensor) -> None:
            self.maps[name] = made

        self.hooks.callback(module.register_forward_hook(keep).remove)

    def before(self, name: str, module: nn.Module) -> None:
        def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self.maps[name] = inputs[0]

        self.hooks.callback(module.register_forward_pre_hook(keep).remove)


def build(config: LAVTConfig, names: dict[str, dict[str, list[int]]]) -> LAVT:
    official = {
        prefix + name: RECIPE["weight"](name, tuple(shape))
        for part, prefix in (("model", ""), ("bert_model", "text_encoder."))
        for name, shape in names[part].items()
    }
    ours, unknown = rename_lavt(official)
    assert unknown == []
    model = LAVT(config).eval()
    missing = model.load_state_dict(ours, strict=False)
    assert missing.unexpected_keys == []
    assert all("num_batches_tracked" in name for name in missing.missing_keys)
    return model


@cache
def small(name: str) -> LAVT:
    facts = read(name)
    size = facts["config"]
    config = LAVTConfig(
        vision=SwinConfig(**{key: size[key] for key in ("embed_dim", "depths", "heads", "window")}),
        text=BertConfig(layers=size["bert_layers"], feed_forward=size["bert_feed_forward"]),
        fusion_heads=size["fusion_heads"],
    )
    return build(config, facts["state_dict"])


def full(tensors: dict[str, dict[str, list]]) -> LAVT:
    """The published size: all defaults."""
    floating = {
        part: {name: shape for name, (shape, dtype) in names.items() if dtype == "float32"}
        for part, names in tensors.items()
    }
    return build(LAVTConfig(), floating)


def read(name: str) -> dict:
    return json.loads((COMMITTED / f"{name}.json").read_text())


def run(model: LAVT, height: int, width: int, numbers: list[int], length: int = 20) -> tuple[Tensor, dict[str, Tensor]]:
    watch = Watch()
    watch.after("bert_last_hidden", model.text)
    watch.after("bert_embeddings", model.text.bert.embeddings)
    watch.after("patch_embed", model.fusion.vision.patches)
    for stage, blocks in enumerate(model.fusion.vision.stages):
        for number, block in enumerate(blocks):
            watch.after(f"stage{stage}_block{number}", block)
        watch.after(f"stage{stage}_blocks_out", blocks[-1])
        watch.before(f"stage{stage}_pwam", model.fusion.norms[stage])
        if stage < 3:
            watch.after(f"stage{stage}_next", model.fusion.vision.mergers[stage])
    for number, level in zip((4, 3, 2), model.decoder.levels, strict=True):
        watch.after(f"dec_relu2_{number}", level)
    watch.after("dec_conv1_1", model.decoder)
    words, mask = RECIPE["words"](numbers, length)
    with watch.hooks, torch.inference_mode():
        logits = model(Batch(images=RECIPE["image"](height, width)[:, None], token_ids=words, token_mask=mask)).logits
    return logits, watch.maps


def flips(golden: Tensor, logits: Tensor) -> int:
    """The number of pixels whose sign is not the published one."""
    answer = np.unpackbits(golden.numpy())[: logits.numel()].reshape(logits.shape).astype(bool)
    return int((answer != (logits.numpy() > 0)).sum())


@pytest.mark.parametrize("name", ["lavt_small_w7", "lavt_small_w12"])
def test_the_logits_are_the_published_ones(name: str) -> None:
    golden, facts = load_file(COMMITTED / f"{name}.safetensors"), read(name)
    logits, maps = run(small(name), *facts["image_size"], facts["words"])
    classes = rearrange(maps["dec_conv1_1"], "b y x classes -> b classes y x")
    noise = {key: tensor["tolerance"] for key, tensor in facts["tensors"].items()}
    assert (classes - golden["dec_conv1_1"]).abs().max() < noise["dec_conv1_1"]
    assert (logits[:, ::3, ::3] - difference(golden["logits"])).abs().max() < noise["logits"]
    assert flips(golden["argmax_mask"], logits) == 0


@pytest.mark.parametrize("name", ["lavt_small_w7", "lavt_small_w12", pytest.param("lavt_full", marks=pytest.mark.slow)])
def test_every_intermediate_map_is_the_published_one(name: str) -> None:
    if not (SHARED / f"{name}.json").exists():
        pytest.skip("the goldens with all maps are not beside this checkout")
    golden, facts = load_file(SHARED / f"{name}.safetensors"), json.loads((SHARED / f"{name}.json").read_text())
    model = full(facts["state_dict"]) if name == "lavt_full" else small(name)
    logits, maps = run(model, *(480, 480) if name == "lavt_full" else (224, 200), facts["inputs"]["token_ids"])
    checked = set()
    for key, tensor in facts["tensors"].items():
        if key in maps:
            check_map(key, maps[key], golden[key], tensor)
            checked.add(key)
    assert set(facts["tensors"]) - checked <= {"logits", "argmax_mask", "stage3_next"}
    _, _, rows, columns = facts["tensors"]["logits"]["step"]
    assert (logits[:, ::rows, ::columns] - difference(golden["logits"])).abs().max() < tolerance(
        facts["tensors"]["logits"]
    )
    assert flips(golden["argmax_mask"], logits) <= 3


def test_padding_to_another_length_changes_nothing() -> None:
    model, numbers = small("lavt_small_w7"), read("lavt_small_w7")["words"]
    twenty, ten = (run(model, 96, 64, numbers, length)[0] for length in (20, 10))
    assert (twenty - ten).abs().max() < 1e-5


def check_map(key: str, made: Tensor, stored: Tensor, tensor: dict) -> None:
    """Compares the stored part of a golden map, which is channels-first where a convolution made it."""
    if key.startswith(("patch_embed", "dec_")):
        made = rearrange(made, "b y x d -> b d y x")
    made = made.reshape(tensor["full_shape"])[tuple(slice(None, None, step) for step in tensor["step"])]
    deviation = (made - stored).abs().max().item()
    assert deviation < tolerance(tensor), f"{key} deviates by {deviation:.1e}"


def difference(classes: Tensor) -> Tensor:
    return classes[:, 1] - classes[:, 0]


def tolerance(tensor: dict) -> float:
    """Five times the noise of the published code's own float32, or 3e-4 of the map's spread."""
    return max(5 * tensor["max_abs_diff_fp32_vs_fp64"], 3e-4 * tensor["std"])
