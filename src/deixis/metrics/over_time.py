"""DAVIS's recall and decay: how J and F of an object change over the frames of its clip."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from .boundaries import statistics
from .protocols import ScoringProtocol
from .scored import Scored

NAMES = ("J-Recall", "J-Decay", "F-Recall", "F-Decay")


class OverTime:
    """J and F of each expression's frames, which are in the order of their names, the ends of the sentences' ids."""

    def __init__(self, rules: ScoringProtocol) -> None:
        self.rules = rules
        self.frames: dict[tuple[str, str], dict[str, tuple[float, float]]] = {}  # by image and expression

    def add(self, scored: Scored) -> None:
        expression, _, frame = scored.ids.sentence.rpartition("/")
        f = 0.0 if scored.best.boundary is None else scored.best.boundary
        self.frames.setdefault((scored.ids.image, expression), {})[frame] = scored.iou(self.rules), f

    def merge(self, other: "OverTime") -> None:
        for key, frames in other.frames.items():
            self.frames.setdefault(key, {}).update(frames)

    def table(self, images: Sequence[str]) -> Float[np.ndarray, "images columns"]:
        """For each image the sums of `NAMES` over its expressions, and the number of these."""
        place, table = {image: row for row, image in enumerate(images)}, np.zeros((len(images), len(NAMES) + 1))
        for (image, _), frames in self.frames.items():
            j, f = (statistics(values) for values in np.array([frames[name] for name in sorted(frames)]).T)
            table[place[image]] += j.recall, j.decay, f.recall, f.decay, 1
        return table
