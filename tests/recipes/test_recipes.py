"""The published recipes follow their papers, and each Run of a chain finds what it starts from."""

import ast
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import deixis.recipes
from deixis.checkpoints.configs import from_dict, to_dict
from deixis.errors import InputError
from deixis.objectives.mask_grounding import MaskGroundingConfig
from deixis.objectives.supervised import SupervisedConfig
from deixis.recipes.catalogue import RECIPES, recipe_named
from deixis.runs.run import Chain, Run
from deixis.training.optim import parameter_groups
from deixis.zoo.objectives import known_configs

ALLOWED = {"recipes", "runs", "models", "objectives", "adapt", "vision", "text", "records", "errors", "toyland", "data"}
ALLOWED |= {"training"}


def last(recipe: str) -> Any:
    """The recipe's Run, of a chain the last one."""
    job = RECIPES[recipe]()
    return list(job.runs.values())[-1] if isinstance(job, Chain) else job


def runs(recipe: str) -> list[Run]:
    job = RECIPES[recipe]()
    return list(job.runs.values()) if isinstance(job, Chain) else [job]


def treatment(recipe: str) -> tuple[nn.Module, dict[str, float | None]]:
    """Every parameter's weight decay, None where it is not trained, of the recipe's system at its depth but narrow."""
    run = last(recipe)
    vision = replace(run.system.vision, embed_dim=8, depths=(1, 1, 2, 1), heads=(1, 1, 1, 1))
    text = replace(run.system.text, width=8, heads=1, feed_forward=8, vocabulary=20, positions=24)
    narrow = {"width": 8, "decoder_widths": (8, 8, 8)} if recipe.startswith("vega") else {}
    config = replace(run.system, vision=vision, text=text, **narrow)  # type: ignore[arg-type]
    system = config.build()
    names = {id(parameter): name for name, parameter in system.named_parameters()}
    decay: dict[str, float | None] = dict.fromkeys(names.values())
    for group in parameter_groups(system, run.optimiser):
        for parameter in group["params"]:  # type: ignore[attr-defined]
            decay[names[id(parameter)]] = group["weight_decay"]  # type: ignore[assignment]
    return system, decay


def test_lavt_trains_ten_layers_of_bert_and_spares_norms_and_position_biases() -> None:
    system, decay = treatment("lavt_refcoco")
    for name, value in decay.items():
        if name.startswith("text."):
            trained = any(f"encoder.layer.{layer}." in name for layer in range(10))
            assert value == (0.01 if trained else None), name
        elif name.startswith("fusion."):
            assert value == (0.0 if "norm" in name or "position_bias" in name else 0.01), name
        else:
            assert value == 0.01, name
    norms = {f"{name}.weight" for name, module in system.named_modules() if isinstance(module, nn.LayerNorm)}
    assert {name for name, value in decay.items() if value == 0.0 and name.endswith(".weight")} == {
        name for name in norms if name.startswith("fusion.")
    }


def test_vega_trains_everything() -> None:
    _, decay = treatment("vega_refcoco")
    assert None not in decay.values()
    assert {decay[name] for name in decay if name.endswith("position_bias")} == {0.0}


@pytest.mark.parametrize(
    ("system", "lr", "batch_size", "max_tokens"),
    [("lavt", 5e-5, 32, 20), ("vega", 3e-5, 16, 21), ("magnet", 5e-5, 32, 20)],
)
def test_a_system_is_trained_with_the_published_settings(
    system: str, lr: float, batch_size: int, max_tokens: int
) -> None:
    run = last(f"{system}_refcoco")
    assert (run.optimiser.lr, run.optimiser.weight_decay) == (lr, 0.01)
    assert (run.schedule.epochs, run.schedule.batch_size, run.schedule.power) == (40, batch_size, 0.9)
    assert (run.schedule.steps, run.schedule.warm_up) == (None, 0)
    assert (run.preprocess.image_size, run.preprocess.max_tokens) == (480, max_tokens)


def test_lavt_weighs_its_two_classes_and_draws_one_sentence_of_an_object_as_published() -> None:
    run = last("lavt_refcoco")
    assert (run.system.class_weights, run.system.dice_weight) == ((0.9, 1.1), 0.0)
    assert run.data.draw == "object"


def test_magnet_weighs_its_masks_as_published_and_trains_everything() -> None:
    run = last("magnet_refcoco")
    assert (run.system.mask_weight, run.system.dice_weight) == (5.0, 5.0)
    assert None not in treatment("magnet_refcoco")[1].values()


def test_a_class_head_is_trained_where_something_is_absent_alone() -> None:
    assert last("magnet_toyland").system.presence
    assert last("magnet_toyland").data.no_target > 0
    assert not last("magnet_refcoco").system.presence


def test_variants_differ_from_their_recipe_in_the_data_alone() -> None:
    for system in ("lavt", "magnet", "vega"):
        base = last(f"{system}_refcoco")
        for variant in ("refcoco_plus", "gref_umd", "gref_google"):
            other = last(f"{system}_{variant}")
            assert other.data != base.data
            assert replace(other, data=base.data, description=base.description) == base


def test_the_toyland_systems_share_encoders_data_and_budget() -> None:
    lavt, vega = last("lavt_toyland"), last("vega_toyland")
    assert lavt.system.vision == vega.system.vision
    assert lavt.system.text == vega.system.text
    assert replace(lavt, system=vega.system, description=vega.description) == vega


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_survives_json_and_says_how_to_use_it(name: str) -> None:
    job = RECIPES[name]()
    assert from_dict(type(job), json.loads(json.dumps(to_dict(job))), known=known_configs()) == job
    docstring = RECIPES[name].__doc__ or ""
    assert docstring.startswith(f"`deixis train {name.replace('_', '-')}")
    assert "Time: " in docstring
    assert "Score: " in docstring
    assert all(run.description for run in runs(name))


@pytest.mark.parametrize("system", ["lavt", "magnet", "vega"])
def test_a_toyland_system_is_a_chain_from_scene_parsing_to_the_system(system: str) -> None:
    chain = RECIPES[f"{system}_toyland"]()
    assert isinstance(chain, Chain)
    assert list(chain.runs) == ["scene-parsing", "late-fusion", system]
    parsing, fusion, run = chain.runs.values()
    assert parsing == RECIPES["scene_parsing_toyland"]()
    assert fusion == last("late_fusion_toyland")
    assert (fusion.start_from.checkpoint, run.start_from.checkpoint) == ("scene-parsing", "late-fusion")
    assert run.vocabulary == "late-fusion"
    assert parsing.data.packed == fusion.data.packed
    assert parsing.data.num_scenes == fusion.data.num_scenes == run.data.num_scenes


@pytest.mark.parametrize("recipe", ["lavt_toyland", "magnet_toyland", "vega_toyland"])
def test_each_run_finds_the_weights_that_it_starts_from(recipe: str) -> None:
    """By names and shapes: what a Run takes is what the Run before it publishes."""
    parsing, fusion, run = (each.system.build() for each in runs(recipe))  # type: ignore[attr-defined]
    encoder = {f"fusion.{name}": tensor.shape for name, tensor in parsing.state_dict().items() if "vision." in name}
    assert encoder.items() <= {name: tensor.shape for name, tensor in fusion.state_dict().items()}.items()
    expected = {name: tensor.shape for name, tensor in run.state_dict().items()}
    for name, tensor in fusion.state_dict().items():
        if name.startswith(("text.", "fusion.vision.")):
            assert expected[name] == tensor.shape


def test_magnet_is_trained_with_mask_grounding_as_published_and_the_grounded_variants_differ_in_it_alone() -> None:
    for data in ("refcoco", "refcoco_plus", "gref_umd", "gref_google"):
        assert last(f"magnet_{data}").objective == MaskGroundingConfig()
    assert isinstance(last("magnet_toyland").objective, MaskGroundingConfig)
    for system in ("lavt", "vega"):
        plain, grounded = last(f"{system}_toyland"), last(f"{system}_toyland_grounded")
        assert plain.objective == SupervisedConfig()
        assert isinstance(grounded.objective, MaskGroundingConfig)
        assert replace(grounded, objective=plain.objective, description=plain.description) == plain


def test_recipes_import_configs_and_runs_only() -> None:
    for path in Path(deixis.recipes.__file__).parent.glob("*.py"):
        nodes = [
            each for each in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(each, ast.ImportFrom)
        ]
        for node in (each for each in nodes if each.level == 2):
            assert (node.module or "").partition(".")[0] in ALLOWED, f"{path} imports {node.module}"
            if (node.module or "").startswith("runs.") and path.stem != "catalogue":
                assert node.module in {"runs.run", "runs.data"}, f"{path} imports {node.module}"


def test_a_recipe_is_found_by_either_spelling_and_a_wrong_name_by_the_nearest() -> None:
    assert recipe_named("vega-small") == recipe_named("vega_small") == RECIPES["vega_small"]()
    with pytest.raises(InputError, match=r"There is no recipe 'vega-smal'\. Did you mean 'vega-small'\?"):
        recipe_named("vega-smal")


def test_sdas_base_network_follows_appendix_c() -> None:
    run = last("sda_base_refcoco")
    rates = [run.optimiser.lr * run.schedule.factor(step, 10_000) for step in (0, 299, 300, 1203)]
    assert rates == pytest.approx([1.4e-6, 4e-4, 4e-4, 2e-4], rel=0.05)
    assert (run.schedule.epochs, run.schedule.batch_size, run.optimiser.weight_decay) == (20, 8, 0)
    assert (run.preprocess.image_size, run.preprocess.fit) == (320, "pad")
    assert run.mask_rule.kind == "half-maximum"
    assert run.system.text.glove
