"""Two results over the same expressions: the difference of every total with a paired bootstrap."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from ..errors import InputError
from ..metrics.accumulators import Totals
from ..metrics.average_precision import NAMES
from ..metrics.bootstrap import DRAWS, interval, resampled_sums, two_sided_p
from ..metrics.presence import NAMES as PRESENCE_NAMES
from ..metrics.presence import PresenceRows
from .report import ratios_of_draws


@dataclass(frozen=True, kw_only=True)
class Difference:
    """First minus second, in points, MCC and AUROC in their own unit.

    `p` is two-sided: twice the fraction of draws of images with the other sign.
    """

    first: float | None
    second: float | None
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    draws: int


def compare_totals(first: Totals, second: Totals, *, draws: int = DRAWS, seed: int = 0) -> dict[str, Difference]:
    """The difference of each measure of the protocol; both use the same draws of images.

    One image has no interval: each draw is that image.
    """
    if first.rules != second.rules or first.overall.rows.keys() != second.overall.rows.keys():
        raise InputError("The results differ in protocol or images; compare two with the same of both.")
    images = sorted(first.overall.rows)
    columns, width = first.overall.columns, len(first.overall.columns)
    tables = np.concatenate([first.overall.table(images), second.overall.table(images)], axis=1)
    sums = resampled_sums(tables, draws=draws, seed=seed)
    one, other = (ratios_of_draws(first.rules, columns, part) for part in (sums[:, :width], sums[:, width:]))
    values = first.overall.values(), second.overall.values()
    differences = {name: _difference(values[0][name], values[1][name], one[name] - other[name]) for name in values[0]}
    if first.detections is not None and second.detections is not None:
        rankings = first.detections.ranked(images), second.detections.ranked(images)
        fewest = min(ranking.affordable_draws(draws) for ranking in rankings)
        every_image = np.ones((1, len(images)))
        before, after = (100 * ranking.average_precisions(every_image)[0] for ranking in rankings)
        drawn, redrawn = (100 * ranking.resampled(len(images), draws=fewest, seed=seed) for ranking in rankings)
        for place, name in enumerate(NAMES):
            known = [None if np.isnan(side[place]) else float(side[place]) for side in (before, after)]
            differences[name] = _difference(known[0], known[1], drawn[:, place] - redrawn[:, place])
    if len(images) == 1:
        return {name: replace(each, low=None, high=None, p=None) for name, each in differences.items()}
    return differences


def compare_presence(
    first: PresenceRows, second: PresenceRows, *, draws: int = DRAWS, seed: int = 0
) -> dict[str, Difference]:
    """The difference of each measure of presence; both use the same draws of images."""
    values = first.values(), second.values()
    one, other = (rows.resampled(draws=draws, seed=seed) for rows in (first, second))
    return {name: _difference(values[0][name], values[1][name], one[name] - other[name]) for name in PRESENCE_NAMES}


def _difference(first: float | None, second: float | None, drawn: Float[np.ndarray, " draws"]) -> Difference:
    low, high = interval(drawn) or (None, None)
    apart = None if first is None or second is None else first - second
    return Difference(
        first=first, second=second, difference=apart, low=low, high=high, p=two_sided_p(drawn), draws=len(drawn)
    )
