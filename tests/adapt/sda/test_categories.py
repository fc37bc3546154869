"""Eq. 2, the entropy boundary and the clustering, on contents whose categories are known."""

import sys

import numpy as np
import pytest

from deixis.adapt.sda.categories import Clusters, assign, categorise, entropy, similarities, unit
from deixis.errors import InputError, ModelError


def around(axes: list[int], each: int = 5, width: int = 8, seed: int = 0) -> np.ndarray:
    """Contents close to some of the axes, of different lengths, those of one axis after those of another."""
    draw = np.random.default_rng(seed)
    rows = np.repeat(np.eye(width)[axes], each, axis=0) + 0.05 * draw.standard_normal((len(axes) * each, width))
    return rows * draw.uniform(1, 6, (len(rows), 1))


@pytest.mark.parametrize("method", ["agglomerative", "k-means", "spectral"])
def test_contents_that_point_the_same_way_are_one_category(method: str) -> None:
    found = categorise(around([3, 0, 5]), Clusters(method=method, count=3))  # type: ignore[arg-type]
    assert found.labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    expected = [unit(unit(around([3, 0, 5]))[5 * each : 5 * each + 5].mean(0, keepdims=True))[0] for each in range(3)]
    np.testing.assert_allclose(found.prototypes, expected)


def test_the_threshold_of_distance_sets_the_number_of_categories() -> None:
    pair = np.array([[1.0, 0.0], [0.8, 0.6]])  # at a cosine distance of 0.2
    assert len(categorise(pair, Clusters(threshold=0.19)).prototypes) == 2
    assert len(categorise(pair, Clusters(threshold=0.21)).prototypes) == 1


def test_contents_beyond_the_limit_take_the_nearest_prototype() -> None:
    found = categorise(around([3, 0, 5], each=40), Clusters(most=30))
    assert len(found.prototypes) == 3
    assert [len(set(part)) for part in np.split(found.labels, 3)] == [1, 1, 1]
    assert len(set(found.labels)) == 3


def test_one_content_is_one_category() -> None:
    assert categorise(np.ones((1, 3))).labels.tolist() == [0]


def test_similarities_are_equation_2_with_cosines_or_as_printed() -> None:
    H, C = around([0, 1]), categorise(around([0, 1, 2])).prototypes
    cosines = np.array([[h @ c / np.linalg.norm(h) / np.linalg.norm(c) for c in C] for h in H])
    for found, scores in ((similarities(H, C), cosines / 0.1), (similarities(H, C, None), H @ C.T)):
        expected = np.array([[np.exp(s) / sum(np.exp(row)) for s in row] for row in scores])
        np.testing.assert_allclose(found, expected)


def test_entropies_are_those_of_the_specification() -> None:
    def one(best: float, others: float, temperature: float) -> float:
        cosines = np.array([[best, *[others] * 99]])
        weights = np.exp(cosines / temperature)
        return entropy(weights / weights.sum())[0]

    assert one(0.95, 0.3, 0.1) == pytest.approx(0.98, abs=0.01)
    assert one(0.7, 0.4, 0.1) == pytest.approx(4.27, abs=0.01)
    assert one(0.95, 0.3, 1.0) == pytest.approx(4.60, abs=0.01)
    assert entropy(np.array([[1.0, 0.0]]))[0] == 0


def test_targets_near_a_source_category_take_it_and_the_others_form_new_ones() -> None:
    source = categorise(around([0, 1, 2, 3]))
    found = assign(around([1, 6, 3, 7], seed=1), source)
    assert found.labels.tolist() == [1] * 5 + [4] * 5 + [3] * 5 + [5] * 5
    assert found.is_common.tolist() == [True] * 5 + [False] * 5 + [True] * 5 + [False] * 5
    assert found.common == (1, 3)
    assert found.num_new == 2
    assert found.common_fraction == 0.5


def test_without_a_boundary_every_target_takes_a_source_category() -> None:
    found = assign(around([1, 6], seed=1), categorise(around([0, 1, 2])), boundary=np.inf)
    assert found.is_common.all()
    assert found.num_new == 0
    assert found.labels[:5].tolist() == [1] * 5


@pytest.mark.parametrize(("axes", "found"), [([0, 1], "100 %"), ([6, 7], "0 %")])
def test_a_boundary_that_separates_nothing_is_one_sentence_with_the_range(axes: list[int], found: str) -> None:
    source, targets = categorise(around([0, 1, 2])), around(axes, seed=1)
    spread = entropy(similarities(targets, source.prototypes)) / np.log(3)
    span = f"{spread.min():.3g} to {spread.max():.3g}"
    with pytest.raises(InputError, match=rf"^{found} of the target's .* the boundary 0.5 .* entropies are {span} of"):
        assign(targets, source)


def test_a_source_with_one_category_is_one_sentence() -> None:
    with pytest.raises(InputError, match="form a single category"):
        assign(around([0]), categorise(around([0])))


def test_without_scikit_learn_one_sentence_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ModelError, match=r"pip install 'deixis\[sda\]'"):
        categorise(around([0, 1]))
