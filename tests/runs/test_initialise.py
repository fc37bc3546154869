"""Starting from other weights: what is taken, under which names, and what does not fit."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from deixis.errors import DeixisError
from deixis.recipes.catalogue import RECIPES
from deixis.runs.initialise import StartFrom, start


def system() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleDict({"fusion": nn.ModuleDict({"vision": nn.Linear(2, 3)}), "head": nn.Linear(3, 1)})


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    tensors = {"vision.weight": torch.ones(3, 2).half(), "vision.bias": torch.ones(3), "other": torch.ones(1)}
    save_file(tensors, tmp_path / "model.safetensors")
    return tmp_path


def test_what_is_taken_stands_under_its_new_name_and_the_rest_stays(origin: Path) -> None:
    filled, fresh = system(), system()
    start(filled, StartFrom(checkpoint=str(origin), take="vision.", put="fusion.vision."))
    weights, untouched = filled.state_dict(), fresh.state_dict()
    assert (weights["fusion.vision.weight"] == 1).all()
    assert (weights["fusion.vision.bias"] == 1).all()
    assert torch.equal(weights["head.weight"], untouched["head.weight"])


def test_another_checkpoints_encoders_stand_in_for_those_of_the_first(tmp_path: Path) -> None:
    first = {name: torch.full_like(tensor, 1.0) for name, tensor in system().state_dict().items()}
    second = {name: torch.full_like(tensor, 2.0) for name, tensor in system().state_dict().items()}
    save_file(first, tmp_path / "first.safetensors")
    save_file(second | {"vote.weight": torch.ones(1)}, tmp_path / "second.safetensors")
    filled = system()
    start(
        filled,
        StartFrom(checkpoint=str(tmp_path / "first.safetensors"), encoders=str(tmp_path / "second.safetensors")),
    )
    means = {name: tensor.mean().item() for name, tensor in filled.state_dict().items()}
    assert means == {"fusion.vision.weight": 2, "fusion.vision.bias": 2, "head.weight": 1, "head.bias": 1}


def test_nothing_to_start_from_changes_nothing() -> None:
    filled = system()
    start(filled, StartFrom())
    assert all(map(torch.equal, filled.state_dict().values(), system().state_dict().values()))


def test_encoders_that_a_recipe_needs_are_asked_for_one_by_one(origin: Path) -> None:
    needed = StartFrom(needed=True)
    with pytest.raises(
        DeixisError, match=r"add --start-from\.swin FILE and --start-from\.bert FILE, or --start-from\.n"
    ):
        start(system(), needed)
    with pytest.raises(DeixisError, match=r"not all given; add --start-from\.bert FILE, or"):
        start(system(), replace(needed, swin="swin.pth"))
    start(system(), replace(needed, checkpoint=str(origin), take="vision.", put="fusion.vision."))
    for system_name in ("lavt", "magnet", "vega"):
        for data in ("refcoco", "refcoco_plus", "gref_umd", "gref_google"):
            assert RECIPES[f"{system_name}_{data}"]().start_from == needed


def test_missing_weights_that_a_command_makes_name_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for recipe, made in (
        ("vega_toyland", "deixis train late-fusion-toyland"),
        ("late_fusion_toyland", "python examples/pretrain"),
    ):
        with pytest.raises(DeixisError, match=f"make it first by `{made}"):
            start(system(), RECIPES[recipe]().start_from)


def test_what_does_not_fit_is_named(origin: Path, tmp_path: Path) -> None:
    wrong = {
        "There is no model": StartFrom(checkpoint=str(origin / "absent")),
        r"no weights that begin with '' and match \('text.\*', 'fusion.vision.\*'\)": StartFrom(encoders=str(origin)),
        "no weights that begin with 'visoin.'": StartFrom(checkpoint=str(origin), take="visoin."),
        "'other', which the system lacks": StartFrom(checkpoint=str(origin), take="other", put="other"),
        r"'head.weight' of shape \[3, 2\], but the system wants \[1, 3\]": StartFrom(
            checkpoint=str(origin), take="vision.w", put="head.w"
        ),
    }
    for sentence, origin_of in wrong.items():
        with pytest.raises(DeixisError, match=sentence):
            start(system(), origin_of)
    broken = {"vision.weight": torch.ones(3, 2), "vision.bias": torch.full((3,), float("nan"))}
    save_file(broken, tmp_path / "nan.safetensors")
    with pytest.raises(
        DeixisError, match=r"nan\.safetensors has a weight 'fusion\.vision\.bias' with values that are not"
    ):
        start(system(), StartFrom(checkpoint=str(tmp_path / "nan.safetensors"), take="vision.", put="fusion.vision."))
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    with pytest.raises(DeixisError, match="is not a safetensors file"):
        start(system(), StartFrom(checkpoint=str(tmp_path / "broken.safetensors")))
