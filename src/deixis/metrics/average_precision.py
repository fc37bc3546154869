"""Average precision over ten IoU thresholds as COCO's evaluator computes it, for one target an expression.

It is computed from pixel counts, and every sum is weighted by image: with all weights 1 it is COCO's number, with the
counts of a bootstrap draw it is the number of that draw.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from .bootstrap import image_weights
from .scored import Scored

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
AREAS = {"": (0.0, 1e10), " S": (0.0, 32.0**2), " M": (32.0**2, 96.0**2), " L": (96.0**2, 1e10)}
RANKING_WORK = 50_000_000  # answers x draws, the ranking's work for an interval
MOST_ANSWERS = 100  # COCO's largest number of detections an image
NAMES = ("mAP[.5:.95]", "AP@0.5", "AP@0.75", "mAP[.5:.95] S", "mAP[.5:.95] M", "mAP[.5:.95] L")


class Detections:
    """The answers that average precision ranks; all are kept, since a ranking is not a sum."""

    def __init__(self, *, all_answers: bool) -> None:
        self.all_answers = all_answers
        self.scored: dict[str, tuple[str, int, tuple[tuple[float, int, float], ...]]] = {}

    def add(self, scored: Scored) -> None:
        answers = scored.answers if self.all_answers else (scored.best,)
        # COCO's mask IoU gives two empty masks 0.
        kept = tuple((a.score, a.area, a.intersection / a.union if a.union else 0.0) for a in answers)
        self.scored[scored.ids.sentence] = scored.ids.image, scored.target, kept

    def merge(self, other: "Detections") -> None:
        self.scored.update(other.scored)

    def ranked(self, images: Sequence[str]) -> "Ranking":
        """All answers by falling score; equal scores are in the order of their sentences' ids, as in COCO."""
        place = {image: position for position, image in enumerate(images)}
        target_area, target_image, owner, rows = [], [], [], []
        for number, sentence in enumerate(sorted(self.scored)):
            image, area, answers = self.scored[sentence]
            target_area.append(area)
            target_image.append(place[image])
            first = sorted(answers, key=lambda answer: -answer[0])[:MOST_ANSWERS]
            rows += first
            owner += [number] * len(first)
        score, area_of, overlap = (np.array(values, dtype=float) for values in zip(*rows, strict=True))
        order = np.argsort(-score, kind="stable")
        return Ranking(
            owner=np.array(owner)[order],
            area=area_of[order],
            overlap=overlap[order],
            target_area=np.array(target_area, dtype=float),
            target_image=np.array(target_image),
        )


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Answers by falling score, and the expressions (`owner`) whose one target they were compared with."""

    owner: Int[np.ndarray, " answers"]
    area: Float[np.ndarray, " answers"]
    overlap: Float[np.ndarray, " answers"]
    target_area: Float[np.ndarray, " expressions"]
    target_image: Int[np.ndarray, " expressions"]

    def average_precisions(self, weights: Float[np.ndarray, "draws images"]) -> Float[np.ndarray, "draws 6"]:
        """COCO's first six numbers for each draw of images; NaN where no target has that size."""
        answer_weights = weights[:, self.target_image[self.owner]]
        curves = {name: [] for name in AREAS}  # type: dict[str, list[np.ndarray]]
        for name, hit, missed, counting in self._curves():
            positives = weights[:, self.target_image[counting]].sum(axis=1)
            counted = hit | missed
            curves[name].append(_interpolated(answer_weights[:, counted], hit[counted], positives))
        every = np.stack(curves[""], axis=1)  # draws thresholds recalls
        sizes = [np.stack(curves[name], axis=1).mean(axis=(1, 2)) for name in (" S", " M", " L")]
        return np.stack([every.mean(axis=(1, 2)), every[:, 0].mean(axis=1), every[:, 5].mean(axis=1), *sizes], axis=1)

    def affordable_draws(self, draws: int) -> int:
        """At most `draws`, and fewer for very many answers, since every draw goes through the whole ranking."""
        return min(draws, max(100, RANKING_WORK // len(self.owner)))

    def resampled(self, num_images: int, *, draws: int, seed: int) -> Float[np.ndarray, "draws 6"]:
        """COCO's six numbers in every draw of images."""
        step = max(1, (1 << 22) // len(self.owner))
        return np.concatenate(
            [
                self.average_precisions(weights[start : start + step])
                for weights in image_weights(num_images, draws=draws, seed=seed)
                for start in range(0, len(weights), step)
            ]
        )

    def _curves(self) -> Iterator[tuple[str, Bool[np.ndarray, "_"], Bool[np.ndarray, "_"], Bool[np.ndarray, "_"]]]:
        """For each size and threshold: hits, misses (the rest is ignored), and the targets that are counted."""
        for name, (least, most) in AREAS.items():
            counting = (self.target_area >= least) & (self.target_area <= most)
            outside = (self.area < least) | (self.area > most)
            for threshold in IOU_THRESHOLDS:
                matched = self._matched(min(threshold, 1 - 1e-10))
                yield name, matched & counting[self.owner], ~matched & ~outside, counting

    def _matched(self, threshold: float) -> Bool[np.ndarray, " answers"]:
        """Each target is matched with the highest-scored of its answers that reach the threshold."""
        (reached,) = np.nonzero(self.overlap >= threshold)
        _, first = np.unique(self.owner[reached], return_index=True)
        matched = np.zeros(len(self.overlap), dtype=bool)
        matched[reached[first]] = True
        return matched


def _interpolated(
    weights: Float[np.ndarray, "draws answers"],
    hit: Bool[np.ndarray, " answers"],
    positives: Float[np.ndarray, " draws"],
) -> Float[np.ndarray, "draws recalls"]:
    """Precision at 101 recalls; at each recall the largest precision at that recall or a higher one."""
    precision_at = np.full((len(weights), len(RECALLS)), np.nan)
    hits = np.cumsum(weights * hit, axis=1)
    precision = hits / (np.cumsum(weights, axis=1) + np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    for draw in np.nonzero(positives)[0]:
        places = np.searchsorted(hits[draw] / positives[draw], RECALLS, side="left")
        reached = places < precision.shape[1]
        precision_at[draw] = 0.0
        precision_at[draw, reached] = precision[draw, places[reached]]
    return precision_at
