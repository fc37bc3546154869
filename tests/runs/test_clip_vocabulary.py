"""Fine-tuning GroupViT and MaskCLIP from files in the published format: vocabulary, weights, and one step."""

import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import deixis
from deixis import hub
from deixis.checkpoints import native
from deixis.checkpoints.configs import from_dict
from deixis.errors import InputError
from deixis.recipes.catalogue import RECIPES
from deixis.runs.data import ToylandData
from deixis.runs.execute import execute
from deixis.runs.run import PUBLISHED, Run
from deixis.zoo.hub_models import HUB_MODELS
from deixis.zoo.loading import find
from deixis.zoo.systems import SYSTEMS

published = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "zoo" / "published_clip.py")))
WRITERS: dict[str, Any] = {"maskclip": published.write_clip, "groupvit": published.write_groupvit}


@pytest.fixture(params=sorted(WRITERS))
def name(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model whose published files, of a tiny network, are in the hub's cache; nothing reaches the network."""
    repository = HUB_MODELS[request.param].repository
    WRITERS[request.param](tmp_path / repository)

    def cached(asked: str, file: str) -> Path | None:
        return found if (found := tmp_path / asked / file).exists() else None

    monkeypatch.setattr(hub, "cached", cached)
    monkeypatch.setenv("DEIXIS_CACHE", str(tmp_path / "own"))
    return request.param


def tiny(name: str) -> Run:
    """The recipe with the tiny network's sizes, on Toyland, for one step."""
    card = native.read_card(find(name))
    recipe: Any = RECIPES[f"{name}_refcoco"]()
    assert type(recipe.system) is SYSTEMS[name]
    return replace(
        recipe,
        data=ToylandData(
            num_scenes=4,
            validation_scenes=1,
            size=48,
            packed=None,
            subsets=("toyland",),
            validation_limit=2,
            labels="none",
            draw="sentence",
        ),
        system=from_dict(SYSTEMS[name], card.config),
        preprocess=replace(recipe.preprocess, image_size=32),
        schedule=replace(recipe.schedule, steps=1, batch_size=4),
        workers=0,
    )


def test_a_step_of_fine_tuning_starts_from_the_published_files(name: str, tmp_path: Path) -> None:
    run = tiny(name)
    assert execute(run, tmp_path / "run", quiet=True).finished
    before, after = native.read(find(name)), native.read(tmp_path / "run" / "last")
    assert after.vocabulary == before.vocabulary
    assert after.weights.keys() == before.weights.keys()
    moved = {each: (after.weights[each] - weight).abs().max().item() for each, weight in before.weights.items()}
    of_parameters = {each: far for each, far in moved.items() if "running" not in each and "num_batches" not in each}
    assert max(of_parameters.values()) > 0
    assert max(of_parameters.values()) < 10 * run.optimiser.lr  # AdamW moves a weight by its rate, and decays it
    prediction = deixis.load(tmp_path / "run", device="cpu")(np.zeros((20, 30, 3), np.uint8), "the red cup")
    assert prediction.mask.shape == (20, 30)


def test_the_vocabulary_is_not_learned_and_not_berts(name: str, tmp_path: Path) -> None:
    for vocabulary in ("learned", PUBLISHED):
        with pytest.raises(InputError, match=r"reads CLIP's vocabulary; give --vocabulary"):
            execute(replace(tiny(name), vocabulary=vocabulary), tmp_path / vocabulary, quiet=True)


def test_a_vocabulary_file_is_read_as_clips(name: str, tmp_path: Path) -> None:
    stored = find(name) / "vocab.txt"
    run = replace(tiny(name), vocabulary=str(stored))
    assert execute(run, tmp_path / "run", quiet=True).finished
    assert native.read(tmp_path / "run" / "last").vocabulary == native.read(find(name)).vocabulary


def test_the_recipe_has_the_published_batch_and_rate(name: str) -> None:
    recipe: Any = RECIPES[f"{name}_refcoco"]()
    assert (recipe.schedule.batch_size, recipe.optimiser.lr) == (32, 1e-5)
    assert recipe.data.labels == "none"
    with torch.device("meta"):
        system = recipe.system.build()
    million = sum(weight.numel() for weight in system.parameters()) / 1e6
    assert million * 4 == pytest.approx(HUB_MODELS[name].megabytes, rel=0.01)  # the sizes are the published ones
