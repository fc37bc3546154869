"""CMPC against plain forms of its parts, and one scene learned by heart."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deixis import losses
from deixis.batch import Batch
from deixis.errors import InputError
from deixis.layers.temporal_reasoning import TemporalReasoning
from deixis.models.cmpc import (
    CLIP_LEVELS,
    CMPC,
    CMPCConfig,
    Comprehension,
    Exchange,
    LevelLSTM,
    TypedWords,
    Words,
)
from deixis.text.glove import WordConfig
from deixis.vision.i3d import I3DConfig
from deixis.vision.resnet import ResNetConfig

TINY = CMPCConfig(
    vision=ResNetConfig(depths=(1, 1, 1, 1), width=4, norms="trained"),
    text=WordConfig(vocabulary=20, embedding=12),
    width=16,
    fused_width=12,
    heads=2,
)


def linear(layer: Any, rows: np.ndarray) -> np.ndarray:
    product = rows @ layer.weight.detach().numpy().squeeze().T
    return product if layer.bias is None else product + layer.bias.detach().numpy()


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def softmax(scores: np.ndarray, axis: int = -1) -> np.ndarray:
    weights = np.exp(scores - scores.max(axis, keepdims=True))
    return weights / weights.sum(axis, keepdims=True)


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def whole_norm(norm: nn.GroupNorm, rows: np.ndarray) -> np.ndarray:
    """`[n d]`: over cells and channels together; scale and shift per channel."""
    scaled = (rows - rows.mean()) / np.sqrt(rows.var() + 1e-12)
    return scaled * norm.weight.detach().numpy() + norm.bias.detach().numpy()


def disturb(module: nn.Module) -> nn.Module:
    """Random scales and shifts of norms, in double precision."""
    with torch.no_grad():
        for weight in module.parameters():
            weight += 0.3 * torch.randn_like(weight)
    return module.double()


def test_a_level_perceives_entities_and_reasons_along_relations_as_in_the_literal_form() -> None:
    torch.manual_seed(0)
    layer: Any = disturb(Comprehension(6, 5, heads=3))
    visual, features = torch.randn(1, 6, 3, 4).double(), torch.randn(1, 5, 6).double()
    types = torch.rand(1, 5, 4).double().softmax(-1)
    mask = torch.tensor([[True, True, True, True, False]])
    entity = torch.randn(1, 6).double()
    words = Words(features, types, mask, entity, entity)
    found, edges = layer(visual, words)
    cells = visual[0].numpy().reshape(6, 12).T
    edges_and_centres = np.array(
        [
            (x / 2 - 1, 2 * y / 3 - 1, (x + 1) / 2 - 1, 2 * (y + 1) / 3 - 1, (x + 0.5) / 2 - 1, (2 * y + 1) / 3 - 1)
            for y in range(3)
            for x in range(4)
        ]
    )
    places = np.hstack([edges_and_centres, np.tile([1 / 4, 1 / 3], (12, 1))])
    l_ea, L = entity[0].numpy(), features[0, :4].numpy()
    A, B = linear(layer.cell_heads, np.hstack([cells, places])), linear(layer.word_heads, l_ea)
    heads = [np.tanh(A[:, 6 * h : 6 * h + 6]) * np.tanh(B[6 * h : 6 * h + 6]) for h in range(3)]
    M = unit(np.tanh(np.sum(heads, 0)))
    R = types[0, :4, 2].numpy() * (linear(layer.cell_key, M) @ linear(layer.word_key, L).T) / np.sqrt(6)
    adjacency = softmax(R, 1) @ softmax(R, 0).T
    hidden = np.maximum(M + whole_norm(layer.message_norm.norm, adjacency @ M), 0)
    G = unit(np.maximum(whole_norm(layer.graph_norm.norm, linear(layer.graph, hidden)), 0))
    fused = np.maximum(linear(layer.fuse, np.hstack([M, G, np.tile(l_ea, (12, 1)), places])), 0)
    np.testing.assert_allclose(found[0].detach().numpy().reshape(5, 12).T, fused, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(edges[0, :, :4].detach(), softmax(R, 1), rtol=1e-6)
    assert not edges[0, :, 4].any()


def test_levels_exchange_as_in_the_literal_form() -> None:
    torch.manual_seed(1)
    layer: Any = Exchange(5, 7, 2).double()
    own, second, third = torch.randn(3, 1, 5, 2, 3).double().unbind(0)
    sentence = torch.randn(1, 7).double()
    rows, *others = (each[0].numpy().reshape(5, 6).T for each in (own, second, third))
    l_all = sentence[0].numpy()
    a = softmax(linear(layer.cell_key, rows) @ linear(layer.word_key, l_all) / np.sqrt(5))
    g = unit(linear(layer.context, np.hstack([a @ rows, l_all])))
    total = rows.copy()
    for gate, value, other in zip(layer.gates, layer.values, others, strict=True):
        total += sigmoid(linear(gate, g)) * np.maximum(linear(value, other), 0)
    found = layer(own, [second, third], sentence)[0].detach().numpy().reshape(5, 6).T
    np.testing.assert_allclose(found, unit(total), rtol=1e-9)


def test_the_convolutional_lstm_reads_the_levels_as_in_the_literal_form() -> None:
    torch.manual_seed(2)
    layer: Any = disturb(LevelLSTM(4))
    maps = list(torch.randn(3, 1, 4, 2, 3).double())
    c = h = np.zeros((6, 4))
    p_i, p_f, p_o = layer.peepholes.detach().numpy()
    n_j, n_i, n_f, n_o, n_c = layer.norms
    for level in maps:
        x = level[0].numpy().reshape(4, 6).T
        j, i, f, o = np.split(linear(layer.conv, np.hstack([x, h])), 4, axis=1)
        i, f = i + p_i * c, f + p_f * c
        c = c * sigmoid(whole_norm(n_f, f) + 1) + sigmoid(whole_norm(n_i, i)) * np.tanh(whole_norm(n_j, j))
        o = o + p_o * c
        c = whole_norm(n_c, c)
        h = sigmoid(whole_norm(n_o, o)) * np.tanh(c)
    np.testing.assert_allclose(layer(maps)[0].detach().numpy().reshape(4, 6).T, h, rtol=1e-8)


def test_words_are_summed_by_what_they_are() -> None:
    torch.manual_seed(3)
    layer: Any = TypedWords(TINY.text, 6, 5).double()
    ids, mask = torch.tensor([[3, 7, 4, 0]]), torch.tensor([[True, True, True, False]])
    _, words = layer(ids, mask)
    L = words.features[0, :3].detach().numpy()
    np.testing.assert_allclose(np.linalg.norm(L, axis=1), 1)
    P = softmax(linear(layer.kinds[2], np.maximum(linear(layer.kinds[0], L), 0)))
    np.testing.assert_allclose(words.entity[0].detach(), unit((P[:, 0] + P[:, 1]) @ L), rtol=1e-9)
    np.testing.assert_allclose(words.sentence[0].detach(), unit((1 - P[:, 3]) @ L), rtol=1e-9)


def test_frames_are_a_graph_as_in_the_literal_form() -> None:
    torch.manual_seed(4)
    layer: Any = disturb(TemporalReasoning(6))
    frames, action, cells = torch.randn(1, 3, 4, 6).double(), torch.randn(1, 6).double(), torch.randn(1, 4, 6).double()
    M, l_ac = frames[0].numpy(), action[0].numpy()
    a = [softmax(linear(layer.pool_key, each) @ linear(layer.action_key, l_ac) / np.sqrt(6)) for each in M]
    v = np.stack([weights @ each for weights, each in zip(a, M, strict=True)])
    adjacency = softmax(linear(layer.node_query, v) @ linear(layer.node_key, v).T / np.sqrt(6))
    hidden = np.maximum(v + whole_norm(layer.message_norm.norm, adjacency @ v), 0)
    u = unit(np.maximum(whole_norm(layer.graph_norm.norm, linear(layer.graph, hidden)), 0))
    weights = softmax(linear(layer.cell_query, cells[0].numpy()) @ linear(layer.frame_key, u).T / np.sqrt(6))
    np.testing.assert_allclose(layer(frames, action, cells)[0].detach(), unit(weights @ u), rtol=1e-6, atol=1e-9)


def test_of_clips_words_are_also_actions() -> None:
    torch.manual_seed(3)
    layer: Any = TypedWords(TINY.text, 6, 5, 5).double()
    _, words = layer(torch.tensor([[3, 7, 0]]), torch.tensor([[True, True, False]]))
    L, P = words.features[0, :2].detach().numpy(), words.types[0, :2].detach().numpy()
    np.testing.assert_allclose(words.action[0].detach(), unit(P[:, 3] @ L), rtol=1e-9)
    np.testing.assert_allclose(words.sentence[0].detach(), unit((1 - P[:, 4]) @ L), rtol=1e-9)


def test_of_clips_frames_are_the_time_steps_of_each_level_and_the_target_is_their_mean() -> None:
    torch.manual_seed(0)
    model = replace(TINY, vision=I3DConfig(levels=CLIP_LEVELS, width=4)).build().eval()
    encoded = model.encode_images(torch.randn(2, 8, 3, 64, 64))
    assert [tuple(each.shape) for each in encoded.frames] == [(2, steps, 16, 8, 8) for steps in (4, 2, 1)]
    assert [tuple(each.shape) for each in encoded.maps] == [(2, 16, 8, 8)] * 3
    torch.testing.assert_close(encoded.maps[2], encoded.frames[2][:, 0])
    norms = [each.norm(dim=2) for each in encoded.frames]
    assert all(torch.allclose(each, torch.ones_like(each), atol=1e-4) for each in norms)


def test_the_default_of_clips_is_the_published_fusion() -> None:
    with torch.device("meta"):
        model: Any = CMPC(CMPCConfig(vision=I3DConfig(levels=CLIP_LEVELS)))
    assert model.levels[0].fuse.in_features == 4008
    with pytest.raises(InputError, match="CMPC-V reads 3 levels of I3D"):
        CMPCConfig(vision=I3DConfig())


def test_the_loss_weighs_the_answer_and_the_levels() -> None:
    torch.manual_seed(0)
    model = TINY.build().eval()
    output = model(scene(), features=model.loss_features)
    _, *levels = output.features["responses"]
    masks = scene().masks
    assert masks is not None
    assert len(levels) == 3
    enlarged = [F.interpolate(each[:, None], size=(64, 64), mode="bilinear")[:, 0] for each in levels]
    expected = 0.7 * losses.bce(output.logits, masks) + 0.1 * sum(losses.bce(each, masks) for each in enlarged)
    torch.testing.assert_close(torch.stack(list(model.loss(scene(), output).values())).sum(), expected)


def test_the_default_is_the_published_network() -> None:
    with torch.device("meta"):
        model: Any = CMPC(CMPCConfig())
    assert model.levels[0].fuse.in_features == 3008
    assert model.exchanges[0][0].context.in_features == 1500
    assert (len(model.levels), len(model.exchanges), model.merge.conv.out_channels) == (3, 2, 2000)
    assert model.feature_widths == {"query": 1000, "embeddings": 300}


def test_a_wrong_config_is_one_sentence() -> None:
    for change in ({"width": 0}, {"fused_width": 0}, {"heads": 0}, {"rounds": 0}, {"level_weight": -1.0}):
        with pytest.raises(InputError, match=r"CMPC's .* expected"):
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
        terms = model.loss(scene(), model(scene(), features=model.loss_features))
        torch.stack(list(terms.values())).sum().backward()
        optimiser.step()
    assert iou(model(scene()).logits, scene()).min() > 0.7
    swapped = replace(scene(), token_ids=scene().token_ids.flip(0))
    assert iou(model(swapped).logits.flip(0), scene()).min() > 0.7


def iou(logits: Tensor, given: Batch) -> Tensor:
    assert given.masks is not None
    found, right = logits.flatten(1) > 0, given.masks.flatten(1)
    return (found & right).sum(1) / (found | right).sum(1)
