"""The published recipes give each parameter the treatment its paper gives it."""

from dataclasses import replace

import pytest
from torch import nn

from deixis.recipes.catalogue import RECIPES
from deixis.training.optim import parameter_groups
from deixis.zoo.systems import build, name_of


def treatment(recipe: str) -> tuple[nn.Module, dict[str, float | None]]:
    """Every parameter's weight decay, None where it is not trained, of the recipe's system at its depth but narrow."""
    run = RECIPES[recipe]()
    vision = replace(run.system.vision, embed_dim=8, depths=(1, 1, 2, 1), heads=(1, 1, 1, 1))
    text = replace(run.system.text, width=8, heads=1, feed_forward=8, vocabulary=20, positions=24)
    narrow = {"width": 8, "decoder_widths": (8, 8, 8)} if recipe.startswith("vega") else {}
    config = replace(run.system, vision=vision, text=text, **narrow)  # type: ignore[arg-type]
    system = build(name_of(config), config)
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
    run = RECIPES[f"{system}_refcoco"]()
    assert (run.optimiser.lr, run.optimiser.weight_decay) == (lr, 0.01)
    assert (run.schedule.epochs, run.schedule.batch_size, run.schedule.power) == (40, batch_size, 0.9)
    assert (run.schedule.steps, run.schedule.warm_up) == (None, 0)
    assert (run.preprocess.image_size, run.preprocess.max_tokens) == (480, max_tokens)


def test_lavt_weighs_its_two_classes_and_draws_one_sentence_of_an_object_as_published() -> None:
    run = RECIPES["lavt_refcoco"]()
    assert (run.system.class_weights, run.system.dice_weight) == ((0.9, 1.1), 0.0)
    assert not run.data.every_sentence


def test_magnet_weighs_its_masks_as_published_and_trains_everything() -> None:
    run = RECIPES["magnet_refcoco"]()
    assert (run.system.mask_weight, run.system.dice_weight) == (5.0, 5.0)
    assert None not in treatment("magnet_refcoco")[1].values()


def test_a_class_head_is_trained_where_something_is_absent_alone() -> None:
    assert RECIPES["magnet_toyland"]().system.presence
    assert RECIPES["magnet_toyland"]().data.no_target > 0
    assert not RECIPES["magnet_refcoco"]().system.presence


def test_variants_differ_from_their_recipe_in_the_data_alone() -> None:
    for system in ("lavt", "magnet", "vega"):
        base = RECIPES[f"{system}_refcoco"]()
        for variant in ("refcoco_plus", "gref_umd", "gref_google"):
            other = RECIPES[f"{system}_{variant}"]()
            assert other.data != base.data
            assert replace(other, data=base.data, description=base.description) == base


def test_the_toyland_systems_share_encoders_data_and_budget() -> None:
    lavt, vega = RECIPES["lavt_toyland"](), RECIPES["vega_toyland"]()
    assert lavt.system.vision == vega.system.vision
    assert lavt.system.text == vega.system.text
    assert replace(lavt, system=vega.system, description=vega.description) == vega
