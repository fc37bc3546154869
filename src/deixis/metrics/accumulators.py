"""Exact sums over expressions that add and merge, so that neither order nor the number of workers changes a digit."""

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float

from .average_precision import Detections
from .iou import reaches
from .over_time import OverTime
from .protocols import BOUNDARY_MEASURES, ScoringProtocol, column
from .scored import Scored

# A quotient of two pixel counts below 2^43 is a multiple of 2^-96: sums of such are exact in integers of this unit.
UNIT = 1 << 96
FIXED_COLUMNS = (
    "expressions",
    "intersection",
    "union",
    "iou",
    "targeted",
    "targeted_kept",
    "untargeted",
    "untargeted_kept",
)


class Tally:
    """The sums of one group of expressions, one row for each image."""

    def __init__(self, rules: ScoringProtocol) -> None:
        self.rules = rules
        clips = ("clips", *BOUNDARY_MEASURES) if rules.boundaries else ()
        self.columns = FIXED_COLUMNS + tuple(column(threshold) for threshold in rules.thresholds) + clips
        self.fractions = {place for place, name in enumerate(self.columns) if name in ("iou", *clips)}  # in UNIT
        self.rows: dict[str, list[int]] = {}

    def add(self, scored: Scored) -> None:
        row = self._row_of(scored.ids.image)
        best, value = scored.best, scored.iou(self.rules)
        row[0] += 1
        row[1] += best.intersection
        row[2] += best.union
        row[3] += int(value * UNIT)
        if scored.target:
            row[4] += 1
            row[5] += best.area > 0
        else:
            row[6] += 1
            row[7] += best.area == 0
        if scored.target or not self.rules.has_no_target:
            for place, threshold in enumerate(self.rules.thresholds, start=len(FIXED_COLUMNS)):
                row[place] += reaches(value, threshold, strict=self.rules.strict)
        if self.rules.boundaries:
            j, f = value, 0.0 if best.boundary is None else best.boundary
            for place, part in enumerate((1.0, (j + f) / 2, j, f), start=len(self.columns) - 4):
                row[place] += int(part / scored.num_frames * UNIT)

    def merge(self, other: "Tally") -> None:
        """Add another worker's sums; both may have rows for the same image."""
        for image, counts in other.rows.items():
            row = self._row_of(image)
            for place, count in enumerate(counts):
                row[place] += count

    def totals(self) -> dict[str, int]:
        sums = [sum(row[place] for row in self.rows.values()) for place in range(len(self.columns))]
        return dict(zip(self.columns, sums, strict=True))

    def values(self) -> dict[str, float | None]:
        """Every ratio of the protocol in percent, correctly rounded; None where nothing was counted."""
        totals = self.totals()
        values: dict[str, float | None] = {}
        for measure in self.rules.measures:
            unit = UNIT if measure.numerator == "iou" else 1  # both sums of a clip's measures are in UNIT
            below = totals[measure.denominator] * unit
            values[measure.name] = 100 * totals[measure.numerator] / below if below else None
        return values

    def table(self, images: Sequence[str]) -> Float[np.ndarray, "images columns"]:
        """The rows in the order of `images` as floats; zeros for an image without a row."""
        table = np.zeros((len(images), len(self.columns)))
        for place, image in enumerate(images):
            if image in self.rows:
                row = self.rows[image]
                table[place] = row
                for fraction in self.fractions:
                    table[place, fraction] = row[fraction] / UNIT
        return table

    def _row_of(self, image: str) -> list[int]:
        row = self.rows.get(image)
        if row is None:
            row = self.rows[image] = [0] * len(self.columns)
        return row


class Totals:
    """The sums of a result: all expressions, the groups of each breakdown, and what measures of single answers need."""

    def __init__(self, rules: ScoringProtocol) -> None:
        self.rules = rules
        self.overall = Tally(rules)
        self.groups: dict[str, dict[str, Tally]] = {}
        self.detections = Detections(all_answers=rules.all_answers) if rules.average_precision else None
        self.over_time = OverTime(rules) if rules.davis else None

    def add(self, scored: Scored) -> None:
        self.overall.add(scored)
        for axis, group in scored.groups.items():
            self._group(axis, group).add(scored)
        if self.detections is not None:
            self.detections.add(scored)
        if self.over_time is not None:
            self.over_time.add(scored)

    def add_all(self, scored: Iterable[Scored]) -> "Totals":
        for one in scored:
            self.add(one)
        return self

    def merge(self, other: "Totals") -> None:
        self.overall.merge(other.overall)
        for axis, groups in other.groups.items():
            for group, tally in groups.items():
                self._group(axis, group).merge(tally)
        if self.detections is not None and other.detections is not None:
            self.detections.merge(other.detections)
        if self.over_time is not None and other.over_time is not None:
            self.over_time.merge(other.over_time)

    def _group(self, axis: str, group: str) -> Tally:
        groups = self.groups.setdefault(axis, {})
        if group not in groups:
            groups[group] = Tally(self.rules)
        return groups[group]
