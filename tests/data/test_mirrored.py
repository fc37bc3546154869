"""What a mirror shows: frames, masks and sentences agree, and twice is as before."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deixis import masks
from deixis.data.mirrored import Mirrored, exchange_sides
from deixis.runs.data import StoredData
from deixis.runs.open_data import open_data
from deixis.toyland.world import Toyland


@pytest.mark.parametrize(
    ("sentence", "mirrored"),
    [
        ("the dog on the left", "the dog on the right"),
        ("Right guy left of the bus", "Left guy right of the bus"),
        ("RIGHTMOST cup, left-hand side", "LEFTMOST cup, right-hand side"),
        ("leftovers and the bright light", "leftovers and the bright light"),
        ("person in the middle", "person in the middle"),
    ],
)
def test_sides_are_exchanged_and_nothing_else(sentence: str, mirrored: str) -> None:
    assert exchange_sides(sentence) == mirrored
    assert exchange_sides(mirrored) == sentence


def test_frames_and_masks_are_mirrored_together() -> None:
    world = Toyland(num_scenes=2, size=48)
    mirrored = Mirrored(world)
    assert len(mirrored) == len(world)
    for position in (0, len(world) - 1):
        before, after = world[position], mirrored[position]
        assert np.array_equal(after.visual.read([0, 0]), before.visual.read([0, 0])[:, :, ::-1])
        assert after.visual.size == before.visual.size
        assert np.array_equal(masks.decode(after.mask), masks.decode(before.mask)[:, ::-1])
        assert after.ids == mirrored.ids[position]
        assert after.ids.image != before.ids.image


def test_training_data_are_doubled_and_validation_is_not(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "black.png")
    record = {"image": "black.png", "expression": "left", "mask": {"size": [6, 8], "counts": [0, 6, 42]}}
    for split in ("train", "val"):
        (tmp_path / f"{split}.jsonl").write_text(json.dumps(record))
    training, validation = open_data(StoredData(root=str(tmp_path), mirrored=True))
    assert [one.expression for one in (training[0], training[1])] == ["left", "right"]
    assert masks.decode(training[1].mask).any(axis=0).tolist() == [False] * 7 + [True]
    assert len(training) == len(set(training.ids)) == 2
    assert len(validation) == 1
    unlabelled, _ = open_data(StoredData(root=str(tmp_path), mirrored=True, labels="none"))
    assert [one.mask for one in (unlabelled[0], unlabelled[1])] == [None, None]
