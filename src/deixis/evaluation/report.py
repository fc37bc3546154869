"""The result file: what was scored, under which protocol, and every total with its interval."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ..errors import InputError
from ..files import replaced
from ..metrics.accumulators import Tally, Totals
from ..metrics.average_precision import NAMES
from ..metrics.bootstrap import DRAWS, interval, ratio, resampled_sums
from ..metrics.breakdowns import in_order
from ..metrics.over_time import NAMES as OVER_TIME
from ..metrics.presence import PresenceScores, from_fields
from ..metrics.protocols import ScoringProtocol
from ..records import Ids

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A total in percent with its 95% interval; all None where nothing was counted."""

    value: float | None
    low: float | None
    high: float | None
    draws: int


@dataclass(frozen=True, kw_only=True)
class Group:
    """One row of a breakdown."""

    num_expressions: int
    measures: dict[str, Estimate]


@dataclass(frozen=True, kw_only=True)
class Result:
    """The scores of one split with all that is needed to check them or to compute them again."""

    protocol: str
    dataset: str
    split: str
    num_images: int
    num_objects: int
    num_expressions: int
    num_missing: int  # expressions without a prediction, counted as empty
    ids_hash: str
    model: str
    checkpoint_hash: str | None
    run: Mapping[str, Any] | None
    threshold: float | None
    seed: int
    measures: dict[str, Estimate]
    breakdowns: dict[str, dict[str, Group]]
    wall_seconds: float
    machine: dict[str, str]
    records: str  # the per-expression records, a file name beside this one
    computed: Mapping[str, Any] | None = None  # device, dtype, compiled or not; None for masks from a file
    mask_rule: str | None = None  # the kind of the checkpoint's rule; None for masks from a file
    threshold_chosen_on: str = ""  # the data on whose labels the threshold was chosen
    presence: PresenceScores | None = None  # where some expressions refer to nothing
    broken: tuple[str, ...] = ()  # one sentence for each record of the data set that was left out
    format: int = field(default=FORMAT)

    def write(self, path: Path) -> None:
        with replaced(path) as beside:
            beside.write_text(json.dumps(asdict(self), indent=2, allow_nan=False) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Result":
        """Raises `DeixisError` for anything but a result file."""
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
            fields["measures"] = _estimates(fields["measures"])
            presence = fields.get("presence")
            fields["presence"] = None if presence is None else from_fields(presence)
            fields["broken"] = tuple(fields.get("broken", ()))  # older results have no such list
            fields["breakdowns"] = {
                axis: {
                    name: Group(**{**group, "measures": _estimates(group["measures"])}) for name, group in rows.items()
                }
                for axis, rows in fields["breakdowns"].items()
            }
            return cls(**fields)
        except FileNotFoundError:
            raise InputError(f"There is no result file {path}; `deixis evaluate … --out {path}` writes it.") from None
        except OSError as error:
            raise InputError(f"The result {path} cannot be read: {error.strerror}.") from None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise InputError(f"{path} is not a result of `deixis evaluate`; give the file that it wrote.") from None


def hash_of_ids(ids: Iterable[Ids]) -> str:
    """SHA-256 of the sorted ids: the same for the same split, in whatever order a reader lists them."""
    digest = hashlib.sha256()
    for line in sorted(f"{one.image}\t{one.object}\t{one.sentence}\n" for one in ids):
        digest.update(line.encode())
    return digest.hexdigest()


def measure(
    totals: Totals, *, draws: int = DRAWS, seed: int = 0
) -> tuple[dict[str, Estimate], dict[str, dict[str, Group]]]:
    """Every total and every breakdown, with intervals from the same draws of images."""
    images = sorted(totals.overall.rows)
    groups = [
        (axis, name, totals.groups[axis][name]) for axis in totals.groups for name in in_order(totals.groups[axis])
    ]
    tallies = [totals.overall, *(tally for _, _, tally in groups)]
    sums = resampled_sums(np.concatenate([tally.table(images) for tally in tallies], axis=1), draws=draws, seed=seed)
    blocks = np.split(sums, len(tallies), axis=1)
    measures = _ratios(totals.overall, blocks[0])
    if totals.detections is not None:
        measures |= _average_precisions(totals, images, draws, seed)
    if totals.over_time is not None:
        measures |= _over_time(totals.over_time.table(images), draws, seed)
    breakdowns: dict[str, dict[str, Group]] = {}
    for (axis, name, tally), block in zip(groups, blocks[1:], strict=True):
        group = Group(num_expressions=tally.totals()["expressions"], measures=_ratios(tally, block))
        breakdowns.setdefault(axis, {})[name] = group
    return measures, breakdowns


def ratios_of_draws(
    rules: ScoringProtocol, columns: tuple[str, ...], sums: Float[np.ndarray, "draws columns"]
) -> dict[str, Float[np.ndarray, " draws"]]:
    """Each measure of the protocol in percent, draw by draw."""
    place = {name: position for position, name in enumerate(columns)}
    return {
        one.name: 100 * ratio(sums[:, place[one.numerator]], sums[:, place[one.denominator]]) for one in rules.measures
    }


def _ratios(tally: Tally, sums: Float[np.ndarray, "draws columns"]) -> dict[str, Estimate]:
    values = tally.values()
    draws = ratios_of_draws(tally.rules, tally.columns, sums)
    return {name: _estimate(value, draws[name]) for name, value in values.items()}


def _average_precisions(totals: Totals, images: list[str], draws: int, seed: int) -> dict[str, Estimate]:
    assert totals.detections is not None
    ranking = totals.detections.ranked(images)
    values = 100 * ranking.average_precisions(np.ones((1, len(images))))[0]
    drawn = 100 * ranking.resampled(len(images), draws=ranking.affordable_draws(draws), seed=seed)
    return {
        name: _estimate(None if np.isnan(value) else float(value), drawn[:, place])
        for place, (name, value) in enumerate(zip(NAMES, values, strict=True))
    }


def _over_time(table: Float[np.ndarray, "images columns"], draws: int, seed: int) -> dict[str, Estimate]:
    """Means over expressions, whose number is the last column."""
    means = 100 * table.sum(0) / table[:, -1].sum()
    sums = resampled_sums(table, draws=draws, seed=seed)
    return {
        name: _estimate(float(means[place]), 100 * ratio(sums[:, place], sums[:, -1]))
        for place, name in enumerate(OVER_TIME)
    }


def _estimate(value: float | None, draws: Float[np.ndarray, " draws"]) -> Estimate:
    low, high = interval(draws) or (None, None)
    return Estimate(value=value, low=low, high=high, draws=len(draws))


def _estimates(fields: Mapping[str, Any]) -> dict[str, Estimate]:
    return {name: Estimate(**estimate) for name, estimate in fields.items()}
