"""The statistics of a domain: Mahalanobis distances, limits, and what a card can hold of them."""

import json
from dataclasses import replace

import numpy as np
import pytest

from deixis.checkpoints.configs import from_dict, to_dict
from deixis.errors import InputError
from deixis.metrics.domain import DomainStatistics, fit


def features(count: int, width: int = 6, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixed = np.random.default_rng(7).normal(size=(width, width))
    return rng.normal(size=(count, width)) @ mixed + 3


def fitted(count: int = 400) -> DomainStatistics:
    found = fit(features(count), "squares")
    assert found is not None
    return found


def test_with_all_axes_it_is_mahalanobis_distance() -> None:
    rows, found = features(400), fitted()
    kept = rows[np.arange(400) % 4 != 3]
    centred = rows - kept.mean(0)
    expected = np.einsum("id,de,ie->i", centred, np.linalg.inv(np.cov(kept.T)), centred)
    assert found.axes == 6
    assert np.allclose(found.distance(rows) * found.limit, expected, rtol=0.03)  # stored in half precision


def test_the_limit_is_above_nearly_all_images_of_the_domain() -> None:
    found = fitted()
    assert (found.distance(features(4000)[400:]) > 1).mean() < 0.02
    assert (found.distance(features(100) + 50) > 1).all()


def test_few_axes_keep_the_largest_ones() -> None:
    found = fit(features(400), "squares", axes=2)
    assert found is not None
    assert found.axes == 2
    assert (found.distance(features(4000)[400:]) > 1).mean() < 0.03
    assert (found.distance(features(100) + 50) > 1).all()


def test_too_few_images_have_no_statistics() -> None:
    assert fit(features(39), "few") is None
    assert fit(features(40), "enough") is not None
    assert fit(np.full((50, 3), np.nan), "broken") is None


def test_a_card_holds_them_in_a_few_kilobytes() -> None:
    found = fitted()
    text = json.dumps(to_dict(found))
    assert len(text) < 1000
    again = from_dict(DomainStatistics, json.loads(text), "The card")
    assert np.array_equal(again.distance(features(5)), found.distance(features(5)))


@pytest.mark.parametrize(
    "change",
    [{"numbers": "AAAA"}, {"numbers": "not base64!"}, {"width": 7}, {"limit": 0.0}, {"rest": float("nan")}],
)
def test_broken_statistics_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match="get an unchanged copy"):
        replace(fitted(), **change)  # type: ignore[arg-type]


def test_an_image_inside_is_outside_where_another_kind_is_more_probable() -> None:
    rng = np.random.default_rng(1)
    other = 3 + 0.05 * rng.normal(size=(400, 6))  # narrow, in the middle of the own images
    alone, others = fitted(), fit(other, "drawings")
    assert (alone.distance(other) < 1).all()
    found = replace(alone, others=others)
    assert (found.distance(other) > 1).mean() > 0.99
    assert (found.distance(features(4000)[400:]) > 1).mean() < 0.03
    assert from_dict(DomainStatistics, json.loads(json.dumps(to_dict(found)))) == found


def test_the_log_likelihood_is_that_of_a_gaussian() -> None:
    rows, found = features(400), fitted()
    kept = rows[np.arange(400) % 4 != 3]
    centred, covariance = rows - kept.mean(0), np.cov(kept.T)
    squared = np.einsum("id,de,ie->i", centred, np.linalg.inv(covariance), centred)
    expected = -0.5 * (squared + np.linalg.slogdet(covariance)[1])
    assert np.allclose(found.log_likelihood(rows), expected, rtol=0.03, atol=0.05)
