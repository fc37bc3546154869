"""The examples for CVAT and FiftyOne, each with a stand-in for the part of the interface that it uses."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[2] / "examples"
SCENE = EXAMPLES / "toyland.png"
SENTENCES = ["the person in green", "the yellow turtle"]


def load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def cvat(monkeypatch: pytest.MonkeyPatch) -> Any:
    interface: Any = ModuleType("cvat_sdk.auto_annotation")
    interface.label_spec = lambda name, id, type: SimpleNamespace(name=name, id=id, type=type)
    interface.DetectionFunctionSpec = lambda labels: SimpleNamespace(labels=labels)
    interface.mask = lambda label_id, points: ("mask", label_id, points)
    interface.polygon = lambda label_id, points: ("polygon", label_id, points)
    package: Any = ModuleType("cvat_sdk")
    package.auto_annotation = interface
    monkeypatch.setitem(sys.modules, "cvat_sdk", package)
    monkeypatch.setitem(sys.modules, "cvat_sdk.auto_annotation", interface)
    return load("cvat_function")


def test_cvat_gets_a_mask_or_polygons_for_each_label(cvat: Any) -> None:
    function = cvat.create(f"person={SENTENCES[0]}; turtle = {SENTENCES[1]}")
    assert [(one.id, one.name, one.type) for one in function.spec.labels] == [
        (0, "person", "mask"),
        (1, "turtle", "mask"),
    ]
    context = SimpleNamespace(frame_name="a.png", conf_threshold=None, conv_mask_to_poly=False)
    image = Image.open(SCENE)
    shapes = function.detect(context, image)
    assert [(kind, label) for kind, label, _ in shapes] == [("mask", 0), ("mask", 1)]
    for prediction, (_, _, points) in zip(function.segmenter(image, SENTENCES), shapes, strict=True):
        *runs, left, top, right, bottom = points
        box = (right - left + 1) * (bottom - top + 1)
        assert sum(runs) == box
        assert sum(runs[1::2]) == prediction.mask.sum()
    context.conv_mask_to_poly = True
    assert {kind for kind, _, _ in function.detect(context, image)} == {"polygon"}
    context.conf_threshold = 0.9999
    assert function.detect(context, image) == []


@pytest.mark.parametrize(
    ("rows", "points"), [(["##", "#."], [0, 3, 1, 1, 4, 2, 5]), ([".#", "##"], [1, 3, 1, 4, 2, 5])]
)
def test_cvats_run_lengths_begin_with_the_background(cvat: Any, rows: list[str], points: list[int]) -> None:
    mask = np.zeros((8, 8), dtype=bool)
    mask[4:6, 1:3] = [[letter == "#" for letter in row] for row in rows]
    assert cvat.mask_points(mask, (1, 4, 2, 2)) == points


def test_fiftyone_gets_a_detection_for_each_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sample(dict[str, Any]):
        filepath = str(SCENE)

    sample = Sample()
    interface: Any = ModuleType("fiftyone")
    interface.Detection = SimpleNamespace
    interface.Detections = SimpleNamespace
    interface.load_dataset = lambda name: SimpleNamespace(iter_samples=lambda autosave, progress: [sample])
    monkeypatch.setitem(sys.modules, "fiftyone", interface)
    load("fiftyone_detections").main("mine", *SENTENCES)
    found = sample["deixis"].detections
    assert [one.label for one in found] == SENTENCES
    for one in found:
        left, top, width, height = one.bounding_box
        assert one.mask.shape == (round(height * 384), round(width * 384))
        assert one.mask.dtype == bool
        assert min(left, top) >= 0
        assert max(left + width, top + height) <= 1
        assert 0.5 < one.confidence <= 1
