"""The IoU, and the two ways to count it at a threshold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deixis import masks
from deixis.metrics.iou import best_answer, iou, reaches

pairs = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9).flatmap(
    lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape))
)


@settings(max_examples=40, deadline=None)
@given(pairs)
def test_counts_and_iou_equal_a_loop_over_pixels(pair: tuple[np.ndarray, np.ndarray]) -> None:
    both = either = 0
    for first, second in zip(pair[0].ravel(), pair[1].ravel(), strict=True):
        both += int(first and second)
        either += int(first or second)
    assert masks.intersection_and_union(masks.encode(pair[0]), masks.encode(pair[1])) == (both, either)
    if either:
        assert iou(both, either) == iou(both, either, both_empty=0.0) == both / either


def test_the_iou_of_two_empty_masks_is_the_protocols() -> None:
    assert iou(0, 0) == 1.0
    assert iou(0, 0, both_empty=0.0) == 0.0
    assert iou(0, 0, smoothing=1e-6) == 1.0


def test_smoothing_is_done_in_single_precision() -> None:
    assert iou(1, 3, smoothing=1e-6) == float(np.float32(1 + 1e-6) / np.float32(3 + 1e-6))
    assert iou(1, 3, smoothing=1e-6) != iou(1, 3)
    assert iou(0, 5, smoothing=1e-6) == pytest.approx(2e-7)


def test_an_iou_on_the_threshold_counts_unless_it_must_exceed_it() -> None:
    assert reaches(iou(7, 10), 0.7)
    assert not reaches(iou(7, 10), 0.7, strict=True)
    assert reaches(iou(8, 10), 0.7, strict=True)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([0.1, 0.5, 0.9]), min_size=1))
def test_the_best_answer_is_the_last_of_the_highest(scores: list[float]) -> None:
    assert best_answer(scores) == int(np.argsort(scores, kind="stable")[-1])
