"""The moving average against its formula, and its mode when a parent is set to train."""

import pytest
import torch
from torch import nn

from deixis.layers.moving_average import MovingAverage, warmed_decay


def test_the_average_follows_its_formula_and_leaves_the_weights_alone() -> None:
    network = nn.Linear(1, 1, bias=False)
    average = MovingAverage(network)
    expected = network.weight.item()
    for step in range(1, 150):
        with torch.no_grad():
            network.weight.fill_(float(step))
        average.update(network, decay := warmed_decay(0.9, step))
        assert decay == min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert average.network.weight.item() == pytest.approx(expected, rel=1e-5)
    assert network.weight.item() == 149.0


def test_it_stays_in_eval_mode_when_its_parent_is_set_to_train() -> None:
    parent = nn.ModuleList([MovingAverage(nn.Sequential(nn.Dropout(0.5), nn.Linear(2, 2)))])
    parent.train()
    assert parent.training
    assert not any(module.training for module in parent[0].modules())


def test_it_runs_without_gradients() -> None:
    average = MovingAverage(nn.Linear(2, 2))
    assert not average(torch.ones(1, 2)).requires_grad
    assert not any(parameter.requires_grad for parameter in average.parameters())


def test_statistics_of_batch_norms_are_copied_and_weights_that_do_not_change_stay_exact() -> None:
    network = nn.BatchNorm1d(2)
    average = MovingAverage(network)
    network(torch.tensor([[1.0, 2.0], [3.0, 6.0]]))
    average.update(network, 0.5)
    assert torch.equal(average.network.running_mean, network.running_mean)
    assert average.network.num_batches_tracked == 1
    assert torch.equal(average.network.weight, network.weight)


def test_the_names_of_its_weights_are_those_of_the_network() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    assert MovingAverage(network).network.state_dict().keys() == network.state_dict().keys()
