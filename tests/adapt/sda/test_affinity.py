"""IRN's and PSA's affinities, their labels and loss, and the random walks, against loops in NumPy."""

from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from deixis.adapt.sda.activation import ActivationOptions, category_maps
from deixis.adapt.sda.affinity import (
    AffinityConfig,
    AffinityKind,
    AffinityNetwork,
    line,
    offsets,
    pair,
    trained_affinity,
)
from deixis.adapt.sda.affinity_labels import (
    IGNORED,
    RADIUS,
    AffinityLossConfig,
    affinity_loss,
    cell_labels,
    corrected,
    pair_sums,
)
from deixis.adapt.sda.classifier import CategoryClassifier, CategoryClassifierConfig
from deixis.adapt.sda.walk import boundary_walk, feature_walk
from deixis.errors import InputError, ModelError
from deixis.vision.resnet import ResNetConfig

CLASSIFIER = CategoryClassifierConfig(vision=ResNetConfig(depths=(1, 1, 1, 1), width=4, norms="trained"), most=5)
KINDS: tuple[AffinityKind, ...] = ("boundary-walk", "feature-walk")
SIZE = (6, 7)
CELLS = [*product(range(SIZE[0]), range(SIZE[1]))]


def network(kind: AffinityKind) -> AffinityNetwork:
    torch.manual_seed(0)
    return AffinityConfig(classifier=CLASSIFIER, kind=kind).build().eval()


def described(kind: AffinityKind) -> torch.Tensor:
    """What a head could give for cells of `SIZE`."""
    draw = torch.Generator().manual_seed(1)
    return torch.rand(1, 1 if kind == "boundary-walk" else 8, *SIZE, generator=draw)


def between(first: tuple[int, int], second: tuple[int, int]) -> list[tuple[int, int]]:
    """The cells on the line, one for each step along its longer side."""
    steps = max(abs(second[0] - first[0]), abs(second[1] - first[1]))
    exact = [np.add(first, np.subtract(second, first) * step / steps) for step in range(steps + 1)]
    rounded = [np.sign(each - first) * np.floor(np.abs(each - first) + 0.5) + first for each in exact]
    return [(int(row), int(column)) for row, column in rounded]


def affinity(kind: AffinityKind, values: np.ndarray, first: tuple[int, int], second: tuple[int, int]) -> float:
    """Of two cells, in the order in which the half disc has them."""
    if kind == "feature-walk":
        return float(np.exp(-np.abs(values[:, *first] - values[:, *second]).mean()))
    return 1 - max(float(values[0, *cell]) for cell in between(first, second))


def pairs(radius: float) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """All pairs of cells nearer than the radius, each once."""
    return [
        (first, second)
        for first, second in product(CELLS, CELLS)
        if first < second and np.hypot(*np.subtract(first, second)) < radius
    ]


def test_offsets_are_half_a_disc_and_lines_lead_to_their_ends() -> None:
    found = [*offsets(5.0)]
    expected = {(y, x) for y, x in product(range(-4, 5), repeat=2) if (y, x) != (0, 0) and y * y + x * x < 25}
    assert len(found) == len(set(found)) == len(expected) // 2
    assert {*found, *((-y, -x) for y, x in found)} == expected
    assert line((2, -4)) == [(0, 0), (1, -1), (1, -2), (2, -3), (2, -4)]
    for offset in found:
        steps = line(offset)
        assert (steps[0], steps[-1]) == ((0, 0), offset)
        assert all(max(np.abs(np.subtract(*both))) == 1 for both in pairwise(steps))


@pytest.mark.parametrize("kind", KINDS)
def test_affinities_of_all_pairs_are_those_of_loops(kind: AffinityKind) -> None:
    values, head = described(kind), network(kind).head
    numbers = torch.arange(len(CELLS)).reshape(SIZE)
    found: dict[tuple[Any, ...], float] = {}
    for offset in offsets(RADIUS[kind]):
        first, second = pair(numbers, offset)
        at = [tuple(CELLS[number] for number in both) for both in zip(first.flatten(), second.flatten(), strict=True)]
        found |= dict(zip(at, head.affinities(values, offset).flatten().tolist(), strict=True))
    expected = {both: affinity(kind, values[0].numpy(), *both) for both in pairs(RADIUS[kind])}
    assert found.keys() == expected.keys()
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_that_of_loops(kind: AffinityKind) -> None:
    draw = np.random.default_rng(0)
    kinds = draw.choice([0, 1, 2, IGNORED], size=SIZE)
    values = described(kind)
    sides: dict[str, list[float]] = {"background": [], "same": [], "different": []}
    for first, second in pairs(RADIUS[kind]):
        one, other = kinds[first], kinds[second]
        a = affinity(kind, values[0].numpy(), first, second)
        if IGNORED in (one, other):
            continue
        name = "different" if one != other else "same" if one else "background"
        sides[name].append(-np.log((1 - a if name == "different" else a) + 1e-5))
    expected = 0.5 * np.mean(sides["background"]) + 0.5 * np.mean(sides["same"]) + np.mean(sides["different"])
    found = affinity_loss(*pair_sums(network(kind), values, torch.as_tensor(kinds)[None]))
    assert found.item() == pytest.approx(expected, rel=1e-4)
    nothing = torch.full((1, *SIZE), IGNORED)
    assert affinity_loss(*pair_sums(network(kind), values, nothing)).item() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_walk_is_a_power_of_the_dense_matrix(kind: AffinityKind) -> None:
    values, draw = described(kind), np.random.default_rng(2)
    inside = np.ones(SIZE, bool)
    inside[:, -2:] = False
    maps = draw.random((2, *SIZE)) * inside
    exponent = 10 if kind == "boundary-walk" else 8
    full = np.eye(len(CELLS))
    for first, second in pairs(5.0):
        if inside[first] and inside[second]:
            place = CELLS.index(first), CELLS.index(second)
            full[place] = full[place[::-1]] = affinity(kind, values[0].numpy(), first, second) ** exponent
    walk = np.linalg.matrix_power(full / full.sum(0), 2**8)
    given = (values[0], torch.as_tensor(maps).float(), torch.as_tensor(inside))
    if kind == "boundary-walk":
        scores = (maps * (1 - values[0].numpy())).reshape(2, -1) @ walk
        found = boundary_walk(network(kind), *given)
        np.testing.assert_allclose(found.reshape(2, -1), scores / scores.max(), rtol=2e-3, atol=1e-4)
    else:
        background = (1 - maps.max(0, keepdims=True)) ** 16
        scores = np.concatenate([maps, background]).reshape(3, -1) @ walk
        first, last = feature_walk(network(kind), *given)
        np.testing.assert_allclose(torch.cat([first, last[None]]).reshape(3, -1), scores, atol=1e-4)


def test_a_boundary_stops_the_walk() -> None:
    boundary, maps = torch.zeros(1, 8, 8), torch.zeros(1, 8, 8)
    boundary[:, :, 4], maps[:, :2, :2] = 1.0, 1.0
    found = boundary_walk(network("boundary-walk"), boundary, maps, torch.ones(8, 8, dtype=torch.bool))[0]
    assert found[:, :4].min() > 0.6  # cells in the middle have more neighbours than those at the edge
    assert found[:, 5:].max() == 0


def test_labels_are_certain_cells_alone() -> None:
    maps = np.array([[[0.9, 0.3, 0.2]], [[0.1, 0.31, 0.04]], [[1.0, 1.0, 1.0]], [[0.0, 0.0, 0.0]]])[:, :, [0, 1, 2, 2]]
    maps[0, 0, 3] = 0.05
    found = cell_labels(maps, np.array([True, True, False, True]), np.zeros((4, 16, 3), np.uint8), AffinityLossConfig())
    assert found.tolist() == [[1, 2, IGNORED, 0]]


def test_the_crf_moves_labels_to_the_edges_of_colours() -> None:
    pytest.importorskip("pydensecrf")
    colours = np.zeros((64, 64, 3), np.uint8)
    colours[:, 32:] = 255
    kinds = np.zeros((16, 16), np.int64)
    kinds[:, 7:] = 3  # one cell of the dark half, too
    found = corrected(kinds, colours)
    assert (found[:, :8] == 0).all()
    assert (found[:, 8:] == 3).all()
    assert (corrected(np.full((16, 16), 3), colours) == 3).all()


@pytest.mark.parametrize("kind", KINDS)
def test_refined_maps_have_the_categories_of_the_image_and_none_on_padding(kind: AffinityKind) -> None:
    net, images = network(kind), torch.randn(2, 3, 64, 48)
    images[1, :, :, 32:] = 0
    labels = torch.tensor([[True, False, True], [False, True, False]])
    options = ActivationOptions(scales=(1.0,), refinement=kind, background=0.0, feature_background=50.0)
    found = category_maps(net.classifier, images, labels, options, net)
    assert found.shape == (2, 16, 12)
    assert set(np.unique(found[0])) <= {0, 1, 3}
    assert set(np.unique(found[1])) <= {0, 2}
    assert not found[1][:, 8:].any()
    other = next(each for each in KINDS if each != kind)
    for wrong in (None, network(other)):
        with pytest.raises(ModelError, match=f"{kind!r} needs a network of affinities"):
            category_maps(net.classifier, images, labels, options, wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_the_head_is_stored_without_its_classifier_and_read_again(kind: AffinityKind, tmp_path: Path) -> None:
    net, images = network(kind), torch.randn(1, 3, 64, 64)
    with pytest.raises(InputError, match="no network of affinities in"):
        trained_affinity(tmp_path, net.config, net.classifier)
    (tmp_path / "last").mkdir()
    save_file(
        {f"head.{name}": each for name, each in net.head.state_dict().items()}, tmp_path / "last/model.safetensors"
    )
    found = trained_affinity(tmp_path, net.config, net.classifier)
    assert torch.equal(found.described(images), net.described(images))
    assert not any(each.requires_grad for each in found.parameters())
    other = next(each for each in KINDS if each != kind)
    with pytest.raises(InputError, match="of another kind or size"):
        trained_affinity(tmp_path, replace(net.config, kind=other), net.classifier)


def test_wrong_settings_are_one_sentence() -> None:
    for wrong in ({"background": 0.4}, {"scales": ()}, {"foreground": 1.0}):
        with pytest.raises(InputError, match="The thresholds of affinity labels are"):
            AffinityLossConfig(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="AffinityLoss trains an AffinityNetwork, not a CategoryClassifier"):
        AffinityLossConfig().build(CategoryClassifier(CLASSIFIER), ())
