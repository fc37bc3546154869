"""The four transfers between sets of videos: their settings, and a step on small trees in the official layouts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deixis.adapt.acp import ACPConfig
from deixis.adapt.man import MANConfig
from deixis.adapt.sda.classifier import CategoryClassifierConfig
from deixis.errors import InputError
from deixis.models.cmdyconv import CMDyConvConfig
from deixis.models.cmpc import CLIP_LEVELS, CMPCConfig
from deixis.models.sda import SDAConfig
from deixis.recipes.adapt import adaptation
from deixis.recipes.catalogue import RECIPES
from deixis.recipes.sda import SOURCE, sda_runs
from deixis.recipes.sda_video import PUBLISHED, TRANSFERS, video_adaptation
from deixis.records import MaskRule
from deixis.runs.execute import execute
from deixis.runs.open_data import open_domains
from deixis.runs.run import Chain, Run, StartFrom
from deixis.text.glove import WordConfig
from deixis.text.gru import GRUConfig
from deixis.vision.i3d import I3DConfig
from deixis.vision.resnet import ResNetConfig
from tests.data.readers.video_mini import ROOT, needs_trees
from tests.recipes.test_sda import STAGES

GRU = GRUConfig(vocabulary=400, embedding=8, width=8)
I3D = I3DConfig(width=4, norms="trained")
SYSTEMS: dict[str, Any] = {
    "cmdyconv": CMDyConvConfig(vision=replace(I3D, levels=("Mixed_4f",)), text=GRU, width=8, groups=2, decoder_width=8),
    "cmpc": CMPCConfig(
        vision=replace(I3D, levels=CLIP_LEVELS),
        text=WordConfig(vocabulary=400, embedding=8),
        width=8,
        fused_width=8,
        heads=2,
    ),
    "sda": SDAConfig(vision=I3D, text=GRU, width=8, decoder_width=8, regions=20),
}
FOLDERS = {"refer-youtube-vos": "refer_youtube_vos", "a2d": "a2d", "jhmdb": "jhmdb"}


def first(job: Any) -> Run:
    return job.runs[SOURCE] if isinstance(job, Chain) else job


def tiny(recipe: str) -> Run:
    """The recipe's first Run on the small trees, for one step of a small network."""
    run: Any = first(RECIPES[recipe]())
    data, target = (
        replace(
            each,
            root=str(ROOT / FOLDERS[each.dataset]),
            validation_limit=2,
            held_out=0.5 if each.held_out else 0.0,
            draw="sentence",  # half of a tree has one object, which is fewer than a batch
        )
        for each in (run.data, run.target)
    )
    return replace(
        run,
        data=data,
        target=target,
        system=SYSTEMS[recipe.partition("_")[0]],
        preprocess=replace(run.preprocess, image_size=64, num_frames=4),
        schedule=replace(run.schedule, steps=1, batch_size=2),
        workers=0,
    )


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_the_chain_has_the_settings_of_the_paper(transfer: str) -> None:
    job: Any = RECIPES[f"sda_{transfer.replace('-', '_')}"]()
    assert [*job.runs] == ["source", "predictor", "semantic", "classifier", "affinity", "sda"]
    run = job.runs["source"]
    assert run.system == SDAConfig(vision=I3DConfig(), text=GRUConfig(glove=True))
    assert (run.preprocess.image_size, run.preprocess.fit, run.preprocess.num_frames) == (320, "pad", 8)
    assert run.mask_rule.kind == "half-maximum"
    assert run.optimiser.frozen == job.runs["sda"].optimiser.frozen == ("vision.Conv3d_*",)
    assert [each.schedule.epochs for each in job.runs.values()] == [20, 5, 20, 5, 5, 10]
    assert job.runs["classifier"].system.vision == ResNetConfig()
    assert job.runs["sda"].objective.activation.refinement == "boundary-walk"
    for name in ("cmpc", "cmdyconv"):
        other = RECIPES[f"{name}_{transfer.replace('-', '_')}"]()
        changed = {field: getattr(other, field) for field in ("system", "mask_rule", "description")}
        assert replace(run, **changed) == other
    assert RECIPES[f"cmpc_{transfer.replace('-', '_')}"]().mask_rule == MaskRule()  # type: ignore[union-attr]


def test_every_row_of_the_table_has_four_scores_and_a_method() -> None:
    for method, rows in PUBLISHED.items():
        assert len(rows) == len(TRANSFERS)
        if method not in {"base", "cmpc", "cmdyconv"}:
            assert SOURCE in video_adaptation(method, "a2d-to-rvos").runs
    for name, recipe in RECIPES.items():
        method, _, transfer = name.partition("_")
        if transfer.replace("_", "-") in TRANSFERS:
            scores = PUBLISHED[method][[*TRANSFERS].index(transfer.replace("_", "-"))]
            words = " ".join((recipe.__doc__ or "").split())
            assert "oIoU {:.2f}, mIoU {:.2f}, mAP {:.2f}".format(*scores) in words, name
    with pytest.raises(InputError, match=r"no transfer 'a2d-to-rvo'\. Did you mean 'a2d-to-rvos'"):
        video_adaptation("mmd", "a2d-to-rvo")


@needs_trees
@pytest.mark.parametrize("transfer", TRANSFERS)
def test_both_domains_of_a_transfer_are_read_as_clips(transfer: str) -> None:
    run = tiny(f"sda_{transfer.replace('-', '_')}")
    assert run.target is not None
    readers = open_domains(run.data, run.target)
    assert readers.validation is not None
    assert readers.source[0].mask is not None
    assert readers.target[0].mask is None
    assert any(
        sample.mask is not None for sample in map(readers.validation.__getitem__, range(len(readers.validation)))
    )
    shared = {ids.image for ids in readers.target.ids} & {ids.image for ids in readers.validation.ids}
    assert bool(shared) == transfer.endswith("jhmdb")  # which has one split


@needs_trees
@pytest.mark.parametrize(
    "recipe",
    [
        "sda_rvos_to_a2d",
        "cmpc_a2d_to_jhmdb",
        "cmdyconv_a2d_to_rvos",
        *(
            pytest.param(f"{name}_{transfer.replace('-', '_')}", marks=pytest.mark.slow)
            for name in SYSTEMS
            for transfer in TRANSFERS
        ),
    ],
)
def test_a_source_is_trained_on_clips_and_scored_on_its_target(recipe: str, tmp_path: Path) -> None:
    result = execute(tiny(recipe), tmp_path, quiet=True)
    assert result.finished
    assert result.scores is not None
    assert result.scores.keys() >= {"oIoU", "mIoU"}


@needs_trees
@pytest.mark.parametrize("transfer", [pytest.param(name, marks=pytest.mark.slow) for name in TRANSFERS])
def test_the_stages_of_sda_run_on_clips(transfer: str, tmp_path: Path) -> None:
    source = tiny(f"sda_{transfer.replace('-', '_')}")
    small = CategoryClassifierConfig(vision=ResNetConfig(depths=(1, 1, 1, 1), width=4, norms="trained"))
    stages = replace(STAGES, dual=replace(STAGES.dual, classifier=small), classifier_start=StartFrom())
    result = execute(Chain(runs={SOURCE: source, **sda_runs(source, stages)}), tmp_path, quiet=True)
    assert result.finished
    assert list((tmp_path / "sda/semantic_masks").rglob("*.png"))


@needs_trees
@pytest.mark.slow
@pytest.mark.parametrize("method", ["mmd", "dann", "plca", "man", "acp"])
def test_the_methods_run_on_clips(method: str, tmp_path: Path) -> None:
    chain = adaptation(method, tiny("sda_a2d_to_jhmdb"))
    changes: dict[str, Any] = {"acp": ACPConfig(concepts=2, high=0.1), "man": MANConfig(high=0.5, low=0.4)}
    run = chain.runs[method]
    run = replace(run, objective=changes.get(method, run.objective))
    assert execute(Chain(runs={**chain.runs, method: run}), tmp_path, quiet=True).finished
