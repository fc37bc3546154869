"""The published evaluators' numbers on 200 pairs of masks with every corner case, to the last digit.

Where the published code adds floats one after the other, its last digits are its rounding: the same per-expression
values added in its order give its digits exactly, and our exactly rounded total lies within a few units in the last
place of them.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deixis import masks
from deixis.metrics.accumulators import Tally, Totals
from deixis.metrics.iou import iou, reaches
from deixis.metrics.protocols import PROTOCOLS
from deixis.metrics.scored import Answer, Scored, compare
from deixis.records import Ids

GOLDENS = Path(__file__).parents[2] / ".." / "shared" / "goldens"
pytestmark = pytest.mark.skipif(not GOLDENS.is_dir(), reason="the published evaluators' numbers are not here")


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    return json.loads((GOLDENS / "metrics.json").read_text())


def scored_pair(number: int, prediction: Any, target: Any, protocol: str) -> Scored:
    ids = Ids(f"v_{number:03d}", str(number), f"v_{number:03d}")
    rules = PROTOCOLS["full" if protocol == "lavt-480" else protocol]  # the pairs are stored at the compared size
    area = masks.area(target)
    return Scored(ids=ids, target=area, answers=(compare(prediction, 1.0, target, area, rules, ids, target["size"]),))


def tally(pairs: list[dict[str, Any]], protocol: str) -> tuple[Tally, list[Scored]]:
    sums = Tally(PROTOCOLS[protocol])
    scored = [scored_pair(number, pair["pred"], pair["gt"], protocol) for number, pair in enumerate(pairs)]
    for one in scored:
        sums.add(one)
    return sums, scored


def one_after_the_other(values: list[float]) -> float:
    total = 0.0
    for value in values:
        total += value
    return total


def ulps(first: float, second: float) -> float:
    return abs(first - second) / math.ulp(second)


def test_pixel_counts_are_the_published_ones(golden: dict[str, Any]) -> None:
    _, scored = tally(golden["pairs"], "full")
    assert [one.best.intersection for one in scored] == golden["I"]
    assert [one.best.union for one in scored] == golden["U"]
    assert [one.best.area for one in scored] == [masks.area(pair["pred"]) for pair in golden["pairs"]]
    assert [one.iou(PROTOCOLS["lavt-480"]) for one in scored] == golden["iou_lavt"]


@pytest.mark.parametrize("paper", ["lavt", "magnet", "crossvlt"])
def test_the_480_pixel_protocol_equals_the_papers_own_evaluators(golden: dict[str, Any], paper: str) -> None:
    sums, _ = tally(golden["pairs"], "lavt-480")
    full = golden[paper]["full"]
    assert sums.totals()["intersection"] == full["cum_I"]
    assert sums.totals()["union"] == full["cum_U"]
    assert sums.values() == {name: full[name] for name in sums.values()}
    for name, printed in golden[paper]["printed"].items():
        ours = {"Mean IoU": "mIoU", "overall IoU": "oIoU"}.get(name, name.replace("precision", "P"))
        assert round(sums.values()[ours] or 0.0, 2) == printed


def test_grefcoco_equals_relas_evaluator(golden: dict[str, Any]) -> None:
    sums, scored = tally(golden["pairs"], "grefcoco")
    values, theirs = sums.values(), golden["grefcoco"]
    assert values["cIoU"] == theirs["cIoU"]
    assert {name: values[name] for name in values if name.startswith("Pr@")} == {
        name: theirs[name] for name in theirs if name.startswith("Pr@")
    }
    assert (values["T-acc"], values["N-acc"]) == (100 * theirs["T_acc"], 100 * theirs["N_acc"])
    in_their_order = one_after_the_other([one.iou(PROTOCOLS["grefcoco"]) for one in scored])
    assert 100.0 * (in_their_order / len(scored)) == theirs["gIoU"]
    assert ulps(values["gIoU"] or 0.0, theirs["gIoU"]) <= 2


def test_weak_protocol_equals_sags_evaluator(golden: dict[str, Any]) -> None:
    sag = golden["sag"]
    pairs = [golden["pairs"][index] for index in sag["indices"]]
    for place, pair in enumerate(pairs):
        if pair["tag"] == "full_pred":  # SaG's min-max normalisation makes nothing of a constant map
            empty = masks.encode(np.zeros(pair["pred"]["size"], dtype=bool))
            pairs[place] = {**pair, "pred": empty}
    sums, scored = tally(pairs, "weak")
    assert sums.values()["oIoU"] == sag["cIoU"]
    in_their_order = one_after_the_other([one.iou(PROTOCOLS["weak"]) for one in scored])
    assert in_their_order * 100 / len(scored) == sag["mIoU"]
    assert ulps(sums.values()["mIoU"] or 0.0, sag["mIoU"]) <= 4


def test_fractions_at_a_threshold_equal_both_ways_of_counting(golden: dict[str, Any]) -> None:
    pairs = [pair for pair in golden["pairs"] if masks.area(pair["gt"])]
    sums, scored = tally(pairs, "weak")
    values = [one.iou(PROTOCOLS["weak"]) for one in scored]
    for threshold in PROTOCOLS["weak"].thresholds:
        assert ulps(sums.values()[f"A@{threshold}"] or 0.0, golden["accuracy_at"]["ge"][str(threshold)]) <= 1
        exceeding = sum(reaches(value, threshold, strict=True) for value in values)
        assert exceeding / len(values) * 100 == golden["accuracy_at"]["gt"][str(threshold)]


def a2d_totals(file: str, protocol: str) -> tuple[Totals, list[Scored]]:
    stored = json.loads((GOLDENS / file).read_text())
    targets = {annotation["image_id"]: annotation["segmentation"] for annotation in stored["gt"]["annotations"]}
    answers: dict[str, list[Answer]] = {name: [] for name in targets}
    for one in stored["predictions"]:
        name, target = one["image_id"], targets[one["image_id"]]
        ids = Ids(name, name, name)
        area, size = masks.area(target), target["size"]
        compared = compare(one["segmentation"], one["score"], target, area, PROTOCOLS[protocol], ids, size)
        answers[name].append(compared)
    scored = [
        Scored(ids=Ids(name, name, name), target=masks.area(targets[name]), answers=tuple(answers[name]))
        for name in targets
    ]
    return Totals(PROTOCOLS[protocol]).add_all(scored), scored


@pytest.mark.parametrize("case", ["one_query_all200", "one_query_nonempty_gt", "five_queries_nonempty_gt"])
def test_a2d_equals_mttr_and_coco(golden: dict[str, Any], case: str) -> None:
    stored = golden["a2d"][case]
    totals, scored = a2d_totals(stored["file"], "a2d-all")
    assert totals.detections is not None
    expected, images = stored["expected"], sorted(totals.overall.rows)
    stats = totals.detections.ranked(images).average_precisions(np.ones((1, len(images))))[0]
    assert stats.tolist() == expected["coco_stats"][:6]
    assert list(expected.values())[:6] == expected["coco_stats"][:6]
    values = totals.overall.values()
    for threshold in (0.5, 0.6, 0.7, 0.8, 0.9):
        assert ulps((values[f"P@{threshold}"] or 0.0) / 100, expected[f"P@{threshold}"]) <= 1
    sums = totals.overall.totals()
    assert sums["intersection"] / sums["union"] == expected["overall_iou"]
    assert float(np.mean([one.iou(PROTOCOLS["a2d-all"]) for one in scored])) == expected["mean_iou"]
    assert ulps((values["mIoU"] or 0.0) / 100, expected["mean_iou"]) <= 2


def test_taking_only_the_best_of_five_answers_raises_no_mean_but_changes_the_map(golden: dict[str, Any]) -> None:
    file = golden["a2d"]["five_queries_nonempty_gt"]["file"]
    (best, _), (every, _) = a2d_totals(file, "a2d-best"), a2d_totals(file, "a2d-all")
    assert best.overall.values() == every.overall.values()
    assert best.detections is not None
    assert every.detections is not None
    images = sorted(best.overall.rows)
    one, all_of_them = (
        detections.ranked(images).average_precisions(np.ones((1, len(images))))[0, 0]
        for detections in (best.detections, every.detections)
    )
    assert one != all_of_them


def test_smoothed_iou_of_two_empty_masks_is_one() -> None:
    assert iou(0, 0, smoothing=1e-6) == 1.0
    assert iou(0, 0, both_empty=0.0) == 0.0
