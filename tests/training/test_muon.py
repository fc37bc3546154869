"""Muon against the decomposition that it approximates, against PyTorch's own, and beside AdamW."""

import pytest
import torch
from torch import nn

from deixis.training.muon import MOMENTUM, Muon, orthogonalise
from deixis.training.optim import Optimiser, build, parameter_groups, set_rate


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(5, 4)
        self.deep = nn.Linear(4, 6)
        self.filter = nn.Conv2d(6, 3, 3)
        self.norm = nn.LayerNorm(3)
        self.mask = nn.Linear(3, 1)


@pytest.mark.parametrize("shape", [(8, 8), (4, 24), (24, 4), (1, 6)])
def test_orthogonalising_keeps_singular_vectors_and_brings_singular_values_near_one(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    (orthogonal,) = orthogonalise((left @ torch.diag(torch.linspace(1.0, 0.1, min(shape))) @ right)[None])
    along = torch.diag(left.T @ orthogonal @ right.T)
    assert ((along > 0.6) & (along < 1.3)).all()
    torch.testing.assert_close(left @ torch.diag(along) @ right, orthogonal, atol=1e-4, rtol=1e-4)


def test_a_matrix_of_zeros_stays_zero() -> None:
    assert torch.equal(orthogonalise(torch.zeros(2, 3, 5)), torch.zeros(2, 3, 5))


def test_matrices_that_are_orthogonalised_together_do_not_depend_on_each_other() -> None:
    matrices = (
        torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(1)) * torch.tensor([1.0, 1e-3, 0.0])[:, None, None]
    )
    apart = torch.cat([orthogonalise(matrix[None]) for matrix in matrices])
    torch.testing.assert_close(orthogonalise(matrices), apart)


def test_a_matrix_without_a_gradient_stays_while_another_of_its_shape_is_updated() -> None:
    torch.manual_seed(0)
    pair = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    before = [parameter.detach().clone() for parameter in pair.parameters()]
    optimiser = build(pair, Optimiser(lr=0.1, muon_lr=0.02, weight_decay=0.1))
    set_rate(optimiser, 1.0)
    pair[1].weight.grad = torch.randn(4, 4)
    optimiser.step()
    still, orthogonal = pair.parameters()
    assert torch.equal(still, before[0])
    assert not torch.equal(orthogonal, before[1])


def test_only_linear_layers_and_convolutions_with_several_outputs_are_trained_by_muon() -> None:
    network = Network()
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    groups = parameter_groups(network, Optimiser(lr=0.1, muon_lr=0.5, weight_decay=0.0))
    orthogonal = {names[id(p)]: group["base_lr"] for group in groups if group["orthogonal"] for p in group["params"]}  # type: ignore[attr-defined]
    rest = {names[id(p)]: group["base_lr"] for group in groups if not group["orthogonal"] for p in group["params"]}  # type: ignore[attr-defined]
    assert orthogonal == {"deep.weight": 0.5, "filter.weight": 0.5}
    assert set(rest.values()) == {0.1}
    assert orthogonal.keys() | rest.keys() == set(names.values())


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this PyTorch has no Muon")
def test_its_steps_are_those_of_pytorchs_own() -> None:
    torch.manual_seed(0)
    ours, theirs = nn.Linear(6, 9, bias=False), nn.Linear(6, 9, bias=False)
    theirs.load_state_dict(ours.state_dict())
    optimiser = build(ours, Optimiser(lr=0.1, muon_lr=0.02, weight_decay=0.1), torch.bfloat16)
    set_rate(optimiser, 1.0)
    reference = torch.optim.Muon(theirs.parameters(), lr=0.02, weight_decay=0.1, momentum=MOMENTUM)
    for _ in range(5):
        gradient = torch.randn(9, 6)
        ours.weight.grad, theirs.weight.grad = gradient.clone(), gradient.clone()
        optimiser.step()
        reference.step()
    torch.testing.assert_close(ours.weight, theirs.weight, atol=2e-4, rtol=0)


def test_the_steps_of_other_parameters_are_those_of_adamw() -> None:
    torch.manual_seed(0)
    network, twin = Network(), Network()
    twin.load_state_dict(network.state_dict())
    with_muon = build(network, Optimiser(lr=0.1, muon_lr=0.02, weight_decay=0.1))
    plain = build(twin, Optimiser(lr=0.1, weight_decay=0.1))
    assert isinstance(with_muon, Muon)
    for optimiser, parameters in ((with_muon, network.parameters()), (plain, twin.parameters())):
        set_rate(optimiser, 1.0)
        for parameter in parameters:
            parameter.grad = torch.ones_like(parameter)
        optimiser.step()
    torch.testing.assert_close(network.words.weight, twin.words.weight)
    torch.testing.assert_close(network.mask.weight, twin.mask.weight)
    assert not torch.allclose(network.deep.weight, twin.deep.weight)


def test_a_state_that_is_saved_and_loaded_continues_to_the_same_bits() -> None:
    def run(interrupted: bool) -> list[torch.Tensor]:
        torch.manual_seed(0)
        network = Network()
        optimiser = build(network, Optimiser(lr=0.1, muon_lr=0.02))
        set_rate(optimiser, 1.0)
        for step in range(4):
            if interrupted and step == 2:
                state = optimiser.state_dict()
                optimiser = build(network, Optimiser(lr=0.1, muon_lr=0.02))
                optimiser.load_state_dict(state)
            generator = torch.Generator().manual_seed(step)
            for parameter in network.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimiser.step()
        return [parameter.detach() for parameter in network.parameters()]

    for one, other in zip(run(False), run(True), strict=True):
        assert torch.equal(one, other)
