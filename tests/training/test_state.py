"""A run's state on disk, and randomness as a function of seed, step and rank."""

import os
import random
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from safetensors import SafetensorError

from deixis.errors import InputError, ModelError
from deixis.training import state as storing
from deixis.training.checkpointer import Checkpointer
from deixis.training.engine import Engine
from deixis.training.state import State, seed_step


def state(step: int) -> State:
    return State(
        step=step,
        objective={"system.weight": torch.full((2,), float(step))},
        optimiser={"state": {0: {"step": 3}}},
        average=None,
        scaler=None,
        best=0.5,
        best_by="mIoU",
    )


def test_a_state_is_loaded_as_it_was_saved(tmp_path: Path) -> None:
    state(7).save(tmp_path / "last/state.safetensors")
    back = State.load(tmp_path / "last/state.safetensors")
    assert (back.step, back.best, back.optimiser, back.average) == (7, 0.5, {"state": {0: {"step": 3}}}, None)
    assert back.best_by == "mIoU"
    assert torch.equal(back.objective["system.weight"], torch.full((2,), 7.0))


def test_containers_numbers_and_shared_tensors_are_loaded_as_they_were_saved(tmp_path: Path) -> None:
    """What optimisers store: keys that are numbers, tuples, every kind of number, and tensors in any layout."""
    shared = torch.arange(6.0).reshape(2, 3)
    optimiser = {
        "state": {0: {"step": torch.tensor(3.0), "empty": torch.empty(0)}, 1: {"momentum": shared.T}},
        "param_groups": [{"betas": (0.9, 0.999), "lr": 0.1 + 0.2, "params": [0, 1], "fused": None, "amsgrad": False}],
    }
    wide = {"one": shared, "two": shared, "half": torch.tensor([1.5], dtype=torch.bfloat16), "count": torch.tensor(2)}
    State(step=1, objective=wide, optimiser=optimiser, average={}, scaler=None, best=None, best_by="loss").save(
        tmp_path / "s"
    )
    back = State.load(tmp_path / "s")
    assert back.optimiser["param_groups"] == optimiser["param_groups"]
    assert {type(key) for key in back.optimiser["state"]} == {int}
    for name, tensor in wide.items():
        assert back.objective[name].dtype == tensor.dtype
        assert torch.equal(back.objective[name], tensor)
    assert torch.equal(back.optimiser["state"][1]["momentum"], shared.T)
    assert back.optimiser["state"][0]["empty"].shape == (0,)
    assert (back.average, back.scaler, back.best) == ({}, None, None)


def test_a_pickled_state_of_an_older_version_is_refused_and_not_read(tmp_path: Path) -> None:
    (tmp_path / "last").mkdir()
    (tmp_path / "last/state.pt").write_bytes(b"a pickle")
    engine = Engine.__new__(Engine)
    engine.accelerator = Mock()
    checkpointer = Checkpointer(engine, tmp_path, Mock(), "mIoU")
    with pytest.raises(InputError, match=r"last/state\.pt is the state of an older version .* another --out"):
        checkpointer.resume()


def test_a_kill_before_the_rename_leaves_the_old_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.safetensors"
    state(1).save(path)

    def killed(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        state(2).save(path)
    assert State.load(path).step == 1


@pytest.mark.parametrize("keep", [0, 10, 400])
def test_a_broken_state_is_one_sentence(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "state.safetensors"
    state(1).save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match="not the state of a run, or broken"):
        State.load(path)


def test_a_state_of_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.safetensors"
    with monkeypatch.context() as before:
        before.setattr("deixis.training.state._FORMAT", 0)
        state(1).save(path)
        assert State.load(path).step == 1
    with pytest.raises(InputError, match="written by another version of deixis; start the training again"):
        State.load(path)


def drawn(seed: int, step: int, rank: int) -> tuple[float, float, float]:
    seed_step(seed, step, rank)
    return random.random(), float(np.random.rand()), torch.rand(1).item()


def test_random_numbers_depend_on_seed_step_and_rank_alone() -> None:
    first = drawn(1, 2, 3)
    assert drawn(1, 2, 3) == first
    for other in (drawn(0, 2, 3), drawn(1, 3, 3), drawn(1, 2, 0)):
        assert all(one != two for one, two in zip(first, other, strict=True))


def test_torch_draws_from_sixty_four_bits_of_seed() -> None:
    seeds = []
    for step in range(8):
        seed_step(1, step, 0)
        seeds.append(torch.initial_seed())
    for bits in ({seed >> 32 for seed in seeds}, {seed % 2**32 for seed in seeds}):
        assert len(bits) == len(seeds)


def test_a_full_disk_is_reported_and_the_old_state_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.safetensors"
    path.write_bytes(b"old")
    monkeypatch.setattr(storing, "save_file", Mock(side_effect=SafetensorError("No space left on device")))
    with pytest.raises(ModelError, match=r"cannot be written \(No space left on device\); is the disk full"):
        state(1).save(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
