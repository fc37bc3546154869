"""CMSA against plain forms of its parts, and one scene learned by heart."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deixis.batch import Batch
from deixis.errors import InputError
from deixis.models.cmsa import CMSA, CMSAConfig, LevelGate, PairAttention, PairLinear
from deixis.text.glove import WordConfig
from deixis.vision.resnet import ResNetConfig

TINY = CMSAConfig(
    vision=ResNetConfig(depths=(1, 1, 1, 1), width=4, norms="trained"),
    text=WordConfig(vocabulary=20, embedding=12),
    width=16,
    narrowed=(8, 8),
    attention_widths=(8, 8, 8),
    fused_width=12,
)


def relu_linear(layer: nn.Linear, rows: np.ndarray) -> np.ndarray:
    return np.maximum(rows @ layer.weight.detach().numpy().T + layer.bias.detach().numpy(), 0)


def pooled(values: np.ndarray) -> np.ndarray:
    """Maxima over blocks of two words, rows and columns; what is left over at an end is a block of its own."""
    words, height, width, _ = values.shape
    blocks = [
        values[word : word + 2, y : y + 2, x : x + 2].max((0, 1, 2))
        for word in range(0, words, 2)
        for y in range(0, height, 2)
        for x in range(0, width, 2)
    ]
    return np.stack(blocks)


def literal(layer: PairAttention, V: np.ndarray, words: np.ndarray) -> np.ndarray:
    """One expression without padding; V `[c y x]`, words `[l d]`. Every pair is built."""
    (_, height, width), length = V.shape, len(words)
    pairs = np.zeros((length, height, width, len(V) + words.shape[1] + 8))
    for t, word in enumerate(words):
        for y in range(height):
            for x in range(width):
                edges = [2 * x / width - 1, 2 * y / height - 1, 2 * (x + 1) / width - 1, 2 * (y + 1) / height - 1]
                centre = [(edges[0] + edges[2]) / 2, (edges[1] + edges[3]) / 2]
                pairs[t, y, x] = [*V[:, y, x], *word, *edges, *centre, 1 / width, 1 / height]
    if layer.narrow is not None:
        pairs = relu_linear(layer.narrow, pairs)
    theta, phi, g = (relu_linear(each, pairs) for each in (layer.query, layer.key, layer.value))  # type: ignore[arg-type]
    scores = theta.reshape(-1, theta.shape[-1]) @ pooled(phi).T
    weights = np.exp(scores - scores.max(1, keepdims=True))
    gathered = (weights / weights.sum(1, keepdims=True)) @ pooled(g)
    out = relu_linear(layer.out, gathered).reshape(pairs.shape) + pairs
    return relu_linear(layer.fuse, out.mean(0)).transpose(2, 0, 1)


@pytest.mark.parametrize("narrowed", [None, 6], ids=["coarsest", "narrowed"])
@pytest.mark.parametrize("size", [(4, 6), (3, 5)], ids=str)
def test_pairs_attend_to_each_other_as_in_the_literal_form(narrowed: int | None, size: tuple[int, int]) -> None:
    torch.manual_seed(2)
    layer = PairAttention(5, 7, narrowed, 4, 3).double()
    visual, words = torch.randn(1, 5, *size).double(), torch.randn(1, 6, 7).double()
    mask = torch.tensor([[True, True, True, True, True, False]])
    found, activity = layer(visual, words, mask)
    expected = literal(layer, visual[0].numpy(), words[0, :5].numpy())
    np.testing.assert_allclose(found[0].detach(), expected, rtol=1e-9, atol=1e-12)
    assert activity.shape == (1, 6, *size)
    assert not activity[0, 5].any()


def test_a_layer_of_parts_is_that_of_their_concatenation() -> None:
    torch.manual_seed(0)
    layer = PairLinear((3, 4, 8), 5)
    parts = torch.randn(2, 1, 6, 3), torch.randn(2, 7, 1, 4), torch.randn(1, 1, 6, 8)
    whole = torch.cat([part.expand(2, 7, 6, -1) for part in parts], dim=-1)
    torch.testing.assert_close(layer(parts), F.linear(whole, layer.weight, layer.bias))


def test_a_level_takes_from_the_others_by_its_gates() -> None:
    torch.manual_seed(1)
    gate = LevelGate(3).double()
    own, second, third = torch.randn(3, 1, 3, 4, 5).double().unbind(0)
    i, f, r = np.split(gate.conv(own).detach().numpy(), 3, axis=1)
    f, r = 1 / (1 + np.exp(-f - 1)), 1 / (1 + np.exp(-r - 1))
    c = 0.5 * f * second.numpy() + 0.5 * f * third.numpy() + (1 - f) * i
    np.testing.assert_allclose(gate(own, second, third).detach(), r * np.tanh(c) + (1 - r) * own.numpy(), rtol=1e-10)


def test_the_order_of_the_other_levels_is_that_of_the_paper() -> None:
    """C5 takes from C4 and C3, C4 from C5 and C3, C3 from C5 and C4."""
    seen: list[tuple[float, ...]] = []
    model = TINY.build()
    for gate in model.gates:
        gate.register_forward_pre_hook(lambda _, given: seen.append(tuple(each.mean().item() for each in given)))
    model._fused([torch.full((1, 12, 2, 2), float(stage)) for stage in (3, 4, 5)])
    assert seen == [(3, 5, 4), (4, 5, 3), (5, 4, 3)]


def test_the_default_is_the_published_network() -> None:
    with torch.device("meta"):
        model = CMSA(CMSAConfig())
    sizes = [(each.out.in_features, each.out.out_features) for each in model.attention]  # type: ignore[union-attr]
    assert sizes == [(64, 128), (128, 256), (512, 2008)]
    assert [model.attention[k].narrow.in_features for k in (0, 1)] == [1520, 2032]  # type: ignore[union-attr]
    assert model.feature_widths == {"query": 1000, "embeddings": 300}


def test_a_wrong_config_is_one_sentence() -> None:
    for change in ({"width": 0}, {"fused_width": 0}, {"narrowed": (8,)}, {"attention_widths": (8, 0, 8)}):
        with pytest.raises(InputError, match=r"CMSA's .* expected"):
            replace(TINY, **change)  # type: ignore[arg-type]


def scene() -> Batch:
    """Two squares on one image, and an expression for each."""
    image = torch.full((3, 64, 64), -1.0)
    masks = torch.zeros(2, 64, 64, dtype=torch.bool)
    masks[0, 8:32, 8:32] = masks[1, 32:56, 32:56] = True
    image[0, masks[0]] = image[2, masks[1]] = 2.0
    return Batch(
        images=image[None, None],
        token_ids=torch.tensor([[2, 3], [2, 4]]),
        token_mask=torch.ones(2, 2, dtype=torch.bool),
        masks=masks,
        image_index=torch.tensor([0, 0]),
    )


@pytest.mark.slow
def test_it_learns_one_scene_by_heart() -> None:
    torch.manual_seed(0)
    model = TINY.build().train()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(80):
        optimiser.zero_grad()
        model.loss(scene(), model(scene()))["mask"].backward()
        optimiser.step()
    assert iou(model(scene()).logits, scene()).min() > 0.7
    swapped = replace(scene(), token_ids=scene().token_ids.flip(0))
    assert iou(model(swapped).logits.flip(0), scene()).min() > 0.7


def iou(logits: Tensor, given: Batch) -> Tensor:
    assert given.masks is not None
    found, right = logits.flatten(1) > 0, given.masks.flatten(1)
    return (found & right).sum(1) / (found | right).sum(1)
