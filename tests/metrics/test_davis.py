"""The DAVIS program over a miniature tree, against the values that the challenge's own evaluation computed."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deixis.errors import InputError
from deixis.metrics.davis import average, score_video

SHARED = Path(__file__).parents[3] / "shared"
TREE = SHARED / "data" / "video_mini" / "ref_davis"
TRUTH = {"unsupervised": "Annotations_unsupervised", "semi-supervised": "Annotations"}


def labels(path):
    return np.asarray(Image.open(path), dtype=np.uint8)


def video(name, annotator, task):
    truth = sorted((TREE / "DAVIS" / TRUTH[task] / "480p" / name).glob("*.png"))
    return [(labels(path), labels(TREE / "predictions" / annotator / name / path.name)) for path in truth]


@pytest.mark.skipif(not TREE.exists(), reason="The miniature tree is not here.")
@pytest.mark.parametrize("case", [0, 1, 2])
def test_every_annotator_has_the_published_score(case):
    expected = json.loads((SHARED / "goldens" / "jf.json").read_bytes())["end_to_end"]["ref_davis"][case]
    for one in expected["annotators"]:
        annotator, task = f"anno_{one['annotator']}", expected["task"]
        found = average({name: score_video(video(name, annotator, task), task) for name in expected["sequences"]})
        assert found.j_and_f == pytest.approx(one["J&F-Mean"], abs=1e-6)
        for measure, values in (("J", found.j), ("F", found.f)):
            computed = {"Mean": values.mean, "Recall": values.recall, "Decay": values.decay}
            assert computed == pytest.approx({key: one[f"{measure}-{key}"] for key in computed}, abs=1e-6)
            of_objects = {name: getattr(each, measure.lower()).mean for name, each in found.objects.items()}
            assert of_objects == pytest.approx(one[f"{measure}_per_object"], abs=1e-6)


def two_squares(first=1, second=2):
    frame = np.zeros((20, 30), np.uint8)
    frame[2:8, 2:8], frame[10:18, 15:25] = first, second
    return frame


def test_exchanged_objects_are_only_seen_with_fixed_numbers():
    frames = [(two_squares(), two_squares(2, 1))] * 4
    assert [each.j.mean for each in score_video(frames, "unsupervised")] == [1.0, 1.0]
    assert [each.j.mean for each in score_video(frames, "semi-supervised")] == [0.0, 0.0]


def test_surplus_predictions_are_free_without_fixed_numbers():
    prediction = two_squares(5, 3)
    prediction[0, 0] = 4
    assert [each.f.mean for each in score_video([(two_squares(), prediction)] * 3, "unsupervised")] == [1.0, 1.0]


def test_an_object_that_appears_later_is_not_scored():
    frames = [(two_squares(second=0), two_squares()), *[(two_squares(), two_squares())] * 3]
    assert len(score_video(frames, "unsupervised")) == 1


@pytest.mark.parametrize("task", ["unsupervised", "semi-supervised"])
def test_grey_values_are_refused(task):
    prediction = np.where(two_squares() > 0, 254, 0).astype(np.uint8)
    with pytest.raises(InputError, match="palette image"):
        score_video([(two_squares(), prediction)], task)


def test_a_prediction_of_another_size_is_refused():
    with pytest.raises(InputError, match="10x10 pixels; expected 20x30"):
        score_video([(two_squares(), np.zeros((10, 10), np.uint8))], "unsupervised")


def test_no_object_at_all_is_refused():
    with pytest.raises(InputError, match="no object to score"):
        average({"video": score_video([(np.zeros((4, 4), np.uint8),) * 2], "semi-supervised")})
