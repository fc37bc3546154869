"""`deixis checkpoint calibrate`: two numbers that make a presence head's chances true, written into the card."""

import argparse
import json
from dataclasses import asdict, replace

from ..errors import InputError
from .parsing import Parser
from .splits import DATA, add_data_options, bar, is_generated, no_target_of, open_split

NO_TARGET = 4.0  # sentences a scene: about one in seven then means nothing
EPILOG = f"""\
{DATA}
Some of its expressions must mean nothing: gRefCOCO has such, our generated world tells {NO_TARGET:g} a scene. What was
fitted on one split should be measured on another:

  deixis checkpoint calibrate runs/magnet --data toyland:val --scenes 200
  deixis evaluate runs/magnet --data toyland:testB --no-target {NO_TARGET:g} --reliability reliability.png
"""


def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)

    from ..checkpoints import native
    from ..data.validation import Issues
    from ..evaluation.scoring import Scoring, limited, score_presence
    from ..metrics.calibration import calibrate
    from ..zoo.loading import find, load

    place = find(options.model)
    if not place.is_dir():
        raise InputError(f"{place} is a weights' file; give its checkpoint's folder, whose card is written anew.")
    reader = limited(open_split(options, Issues()), options.limit)
    segmenter = load(place, device=options.device)
    scoring = Scoring(batch_size=options.batch_size, workers=options.workers)
    with bar("expressions", len(reader), options.quiet) as advance:
        said, there = score_presence(segmenter, reader, scoring, advance)
    if there.all() or not there.any():
        kind = "something" if there.all() else "nothing"
        raise InputError(
            f"Every expression of {options.data} means {kind}; to calibrate, some must mean something and some nothing."
        )
    found = calibrate(said, there, _named(options))
    native.write_card(place, replace(native.read_card(place), calibration=found))
    if options.json:
        print(json.dumps(asdict(found)))
        return 0
    print(
        f"{place}: scale {found.scale:.3f}, bias {found.bias:+.3f} from {found.expressions:,} expressions of "
        f"{found.data}, of which {int((~there).sum()):,} mean nothing"
    )
    print(f"calibration error {found.ece_before:.3f} -> {found.ece_after:.3f}")
    return 0


def _named(options: argparse.Namespace) -> str:
    """What was fitted on, as it was asked for."""
    parts = [options.data, options.dataset, options.split_by, options.split]
    if is_generated(options):
        parts += [f"{options.scenes} scenes", f"{no_target_of(options):g} a scene mean nothing"]
    if options.limit is not None:
        parts.append(f"limit {options.limit}")
    return ", ".join(part for part in parts if part)


def _parser() -> Parser:
    parser = Parser(
        prog="deixis checkpoint calibrate",
        description="Fit scale and bias of a presence head's chances on a split, and write them into the card.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("model", metavar="MODEL", help="a checkpoint's or run's folder")
    add_data_options(parser, NO_TARGET)
    parser.add_argument("--limit", type=int, help="take this many expressions, evenly spread")
    parser.add_argument("--batch-size", type=int, default=8, help="expressions at a time (default: 8)")
    parser.add_argument("--workers", type=int, default=0, help="processes that read images (default: 0, this one)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps (default: the fastest at hand)")
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress display")
    return parser
