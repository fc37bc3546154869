"""The Chain of SDA's stages, at toy size."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from deixis.adapt.sda.activation import ActivationOptions, Refinement
from deixis.adapt.sda.affinity_labels import AffinityLoss
from deixis.adapt.sda.categories import Clusters
from deixis.adapt.sda.classifier import CategoryClassifierConfig
from deixis.adapt.sda.construction import CategoryOptions
from deixis.adapt.sda.dual import DualAdaptation, DualAdaptationConfig
from deixis.adapt.sda.semantic import SemanticInitialisation, SemanticInitialisationConfig
from deixis.data.transforms import Preprocess
from deixis.errors import InputError
from deixis.models.sda import SDAConfig
from deixis.recipes.catalogue import recipe_named
from deixis.recipes.sda import SDAStages, sda_refcoco_to_refcoco_plus, sda_runs, with_refinement
from deixis.records import MaskRule
from deixis.runs.data import ToylandData
from deixis.runs.execute import execute, holds_job, read_job
from deixis.runs.open_data import open_domains
from deixis.runs.run import LEARNED, Chain, Run
from deixis.text.gru import GRUConfig
from deixis.toyland.export.refcoco import write_refcoco
from deixis.toyland.export.trees import Tree
from deixis.training.optim import Optimiser
from deixis.training.schedule import Schedule
from deixis.training.state import STATE, State
from deixis.vision.resnet import ResNetConfig

TOYLAND = ToylandData(
    subsets=("toyland",),
    packed=None,
    num_scenes=3,
    validation_scenes=1,
    validation_limit=2,
    size=48,
    sentences_per_object=1,
    sentences_per_image=1,
)
SOURCE = Run(
    data=TOYLAND,
    target=replace(TOYLAND, subsets=("toyland+",), num_scenes=2),
    system=SDAConfig(
        vision=ResNetConfig(depths=(1, 1, 1, 1), width=4, norms="trained"),
        text=GRUConfig(vocabulary=400, embedding=12, width=16),
        width=16,
        decoder_width=8,
        regions=20,
    ),
    preprocess=Preprocess(image_size=64, max_tokens=12, fit="pad"),
    mask_rule=MaskRule(kind="half-maximum"),
    optimiser=Optimiser(lr=1e-3, weight_decay=0.0),
    schedule=Schedule(steps=4, batch_size=2, warm_up=2, decay="inverse", log_every=2, validate_every=2, save_every=1),
    vocabulary=LEARNED,
    workers=0,
)
STAGES = SDAStages(
    semantic=SemanticInitialisationConfig(
        categories=CategoryOptions(clusters=Clusters(method="k-means", count=3), boundary=None)  # so few have no spread
    ),
    dual=DualAdaptationConfig(
        high=0.5, low=0.4, memory=3, cells=2, relation_width=8, activation=ActivationOptions(scales=(1.0,), regions=20)
    ),
)


WALK = ActivationOptions(scales=(1.0,), refinement="boundary-walk", doublings=2)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Chain, Path]:
    job = Chain(runs={"source": SOURCE, **sda_runs(SOURCE, STAGES)})
    out = tmp_path_factory.mktemp("chain")
    assert execute(job, out, quiet=True).finished
    return job, out


def test_the_chain_runs_from_end_to_end(chain: tuple[Chain, Path]) -> None:
    job, out = chain
    assert [*job.runs] == ["source", "predictor", "semantic", "classifier", "sda"]
    assert (out / "sda/last/model.safetensors").exists()
    assert (out / "semantic/categories.json").exists()
    assert list((out / "sda/semantic_masks").rglob("*.png"))


def kill(job: Chain, folder: Path, objective: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train until the second step of the objective's Run, of which nothing is saved; from then on, preparing fails."""
    done: Any = objective.after_step  # type: ignore[attr-defined]

    def die(self: Any, step: int) -> None:
        if step == 1:
            raise KeyboardInterrupt
        done(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(objective, "after_step", die)
        with pytest.raises(KeyboardInterrupt):
            execute(job, folder, resume=holds_job(folder), quiet=True)
    monkeypatch.setattr(objective, "prepare", lambda *_: pytest.fail("prepared again"))


@pytest.mark.parametrize(
    ("name", "objective"), [("semantic", SemanticInitialisation), ("sda", DualAdaptation)], ids=["stage-2", "stage-3"]
)
def test_a_stage_that_is_killed_goes_on_to_the_same_bits(
    name: str, objective: type, chain: tuple[Chain, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, whole = chain
    shutil.copytree(whole, tmp_path / "chain")
    for later in list(job.runs)[list(job.runs).index(name) :]:
        shutil.rmtree(tmp_path / "chain" / later)
    kill(job, tmp_path / "chain", objective, monkeypatch)
    assert State.load(tmp_path / "chain" / name / STATE).step == 1
    assert execute(job, tmp_path / "chain", resume=True, quiet=True).finished
    first, second = (State.load(folder / "sda" / STATE) for folder in (whole, tmp_path / "chain"))
    assert first.objective.keys() == second.objective.keys()
    assert [name for name, each in first.objective.items() if not torch.equal(each, second.objective[name])] == []
    assert first.objective["banks.0.entered"].sum() > 0


@pytest.mark.parametrize("kind", ["boundary-walk", pytest.param("feature-walk", marks=pytest.mark.slow)])
def test_a_refinement_that_is_trained_adds_a_run_that_resumes_to_the_same_bits(
    kind: Refinement, chain: tuple[Chain, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refined = replace(STAGES.dual, activation=ActivationOptions(scales=(1.0,), refinement=kind, doublings=2))
    runs = dict(sda_runs(SOURCE, replace(STAGES, dual=refined)))
    assert [*runs] == ["predictor", "semantic", "classifier", "affinity", "sda"]
    runs["affinity"] = replace(runs["affinity"], schedule=replace(runs["affinity"].schedule, steps=3))
    job = Chain(runs={"source": SOURCE, **runs})
    _, trained = chain
    for folder in (tmp_path / "whole", tmp_path / "killed"):
        for name in ("source", "predictor", "semantic", "classifier"):
            shutil.copytree(trained / name, folder / name)
    assert execute(job, tmp_path / "whole", quiet=True).finished
    kill(job, tmp_path / "killed", AffinityLoss, monkeypatch)
    assert State.load(tmp_path / "killed/affinity" / STATE).step == 1
    assert execute(job, tmp_path / "killed", resume=True, quiet=True).finished
    for name in ("affinity/last", "sda/last"):
        first, second = (load_file(tmp_path / each / name / "model.safetensors") for each in ("whole", "killed"))
        assert first.keys() == second.keys()
        assert all(torch.equal(tensor, second[weight]) for weight, tensor in first.items())
        assert all(weight.startswith("head.") for weight in first) or name == "sda/last"
    masks = [sorted((tmp_path / each / "sda/semantic_masks").rglob("*.png")) for each in ("whole", "killed")]
    assert masks[0]
    assert [each.read_bytes() for each in masks[0]] == [each.read_bytes() for each in masks[1]]


def test_a_refinement_without_its_run_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    runs = dict(sda_runs(SOURCE, replace(STAGES, dual=replace(STAGES.dual, activation=WALK))))
    assert [*with_refinement(Chain(runs={"source": SOURCE, **sda_runs(SOURCE, STAGES)}), "feature-walk").runs] == [
        "source",
        *runs,
    ]
    plain = with_refinement(Chain(runs={"source": SOURCE, **runs}), "none").runs
    assert "affinity" not in plain
    del runs["affinity"]
    with pytest.raises(
        InputError, match="The run 'sda' needs the run 'affinity' before it in the chain, or its folder"
    ):
        execute(Chain(runs={"source": SOURCE, **runs}), tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()


def test_the_last_stage_starts_from_stage_2_and_continues_its_rates(chain: tuple[Chain, Path]) -> None:
    job, _ = chain
    semantic, last = job.runs["semantic"], job.runs["sda"]
    assert semantic.schedule == SOURCE.schedule
    assert (last.schedule.steps, last.schedule.after) == (2, 4)
    assert last.start_from.checkpoint == "semantic"
    assert last.schedule.factor(0, 2) < semantic.schedule.factor(3, 4)


def test_the_published_chain_has_the_published_settings() -> None:
    runs = sda_refcoco_to_refcoco_plus().runs
    assert [*runs] == ["source", "predictor", "semantic", "classifier", "affinity", "sda"]
    assert [run.schedule.epochs for run in runs.values()] == [20, 5, 20, 5, 5, 10]
    assert {run.schedule.batch_size for run in runs.values()} == {8}
    last: Any = runs["sda"]
    assert last.schedule.after == 20
    assert (last.objective.contrast_weight, last.objective.relation_weight) == (1.0, 0.1)
    assert (last.objective.memory, last.objective.high, last.objective.low, last.objective.decay) == (
        100,
        0.9,
        0.1,
        0.99,
    )
    walk = last.objective.activation
    assert (walk.refinement, walk.radius, walk.exponent, walk.doublings) == ("boundary-walk", 5, 10, 8)
    affinity: Any = runs["affinity"]
    assert (affinity.objective.foreground, affinity.objective.background) == (0.30, 0.05)
    assert affinity.system.kind == "boundary-walk"
    semantic: Any = runs["semantic"].objective
    assert (semantic.content.temperature, semantic.categories.boundary) == (0.2, 0.5)
    assert semantic.categories.clusters.threshold == 0.5
    first = runs["source"]
    assert first.optimiser.lr * first.schedule.warm_up_from == pytest.approx(1e-7)
    assert first.schedule.factor(300, 10_000) == pytest.approx(1)
    assert first.schedule.factor(1_203, 10_000) == pytest.approx(0.5, rel=1e-3)
    assert runs["classifier"].system == CategoryClassifierConfig()


def mini(recipe: str, root: Path) -> Chain:
    """The published chain on a miniature of the data sets' layout, with a tiny network for two steps."""
    write_refcoco(root, Tree(scenes={"train": 4, "val": 1, "testA": 1, "testB": 1}, size=48))
    published: Any = recipe_named(recipe)
    first = published.runs["source"]
    data, target = (replace(each, root=str(root), validation_limit=2) for each in (first.data, first.target))
    small = replace(SOURCE, schedule=replace(SOURCE.schedule, steps=2), data=data, target=target)
    return Chain(runs={"source": small, **sda_runs(small, STAGES)})


@pytest.mark.parametrize("recipe", ["sda_refcoco_to_refcoco_plus", "sda_refcoco_to_gref"])
def test_the_published_chains_read_the_published_layouts(recipe: str, tmp_path: Path) -> None:
    chain = mini(recipe, tmp_path)
    for run in chain.runs.values():
        assert run.target is not None
        opened = open_domains(run.data, run.target)
        assert opened.source[0].mask is not None
        assert opened.target[0].dataset != opened.source[0].dataset
        assert opened.validation is not None


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["sda_refcoco_to_refcoco_plus", "sda_refcoco_to_gref"])
def test_the_published_chains_run_on_the_published_layouts(recipe: str, tmp_path: Path) -> None:
    result = execute(mini(recipe, tmp_path / "data"), tmp_path / "out", quiet=True)
    assert result.finished
    assert result.scores is not None


@pytest.mark.parametrize(("boundary", "found"), [(9.0, "100 %"), (1e-9, "0 %")])
def test_a_chain_that_stops_without_a_spread_of_targets_is_resumed_with_another_boundary(
    chain: tuple[Chain, Path], tmp_path: Path, boundary: float, found: str
) -> None:
    _, whole = chain
    for name in ("source", "predictor"):
        shutil.copytree(whole / name, tmp_path / name)

    def job(boundary: float) -> Chain:
        categories = replace(STAGES.semantic.categories, boundary=boundary)
        stages = SDAStages(semantic=replace(STAGES.semantic, categories=categories), has_stage_3=False)
        return Chain(runs={"source": SOURCE, **sda_runs(SOURCE, stages)})

    with pytest.raises(InputError, match=f"^{found} of the target's samples are common") as stop:
        execute(job(boundary), tmp_path, quiet=True)
    assert not (tmp_path / "semantic/run.json").exists()
    low, high = map(float, re.findall(r"entropies are (\S+) to (\S+) of", str(stop.value))[0])
    assert low < high
    between = job((low + high) / 2)
    with pytest.raises(InputError, match="already holds this run; add --resume"):
        execute(between, tmp_path, quiet=True)
    trained = (tmp_path / "predictor/last/model.safetensors").stat().st_mtime_ns
    assert execute(between, tmp_path, resume=True, quiet=True).finished
    assert read_job(tmp_path) == between
    assert (tmp_path / "predictor/last/model.safetensors").stat().st_mtime_ns == trained
    with pytest.raises(InputError, match=r"holds another run \(runs.semantic.objective.categories.boundary is"):
        execute(job(boundary), tmp_path, resume=True, quiet=True)  # it has begun
