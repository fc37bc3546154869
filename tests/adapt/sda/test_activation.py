"""Activation maps and the random walk on superpixels against NumPy and loops."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from deixis.adapt.sda.activation import (
    STRIDE,
    ActivationOptions,
    activation_maps,
    category_maps,
    strongest,
)
from deixis.adapt.sda.classifier import CategoryClassifier, CategoryClassifierConfig, log_odds, multilabel
from deixis.adapt.sda.superpixel_walk import refined, touching, transition
from deixis.errors import InputError
from deixis.vision.resnet import ResNetConfig

OPTIONS = ActivationOptions(scales=(1.0,))
CONFIG = CategoryClassifierConfig(vision=ResNetConfig(depths=(1, 1, 1, 1), width=4, norms="trained"), most=5)


def classifier() -> CategoryClassifier:
    torch.manual_seed(0)
    return CategoryClassifier(CONFIG).eval()


def test_equation_12_is_a_sum_over_the_categories_that_there_are() -> None:
    scores, labels = torch.randn(2, 5).double(), torch.tensor([[True, False, True], [False, False, True]])
    y, p = labels.numpy(), 1 / (1 + np.exp(-scores.numpy()[:, :3]))
    expected = -(y * np.log(p) + (1 - y) * np.log(1 - p)).sum(1).mean()
    assert multilabel(scores, labels).item() == pytest.approx(expected)
    assert multilabel(scores[:0], labels[:0]).item() == 0


def test_the_bias_starts_at_the_log_odds_of_the_categories() -> None:
    labels = torch.tensor([[True, False, True], [False, False, True], [False, False, True], [False, False, True]])
    p = np.array([1, 0.5, 3.5]) / 4  # in no image or in all of them it has finite odds
    np.testing.assert_allclose(log_odds(labels), np.log(p / (1 - p)), rtol=1e-5)


def test_a_rare_category_has_a_map_where_its_image_shows_it() -> None:
    labels = torch.eye(20, dtype=torch.bool)  # each category is in one of twenty images
    cells = torch.eye(20) + 0.5  # features that are positive everywhere, and largest where the category is
    maps = {}
    for start, bias in (("zero", torch.zeros(20)), ("log-odds", log_odds(labels))):
        weight, bias = torch.zeros(20, 20), bias.clone()
        for _ in range(20):
            weight, bias = weight.requires_grad_(), bias.requires_grad_()
            steps = torch.autograd.grad(multilabel(cells @ weight.T + bias, labels), [weight, bias])
            weight, bias = (each.detach() - 0.1 * step for each, step in zip((weight, bias), steps, strict=True))
        maps[start] = (cells @ weight.T).diagonal()
    assert (maps["zero"] < 0).all()  # ReLU leaves nothing
    assert (maps["log-odds"] > 0).all()


def test_the_maps_have_stride_16_before_and_4_after() -> None:
    net = classifier()
    assert net.stages(torch.randn(1, 3, 64, 96))[-1].shape[-2:] == (4, 6)
    maps = activation_maps(net, torch.randn(1, 3, 64, 96), torch.ones(1, 3, dtype=torch.bool), (1.0, 0.5))
    assert maps.shape == (1, 3, 64 // STRIDE, 96 // STRIDE)


def test_maps_are_positive_have_a_maximum_of_one_and_are_zero_for_other_categories_and_on_padding() -> None:
    images = torch.randn(1, 3, 64, 64)
    images[..., 32:] = 0  # padding at the right
    maps = activation_maps(classifier(), images, torch.tensor([[True, False, True]]), (1.0,))[0]
    assert not maps[1].any()
    assert not maps[:, :, 8:].any()
    assert maps.min() >= 0
    for each in (maps[0], maps[2]):
        assert not each.any() or each.max().item() == pytest.approx(1, abs=1e-3)


def test_a_flipped_image_has_flipped_maps() -> None:
    images, labels = torch.randn(1, 3, 64, 64), torch.ones(1, 3, dtype=torch.bool)
    first, second = (activation_maps(classifier(), each, labels, (1.0,)) for each in (images, images.flip(-1)))
    torch.testing.assert_close(first, second.flip(-1), atol=1e-5, rtol=1e-4)


def test_the_strongest_own_category_competes_with_the_background() -> None:
    scores = np.array([[[0.2, 0.3, 0.9]], [[0.9, 0.1, 0.8]], [[0.1, 0.4, 0.1]]])
    found = strongest(scores, np.array([True, False, True]), OPTIONS.background)
    assert found.tolist() == [[0, 3, 1]]


def test_regions_touch_across_an_edge_of_a_pixel_and_not_across_padding() -> None:
    nodes = np.array([[0, 0, 1], [2, -1, 1], [3, -1, 1]])
    expected = np.zeros((4, 4), bool)
    for first, second in ((0, 1), (0, 2), (2, 3)):
        expected[first, second] = expected[second, first] = True
    assert (touching(nodes, 4) == expected).all()


def test_steps_of_the_walk_are_as_settled() -> None:
    draw = np.random.default_rng(0)
    adjacent = np.array([[False, True, False], [True, False, True], [False, True, False]])
    lab, c4 = draw.normal(size=(3, 3)), draw.uniform(0.1, 1, size=(3, 4))
    found = transition(adjacent, lab, c4, 10.0)
    median = np.median([((lab[i] - lab[j]) ** 2).sum() for i, j in ((0, 1), (1, 0), (1, 2), (2, 1))])
    a = np.eye(3)
    for i, j in ((0, 1), (1, 0), (1, 2), (2, 1)):
        cosine = c4[i] @ c4[j] / np.linalg.norm(c4[i]) / np.linalg.norm(c4[j])
        a[i, j] = np.exp(-((lab[i] - lab[j]) ** 2).sum() / (2 * median)) * max(cosine, 0)
    np.testing.assert_allclose(found, a**10 / (a**10).sum(1, keepdims=True))


def test_the_walk_fills_regions_of_one_colour_and_stops_at_another() -> None:
    regions = np.repeat(np.repeat(np.arange(16).reshape(4, 4), 8, 0), 8, 1)
    colours = np.zeros((32, 32, 3))
    colours[:, 16:] = 80.0
    maps = np.zeros((1, 8, 8))
    maps[0, :2, :2] = 1.0  # a seed in the first region
    walked = refined(maps, regions, colours, torch.ones(2, 4, 4))[0]
    # A seed that spreads equally over the eight regions at the left is everywhere the largest there.
    assert walked[:, :4].min() > 0.9
    assert walked[:, 4:].max() < 0.1


def test_without_refinement_the_maps_compete_as_they_are() -> None:
    images, labels = torch.randn(1, 3, 64, 64), torch.tensor([[True, True, False]])
    net = classifier()
    maps = activation_maps(net, images, labels, (1.0,))[0].detach().numpy()
    found = category_maps(net, images, labels, replace(OPTIONS, refinement="none"))[0]
    np.testing.assert_array_equal(found, np.where(maps[:2].max(0) > 0.25, maps[:2].argmax(0) + 1, 0))


@pytest.mark.parametrize("change", [{"scales": ()}, {"background": 1.0}, {"exponent": 0.0}], ids=str)
def test_wrong_options_are_one_sentence(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match="expected one scale or more"):
        replace(OPTIONS, **change)  # type: ignore[arg-type]
