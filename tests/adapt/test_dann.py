"""DANN: the discriminator's loss against NumPy, and the reversed gradient."""

import numpy as np
import pytest
import torch
from torch import nn

from deixis.adapt.dann import domain_loss


def test_the_loss_is_the_mean_of_both_domains_cross_entropies() -> None:
    torch.manual_seed(0)
    discriminator, source, target = nn.Linear(3, 1), torch.randn(5, 3), torch.randn(2, 3)
    s, t = (1 / (1 + np.exp(-discriminator(rows).detach().numpy())) for rows in (source, target))
    expected = (-np.log(s).mean() - np.log(1 - t).mean()) / 2
    assert domain_loss(discriminator, (source, target), 0.5).item() == pytest.approx(expected, rel=1e-5)


def test_features_get_the_reversed_gradient_and_the_discriminator_its_own() -> None:
    torch.manual_seed(0)
    discriminator, source, target = nn.Linear(3, 1), torch.randn(5, 3, requires_grad=True), torch.randn(2, 3)
    plain = (
        nn.functional.softplus(-discriminator(source)).mean() + nn.functional.softplus(discriminator(target)).mean()
    ) / 2
    of_rows, of_weight = torch.autograd.grad(plain, (source, discriminator.weight))
    reversed_rows, own = torch.autograd.grad(
        domain_loss(discriminator, (source, target), 0.25), (source, discriminator.weight)
    )
    torch.testing.assert_close(reversed_rows, -0.25 * of_rows)
    torch.testing.assert_close(own, of_weight)
