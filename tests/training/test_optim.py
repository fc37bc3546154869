"""Groups by name, and the moving average against its formula."""

import pytest
import torch
from torch import nn

from deixis.errors import DeixisError
from deixis.training.optim import Average, Optimiser, build, parameter_groups, set_rate


def network() -> nn.Module:
    return nn.ModuleDict({"vision": nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3)), "head": nn.Linear(3, 1)})


def names_of(system: nn.Module, parameters: object) -> set[str]:
    wanted = {id(parameter) for parameter in parameters}  # type: ignore[attr-defined]
    return {name for name, parameter in system.named_parameters() if id(parameter) in wanted}


def test_parameters_are_grouped_by_their_names() -> None:
    system = network()
    settings = Optimiser(lr=0.1, weight_decay=0.2, no_decay=("vision.1.*",), slow=("vision.*",), frozen=("head.bias",))
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
    with pytest.raises(DeixisError, match=r"'head\.wieght'.*Did you mean 'head\.weight'"):
        parameter_groups(network(), Optimiser(frozen=("head.wieght",)))


def test_a_system_that_is_frozen_whole_is_refused() -> None:
    with pytest.raises(DeixisError, match="nothing to train"):
        build(network(), Optimiser(frozen=("*",)))


def test_each_group_keeps_its_share_of_the_rate() -> None:
    optimiser = build(network(), Optimiser(lr=1.0, slow=("vision.*",), slowness=0.1))
    set_rate(optimiser, 0.5)
    assert sorted(group["lr"] for group in optimiser.param_groups) == pytest.approx([0.05, 0.5])


@pytest.mark.parametrize("matrix_lr", [None, 0.02])
def test_betas_and_epsilon_reach_every_group(matrix_lr: float | None) -> None:
    optimiser = build(network(), Optimiser(betas=(0.5, 0.75), epsilon=1e-3, matrix_lr=matrix_lr, slow=("vision.*",)))
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


def test_the_average_follows_its_formula_and_leaves_the_weights_alone() -> None:
    system = nn.Linear(1, 1, bias=False)
    average = Average(system, 0.9)
    expected = system.weight.item()
    for step in range(1, 150):
        with torch.no_grad():
            system.weight.fill_(float(step))
        average.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    with average.in_place():
        assert system.weight.item() == pytest.approx(expected, rel=1e-5)
    assert system.weight.item() == 149.0
    other = Average(nn.Linear(1, 1, bias=False), 0.9)
    other.load(average.state())
    assert torch.equal(other.values[0], average.values[0])


def test_frozen_parameters_are_in_no_average() -> None:
    system = network()
    build(system, Optimiser(frozen=("vision.*",)))
    assert set(Average(system, 0.5).state()) == {"head.weight", "head.bias"}


@pytest.mark.parametrize(
    "wrong", [{"lr": 0.0}, {"weight_decay": -1.0}, {"betas": (0.9, 1.0)}, {"average": 1.5}, {"clip": 0.0}]
)
def test_numbers_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(DeixisError):
        Optimiser(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"lr": 0.0}, {"matrix_lr": 0.0}, {"matrix_lr": -0.1}, {"slowness": 0.0}], ids=str)
def test_rates_that_teach_nothing_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(DeixisError, match="learning rates, epsilon and slowness must be positive"):
        Optimiser(**wrong)
