"""Pre-training: classes stand where the things stand, and the file it writes fits the systems' encoder."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Literal

import pytest
import torch
from safetensors.torch import load_file

from deixis.errors import DeixisError
from deixis.recipes import scene_parsing as parsing
from deixis.recipes.scene_parsing import ATTRIBUTES, Parsed, Pretraining, pretrain
from deixis.toyland.export.packing import pack
from deixis.toyland.packed import BACKGROUND, PackedToyland
from deixis.toyland.world import Toyland
from deixis.training.state import State
from deixis.vision.swin import Swin, SwinConfig

VISION = SwinConfig(embed_dim=8, depths=(1, 1, 1, 1), heads=(1, 1, 2, 2), window=4, drop_path=0.0, coordinates=True)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed") / "train"
    pack(folder, [Toyland(num_scenes=3, size=64, sentences_per_object=1)])
    return folder


def test_a_patch_has_the_classes_of_the_thing_seen_at_its_middle(packed: Path) -> None:
    scenes = PackedToyland(packed)
    maps = Parsed(scenes, side=64).classes(0)
    things, owner = scenes.things(0), scenes.instances(0)
    for y in range(16):
        for x in range(16):
            place = int(owner[4 * y + 2, 4 * x + 2])
            for name, values in ATTRIBUTES.items():
                expected = 0 if place == BACKGROUND else 1 + values.index(things[place][name])
                assert maps[name][y, x] == expected


def test_no_picture_is_mirrored(packed: Path) -> None:
    data = Parsed(PackedToyland(packed), side=64)
    plain = data.preprocess.image(data.scenes.pixels(1))
    for seed in range(12):
        torch.manual_seed(seed)
        image, maps = data[1]
        assert torch.equal(image, plain)
        assert torch.equal(maps["kind"], data.classes(1)["kind"])


def test_what_pre_training_writes_fits_the_encoder_of_a_system(packed: Path, tmp_path: Path) -> None:
    told: list[int] = []
    settings = Pretraining(vision=VISION, steps=3, batch_size=2, side=32)
    file = pretrain(settings, packed, tmp_path / "out", lambda step, numbers: told.append(step))
    weights = {name.removeprefix("vision."): tensor for name, tensor in load_file(file).items()}
    Swin(VISION).load_state_dict(weights, strict=True)
    assert told == [3]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["pretraining.json", "vision.safetensors"]
    assert json.loads((tmp_path / "out" / "pretraining.json").read_text())["steps"] == 3


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_killed_pre_training_ends_as_if_it_had_not_been(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: Literal["fp32", "bf16"]
) -> None:
    monkeypatch.setattr(parsing, "SAVE_EVERY", 2)
    vision = replace(VISION, drop_path=0.3)
    settings = Pretraining(vision=vision, steps=5, batch_size=2, side=32, precision=precision)
    whole = load_file(pretrain(settings, packed, tmp_path / "whole", lambda step, numbers: None))
    save = State.save

    def save_and_die(state: State, path: Path) -> None:
        save(state, path)
        if state.step == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(State, "save", save_and_die)
        with pytest.raises(KeyboardInterrupt):
            pretrain(settings, packed, tmp_path / "killed", lambda step, numbers: None)
    elsewhere = Path(copytree(packed, tmp_path / "elsewhere"))
    for other, scenes in ((replace(settings, seed=1), packed), (settings, elsewhere)):
        with pytest.raises(
            DeixisError, match="unfinished work of other settings or scenes; give those, another folder"
        ):
            pretrain(other, scenes, tmp_path / "killed", lambda step, numbers: None)
    told: list[int] = []
    resumed = load_file(pretrain(settings, packed, tmp_path / "killed", lambda step, numbers: told.append(step)))
    assert told == [5]
    assert not (tmp_path / "killed" / "state.pt").exists()
    assert all(torch.equal(resumed[name], weight) for name, weight in whole.items())


def test_the_script_draws_the_scenes_that_are_missing(tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "examples" / "pretrain_vision.py"
    command = [sys.executable, str(script), str(tmp_path / "packed" / "train"), str(tmp_path / "out")]
    options = ["--num-scenes", "4", "--steps", "1", "--batch-size", "2", "--side", "64"]
    run = subprocess.run([*command, *options], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "step 1" in run.stdout
    assert PackedToyland(tmp_path / "packed" / "train").num_scenes == 4
    assert (tmp_path / "out" / "vision.safetensors").exists()
    run = subprocess.run(
        [*command[:2], str(tmp_path / "nothing"), str(tmp_path / "out")], capture_output=True, text=True
    )
    assert run.returncode == 2
    assert "no packed scenes" in run.stderr
