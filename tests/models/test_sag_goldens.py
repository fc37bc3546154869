"""SaG against the published code with the same weights: slots, attention, masks, losses, gradients."""

import json
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from deixis.batch import Batch
from deixis.checkpoints.official.sag import rename_sag
from deixis.models.sag import SaG, SaGConfig
from deixis.objectives.text_supervision import TextSupervision, image_contrast
from deixis.records import MaskRule
from deixis.text.bert import BertConfig
from deixis.vision.vit import ViTConfig

SHARED = Path(__file__).parents[3] / "shared" / "goldens"
pytestmark = pytest.mark.skipif(
    not (SHARED / "sag_small.json").exists(), reason="the goldens are not beside this checkout"
)
SMALL = SaGConfig(
    vision=ViTConfig(layers=2, width=192, heads=3, grid=30),
    text=BertConfig(layers=2, width=48, heads=4, feed_forward=96),
    width=64,
    gaussians=2,
    samples=3,
    iterations=3,
    head_width=32,
    interaction_head_width=16,
    fusion_head_width=16,
)


def build(config: SaGConfig, facts: dict[str, Any], **changes: Any) -> SaG:
    """The model with the weights and the slot noise of the recipe."""
    recipe = runpy.run_path(str(SHARED / "recipe.py"))
    shapes = {name: shape for name, (shape, dtype) in facts["state_dict"].items() if dtype == "float32"}
    queries = "encoders.img_enc.set_pred_module.agg.queries."
    if (kind := changes.get("slots", "entity")) != "entity":
        shapes = {name: shape for name, shape in shapes.items() if not name.startswith(queries)}
        added = {"params": [6, 64]} if kind == "query" else {"slots_mu": [1, 1, 64], "slots_log_sigma": [1, 1, 64]}
        shapes |= {queries + name: shape for name, shape in added.items()}
    if changes.get("decoder_positions") == "sinusoidal":
        shapes = {
            name: shape for name, shape in shapes.items() if "pos_emb.row" not in name and "pos_emb.col" not in name
        }
    official = {name: torch.from_numpy(np.asarray(recipe["weight"](name, shape))) for name, shape in shapes.items()}
    ours, unknown = rename_sag(official)
    assert unknown == []
    model = SaG(replace(config, **changes)).eval()
    model.load_state_dict(ours)
    count = config.gaussians * config.samples
    noise = torch.from_numpy(recipe["slot_noise"](1, 3, count, config.width))
    model.discovery.noise = lambda context: noise.to(context)  # type: ignore[method-assign]
    return model


def given(facts: dict[str, Any]) -> Batch:
    recipe = runpy.run_path(str(SHARED / "recipe.py"))
    size, lists = facts["config"]["crop_size"], facts["inputs"]["token_ids"]
    images = torch.from_numpy(recipe["image"](0, size, size, 3))
    token_ids = torch.zeros(3, max(map(len, lists)), dtype=torch.long)
    for row, ids in zip(token_ids, lists, strict=True):
        row[: len(ids)] = torch.tensor(ids)
    return Batch(images=images[:, None], token_ids=token_ids, token_mask=token_ids != 0)


def read(name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    return json.loads((SHARED / f"{name}.json").read_text()), load_file(SHARED / f"{name}.safetensors")


def compare(facts: dict[str, Any], golden: dict[str, Tensor], name: str, found: Tensor) -> None:
    entry = facts["tensors"][name]
    found = found.reshape(entry["full_shape"])[tuple(slice(None, None, step) for step in entry["step"])]
    limit = max(5 * entry["max_abs_diff_fp32_vs_fp64"], 3e-4 * entry["std"], 2e-6 if not entry["full_shape"] else 0)
    deviation = (found - golden[name].reshape(found.shape)).abs().max().item()
    assert deviation <= limit, f"{name} deviates by {deviation:.1e}"


@pytest.mark.parametrize("name", ["sag_small", pytest.param("sag_full", marks=pytest.mark.slow)])
def test_every_part_is_the_published_one(name: str) -> None:
    facts, golden = read(name)
    full = SaGConfig(vision=ViTConfig(grid=30))
    model = build(SMALL if name == "sag_small" else full, facts)
    batch = given(facts)
    with torch.no_grad():
        entities = model.encode_images(batch.images)
        output = model(batch, features=("query", "sentence", "reconstruction"), explain=True)
        matches = model.match(output.features["sentence"], entities.slots)
    found = {
        "bert_last_hidden": output.features["query"],
        "txt_emb": output.features["sentence"],
        "img_feat": entities.patches,
        "img_slots": entities.slots,
        "slot_map_last_depth": entities.maps,
        "cm_feat": matches.transpose(0, 1),  # published: images first
        "cm_weight": output.evidence["relevance"],
        "recon": output.features["reconstruction"],
    }
    for key, value in found.items():
        compare(facts, golden, key, value)
    scores = torch.einsum("bk,bkyx->byx", output.evidence["relevance"], output.evidence["entities"])
    for number, size in enumerate(facts["inputs"]["label_shapes"]):
        large = F.interpolate(scores[number][None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
        mask = MaskRule(kind="min-max", threshold=0.5)(large.numpy())
        stored = golden[f"evalmask_avg_{number}"]
        assert (np.unpackbits(stored.numpy())[: mask.size].reshape(mask.shape).astype(bool) != mask).sum() <= 3


@pytest.mark.parametrize(("positions", "prefix"), [("learned", ""), ("sinusoidal", "sine:")])
def test_losses_and_gradients_are_the_published_ones(positions: str, prefix: str) -> None:
    (facts, golden), (small, _) = read("sag_train"), read("sag_small")
    model = build(SMALL, small, decoder_positions=positions)
    terms = TextSupervision(model).eval()(given(small), 0)
    compare(facts, golden, f"{prefix}loss_cm", terms["contrastive"])
    compare(facts, golden, f"{prefix}loss_recon", terms["reconstruction"])
    total = terms["contrastive"] + terms["reconstruction"]
    compare(facts, golden, f"{prefix}loss_total", total)
    total.backward()
    gradients = {name: weight.grad for name, weight in model.named_parameters()}
    norm = torch.stack([gradient.norm() for gradient in gradients.values() if gradient is not None]).norm()
    assert norm.item() == pytest.approx(3.115399 if positions == "learned" else 3.011802, abs=2e-5)
    checked = 0
    for key, entry in facts["tensors"].items():
        if key.startswith(f"{prefix}grad:"):
            (ours,) = rename_sag({key.removeprefix(f"{prefix}grad:"): torch.zeros(1)})[0]
            found = gradients[ours].reshape(entry["full_shape"])[tuple(slice(None, None, n) for n in entry["step"])]
            limit = max(5 * entry["max_abs_diff_fp32_vs_fp64"], 1e-3 * entry["std"])
            assert (found - golden[key].reshape(found.shape)).abs().max() <= limit, key
            checked += 1
    assert checked == (17 if positions == "learned" else 4)


@pytest.mark.parametrize("kind", ["random", "query"])
@pytest.mark.parametrize("one_group", [False, True])
def test_other_slot_types_are_the_published_ones(kind: str, one_group: bool) -> None:
    (facts, golden), (small, _) = read("sag_train"), read("sag_small")
    model = build(SMALL, small, slots=kind, one_group=one_group)
    batch, prefix = given(small), f"{kind}_{'one_group' if one_group else 'groups_of_3'}:"
    with torch.no_grad():
        terms = TextSupervision(model).eval()(batch, 0)
        compare(facts, golden, f"{prefix}loss_cm", terms["contrastive"])
        compare(facts, golden, f"{prefix}loss_recon", terms["reconstruction"])
        compare(facts, golden, f"{prefix}img_slots", model.encode_images(batch.images).slots)


@pytest.mark.parametrize("iteration", [1, 5000])
def test_one_optimiser_step_is_the_published_one(iteration: int) -> None:
    (facts, golden), (small, _) = read("sag_train"), read("sag_small")
    model = build(SMALL, small)
    batch = given(small)
    model.double()
    precise = Batch(images=batch.images.double(), token_ids=batch.token_ids, token_mask=batch.token_mask)
    found = model(precise, features=(*TextSupervision.requires, "reconstruction")).features
    matches = model.match(found["sentence"], found["slots"])
    contrastive = image_contrast(found["sentence"].detach(), matches, torch.arange(3))
    loss = contrastive + F.mse_loss(found["reconstruction"], found["patches"].detach())
    (loss * iteration / 5000).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    vision = [weight for name, weight in model.named_parameters() if name.startswith("vision.")]
    rest = [weight for name, weight in model.named_parameters() if not name.startswith("vision.")]
    torch.optim.AdamW([{"params": vision, "lr": 1e-6}, {"params": rest, "lr": 1e-5}], weight_decay=1e-4).step()
    for key, entry in facts["tensors"].items():
        if key.startswith(f"adamw_delta_it{iteration}:"):
            (ours,) = rename_sag({key.partition(":")[2]: torch.zeros(1)})[0]
            change = dict(model.named_parameters())[ours].detach() - before[ours]
            stored = change.reshape(entry["full_shape"])[tuple(slice(None, None, n) for n in entry["step"])]
            assert (stored - golden[key]).abs().max() <= 1e-9, key
