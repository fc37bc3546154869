"""Label CVAT tasks with sentences: an auto-annotation function for `cvat-cli`.

CVAT has no field for a sentence, so each label has one of its own, written as LABEL=SENTENCE, between semicolons:

    cvat-cli task auto-annotate 7 --function-file examples/cvat_function.py --allow-unmatched-labels \\
        -p "sentences=str:cup=the red cup;person=the person on the left" -p model=str:bundled --conf-threshold 0.5

The labels must exist in the task, as masks or as polygons. Install `cvat-sdk` and `cvat-cli` beside deixis.
"""

from typing import Any

import cvat_sdk.auto_annotation as cvataa
import numpy as np

import deixis
from deixis.server.answers import polygons


class ReferringFunction:
    """A mask, or polygons, for each label whose sentence was found."""

    def __init__(self, sentences: dict[str, str], model: str) -> None:
        self.sentences, self.segmenter = list(sentences.values()), deixis.load(model)
        labels = [cvataa.label_spec(name, number, type="mask") for number, name in enumerate(sentences)]
        self.spec = cvataa.DetectionFunctionSpec(labels=labels)

    def detect(self, context: Any, image: Any) -> list[Any]:
        shapes: list[Any] = []
        for label, prediction in enumerate(self.segmenter(image, self.sentences)):
            if not prediction.found or prediction.score < (context.conf_threshold or 0.0):
                continue
            if context.conv_mask_to_poly:
                for points in polygons(prediction.mask):
                    shapes.append(cvataa.polygon(label, [number for point in points for number in point]))
            elif prediction.box is not None:
                shapes.append(cvataa.mask(label, mask_points(prediction.mask, prediction.box)))
        return shapes


def mask_points(mask: np.ndarray, box: tuple[int, int, int, int]) -> list[float]:
    """CVAT's run lengths: of the box's rows, background first, then the box's corners, the last pixels included."""
    left, top, width, height = box
    flat = np.concatenate([[False], mask[top : top + height, left : left + width].ravel()])
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]), flat.size - 1)
    return [*np.diff(ends, prepend=0).tolist(), left, top, left + width - 1, top + height - 1]


def create(sentences: str, model: str = "bundled") -> ReferringFunction:
    """What `cvat-cli` calls with the parameters of `-p`."""
    pairs = [pair.partition("=") for pair in sentences.split(";")]
    return ReferringFunction({label.strip(): sentence.strip() for label, _, sentence in pairs}, model)
