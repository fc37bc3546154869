"""The tables of the page about protocols are computed here from its boxes."""

import re
from pathlib import Path

import numpy as np

from deixis import masks
from deixis.metrics.accumulators import Tally
from deixis.metrics.protocols import PROTOCOLS
from deixis.metrics.scored import Scored, score_expression
from deixis.records import Ids, Sample

PAGE = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
ROW = re.compile(
    r"^\| (\d+)×(\d+) \| ([\d, ]+) \| ([\d, ]+) \| (\d+) \| (\d+) \| ([\d.]+) \| ([\d.]+) \|$", re.MULTILINE
)


class Unread:
    size = (1, 1)

    num_frames = 1

    def read(self, frames: object = None) -> np.ndarray:
        raise AssertionError("scoring masks reads no pixels")


def box(height: int, width: int, numbers: str) -> dict[str, object]:
    left, top, across, down = map(int, numbers.split(","))
    mask = np.zeros((height, width), dtype=bool)
    mask[top : top + down, left : left + across] = True
    return masks.encode(mask)


def scored(protocol: str) -> list[Scored]:
    found = []
    for number, (height, width, target, prediction, *_) in enumerate(ROW.findall(PAGE)):
        size = int(height), int(width)
        sample = Sample(
            visual=Unread(),
            expression="it",
            mask=box(*size, target),  # type: ignore[arg-type]
            ids=Ids(str(number), str(number), str(number)),
            dataset="page",
            split="example",
        )
        found.append(score_expression(sample, [(box(*size, prediction), 1.0)], PROTOCOLS[protocol]))  # type: ignore[list-item]
    return found


def test_every_row_of_the_example_follows_from_its_boxes() -> None:
    rows = ROW.findall(PAGE)
    assert len(rows) == 4
    pairs = zip(rows, scored("full"), scored("lavt-480"), strict=True)
    for (*_, both, either, full, resized), at_full, at_480 in pairs:
        assert (at_full.best.intersection, at_full.best.union) == (int(both), int(either))
        assert f"{100 * at_full.iou(PROTOCOLS['full']):.2f}" == full
        assert f"{100 * at_480.iou(PROTOCOLS['lavt-480']):.2f}" == resized


def test_the_same_masks_have_the_different_scores_that_the_page_says() -> None:
    printed = re.findall(r"^\| .*\(`([\w-]+)`: (\w+)\) \| ([\d.]+) \|$", PAGE, re.MULTILINE)
    assert len({score for *_, score in printed}) == len(printed) == 4
    for protocol, measure, score in printed:
        tally = Tally(PROTOCOLS[protocol])
        for one in scored(protocol):
            tally.add(one)
        assert f"{tally.values()[measure]:.2f}" == score


def test_the_page_names_every_protocol_and_its_totals() -> None:
    for name, rules in PROTOCOLS.items():
        (row,) = re.findall(rf"^\| (?:`[\w-]+`, )?`{name}`.*$", PAGE, re.MULTILINE)
        for measure in rules.measures[:2]:
            assert measure.name in row
        counted = "none" if rules.boundaries else f"IoU {'>' if rules.strict else '≥'} x"
        assert f"{rules.both_empty:.0f} | {counted}" in row
