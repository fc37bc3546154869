"""The named protocols: the size that masks are compared at, the IoU of empty masks, and the totals.

The same masks have different scores under each of them, so a score is reported with its protocol's name.
"""

from dataclasses import dataclass
from typing import Literal

from ..errors import InputError, did_you_mean
from ..records import MaskRule
from .davis import Task

BOUNDARY_MEASURES = ("J&F", "J", "F")


@dataclass(frozen=True, slots=True)
class Measure:
    """A ratio of two sums over expressions, which are named columns of `accumulators.Tally`."""

    name: str
    numerator: str
    denominator: str


@dataclass(frozen=True, kw_only=True)
class ScoringProtocol:
    """The rules of one protocol; the defaults are those of `full`."""

    name: str
    summary: str
    size: int | None = None  # both masks are resized to size x size by nearest neighbour; None: the image's own size
    both_empty: float = 1.0  # the IoU of an empty prediction with an empty target
    smoothing: float = 0.0  # added to I and U, in single precision
    thresholds: tuple[float, ...] = (0.5, 0.6, 0.7, 0.8, 0.9)
    strict: bool = False  # whether an IoU must exceed a threshold to count there
    mean_name: str = "mIoU"
    overall_name: str = "oIoU"
    threshold_name: str = "P"
    has_no_target: bool = False  # N-acc and T-acc; thresholds then count targeted expressions only
    average_precision: bool = False
    # Where polygons of one RefCOCO object overlap: their union, or without the shared pixels, as in the published code.
    overlaps: Literal["union", "published"] = "union"
    all_answers: bool = False  # average precision over all answers of the system, not only its best one
    with_labels: str | None = None  # the protocol of the same masks where the threshold was chosen on labels
    boundaries: bool = False  # J, F and their mean over the frames of each expression about a clip, nothing else
    davis: Task | None = None  # the objects of a clip compete for its pixels, and the DAVIS program compares them

    def __post_init__(self) -> None:
        if not all(0 < threshold < 1 for threshold in self.thresholds):
            raise ValueError(f"The IoU thresholds are {self.thresholds}; expected numbers between 0 and 1.")
        if self.size is not None and self.size < 1:
            raise ValueError(f"The compared size is {self.size}; expected a positive number of pixels.")
        if self.all_answers and not self.average_precision:
            raise ValueError("`all_answers` needs `average_precision`.")
        if self.davis is not None and not self.boundaries:
            raise ValueError("`davis` needs `boundaries`.")

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Every total that is a ratio of sums, in the order of printing."""
        if self.boundaries:
            return tuple(Measure(name, name, "clips") for name in BOUNDARY_MEASURES)
        counted = "targeted" if self.has_no_target else "expressions"
        totals = [
            Measure(self.overall_name, "intersection", "union"),
            Measure(self.mean_name, "iou", "expressions"),
            *(Measure(f"{self.threshold_name}@{t}", column(t), counted) for t in self.thresholds),
        ]
        if self.has_no_target:
            totals += [Measure("N-acc", "untargeted_kept", "untargeted"), Measure("T-acc", "targeted_kept", "targeted")]
        return tuple(totals)


def column(threshold: float) -> str:
    """The name of the sum that counts expressions at a threshold."""
    return f"at_{threshold}"


PROTOCOLS: dict[str, ScoringProtocol] = {
    "full": ScoringProtocol(
        name="full",
        summary="the image's own size; the probability map is resized before the threshold",
    ),
    "lavt-480": ScoringProtocol(
        name="lavt-480",
        summary="480x480, target resized by nearest neighbour, both empty counts 0: LAVT, MagNet, CrossVLT",
        size=480,
        both_empty=0.0,
        overlaps="published",
    ),
    "weak": ScoringProtocol(
        name="weak",
        summary="the image's own size, a threshold chosen before any mask was seen: weak supervision, such as SaG",
        both_empty=0.0,
        thresholds=(0.3, 0.5, 0.7),
        threshold_name="A",
        with_labels="labelled-threshold",
    ),
    "labelled-threshold": ScoringProtocol(
        name="labelled-threshold",
        summary="as weak, but the threshold was chosen on labels, so that the scores are not those of weak supervision",
        both_empty=0.0,
        thresholds=(0.3, 0.5, 0.7),
        threshold_name="A",
    ),
    "a2d-best": ScoringProtocol(
        name="a2d-best",
        summary="annotated frames, (I + 1e-6) / (U + 1e-6), IoU > x, mAP over the best answer of each expression",
        smoothing=1e-6,
        strict=True,
        average_precision=True,
    ),
    "a2d-all": ScoringProtocol(
        name="a2d-all",
        summary="as a2d-best, but mAP over all answers of a system, which gives higher numbers",
        smoothing=1e-6,
        strict=True,
        average_precision=True,
        all_answers=True,
    ),
    "rvos": ScoringProtocol(
        name="rvos",
        summary="J, F and J&F, mean over all frames of an expression, then over expressions: Refer-YouTube-VOS, MeViS",
        boundaries=True,
    ),
    "ref-davis": ScoringProtocol(
        name="ref-davis",
        summary="Ref-DAVIS17 as published: predicted objects are reassigned to the true ones; all frames, without void",
        boundaries=True,
        davis="unsupervised",
    ),
    "ref-davis-fixed": ScoringProtocol(
        name="ref-davis-fixed",
        summary="Ref-DAVIS17 with fixed objects, without the first and last frames: exchanged objects are wrong",
        boundaries=True,
        davis="semi-supervised",
    ),
    "grefcoco": ScoringProtocol(
        name="grefcoco",
        summary="the image's own size, with expressions that refer to nothing in it: ReLA's evaluator",
        thresholds=(0.7, 0.8, 0.9),
        overall_name="cIoU",
        mean_name="gIoU",
        threshold_name="Pr",
        has_no_target=True,
    ),
}


def protocol_of(rules: ScoringProtocol, rule: MaskRule | None) -> ScoringProtocol:
    """The protocol, or another one where it does not allow that the rule's threshold was chosen on labels."""
    was_chosen = rule is not None and bool(rule.chosen_on)
    return PROTOCOLS[rules.with_labels] if was_chosen and rules.with_labels else rules


def protocol_named(name: str) -> ScoringProtocol:
    if name not in PROTOCOLS:
        raise InputError(f"There is no protocol {name!r}. {did_you_mean(name, PROTOCOLS)}")
    return PROTOCOLS[name]
