"""N-acc, T-acc and reliability of a handful of expressions, by hand."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from deixis.metrics.presence import PresenceRows, from_fields, presence_scores
from deixis.metrics.scored import Answer, Scored
from deixis.records import Ids


def scored(number: int, target: int, score: float, area: int) -> Scored:
    shared = min(target, area)
    answer = Answer(score=score, area=area, intersection=shared, union=target + area - shared)
    return Scored(ids=Ids("i", "o", f"s{number}"), target=target, answers=(answer,))


# Of three present referents one has an empty mask, of two absent ones one has a mask.
ROWS = [(9, 0.92, 8), (9, 0.98, 9), (9, 0.33, 0), (0, 0.31, 0), (0, 0.95, 4)]
FIVE = [scored(number, *row) for number, row in enumerate(ROWS)]


def test_accuracies_and_error_are_those_of_a_calculation_by_hand() -> None:
    found = presence_scores(FIVE, "presence head", calibrated=True, threshold=0.5)
    assert found is not None
    assert (found.num_present, found.num_absent) == (3, 2)
    assert found.n_acc == 50.0
    assert found.t_acc == pytest.approx(200 / 3)
    # Two bins: confidence 0.32 and frequency 1/2, twice; confidence 0.95 and frequency 2/3, three times.
    assert found.ece == pytest.approx((2 * abs(0.32 - 0.5) + 3 * abs(0.95 - 2 / 3)) / 5)
    assert (found.score, found.calibrated, found.threshold) == ("presence head", True, 0.5)


def test_accuracies_have_intervals_over_images() -> None:
    rows = [replace(one, ids=replace(one.ids, image=str(place))) for place, one in enumerate(FIVE * 40)]
    found, again = (presence_scores(rows, "mask", draws=400, seed=3) for _ in range(2))
    assert found is not None
    assert found == again
    assert found.n_acc_interval is not None
    assert found.t_acc_interval is not None
    # Of 80 absent referents half are right: a standard error of 5.5 points, twice to each side.
    assert found.n_acc_interval == pytest.approx((39, 61), abs=3)
    assert found.t_acc_interval == pytest.approx((200 / 3 - 8.4, 200 / 3 + 8.4), abs=3)
    alone = presence_scores(FIVE * 40, "mask", draws=50)  # all about one image, which no draw can leave out
    assert alone is not None
    assert alone.n_acc_interval == (50.0, 50.0)


def test_without_absent_referents_there_are_no_scores() -> None:
    assert presence_scores(FIVE[:3], "mask") is None


def test_without_present_referents_t_acc_is_none() -> None:
    found = presence_scores(FIVE[3:], "mask")
    assert found is not None
    assert found.t_acc is None
    assert found.n_acc == 50.0


def test_scores_in_a_file_are_clipped_to_0_and_1() -> None:
    found = presence_scores([scored(0, 9, 7.5, 9), scored(1, 0, -3.0, 0)], "file")
    assert found is not None
    assert found.ece == 0.0


def test_scores_are_read_from_their_fields() -> None:
    found = presence_scores(FIVE, "mask")
    assert found is not None
    assert from_fields(asdict(found)) == found


def random_rows(seed: int, count: int = 300) -> PresenceRows:
    generator = np.random.default_rng(seed)
    present = generator.random(count) < 0.6
    probability = np.round(generator.random(count) * 0.7 + 0.3 * present, 2)  # ties
    image = np.sort(generator.integers(0, 40, count))
    image[-1] = 39
    return PresenceRows(probability=probability, present=present, found=probability > 0.5, image=image)


def test_correlation_and_area_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import matthews_corrcoef, roc_auc_score  # here: it takes seconds

    rows = random_rows(0)
    values = rows.values()
    assert values["MCC"] == pytest.approx(matthews_corrcoef(rows.present, rows.found))
    assert values["AUROC"] == pytest.approx(roc_auc_score(rows.present, rows.probability))


def test_each_draw_weighs_whole_images() -> None:
    """The first draw again, by hand: every expression as often as its image was drawn."""
    from sklearn.metrics import matthews_corrcoef, roc_auc_score  # here: it takes seconds

    rows = random_rows(1)
    drawn = rows.resampled(draws=5, seed=7)
    times = np.bincount(np.random.default_rng(7).integers(40, size=(5, 40), dtype=np.int64)[0], minlength=40)
    weights = times[rows.image]
    assert drawn["MCC"][0] == pytest.approx(matthews_corrcoef(rows.present, rows.found, sample_weight=weights))
    assert drawn["AUROC"][0] == pytest.approx(roc_auc_score(rows.present, rows.probability, sample_weight=weights))
    assert {name: len(each) for name, each in drawn.items()} == dict.fromkeys(("N-acc", "T-acc", "MCC", "AUROC"), 5)


def test_a_system_that_always_marks_something_has_no_correlation() -> None:
    found = presence_scores([scored(0, 9, 0.9, 9), scored(1, 0, 0.2, 4)], "mask", draws=20)
    assert found is not None
    assert (found.mcc, found.auroc) == (0.0, 1.0)


def test_without_present_referents_there_is_no_correlation() -> None:
    found = presence_scores(FIVE[3:], "mask", draws=20)
    assert found is not None
    assert (found.mcc, found.auroc, found.mcc_interval, found.auroc_interval) == (None, None, None, None)
