"""`deixis evaluate --sweep-threshold`: the scores for each threshold of the mask rule, in one pass."""

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from ..checkpoints import native
from ..errors import InputError
from ..evaluation.evaluator import open_evaluation
from ..evaluation.scoring import Scoring, score_thresholds
from ..progress import ProgressBar
from ..zoo.bundled import bundled_named
from ..zoo.loading import find

if TYPE_CHECKING:
    from pathlib import Path

    from .evaluate import EvaluateOptions

THRESHOLDS = tuple(number / 20 for number in range(1, 20))


def sweep(options: "EvaluateOptions", folder: "Path") -> None:
    """Print the scores; with `--write-threshold` the best threshold is written into the model's card.

    Nothing is written into `folder`, a temporary one.
    """
    model = options.model or ""
    place = _checkpoint(model) if options.write_threshold else None
    job = open_evaluation(
        options,
        None,
        options.protocol,
        folder,
        options.skip_broken,
        options.draws,
        options.seed,
        quiet=options.quiet,
    )
    if job.rules.davis is not None:
        raise InputError(
            f"--sweep-threshold scores each mask alone; under {job.rules.name} objects compete for pixels. Omit one."
        )
    segmenter = options.load(model, quiet=options.quiet)
    scoring = Scoring(
        batch_size=options.batch_size, workers=options.workers, presence_threshold=options.presence_threshold
    )
    with ProgressBar("expressions", len(job.reader), quiet=options.quiet) as bar:
        totals = score_thresholds(segmenter, job.reader, job.rules, scoring, THRESHOLDS, bar.advance)
    scores = {threshold: one.overall.values() for threshold, one in totals.items()}
    measure = "mIoU" if "mIoU" in scores[THRESHOLDS[0]] else next(iter(scores[THRESHOLDS[0]]))
    best = max(scores, key=lambda threshold: (scores[threshold][measure] or 0.0, -abs(threshold - 0.5)))
    if place is not None:
        card = native.read_card(place)
        rule = replace(card.mask_rule, threshold=best, chosen_on=f"{job.dataset} {job.split}")
        native.write_card(place, replace(card, mask_rule=rule))
    if options.json:
        print(json.dumps({"best": best, "by": measure, "scores": {f"{key:g}": one for key, one in scores.items()}}))
        return
    chosen = f"--threshold-chosen-on '{job.dataset} {job.split}'"
    _show(scores, best, f"{segmenter.name} on {job.dataset} {job.split}, protocol {job.rules.name}")
    print(
        f"The threshold {best:g} has the highest {measure}. A threshold that is chosen on a split is not a result for "
        f"that split: score another one with {'this model' if place else f'--threshold {best:g} {chosen}'}."
    )
    if place is not None:
        print(f"{place}: the card has the threshold {best:g} now.")


def _checkpoint(model: str) -> "Path":
    """The folder whose card is replaced; raises `InputError` before hours of scoring where there is none."""
    place = find(model)
    if bundled_named(model) is not None or not place.is_dir():
        raise InputError(f"{model} has no card of yours to write; give --write-threshold the folder of a checkpoint.")
    return place


def _show(scores: dict[float, dict[str, float | None]], best: float, title: str) -> None:
    table = Table(title=title)
    table.add_column("threshold", justify="right")
    names = list(scores[best])
    for name in names:
        table.add_column(name, justify="right")
    for threshold, one in scores.items():
        numbers = ["-" if one[name] is None else f"{one[name]:.2f}" for name in names]
        table.add_row(f"{threshold:.2f}", *numbers, style="bold" if threshold == best else None)
    Console().print(table)
