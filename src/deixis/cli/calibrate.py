"""`deixis checkpoint calibrate`: calibrate a presence head and choose its threshold, and write both into the card."""

import json
from dataclasses import asdict, dataclass, replace
from typing import Annotated

import tyro

from ..errors import InputError
from ..evaluation.splits import SplitOptions, open_split
from .options import parse

NO_TARGET = 4.0  # sentences a scene of Toyland: about one in seven then refers to nothing
EPILOGUE = f"""
Some expressions must refer to nothing: gRefCOCO has such, and Toyland generates {NO_TARGET:g} a scene (--no-target).
Fit on one split and measure on another:

  deixis checkpoint calibrate runs/magnet --data toyland:val --scenes 200
  deixis evaluate runs/magnet --data toyland:testB --no-target {NO_TARGET:g} --reliability reliability.png

A probability above a half is "present", unless --max-loss chooses the threshold by what it costs: with 0.5 it is the
largest one at which mIoU over the expressions with a referent falls by at most half a point. --presence-threshold of
the other commands replaces it."""


@dataclass(frozen=True, kw_only=True)
class CalibrateOptions(SplitOptions):
    """Fit scale and bias of a presence head's probabilities on a split, and write them into the checkpoint's card.

    The presence threshold is chosen as well, or set to a half.
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """The folder of a checkpoint or of a run."""
    max_loss: Annotated[float | None, tyro.conf.arg(metavar="POINTS")] = None
    """Choose the presence threshold, too: the largest one that costs at most this many points of mIoU."""
    batch_size: int = 8
    """Expressions at a time."""
    workers: int = 0
    """Processes that read images; 0 reads in this one."""
    device: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """cpu, cuda, cuda:1 or mps; by default the fastest one available."""
    json: bool = False
    """Print the calibration as JSON."""
    quiet: bool = False
    """Show no progress."""


def main(arguments: list[str]) -> int:
    options = parse(CalibrateOptions, arguments, "deixis checkpoint calibrate", EPILOGUE)
    if options.max_loss is not None and not 0 < options.max_loss < 100:
        raise InputError(f"--max-loss is {options.max_loss:g}; expected points of mIoU, above 0 and below 100.")
    if options.is_generated and options.no_target is None:
        options = replace(options, no_target=NO_TARGET)

    from ..checkpoints import native
    from ..data.validation import Issues
    from ..evaluation.scoring import Scoring, limited, score_presence
    from ..metrics.calibration import calibrate, choose_threshold
    from ..progress import ProgressBar
    from ..records import PresenceRule
    from ..zoo.loading import find, load

    place = find(options.model)
    if not place.is_dir():
        raise InputError(f"{place} is a weights' file; give its checkpoint's folder, in which the card is replaced.")
    reader = limited(open_split(options, Issues()), options.limit)
    segmenter = load(place, device=options.device)
    scoring = Scoring(batch_size=options.batch_size, workers=options.workers)
    with ProgressBar("expressions", len(reader), quiet=options.quiet) as bar:
        answers = score_presence(segmenter, reader, scoring, bar.advance)
    present = answers.present
    if present.all() or not present.any():
        kind = "something" if present.all() else "nothing"
        raise InputError(
            f"Every expression of {options.data} refers to {kind}; a calibration needs expressions of both kinds."
        )
    found, rule = calibrate(answers.probability, present, _named(options)), PresenceRule()
    if options.max_loss is not None:
        calibrated = found(answers.probability[present])
        rule = PresenceRule(
            threshold=choose_threshold(calibrated, answers.iou[present], options.max_loss),
            chosen_on=f"{found.data}: the largest that costs at most {options.max_loss:g} points of mIoU",
        )
    native.write_card(place, replace(native.read_card(place), calibration=found, presence_rule=rule))
    if options.json:
        print(json.dumps(asdict(found) | {"presence_rule": asdict(rule)}))
        return 0
    print(
        f"{place}: scale {found.scale:.3f}, bias {found.bias:+.3f} from {found.expressions:,} expressions of "
        f"{found.data}, of which {int((~present).sum()):,} refer to nothing"
    )
    print(f"calibration error {found.ece_before:.3f} -> {found.ece_after:.3f}")
    print(f"present above {rule.threshold:.3f}")
    return 0


def _named(options: CalibrateOptions) -> str:
    """The data that the calibration was fitted on."""
    parts = [options.data, options.dataset, options.split_by, options.split]
    if options.is_generated:
        skipped = f" from number {options.skip_scenes:,} on" if options.skip_scenes else ""
        parts += [f"{options.scenes} scenes{skipped}", f"{options.no_target:g} a scene refer to nothing"]
    if options.limit is not None:
        parts.append(f"limit {options.limit}")
    return ", ".join(part for part in parts if part)
