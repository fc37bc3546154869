"""Expressions without a referent: accuracy with and without one, how well the two separate, and calibration."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from .bootstrap import DRAWS, image_weights, interval, ratio
from .calibration import Bin, expected_calibration_error, reliability
from .scored import Scored

RANKING_WORK = 50_000_000  # expressions x draws: the work of AUROC's interval
NAMES = ("N-acc", "T-acc", "MCC", "AUROC")


@dataclass(frozen=True, kw_only=True)
class PresenceScores:
    """The scores of a split in which some expressions refer to nothing.

    `score` names what was taken as the probability of presence: the output of the `presence head`, the mean
    probability of the `mask`, or the score in a predictions `file`. N-acc and T-acc are percentages, MCC is from -1 to
    1, AUROC from 0 to 1; each with a 95% interval over images, None where there are no expressions for it. `ece`,
    confidences and frequencies are between 0 and 1.
    """

    score: str
    calibrated: bool
    threshold: float | None  # that the head's probability had to exceed
    num_present: int
    num_absent: int
    n_acc: float | None  # expressions without a target: the percentage with an empty mask
    t_acc: float | None  # expressions with a target: the percentage with a mask that is not empty
    ece: float
    bins: tuple[Bin, ...]
    mcc: float | None = None  # Matthews' correlation between "the mask has pixels" and "the target has pixels"
    auroc: float | None = None  # the probability that a present referent has a higher score than an absent one
    n_acc_interval: tuple[float, float] | None = None  # older results have no intervals, MCC or AUROC
    t_acc_interval: tuple[float, float] | None = None
    mcc_interval: tuple[float, float] | None = None
    auroc_interval: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class PresenceRows:
    """What every expression of a split contributes; images are numbered in the order of their sorted names."""

    probability: Float[np.ndarray, " b"]
    present: Bool[np.ndarray, " b"]
    found: Bool[np.ndarray, " b"]
    image: Int[np.ndarray, " b"]

    @classmethod
    def of(cls, scored: Iterable[Scored]) -> "PresenceRows":
        rows = [(one.best.score, one.target > 0, one.best.area > 0, one.ids.image) for one in scored]
        _, image = np.unique([row[3] for row in rows], return_inverse=True)  # the order of the measures: the same draws
        return cls(
            probability=np.array([row[0] for row in rows], dtype=np.float64),
            present=np.array([row[1] for row in rows], dtype=bool),
            found=np.array([row[2] for row in rows], dtype=bool),
            image=image,
        )

    def values(self) -> dict[str, float | None]:
        """Each measure of `NAMES`; None where the split has no expressions for it."""
        every_image = np.ones((1, int(self.image.max()) + 1))
        values = self._ratios(every_image) | {"AUROC": self._areas(every_image)}
        return {name: None if np.isnan(values[name][0]) else float(values[name][0]) for name in NAMES}

    def resampled(self, *, draws: int = DRAWS, seed: int = 0) -> dict[str, Float[np.ndarray, " draws"]]:
        """Each measure in every draw of images; of AUROC there are fewer draws for very many expressions."""
        few = min(draws, max(100, RANKING_WORK // len(self.present)))
        num_images = int(self.image.max()) + 1
        parts = [self._ratios(weights) for weights in image_weights(num_images, draws=draws, seed=seed)]
        areas = [
            self._areas(part)
            for weights in image_weights(num_images, draws=few, seed=seed)
            for part in np.array_split(weights, max(1, weights.shape[0] * len(self.present) >> 22))
        ]
        ratios = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return ratios | {"AUROC": np.concatenate(areas)}

    def _ratios(self, weights: Float[np.ndarray, "draws images"]) -> dict[str, Float[np.ndarray, " draws"]]:
        kinds = (self.present & self.found, self.present & ~self.found, ~self.present & self.found)
        table = [np.bincount(self.image, weights=kind, minlength=weights.shape[1]) for kind in kinds]
        right, missed, invented = (weights @ counts for counts in table)
        silent = weights @ np.bincount(self.image, weights=~self.present & ~self.found, minlength=weights.shape[1])
        return {
            "N-acc": 100 * ratio(silent, silent + invented),
            "T-acc": 100 * ratio(right, right + missed),
            "MCC": correlation(right, missed, invented, silent),
        }

    def _areas(self, weights: Float[np.ndarray, "draws images"]) -> Float[np.ndarray, " draws"]:
        """The area under the ROC curve: pairs of a present and an absent expression in the right order, ties half."""
        levels, level = np.unique(self.probability, return_inverse=True)
        present, absent = (
            _by_level(weights[:, self.image[kind]], level[kind], len(levels)) for kind in (self.present, ~self.present)
        )
        below = np.cumsum(absent, axis=1) - absent / 2
        return ratio((present * below).sum(axis=1), present.sum(axis=1) * absent.sum(axis=1))


def correlation(
    right: Float[np.ndarray, " draws"],
    missed: Float[np.ndarray, " draws"],
    invented: Float[np.ndarray, " draws"],
    silent: Float[np.ndarray, " draws"],
) -> Float[np.ndarray, " draws"]:
    """Matthews' correlation of the four counts of a binary decision.

    It is 0 where all decisions are equal, NaN where all truths are equal.
    """
    present, absent = right + missed, invented + silent
    found, empty = right + invented, missed + silent
    with np.errstate(divide="ignore", invalid="ignore"):
        values = (right * silent - invented * missed) / np.sqrt(present * absent * found * empty)
    values = np.where(found * empty == 0, 0.0, values)
    return np.where(present * absent == 0, np.nan, values)


def presence_scores(
    scored: Iterable[Scored],
    score: str,
    *,
    calibrated: bool = False,
    threshold: float | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> PresenceScores | None:
    """The scores from the records of a split; None where every expression has a target."""
    rows = PresenceRows.of(scored)
    if rows.present.all():
        return None
    values, drawn = rows.values(), rows.resampled(draws=draws, seed=seed)
    spans = {name: interval(drawn[name]) for name in NAMES}
    bins = reliability(np.clip(rows.probability, 0.0, 1.0), rows.present)
    return PresenceScores(
        score=score,
        calibrated=calibrated,
        threshold=threshold,
        num_present=int(rows.present.sum()),
        num_absent=int((~rows.present).sum()),
        n_acc=values["N-acc"],
        t_acc=values["T-acc"],
        ece=expected_calibration_error(bins),
        bins=bins,
        mcc=values["MCC"],
        auroc=values["AUROC"],
        n_acc_interval=spans["N-acc"],
        t_acc_interval=spans["T-acc"],
        mcc_interval=spans["MCC"],
        auroc_interval=spans["AUROC"],
    )


def from_fields(fields: Mapping[str, Any]) -> PresenceScores:
    """The scores from their fields in a result's JSON."""
    spans = {name: tuple(span) for name, span in fields.items() if name.endswith("_interval") and span is not None}
    return PresenceScores(**{**fields, **spans, "bins": tuple(Bin(**one) for one in fields["bins"])})


def _by_level(
    weights: Float[np.ndarray, "draws b"], level: Int[np.ndarray, " b"], num_levels: int
) -> Float[np.ndarray, "draws levels"]:
    """The sums of the weights of the expressions that have the same score."""
    order = np.argsort(level, kind="stable")
    held, starts = np.unique(level[order], return_index=True)
    sums = np.zeros((len(weights), num_levels))
    if len(held):
        sums[:, held] = np.add.reduceat(weights[:, order], starts, axis=1)
    return sums
