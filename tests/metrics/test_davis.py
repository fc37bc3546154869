"""Which predicted object a true one is compared with; tests/evaluation/test_clips.py has the published scores."""

import numpy as np
import pytest

from deixis.errors import InputError
from deixis.metrics.davis import VOID, match


def two_squares(first=1, second=2):
    frame = np.zeros((20, 30), np.uint8)
    frame[2:8, 2:8], frame[10:18, 15:25] = first, second
    return frame


def test_exchanged_objects_are_assigned_unless_numbers_are_fixed():
    frames = [(two_squares(), two_squares(2, 1))] * 4
    assert match(frames, "unsupervised") == {1: 2, 2: 1}
    assert match(frames, "semi-supervised") == {1: 1, 2: 2}


def test_surplus_predictions_are_left_over():
    prediction = two_squares(5, 3)
    prediction[0, 0] = 4
    assert match([(two_squares(), prediction)] * 3, "unsupervised") == {1: 5, 2: 3}


def test_every_true_object_gets_a_number_without_predictions():
    assert match([(two_squares(), np.zeros((20, 30), np.uint8))], "unsupervised") == {1: 1, 2: 2}


def test_void_pixels_decide_nothing():
    truth, prediction = two_squares(second=0), two_squares(first=3, second=4)
    truth[2:8, 2:7], truth[9, 9] = VOID, 1  # of object 1 one column and a pixel remain
    prediction[2:8, 2:7], prediction[9, 9] = 5, 5  # the void pixels would make 5 the better one
    assert match([(truth, prediction)], "unsupervised") == {1: 3}


def test_an_object_that_appears_later_is_not_scored():
    frames = [(two_squares(second=0), two_squares()), *[(two_squares(), two_squares())] * 3]
    for task in ("unsupervised", "semi-supervised"):
        assert match(frames, task) == {1: 1}


def test_grey_values_are_refused():
    prediction = np.where(two_squares() > 0, 254, 0).astype(np.uint8)
    with pytest.raises(InputError, match=r"frame 0 has an object 254; expected at most 20.*palette image"):
        match([(two_squares(), prediction)], "unsupervised")


def test_a_prediction_of_another_size_is_refused():
    with pytest.raises(InputError, match="10x10 pixels; expected 20x30"):
        match([(two_squares(), np.zeros((10, 10), np.uint8))], "unsupervised")
