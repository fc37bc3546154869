"""The small trees in the original formats, which lie beside the repository where they are at all."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deixis import masks
from deixis.data.collate import window
from deixis.data.readers.clip_splits import ClipSplit
from deixis.records import Sample
from tests.data.video_writing import number_of

ROOT = Path(__file__).parents[4] / "shared" / "data" / "video_mini"
needs_trees = pytest.mark.skipif(not ROOT.is_dir(), reason="needs the small trees in ../shared/data/video_mini")


def expected(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((ROOT / name / "expected.json").read_text(encoding="utf-8"))
    return content


def check_frames(splits: dict[str, ClipSplit], samples: list[dict[str, Any]]) -> dict[str, list[Sample]]:
    """Every expression of every split, its sentence, and the mask at each of its frames; returns the samples by id."""
    found: dict[tuple[str, str], list[Sample]] = {}
    for split, reader in splits.items():
        for sample in reader:
            key = (split, f"{sample.traits['video']}/{sample.traits['expression']}")
            found.setdefault(key, []).append(sample)
    assert set(found) == {(each["split"], each["id"]) for each in samples}
    for each in samples:
        ours = found[each["split"], each["id"]]
        assert {sample.traits["sentence"] for sample in ours} == {each["sentence"]}
        assert {sample.expression for sample in ours} == {each["sentence_normalised"]}
        assert [sample.traits["frame_name"] for sample in ours] == each["frames"]
        assert [sample.frame for sample in ours] == list(range(len(each["frames"])))
        if "per_frame" not in each:
            assert all(sample.mask is None for sample in ours)
            continue
        for sample, frame in zip(ours, each["per_frame"], strict=True):
            check_mask(sample, frame)
    return {name: ours for (_, name), ours in found.items()}


def check_mask(sample: Sample, expected: dict[str, Any]) -> None:
    if "void" in sample.traits:  # the answer is the one without void pixels, which hide a part of the object
        assert (
            masks.area(sample.mask) <= expected["area"] <= masks.area(sample.mask) + masks.area(sample.traits["void"])
        )
        return
    assert masks.area(sample.mask) == expected["area"]
    if expected["area"]:
        assert list(masks.box(sample.mask)) == expected["box"]


def shown(sample: Sample, count: int) -> list[int]:
    """The numbers that the frames of the sample's window show."""
    positions = window(sample.frame, sample.visual.num_frames, count)
    return [number_of(np.asarray(frame)) for frame in sample.visual.read(positions)]
