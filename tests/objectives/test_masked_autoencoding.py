"""Masked autoencoding: its loss against a loop over patches, what it hides from the encoder, and training."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from deixis.batch import Batch
from deixis.errors import InputError
from deixis.models.masked_autoencoder import MaskedAutoencoder, MaskedAutoencoderConfig
from deixis.objectives.masked_autoencoding import (
    MaskedAutoencoding,
    MaskedAutoencodingConfig,
    normalised_patches,
)
from deixis.vision.vit import ViTConfig

TINY = MaskedAutoencoderConfig(
    vision=ViTConfig(layers=1, width=16, heads=2, patch=4, grid=4, drop_path=0.0), layers=1, width=12, heads=3
)


@pytest.fixture
def objective() -> MaskedAutoencoding:
    torch.manual_seed(0)
    return MaskedAutoencoding(MaskedAutoencoder(TINY))


def batch(size: int = 16) -> Batch:
    images = torch.randn(3, 1, 3, size, size, generator=torch.Generator().manual_seed(1))
    return Batch(images=images, token_ids=torch.zeros(3, 2, dtype=torch.long), token_mask=torch.ones(3, 2) > 0)


def test_a_patch_is_normalised_by_its_own_pixels() -> None:
    image = batch().images[:1, 0]
    corner = image[0, :, 4:8, 8:12].permute(1, 2, 0).reshape(-1).numpy()  # the patch in row 1 and column 2
    expected = (corner - corner.mean()) / np.sqrt(corner.var(ddof=1) + 1e-6)
    np.testing.assert_allclose(normalised_patches(image, 4)[0, 1 * 4 + 2], expected, atol=1e-5)


def test_the_loss_is_the_squared_error_of_the_removed_patches(objective: MaskedAutoencoding) -> None:
    objective.eval()
    given = batch()
    order = torch.rand(3, 16, generator=torch.Generator().manual_seed(0)).argsort(1)
    painted = objective.system(given.images[:, 0], order[:, :4])
    target = normalised_patches(given.images[:, 0], 4)
    errors = [
        (painted[image, patch] - target[image, patch]).square().mean()
        for image in range(3)
        for patch in order[image, 4:].tolist()
    ]
    found = objective.terms(given, 0)
    torch.testing.assert_close(found["reconstruction"], torch.stack(errors).mean())
    torch.testing.assert_close(objective.terms(given, 5)["reconstruction"], found["reconstruction"])


def test_removed_pixels_do_not_reach_the_painting(objective: MaskedAutoencoding) -> None:
    images = batch().images[:, 0]
    kept = torch.tensor([[0, 5]]).expand(3, -1)
    changed = images.clone()
    changed[:, :, 12:, 12:] += 7  # the last patch
    painted = objective.system(images, kept)
    torch.testing.assert_close(objective.system(changed, kept), painted, rtol=0, atol=0)
    changed[:, :, :4, :4] += 7  # the first one
    assert not torch.allclose(objective.system(changed, kept), painted)


def test_training_removes_other_patches_each_time_and_learns(objective: MaskedAutoencoding) -> None:
    flat = batch()
    ramp = torch.linspace(-1, 1, 16)[None, None, None, None].expand(3, 1, 3, 16, 16)
    given = replace(flat, images=ramp.contiguous())
    optimiser = torch.optim.AdamW(objective.parameters(), lr=1e-2)
    losses = []
    for step in range(40):
        loss = objective.terms(given, step)["reconstruction"]
        losses.append(float(loss.detach()))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert losses[-1] < 0.2 * losses[0]
    assert all(each.grad is not None for each in objective.parameters())


def test_a_card_takes_the_encoder_alone() -> None:
    assert TINY.publishes == ("vision.*",)


def test_impossible_settings_are_one_sentence(objective: MaskedAutoencoding) -> None:
    with pytest.raises(InputError, match=r"The removed fraction is 1\.0; expected a number between 0 and 1"):
        MaskedAutoencodingConfig(removed=1.0)
    with pytest.raises(InputError, match="expected positive numbers, and a width that 4 and the heads divide"):
        replace(TINY, width=10)
    with pytest.raises(InputError, match="have no whole number of patches of 4"):
        objective.terms(batch(18), 0)
