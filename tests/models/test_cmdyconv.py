"""The reconstruction of CMDyConv against plain loops of its parts, and one scene learned by heart."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deixis.batch import Batch
from deixis.errors import InputError
from deixis.losses import cell_masks
from deixis.models.cmdyconv import CMDyConvConfig, ConvolutionalLSTM, DynamicConvolution
from deixis.text.gru import GRUConfig
from deixis.vision.i3d import CONSECUTIVE, I3DConfig

TINY = CMDyConvConfig(
    vision=I3DConfig(levels=("Mixed_3c",), width=4, norms="trained"),
    text=GRUConfig(vocabulary=20, embedding=6, width=8),
    width=8,
    groups=2,
    rounds=2,
    decoder_width=8,
)


def test_each_cell_and_group_has_a_kernel_as_in_plain_loops() -> None:
    torch.manual_seed(0)
    layer: Any = DynamicConvolution(4, 3, groups=2).double().eval()
    nn.init.normal_(layer.norm.running_mean)
    maps, sentence = torch.randn(1, 4, 3, 5).double(), torch.randn(1, 3).double()
    words = sentence[..., None, None].expand(-1, -1, 3, 5)
    hidden = F.relu(layer.reduce(torch.cat([layer.surroundings(maps), words], dim=1)))
    kernels = layer.kernels(hidden)[0].detach().numpy().reshape(2, 3, 3, 3, 5)
    padded = np.pad(maps[0].numpy(), ((0, 0), (1, 1), (1, 1)))
    Y = np.zeros((4, 3, 5))
    for c in range(4):
        for y in range(3):
            for x in range(5):
                Y[c, y, x] = (kernels[c // 2, :, :, y, x] * padded[c, y : y + 3, x : x + 3]).sum()
    expected = maps + F.relu(layer.norm(layer.mix(torch.from_numpy(Y)[None])))
    found, strength = layer(maps, sentence)
    torch.testing.assert_close(found, expected)
    np.testing.assert_allclose(strength[0].detach(), np.sqrt((kernels**2).sum((0, 1, 2))))


def test_the_last_state_of_the_convolutional_lstm_is_that_of_the_equations() -> None:
    torch.manual_seed(1)
    layer: Any = ConvolutionalLSTM(3, 2).double()
    frames = torch.randn(1, 3, 3, 2, 4).double()
    h = c = torch.zeros(1, 2, 2, 4).double()
    for x in frames.unbind(1):
        i, f, g, o = (layer.given(x) + layer.recurrent(h)).split(2, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
    torch.testing.assert_close(layer(frames), h)


def test_the_loss_weighs_the_foreground() -> None:
    torch.manual_seed(0)
    model, given = TINY.build().eval(), scene()
    output = model(given, features=model.loss_features)
    (response,) = output.features["responses"]
    assert given.masks is not None
    s = response.detach().double().sigmoid().numpy()
    a = cell_masks(given.masks, response.shape[1:]).numpy()
    expected = -(1.5 * a * np.log(s) + (1 - a) * np.log(1 - s)).mean()
    assert model.loss(given, output)["mask"].item() == pytest.approx(expected, rel=1e-5)


def test_a_wrong_config_is_one_sentence() -> None:
    for change in ({"width": 0}, {"groups": 3}, {"rounds": 0}, {"foreground_weight": 0.0}):
        with pytest.raises(InputError, match=r"CMDyConv's .* expected"):
            replace(TINY, **change)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="reads one level of I3D, not 5"):
        replace(TINY, vision=I3DConfig(levels=CONSECUTIVE))


def scene() -> Batch:
    """Two squares in one clip, and an expression for each."""
    image = torch.full((3, 64, 64), -1.0)
    masks = torch.zeros(2, 64, 64, dtype=torch.bool)
    masks[0, 8:32, 8:32] = masks[1, 32:56, 32:56] = True
    image[0, masks[0]] = image[2, masks[1]] = 2.0
    return Batch(
        images=image[None, None].expand(-1, 2, -1, -1, -1),
        token_ids=torch.tensor([[2, 3], [2, 4]]),
        token_mask=torch.ones(2, 2, dtype=torch.bool),
        masks=masks,
        image_index=torch.tensor([0, 0]),
    )


@pytest.mark.slow
def test_it_learns_one_scene_by_heart() -> None:
    torch.manual_seed(0)
    wider = I3DConfig(levels=("Mixed_3c",), width=8, norms="trained")
    model = replace(TINY, vision=wider).build().train()
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(90):
        optimiser.zero_grad()
        model.loss(scene(), model(scene(), features=model.loss_features))["mask"].backward()
        optimiser.step()
    assert iou(model(scene()).logits, scene()).min() > 0.7
    swapped = replace(scene(), token_ids=scene().token_ids.flip(0))
    assert iou(model(swapped).logits.flip(0), scene()).min() > 0.7


def iou(logits: Tensor, given: Batch) -> Tensor:
    assert given.masks is not None
    scores = logits.sigmoid().flatten(1)
    found, right = scores > scores.amax(1, keepdim=True) / 2, given.masks.flatten(1)
    return (found & right).sum(1) / (found | right).sum(1)
