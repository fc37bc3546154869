"""Groups of parameters by their names, and the rates of each."""

from typing import Any

import pytest
import torch
from torch import nn

from deixis.errors import InputError
from deixis.training.optim import Optimiser, build, parameter_groups, set_rate


def network() -> nn.Module:
    return nn.ModuleDict({"vision": nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3)), "head": nn.Linear(3, 1)})


def names_of(system: nn.Module, parameters: object) -> set[str]:
    wanted = {id(parameter) for parameter in parameters}  # type: ignore[attr-defined]
    return {name for name, parameter in system.named_parameters() if id(parameter) in wanted}


def test_parameters_are_grouped_by_their_names() -> None:
    system = network()
    settings = Optimiser(
        lr=0.1, weight_decay=0.2, no_decay=("vision.1.*",), lr_multipliers={"vision.*": 0.1}, frozen=("head.bias",)
    )
    groups = {
        (group["weight_decay"], round(group["base_lr"], 9)): group["params"]  # type: ignore[call-overload]
        for group in parameter_groups(system, settings)
    }
    assert {key: names_of(system, parameters) for key, parameters in groups.items()} == {
        (0.2, 0.01): {"vision.0.weight", "vision.0.bias"},
        (0.0, 0.01): {"vision.1.weight", "vision.1.bias"},
        (0.2, 0.1): {"head.weight"},
    }
    assert not system["head"].bias.requires_grad  # type: ignore[index]


def test_a_pattern_that_matches_nothing_is_refused_with_a_near_name() -> None:
    with pytest.raises(InputError, match=r"'head\.wieght'.*Did you mean 'head\.weight'"):
        parameter_groups(network(), Optimiser(frozen=("head.wieght",)))


def test_a_system_that_is_frozen_completely_is_refused() -> None:
    with pytest.raises(InputError, match="nothing would be trained"):
        build(network(), Optimiser(frozen=("*",)))


def test_each_group_has_its_multiple_of_the_rate() -> None:
    optimiser = build(network(), Optimiser(lr=1.0, lr_multipliers={"vision.*": 0.1}))
    set_rate(optimiser, 0.5)
    assert sorted(group["lr"] for group in optimiser.param_groups) == pytest.approx([0.05, 0.5])


@pytest.mark.parametrize("muon_lr", [None, 0.02])
def test_betas_and_epsilon_reach_every_group(muon_lr: float | None) -> None:
    optimiser = build(
        network(), Optimiser(betas=(0.5, 0.75), epsilon=1e-3, muon_lr=muon_lr, lr_multipliers={"vision.*": 0.1})
    )
    assert len(optimiser.param_groups) > 1
    for group in optimiser.param_groups:
        assert (group["betas"], group["eps"]) == ((0.5, 0.75), 1e-3)


def test_only_groups_with_decay_shrink_without_gradients() -> None:
    system = network()
    before = {name: parameter.detach().clone() for name, parameter in system.named_parameters()}
    optimiser = build(system, Optimiser(lr=0.1, weight_decay=0.5, no_decay=("vision.*",)))
    set_rate(optimiser, 1.0)
    for parameter in system.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    for name, parameter in system.named_parameters():
        shrunk = 1 - 0.1 * 0.5 if name.startswith("head.") else 1.0
        torch.testing.assert_close(parameter.detach(), before[name] * shrunk)


@pytest.mark.parametrize(
    "wrong", [{"lr": 0.0}, {"weight_decay": -1.0}, {"betas": (0.9, 1.0)}, {"average": 1.5}, {"clip": 0.0}]
)
def test_numbers_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError):
        Optimiser(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong", [{"lr": 0.0}, {"muon_lr": 0.0}, {"muon_lr": -0.1}, {"lr_multipliers": {"*": 0.0}}], ids=str
)
def test_rates_that_are_not_positive_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="learning rates, their multipliers and epsilon must be positive"):
        Optimiser(**wrong)


def test_the_first_multiplier_that_matches_applies() -> None:
    settings = Optimiser(lr=1.0, lr_multipliers={"vision.0.weight": 0.5, "vision.*": 0.25})
    system = network()
    rates = {
        name: group["base_lr"]
        for group in parameter_groups(system, settings)
        for name in names_of(system, group["params"])
    }
    assert rates == {
        "vision.0.weight": 0.5,
        "vision.0.bias": 0.25,
        "vision.1.weight": 0.25,
        "vision.1.bias": 0.25,
        "head.weight": 1.0,
        "head.bias": 1.0,
    }


class Around(nn.Module):
    """An objective with parts of its own beside its system."""

    def __init__(self) -> None:
        super().__init__()
        self.system = network()
        self.predictor = nn.Linear(3, 1)


@pytest.mark.parametrize("muon_lr", [None, 0.02])
def test_patterns_mean_the_same_weights_of_a_system_inside_an_objective(muon_lr: float | None) -> None:
    settings = Optimiser(
        lr=0.1, muon_lr=muon_lr, no_decay=("vision.1.*",), lr_multipliers={"vision.*": 0.1}, frozen=("head.bias",)
    )

    def treatment(module: nn.Module) -> dict[str, tuple[object, ...]]:
        return {
            name: (group["weight_decay"], group["base_lr"], group["orthogonal"])
            for group in parameter_groups(module, settings)
            for name in names_of(module, group["params"])
        }

    inside = treatment(Around())
    own = {name: value for name, value in inside.items() if name.startswith("predictor.")}
    assert {name.removeprefix("system."): value for name, value in inside.items() if name not in own} == treatment(
        network()
    )
    assert set(own) == {"predictor.weight", "predictor.bias"}
    assert {value[:2] for value in own.values()} == {(0.01, 0.1)}


def test_a_pattern_may_name_a_part_of_the_objective_itself() -> None:
    around = Around()
    groups = parameter_groups(around, Optimiser(lr=1.0, lr_multipliers={"predictor.*": 0.5}))
    half = next(group for group in groups if group["base_lr"] == 0.5)
    assert names_of(around, half["params"]) == {"predictor.weight", "predictor.bias"}
    with pytest.raises(InputError, match="names 'predicto', but no parameter matches"):
        parameter_groups(around, Optimiser(no_decay=("predicto",)))
