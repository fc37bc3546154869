"""J and F against values that the challenge's own evaluation computed."""

import json
from pathlib import Path

import numpy as np
import pytest

from deixis import masks
from deixis.metrics.boundaries import BOUND, boundary, frame_score, radius, statistics

GOLDEN = Path(__file__).parents[3] / "shared" / "goldens" / "jf.json"
golden = json.loads(GOLDEN.read_bytes()) if GOLDEN.exists() else None
needs_golden = pytest.mark.skipif(golden is None, reason="The file of J and F values is not here.")


def pixels(rle):
    return None if rle is None else masks.decode(rle).astype(bool)


@needs_golden
def test_pairs_have_the_published_values():
    for pair in golden["pairs"]:
        target, prediction, void = (pixels(pair.get(name)) for name in ("truth", "prediction", "void"))
        bound = float(pair["bound_th"])
        found = frame_score(target, prediction, void, bound=bound)
        assert radius(target.shape, bound) == pair["radius"], pair["name"]
        assert (found.j, found.f) == pytest.approx((pair["J"], pair["F"]), abs=1e-12), pair["name"]
        kept = np.ones_like(target) if void is None else ~void
        assert np.count_nonzero(boundary(target & kept)) == pair["boundary_pixels_truth"], pair["name"]
        assert np.count_nonzero(boundary(prediction & kept)) == pair["boundary_pixels_prediction"], pair["name"]


@needs_golden
def test_statistics_are_the_published_ones_and_defined_for_long_clips():
    for case in golden["statistics"]:
        values = np.array([np.nan if value is None else value for value in case["values"]])
        found = statistics(values)
        assert found.mean == pytest.approx(case["mean"], abs=1e-12)
        assert found.recall == pytest.approx(case["recall"], abs=1e-12)
        if case["decay"] is None:  # published code overflows from 257 frames on
            assert len(values) > 256
            assert np.isfinite(found.decay)
        else:
            assert found.decay == pytest.approx(case["decay"], abs=1e-12)


@needs_golden
def test_sequences_have_the_published_values():
    for sequence in golden["sequences"]:
        frames = zip(sequence["truth"], sequence["prediction"], strict=True)
        scores = [frame_score(pixels(target), pixels(prediction)) for target, prediction in frames]
        for name, values in (("J", [one.j for one in scores]), ("F", [one.f for one in scores])):
            assert values == pytest.approx(sequence[name], abs=1e-12)
            for key, part in (("all_frames", slice(None)), ("without_first_and_last", slice(1, -1))):
                found, expected = statistics(np.array(values)[part]), sequence[key][name]
                assert found.mean == pytest.approx(expected["mean"], abs=1e-12)
                assert found.recall == pytest.approx(expected["recall"], abs=1e-12)
                assert found.decay == pytest.approx(expected["decay"], abs=1e-12)


def test_a_mask_that_fills_the_frame_has_no_boundary():
    full, empty = np.ones((20, 30), bool), np.zeros((20, 30), bool)
    assert (frame_score(empty, full).j, frame_score(empty, full).f) == (0.0, 1.0)
    assert (frame_score(empty, empty).j, frame_score(full, full).f) == (1.0, 1.0)


def test_boundary_pixels_match_within_a_disk():
    """A brute-force count of pairs of boundary pixels, of two blobs of noise."""
    generator = np.random.default_rng(0)
    target, prediction = generator.random((2, 40, 50)) < 0.02
    reach = radius(target.shape, 0.05)
    t, p = np.argwhere(boundary(target)), np.argwhere(boundary(prediction))
    near = ((t[:, None] - p[None]) ** 2).sum(-1) <= reach**2
    precision, recall = near.any(0).mean(), near.any(1).mean()
    assert reach == 4
    assert frame_score(target, prediction, bound=0.05).f == pytest.approx(2 * precision * recall / (precision + recall))


def test_statistics_without_a_value_are_not_numbers():
    assert np.isnan(statistics(np.array([np.nan, np.nan])).mean)


def test_the_published_radii():
    sizes = {(480, 854): 8, (360, 640): 6, (720, 1280): 12, (2, 3): 1}
    assert {size: radius(size, BOUND) for size in sizes} == sizes
