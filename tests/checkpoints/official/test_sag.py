"""Files that SaG's published training code writes: wrapped, with aliases of shared blocks and unused parts."""

import json
import runpy
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from deixis.checkpoints.configs import from_dict
from deixis.checkpoints.official.reading import read_official
from deixis.checkpoints.official.sag import rename_sag
from deixis.errors import DeixisError, ModelError
from deixis.models.sag import SaG, SaGConfig

files = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("published_files.py"))))
GOLDENS = Path(__file__).parents[4] / "shared" / "goldens"
BLOCKS = "encoders.img_enc.set_pred_module.agg.agg_blocks"
CONFIG = {
    "vision": {"layers": 2, "width": 64, "heads": 1, "patch": 16, "grid": 30},
    "text": {"layers": 1, "width": 64, "heads": 1, "feed_forward": 128, "vocabulary": 20, "positions": 80},
    "width": 32,
    "gaussians": 2,
    "samples": 3,
    "iterations": 3,
    "heads": 2,
    "head_width": 8,
    "interaction_head_width": 4,
    "fusion_head_width": 12,
    "slots": "entity",
    "decoder_positions": "learned",
}


def write(path: Path, model: dict[str, Tensor], **rest: Any) -> Path:
    training = {"args": files.SAG_ARGUMENTS, "epoch": 49, "iou": 0.3476, "loss": torch.tensor(1.5)}
    return files.save(path, {"model": model}, **(training | rest))


@pytest.fixture(scope="module")
def model() -> dict[str, Tensor]:
    return files.sag()


def test_the_file_is_read_with_its_arguments_and_fills_the_system(model: dict[str, Tensor], tmp_path: Path) -> None:
    checkpoint = read_official(write(tmp_path / "sag.pth", model))
    assert checkpoint.system == "sag"
    assert checkpoint.config == CONFIG
    SaG(from_dict(SaGConfig, checkpoint.config)).load_state_dict(checkpoint.state_dict)


def test_wrapped_weights_and_those_without_the_old_buffer_are_the_same(model: dict, tmp_path: Path) -> None:
    expected = read_official(write(tmp_path / "a.pth", model))
    newer = {name: tensor for name, tensor in model.items() if not name.endswith("position_ids")}
    for rest in (newer, {f"module.{name}": tensor for name, tensor in model.items()}):
        found = read_official(write(tmp_path / "b.pth", rest))
        assert found.config == expected.config
        assert found.state_dict.keys() == expected.state_dict.keys()
        assert all(torch.equal(tensor, expected.state_dict[name]) for name, tensor in found.state_dict.items())


@pytest.mark.parametrize("score", [np.float64(0.3), np.float32(0.3), torch.tensor(0.3)], ids=["f64", "f32", "tensor"])
def test_a_score_beside_the_weights_may_be_numpys(model: dict, tmp_path: Path, score: Any) -> None:
    assert read_official(write(tmp_path / "a.pth", model, iou=score)).config == CONFIG


@pytest.mark.parametrize(("slots", "expected"), [("query", "query"), ("random", "random")])
def test_the_slot_type_is_seen_in_the_weights(tmp_path: Path, slots: str, expected: str) -> None:
    checkpoint = read_official(write(tmp_path / "a.pth", files.sag(slots=slots)))
    assert (checkpoint.config["slots"], checkpoint.config["gaussians"], checkpoint.config["samples"]) == (slots, 2, 3)
    SaG(from_dict(SaGConfig, checkpoint.config)).load_state_dict(checkpoint.state_dict)


def test_sinusoidal_positions_have_no_tables(tmp_path: Path) -> None:
    checkpoint = read_official(write(tmp_path / "a.pth", files.sag(positions="sinusoidal", iterations=1)))
    assert (checkpoint.config["decoder_positions"], checkpoint.config["iterations"]) == ("sinusoidal", 1)
    SaG(from_dict(SaGConfig, checkpoint.config)).load_state_dict(checkpoint.state_dict)


def test_iterations_with_weights_of_their_own_are_refused(model: dict, tmp_path: Path) -> None:
    name = f"{BLOCKS}.1.0.fn.to_q.weight"
    with pytest.raises(ModelError, match="iterations of this SaG have weights of their own"):
        read_official(write(tmp_path / "a.pth", model | {name: model[name] + 1}))


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        ("encoders.img_enc.img_backbone.blocks.1.attn.proj.bias", "vision.+attn.proj.bias|blocks.1.attn.proj.bias"),
        ("cma.ff.norm.weight", "lacks cma.ff.norm.weight"),
        ("decoder.pos_emb.row_embed.weight", "lacks decoder.pos_emb.row_embed.weight"),
        (f"{BLOCKS}.{{}}.2.norm.bias", f"lacks {BLOCKS}.0.2.norm.bias"),
    ],
)
def test_a_missing_weight_is_named_as_published(model: dict, tmp_path: Path, missing: str, named: str) -> None:
    gone = {missing.format(number) for number in range(3)}
    with pytest.raises(ModelError, match=named):
        read_official(write(tmp_path / "a.pth", {name: tensor for name, tensor in model.items() if name not in gone}))


def test_an_unknown_weight_is_named(model: dict, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has cma\.extra, which SaG does not have"):
        read_official(write(tmp_path / "a.pth", model | {"cma.extra": torch.ones(1)}))


@pytest.mark.parametrize(
    "change", [{"agg_cross_head": 0}, {"agg_cross_head": 3}, {"cascade_factor": "three"}, {"cma_heads": 4}]
)
def test_arguments_that_do_not_fit_the_weights_are_one_sentence(model: dict, tmp_path: Path, change: dict) -> None:
    told = Namespace(**(vars(files.SAG_ARGUMENTS) | change))
    with pytest.raises(DeixisError) as caught:
        read_official(write(tmp_path / "a.pth", model, args=told))
    assert "\n" not in str(caught.value)
    assert "expected" in str(caught.value)


@pytest.mark.skipif(not (GOLDENS / "sag_small.json").exists(), reason="the goldens are not beside this checkout")
def test_the_names_and_arguments_of_the_published_code_are_read(tmp_path: Path) -> None:
    facts = json.loads((GOLDENS / "sag_small.json").read_text())
    recipe = runpy.run_path(str(GOLDENS / "recipe.py"))
    weights = {name: torch.from_numpy(np.asarray(recipe["weight"](name, shape[0]))) for name, shape in _floats(facts)}
    last = f"{BLOCKS}.{facts['config']['agg_depth'] - 1}"
    for name in weights:
        if name.startswith(BLOCKS):
            weights[name] = weights[last + name.removeprefix(BLOCKS)[2:]]
    told = Namespace(**{name: value for name, value in facts["config"].items() if not isinstance(value, dict)})
    checkpoint = read_official(write(tmp_path / "sag.pth", weights, args=told))
    expected = {"gaussians": 2, "samples": 3, "iterations": 3, "heads": 4, "head_width": 32, "width": 64}
    expected |= {"interaction_head_width": 16, "fusion_head_width": 16}
    assert {name: checkpoint.config[name] for name in expected} == expected
    assert checkpoint.config["vision"] == {"layers": 2, "width": 192, "heads": 3, "patch": 16, "grid": 30}
    renamed, unknown = rename_sag(weights)
    assert unknown == []
    assert checkpoint.state_dict.keys() == renamed.keys()


def _floats(facts: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(name, entry) for name, entry in facts["state_dict"].items() if entry[1] == "float32"]
