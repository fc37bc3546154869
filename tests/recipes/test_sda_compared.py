"""The recipes of the compared methods: their settings, and a step on miniature data in the official layouts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deixis.models.cmpc import CMPCConfig
from deixis.models.cmsa import CMSAConfig
from deixis.recipes.catalogue import RECIPES
from deixis.recipes.sda import sda_base_refcoco
from deixis.records import MaskRule
from deixis.runs.execute import execute
from deixis.text.glove import WordConfig
from deixis.toyland.export.refcoco import write_refcoco
from deixis.toyland.export.trees import Tree
from deixis.vision.resnet import ResNetConfig

NAMES = ("cmpc_refcoco_to_gref", "cmpc_refcoco_to_plus", "cmsa_refcoco_to_gref", "cmsa_refcoco_to_plus")
SMALL: dict[str, Any] = {"width": 8, "fused_width": 8, "text": WordConfig(vocabulary=400, embedding=8)}
SYSTEMS: dict[str, Any] = {
    "cmpc": CMPCConfig(**SMALL, heads=2),
    "cmsa": CMSAConfig(**SMALL, narrowed=(8, 8), attention_widths=(8, 8, 8)),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trees") / "data"
    scenes = {"train": 2, "val": 1, "testA": 1, "testB": 1}
    write_refcoco(path, Tree(scenes=scenes, size=48, objects_per_scene=2, sentences_per_object=1))
    return path


@pytest.mark.parametrize("name", NAMES)
def test_a_compared_method_has_the_settings_of_sdas_first_stage(name: str) -> None:
    run: Any = RECIPES[name]()
    base = sda_base_refcoco()
    assert run.system.text.glove
    assert run.mask_rule == MaskRule()  # above 0.5
    same = replace(base, target=run.target, system=run.system, mask_rule=run.mask_rule, description=run.description)
    assert same == run


@pytest.mark.parametrize("name", ["cmpc_refcoco_original", "cmsa_refcoco_original"])
def test_an_original_recipe_has_the_published_settings(name: str) -> None:
    run: Any = RECIPES[name]()
    rates = [run.optimiser.lr * run.schedule.factor(step, 800_000) for step in (0, 400_000)]
    assert rates == pytest.approx([2.5e-4, 2.5e-4 * 0.5**0.9])
    assert (run.schedule.steps, run.schedule.batch_size) == (800_000, 1)
    assert run.optimiser.frozen == ("vision.*",)
    assert run.target is None
    assert not run.system.text.glove


@pytest.mark.parametrize("name", NAMES)
def test_a_transfer_runs_on_the_official_layouts_and_is_scored_on_its_target(
    name: str, root: Path, tmp_path: Path
) -> None:
    run: Any = RECIPES[name]()
    system = replace(
        SYSTEMS[name.partition("_")[0]], vision=ResNetConfig(depths=(1, 1, 1, 1), width=4, norms="trained")
    )
    result = execute(
        replace(
            run,
            data=replace(run.data, root=str(root)),
            target=replace(run.target, root=str(root)),
            system=system,
            preprocess=replace(run.preprocess, image_size=64),
            schedule=replace(run.schedule, steps=1, batch_size=2),
            workers=0,
        ),
        tmp_path,
        quiet=True,
    )
    assert result.finished
    assert result.scores is not None
    assert result.scores.keys() >= {"oIoU", "mIoU"}
