"""Files of predictions: streamed, matched by id, and every error names its line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deixis import masks
from deixis.errors import DeixisError
from deixis.evaluation.predictions import Predictions
from deixis.metrics.protocols import PROTOCOLS
from deixis.metrics.scored import Scored, score_expression
from deixis.records import Ids, Sample

SIZE = (6, 8)


class Picture:
    size = SIZE

    num_frames = 1

    def read(self, frames: object = None) -> np.ndarray:
        raise AssertionError("scoring masks reads no pixels")


def rle(rows: int, columns: int, size: tuple[int, int] = SIZE) -> Any:
    mask = np.zeros(size, dtype=bool)
    mask[:rows, :columns] = True
    return masks.encode(mask)


class Rectangles:
    """Three expressions whose targets are 2x2, 3x3 and nothing."""

    ids = tuple(Ids(f"image{number // 2}", f"object{number}", str(number)) for number in range(3))

    def __len__(self) -> int:
        return 3

    def __getitem__(self, position: int) -> Sample:
        side = (2, 3, 0)[position]
        return Sample(
            visual=Picture(),
            expression="the cup",
            mask=rle(side, side),
            ids=self.ids[position],
            dataset="rectangles",
            split="val",
        )


def write(path: Path, lines: list[Any]) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def scored(path: Path, lines: list[Any], protocol: str = "full") -> list[Scored]:
    return list(Predictions(write(path / "masks.jsonl", lines), Rectangles()).scored(PROTOCOLS[protocol]))


def test_masks_are_matched_by_id_in_any_order(tmp_path: Path) -> None:
    lines = [
        {"id": 2, "rle": rle(0, 0)},
        {"id": "0", "rle": rle(2, 4), "score": 0.25},
        {"image": "image0", "object": "object1", "sentence": 1, "rle": rle(3, 3)},
    ]
    found = scored(tmp_path, lines)
    assert [one.ids.sentence for one in found] == ["2", "0", "1"]
    assert [(one.best.intersection, one.best.union, one.best.area) for one in found] == [
        (0, 0, 0),
        (4, 8, 8),
        (9, 9, 9),
    ]
    assert [one.iou(PROTOCOLS["full"]) for one in found] == [1.0, 0.5, 1.0]
    assert found[0].iou(PROTOCOLS["lavt-480"]) == 0.0
    assert found[1].best.score == 0.25


def test_missing_expressions_are_listed_and_count_as_empty(tmp_path: Path) -> None:
    predictions = Predictions(write(tmp_path / "masks.jsonl", [{"id": "1", "rle": rle(3, 3)}, ""]), Rectangles())
    assert len(list(predictions.scored(PROTOCOLS["full"]))) == 1
    assert predictions.missing == ["0", "2"]
    empty = list(predictions.scored_missing(PROTOCOLS["full"]))
    assert [(one.best.intersection, one.best.union) for one in empty] == [(0, 4), (0, 0)]


def test_an_expression_has_several_masks_under_average_precision_only(tmp_path: Path) -> None:
    lines = [{"id": "0", "rle": rle(1, 1), "score": 0.3}, {"id": "0", "rle": rle(2, 2), "score": 0.8}]
    (found,) = scored(tmp_path, lines, "a2d-all")
    assert [answer.intersection for answer in found.answers] == [1, 4]
    assert found.best.intersection == 4
    with pytest.raises(DeixisError, match="line 2: a second mask for one expression"):
        scored(tmp_path, lines)


GOOD = {"id": "0", "rle": rle(2, 2)}
MISTAKES = {
    "line 2: not JSON": [GOOD, "{nonsense"],
    "line 1: not a JSON object": ["[1, 2]"],
    "line 1: no mask": [{"id": "0"}],
    "line 1: no mask; expected 'rle'": [{"id": "0", "rle": {"size": [6], "counts": "x"}}],
    "line 1: not JSON .maximum recursion depth": ["[" * 200_000],
    "line 1: 'score' is 'high'; expected a finite number": [{**GOOD, "score": "high"}],
    "line 1: 'score' is True; expected a finite number": [{**GOOD, "score": True}],
    "line 1: 'score' is inf; expected a finite number": [{**GOOD, "score": float("inf")}],
    "line 2: 'score' is 10{39}; expected a finite number": [{**GOOD, "id": "1"}, {**GOOD, "score": 10**400}],
    "line 1: no 'id'": [{"rle": rle(2, 2)}],
    "line 1: no expression of this split has the id '99'": [{**GOOD, "id": "99"}],
    "line 1: image 'image1', but sentence '0' belongs to 'image0'": [{**GOOD, "image": "image1"}],
    "line 1: The mask of sentence '0'.*size is": [{"id": "0", "rle": rle(2, 2, (8, 6))}],
    "line 1: The run lengths do not fill": [{"id": "0", "rle": {**rle(2, 2), "size": [7, 8]}}],
    "line 1: The run lengths are not COCO": [{"id": "0", "rle": {"size": [6, 8], "counts": "!!"}}],
    "line 3: its expression has a mask further up": [GOOD, {"id": "1", "rle": rle(1, 1)}, GOOD],
}


@pytest.mark.parametrize(("sentence", "lines"), MISTAKES.items(), ids=MISTAKES)
def test_each_error_names_file_and_line(tmp_path: Path, sentence: str, lines: list[Any]) -> None:
    with pytest.raises(DeixisError, match=rf"masks\.jsonl, {sentence}"):
        scored(tmp_path, lines)


def test_a_file_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DeixisError, match=r"nowhere\.jsonl cannot be read"):
        list(Predictions(tmp_path / "nowhere.jsonl", Rectangles()).scored(PROTOCOLS["full"]))


def test_the_480_pixel_protocol_compares_resized_masks_and_takes_480_pixel_ones_as_they_are() -> None:
    sample, rules = Rectangles()[0], PROTOCOLS["lavt-480"]
    own_size = score_expression(sample, [(rle(2, 4), 1.0)], rules)
    enlarged = masks.encode(masks.resize(masks.decode(rle(2, 4)), 480, 480))
    assert score_expression(sample, [(enlarged, 1.0)], rules) == own_size  # type: ignore[list-item]
    assert own_size.target == 160 * 120
    assert own_size.best.area == 160 * 240


def test_the_480_pixel_protocol_takes_no_other_size(tmp_path: Path) -> None:
    lines = [{"id": "0", "rle": rle(2, 4, (12, 16))}]  # the size is the file's claim: decoding it may take all memory
    with pytest.raises(DeixisError, match=r"line 1: .* its size is \[12, 16\]; expected \[6, 8\] or \[480, 480\]"):
        scored(tmp_path, lines, "lavt-480")


def test_a_split_without_masks_cannot_be_scored() -> None:
    from dataclasses import replace

    with pytest.raises(DeixisError, match="has no mask to score against"):
        score_expression(replace(Rectangles()[0], mask=None), [], PROTOCOLS["full"])
