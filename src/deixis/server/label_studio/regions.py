"""Predictions as Label Studio's regions: brush, polygons or a rectangle, in percent of the upright image."""

from typing import Any
from uuid import uuid4

from ...predict.prediction import Prediction
from ..answers import polygons
from .brush import encode
from .config import Control


def regions(prediction: Prediction, control: Control) -> list[dict[str, Any]]:
    """One region for a brush or a rectangle, one for each part of a polygon; none where nothing was found."""
    if prediction.box is None:
        return []
    height, width = prediction.size
    if control.kind == "brush":
        values: list[dict[str, Any]] = [{"format": "rle", "rle": encode(prediction.mask)}]
    elif control.kind == "polygon":
        values = [
            {"points": [[_percent(x, width), _percent(y, height)] for x, y in points], "closed": True}
            for points in polygons(prediction.mask)
        ]
    else:
        left, top, across, down = prediction.box
        sides = {"x": (left, width), "y": (top, height), "width": (across, width), "height": (down, height)}
        values = [{name: _percent(*of) for name, of in sides.items()} | {"rotation": 0}]
    label = control.label_for(prediction.expression)
    kind = control.kind if label is None else f"{control.kind}labels"
    labelled = {} if label is None else {kind: [label]}
    return [
        {
            "id": uuid4().hex[:10],
            "type": kind,
            "from_name": control.from_name,
            "to_name": control.to_name,
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "score": round(prediction.score, 4),
            "value": value | labelled,
        }
        for value in values
    ]


def _percent(pixels: float | int, side: int) -> float:
    return min(100.0, max(0.0, 100 * pixels / side))
