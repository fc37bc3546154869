"""`deixis evaluate`: score a model, or anybody's masks, on a split under a named protocol."""

import argparse
import hashlib
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .compiling import add_compiled_option, tell_of_compiling
from .parsing import Parser, add_bootstrap_options, check_bootstrap
from .splits import DATA, add_data_options, bar, is_generated, no_target_of, open_split

if TYPE_CHECKING:
    from ..evaluation.evaluator import Evaluation
    from ..evaluation.report import Result
    from ..records import Reader

EPILOG = f"""\
A predictions file has one JSON object a line: {{"id": sentence id, "rle": {{"size", "counts"}}, "score": 0.9}}.
{DATA}
Beside the result lie the per-expression records; an interrupted evaluation goes on with --resume.
Many processes: accelerate launch -m deixis.cli evaluate MODEL ...

  deixis evaluate embedded --data toyland:val
  deixis evaluate runs/vega/best --data data --dataset refcoco --split testA --protocol lavt-480 --out testA.json
  deixis evaluate --predictions masks.jsonl --data data --dataset refcoco --split val
  deixis evaluate runs/magnet --data toyland:testB --no-target 4 --protocol grefcoco --reliability reliability.png
"""


def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    if (options.model is None) == (options.predictions is None):
        raise InputError("Give either a MODEL or --predictions FILE, and not both; one of them is scored.")
    started = time.perf_counter()

    from ..data.validation import Issues, validate
    from ..evaluation.evaluator import Evaluation
    from ..evaluation.scoring import limited
    from ..metrics.protocols import protocol_named

    rules = protocol_named(options.protocol)
    check_bootstrap(options)
    if options.reliability is not None:
        _check_reliability(options)
    report = Issues(skip=options.skip_broken)
    split = open_split(options, report, rules.overlaps)
    reader = limited(split, options.limit)
    left_out = _sentences(split) - _sentences(reader) if options.limit else frozenset()
    if report.skip:
        with bar("checking", len(reader), options.quiet) as advance:
            reader = validate(reader, report, lambda: advance(1), look_at_images=options.predictions is None)
    if not len(reader):
        first = f"all of them are broken: {report.broken[0]}" if report else "choose another split."
        raise InputError(f"{options.data} has no expressions in split {options.split or 'val'} to score; {first}")
    dataset, named = reader[0].dataset, options.split or reader[0].split
    out = options.out or Path(_file_name(f"{dataset}-{named}-{rules.name}.json"))
    if out.suffix != ".json":
        raise InputError(f"The result {out} is JSON; give --out a name that ends in .json.")
    _make(out.parent)
    evaluation = Evaluation(
        reader=reader,
        rules=rules,
        dataset=dataset,
        split=named,
        out=out,
        draws=options.draws,
        seed=options.seed,
        report=report,
        left_out=left_out,
    )
    (_predictions if options.predictions is not None else _system)(evaluation, options, started)
    return 0


def _predictions(evaluation: "Evaluation", options: argparse.Namespace, started: float) -> None:
    path: Path = options.predictions
    header = evaluation.header(path.name, None, None)
    with _progress(evaluation, 0, options.quiet) as followed:
        missing = followed.score_predictions(path, header, allow_missing=options.allow_missing)
    _show(followed, header, options, run=None, started=started, num_missing=missing)


def _system(evaluation: "Evaluation", options: argparse.Namespace, started: float) -> None:
    from ..evaluation.evaluator import decided_by
    from ..evaluation.scoring import Scoring
    from ..zoo.loading import find, load

    rank, ranks, wait = _processes(options.device)
    segmenter = load(
        options.model,
        device=options.device,
        dtype=options.dtype,
        download=options.download,
        compiled=options.compiled,
    )
    if rank == 0 and not options.quiet:
        tell_of_compiling(options)
    weights = find(options.model)
    scoring = Scoring(
        batch_size=options.batch_size,
        workers=options.workers,
        threshold=options.threshold,
        presence_threshold=options.presence_threshold,
        rank=rank,
        ranks=ranks,
    )
    decided = decided_by(segmenter, options.presence_threshold)
    header = evaluation.header(segmenter.name, _hash(weights), options.threshold, segmenter.computed, decided)
    done = evaluation.done(header, resume=options.resume)
    wait()  # nobody writes before everybody has read what is done
    with _progress(evaluation, len(done), options.quiet or rank > 0) as followed:
        followed.score_system(segmenter, scoring, header, done)
    wait()
    if rank == 0:
        run = getattr(segmenter.card, "run", None)
        _show(followed, header, options, run=run, started=started, num_missing=0)


def _show(
    evaluation: "Evaluation",
    header: dict[str, Any],
    options: argparse.Namespace,
    *,
    run: dict[str, Any] | None,
    started: float,
    num_missing: int,
) -> None:
    from rich.console import Console

    from .results import show_result

    result = evaluation.finish(header, run=run, started=started, num_missing=num_missing)
    if options.json:
        print(evaluation.out.read_text(encoding="utf-8"), end="")
    else:
        show_result(result, Console())
        print(f"{evaluation.out}  {evaluation.records}")
    if options.skip_broken and not options.json:
        print(evaluation.report.summary(), file=sys.stderr)
    if options.reliability is not None:
        _draw_reliability(result, options.reliability, quiet=options.json)


def _check_reliability(options: argparse.Namespace) -> None:
    """What can be said before hours of scoring."""
    if options.reliability.suffix.lower() != ".png":
        raise InputError(f"The plot {options.reliability} is a picture; give --reliability a name that ends in .png.")
    if is_generated(options) and not no_target_of(options):
        raise _nothing_to_draw(options.data)


def _nothing_to_draw(data: str) -> InputError:
    return InputError(
        f"Every expression of {data} means something, so nothing tells whether a score is a true chance; give data in "
        "which some mean nothing, such as toyland:val with --no-target 4."
    )


def _draw_reliability(result: "Result", path: Path, *, quiet: bool) -> None:
    from ..predict.prediction import write_picture
    from ..viz import reliability

    if result.presence is None:
        raise _nothing_to_draw(f"{result.dataset} {result.split}")
    score = f"{result.presence.score}{', calibrated' if result.presence.calibrated else ''}"
    title = f"{result.model}, {result.dataset} {result.split}\n{score}, calibration error {result.presence.ece:.3f}"
    write_picture(path, reliability(result.presence.bins, title))
    if not quiet:
        print(path)


def _sentences(reader: "Reader") -> frozenset[str]:
    return frozenset(ids.sentence for ids in reader.ids)


def _file_name(wanted: str) -> str:
    """Data name themselves, and none of their names may choose a folder."""
    return re.sub(r"[^\w+.-]+", "-", wanted)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be made: {error.strerror}; give another --out.") from None


def _processes(device: str | None) -> tuple[int, int, Callable[[], None]]:
    """This process among all of them, and how to wait for the others; one process needs no accelerate."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return 0, 1, lambda: None
    from accelerate import PartialState

    from ..training.processes import processes

    state = PartialState(cpu=True) if device == "cpu" else processes()
    return state.process_index, state.num_processes, state.wait_for_everyone


def _hash(place: Path) -> str:
    """SHA-256 of the weights' file, as `sha256sum` prints it."""
    from ..checkpoints.native import WEIGHTS

    with (place / WEIGHTS if place.is_dir() else place).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _progress(evaluation: "Evaluation", done: int, quiet: bool) -> "Iterator[Evaluation]":
    from dataclasses import replace

    with bar("expressions", len(evaluation.reader), quiet, done) as advance:
        yield replace(evaluation, advance=advance)


def _parser() -> Parser:
    parser = Parser(
        prog="deixis evaluate",
        description="Score a model, or anybody's masks, on a split under a named protocol.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", nargs="?", metavar="MODEL", help="a model's name, or a checkpoint's or run's folder")
    parser.add_argument("--download", action="store_true", help="fetch the model, a published one, if it is not here")
    parser.add_argument("--predictions", type=Path, metavar="FILE", help="anybody's masks as JSON lines")
    parser.add_argument("--allow-missing", action="store_true", help="count expressions without a mask as empty")
    add_data_options(parser)
    parser.add_argument("--skip-broken", action="store_true", help="leave broken records out, counted and reported")
    parser.add_argument(
        "--protocol", default="full", help="full (default), lavt-480, weak, a2d-best, a2d-all, grefcoco"
    )
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="default: DATASET-SPLIT-PROTOCOL.json")
    parser.add_argument("--batch-size", type=int, default=8, help="expressions at a time (default: 8)")
    parser.add_argument("--workers", type=int, default=0, help="processes that read images (default: 0, this one)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps (default: the fastest at hand)")
    parser.add_argument("--dtype", default="float32", help="float32 (default), bfloat16 or float16")
    add_compiled_option(parser)
    parser.add_argument("--threshold", type=float, default=0.5, help="a pixel's probability must exceed it")
    parser.add_argument(
        "--presence-threshold", type=float, help="what the chance that it is there must exceed, for who says it (0.5)"
    )
    parser.add_argument("--reliability", type=Path, metavar="FILE.png", help="draw how true the score is as a chance")
    parser.add_argument("--limit", type=int, help="score this many expressions, evenly spread")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted evaluation")
    add_bootstrap_options(parser)
    parser.add_argument("--json", action="store_true", help="print the result's JSON instead of a table")
    parser.add_argument("--quiet", action="store_true", help="no progress display")
    return parser
