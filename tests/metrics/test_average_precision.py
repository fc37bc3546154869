"""Average precision against COCO's own evaluator, on random answers with ties, empties and repeated images."""

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from deixis import masks
from deixis.evaluation.report import measure
from deixis.metrics import average_precision
from deixis.metrics.accumulators import Totals
from deixis.metrics.average_precision import Detections, Ranking
from deixis.metrics.bootstrap import image_weights
from deixis.metrics.protocols import PROTOCOLS
from deixis.metrics.scored import Answer, Scored, compare
from deixis.records import Ids

Pair = tuple[Any, list[tuple[Any, float]]]


def boxes(rng: np.random.Generator, count: int, answers: int) -> list[Pair]:
    """Targets of all of COCO's sizes with answers near them; some are empty, many scores are equal."""
    pairs = []
    for _ in range(count):
        side = int(rng.choice([0, 12, 40, 120]))
        target = np.zeros((160, 160), dtype=bool)
        top, left = rng.integers(0, 30, 2)
        target[top : top + side, left : left + side] = True
        given = []
        for _ in range(answers):
            shift = tuple(int(step) for step in rng.integers(-side // 6, side // 6 + 1, 2))
            mask = np.roll(target, shift, axis=(0, 1)) if rng.random() > 0.2 else np.zeros_like(target)
            given.append((masks.encode(mask), float(rng.integers(0, 8)) / 8))
        pairs.append((masks.encode(target), given))
    return pairs


def coco_stats(pairs: list[Pair]) -> list[float]:
    images = [{"id": f"v{number:04d}", "height": 160, "width": 160} for number in range(len(pairs))]
    annotations = [
        {
            "id": number + 1,
            "image_id": images[number]["id"],
            "category_id": 1,
            "segmentation": target,
            "area": masks.area(target),
            "bbox": list(masks.box(target)),
            "iscrowd": 0,
        }
        for number, (target, _) in enumerate(pairs)
    ]
    predictions = [
        {"image_id": images[number]["id"], "category_id": 1, "segmentation": mask, "score": score}
        for number, (_, answers) in enumerate(pairs)
        for mask, score in answers
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "x"}]}
        truth.createIndex()
        evaluator = COCOeval(truth, truth.loadRes(predictions), "segm")
        evaluator.params.useCats = 0
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator.stats[:6].tolist()


def detections(pairs: list[Pair], *, all_answers: bool = True) -> Detections:
    found = Detections(all_answers=all_answers)
    for number, (target, answers) in enumerate(pairs):
        name, area = f"v{number:04d}", masks.area(target)
        ids = Ids(name, name, name)
        given = tuple(
            compare(mask, score, target, area, PROTOCOLS["a2d-all"], ids, target["size"]) for mask, score in answers
        )
        found.add(Scored(ids=ids, target=area, answers=given))
    return found


def stats(found: Detections, weights: list[float] | None = None) -> list[float]:
    images = sorted(found.scored)
    rows = np.array([weights or [1.0] * len(images)])
    values = found.ranked(images).average_precisions(rows)[0]
    return [-1.0 if np.isnan(value) else float(value) for value in values]


@pytest.mark.parametrize(("seed", "count", "answers"), [(0, 30, 1), (1, 25, 5), (2, 8, 3), (3, 1, 1), (4, 3, 120)])
def test_every_number_equals_cocos_to_the_last_digit(seed: int, count: int, answers: int) -> None:
    pairs = boxes(np.random.default_rng(seed), count, answers)
    assert stats(detections(pairs)) == coco_stats(pairs)


def test_an_images_weight_counts_as_its_copies_do() -> None:
    rng = np.random.default_rng(5)
    pairs = boxes(rng, 12, 2)
    # Equal scores across images would make the copies' order matter, so scores are told apart here.
    pairs = [
        (target, [(mask, 0.9 - 0.01 * number - 0.3 * place) for place, (mask, _) in enumerate(answers)])
        for number, (target, answers) in enumerate(pairs)
    ]
    counts = rng.integers(0, 4, len(pairs)).tolist()
    copied = [pair for pair, count in zip(pairs, counts, strict=True) for _ in range(count)]
    assert stats(detections(pairs), [float(count) for count in counts]) == pytest.approx(coco_stats(copied), abs=1e-12)


def test_the_best_answer_alone_is_one_answer_an_expression() -> None:
    pairs = boxes(np.random.default_rng(6), 20, 4)
    # COCO's evaluator on the later of the highest-scored answers.
    best = [(target, [max(enumerate(answers), key=lambda one: (one[1][1], one[0]))[1]]) for target, answers in pairs]
    assert stats(detections(pairs, all_answers=False)) == coco_stats(best)


def test_bootstrap_draws_are_few_where_answers_are_very_many() -> None:
    ranking = detections(boxes(np.random.default_rng(7), 4, 2)).ranked([f"v{number:04d}" for number in range(4)])
    assert ranking.affordable_draws(10_000) == 10_000
    assert ranking.resampled(4, draws=50, seed=0).shape == (50, 6)
    assert np.array_equal(
        ranking.resampled(4, draws=50, seed=0), ranking.resampled(4, draws=50, seed=0), equal_nan=True
    )


def test_every_number_stands_under_its_name() -> None:
    totals = Totals(PROTOCOLS["a2d-best"])
    # A small, a medium and a large target, with IoUs that reach 3, 1 and 5 of the ten thresholds.
    for name, side, share in (("small", 20, 0.62), ("medium", 60, 0.52), ("large", 120, 0.71)):
        target, found = side * side, round(share * side * side)
        answer = Answer(0.5, area=found, intersection=found, union=target)
        totals.add(Scored(ids=Ids(name, name, name), target=target, answers=(answer,)))
    measures, _ = measure(totals, draws=5)
    values = {name: measures[name].value for name in average_precision.NAMES if name != "mAP[.5:.95]"}
    assert values == pytest.approx(
        {"AP@0.5": 100.0, "AP@0.75": 0.0, "mAP[.5:.95] S": 30.0, "mAP[.5:.95] M": 10.0, "mAP[.5:.95] L": 50.0}
    )


def test_draws_walked_one_by_one_are_the_draws_walked_together(monkeypatch: pytest.MonkeyPatch) -> None:
    ranking = detections(boxes(np.random.default_rng(8), 6, 2)).ranked([f"v{number:04d}" for number in range(6)])
    together = ranking.resampled(6, draws=20, seed=1)
    monkeypatch.setattr("deixis.metrics.bootstrap.CHUNK_CELLS", 1)
    assert np.array_equal(ranking.resampled(6, draws=20, seed=1), together, equal_nan=True)


@pytest.mark.parametrize(("answers", "portions"), [(1 << 20, [4, 4, 2]), (1 << 22, [1] * 10), (1 << 23, [1] * 10)])
def test_millions_of_answers_are_ranked_for_a_few_draws_at_a_time(
    answers: int, portions: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    # What is ranked does not matter here, so the weights themselves are handed back.
    monkeypatch.setattr(Ranking, "average_precisions", lambda _, weights: seen.append(len(weights)) or weights)
    none, target = np.broadcast_to(0.0, answers), np.zeros(6)
    owner, image = np.broadcast_to(0, answers), np.zeros(6, dtype=int)
    many = Ranking(owner=owner, area=none, overlap=none, target_area=target, target_image=image)
    expected = np.concatenate(list(image_weights(6, draws=10, seed=3)))
    assert np.array_equal(many.resampled(6, draws=10, seed=3), expected)
    assert seen == portions


def test_an_interval_is_never_made_of_fewer_than_a_hundred_draws_unless_fewer_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ranking = detections(boxes(np.random.default_rng(7), 4, 2)).ranked([f"v{number:04d}" for number in range(4)])
    for work, draws, affordable in ((8 * 300, 1000, 300), (8 * 99, 1000, 100), (0, 1000, 100), (0, 30, 30)):
        monkeypatch.setattr(average_precision, "RANKING_WORK", work)
        assert ranking.affordable_draws(draws) == affordable
