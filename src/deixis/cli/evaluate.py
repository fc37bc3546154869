"""`deixis evaluate`: score a model, or a file of masks, on a split under a named protocol."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import tyro

from ..errors import InputError
from ..evaluation.splits import SplitOptions
from .model_options import ModelOptions
from .options import BootstrapOptions, parse

if TYPE_CHECKING:
    from ..evaluation.report import Result

EPILOGUE = """
A predictions file has one JSON object a line: {"id": sentence id, "rle": {"size", "counts"}, "score": 0.9}.
The records of all expressions are written beside the result; --resume continues an interrupted evaluation.
Several processes: accelerate launch -m deixis.cli evaluate MODEL ...

  deixis evaluate bundled --data toyland:val
  deixis evaluate runs/vega/best --data data --dataset refcoco --split testA --protocol lavt-480 --out testA.json
  deixis evaluate --predictions masks.jsonl --data data --dataset refcoco --split val
  deixis evaluate runs/magnet --data toyland:testB --no-target 4 --protocol grefcoco --reliability reliability.png"""


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(BootstrapOptions, ModelOptions, SplitOptions):
    """Score a model, or any system's masks, on a split under a named protocol."""

    model: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")] = None
    """A model's name, or the folder of a checkpoint or of a run."""
    predictions: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Masks of any system as JSON lines, or of clips as a folder or zip of PNGs, instead of a model."""
    submission: Annotated[Path | None, tyro.conf.arg(metavar="OUT.zip")] = None
    """Write the masks of a video data set as its challenge server takes them, and score nothing."""
    allow_missing: bool = False
    """Count expressions without a mask as empty masks."""
    skip_broken: bool = False
    """Leave out broken records, and list them in the result."""
    protocol: str = "full"
    """full, lavt-480, weak, labelled-threshold, a2d-best, a2d-all, rvos, ref-davis, ref-davis-fixed or grefcoco."""
    out: Annotated[Path, tyro.conf.arg(metavar="PATH")] = Path()
    """A folder, or FILE.json; in a folder the file is named MODEL-DATASET-SPLIT-PROTOCOL.json."""
    batch_size: int = 8
    """Expressions at a time."""
    workers: int = 0
    """Processes that read images; 0 reads in this one."""
    threshold: Annotated[float | None, tyro.conf.arg(metavar="P")] = None
    """Replaces the threshold of the model's mask rule, which usually is a probability of 0.5."""
    threshold_chosen_on: Annotated[str, tyro.conf.arg(metavar="DATA")] = ""
    """The data on whose labels --threshold was chosen; the result names it, and is not one of the protocol weak."""
    presence_threshold: Annotated[float | None, tyro.conf.arg(metavar="P")] = None
    """The presence probability below which the mask is empty, for models with a presence head."""
    sweep_threshold: bool = False
    """Print the scores for each threshold from 0.05 to 0.95 instead of writing a result."""
    write_threshold: bool = False
    """With --sweep-threshold: write the best threshold into the model's card."""
    reliability: Annotated[Path | None, tyro.conf.arg(metavar="FILE.png")] = None
    """Draw a reliability diagram of the score."""
    perturb: str | None = None
    """Change the sentences, too: typo, drop-vowels, slang, shuffle … (docs/evaluation.md); several as a,b or all."""
    perturb_seed: int = 0
    """Seed of the changes."""
    resume: bool = False
    """Continue an interrupted evaluation."""
    json: bool = False
    """Print the result as JSON instead of a table."""
    quiet: bool = False
    """Show no progress."""


def main(arguments: list[str]) -> int:
    options = parse(EvaluateOptions, arguments, "deixis evaluate", EPILOGUE)
    if (options.model is None) == (options.predictions is None):
        raise InputError("Give either a MODEL or --predictions FILE, and not both.")
    if options.predictions is not None and options.refine is not None:
        raise InputError("--refine needs the probability maps of a MODEL, and a file of masks has none; omit it.")
    if options.write_threshold and not options.sweep_threshold:
        raise InputError("--write-threshold writes what --sweep-threshold finds; give both.")
    if options.sweep_threshold and options.refine is not None:
        raise InputError("--sweep-threshold compares thresholds of the model's own maps; omit --refine.")
    if options.threshold_chosen_on and options.threshold is None:
        raise InputError("--threshold-chosen-on says how --threshold was chosen; give both.")
    if options.submission is not None:
        return _submit(options, options.submission)
    if options.perturb is not None:
        from .robustness import check, kinds_of, robustness

        check(options)
        robustness(options, kinds_of(options.perturb))
        return 0
    if options.sweep_threshold:
        return _sweep(options)
    if options.reliability is not None:
        _check_reliability(options, options.reliability)
    result = _scored(options)
    if int(os.environ.get("RANK", "0")) == 0:
        _show(result, options)
    return 0


def _submit(options: EvaluateOptions, path: Path) -> int:
    if options.model is None or options.perturb is not None or options.sweep_threshold or options.reliability:
        raise InputError("--submission writes the masks of a MODEL and scores nothing; omit the other options.")
    from ..evaluation.submit import submit

    num_files = submit(
        lambda: options.load(str(options.model), quiet=options.quiet),
        options,
        path,
        threshold=options.threshold,
        presence_threshold=options.presence_threshold,
        batch_size=options.batch_size,
        workers=options.workers,
        quiet=options.quiet,
    )
    print(f"{path}  {num_files:,} masks")
    return 0


def _sweep(options: EvaluateOptions) -> int:
    given = {
        "--predictions": options.predictions is not None,
        "--threshold": options.threshold is not None,
        "--resume": options.resume,
        "--reliability": options.reliability is not None,
        "several processes": int(os.environ.get("WORLD_SIZE", "1")) > 1,
    }
    for name, is_given in given.items():
        if is_given:
            raise InputError(f"--sweep-threshold does not go together with {name}; omit one of them.")
    from .sweep import sweep

    with TemporaryDirectory() as folder:
        sweep(options, Path(folder))
    return 0


def _scored(options: EvaluateOptions) -> "Result":
    from ..evaluation.evaluator import evaluate, evaluate_predictions, this_process

    if options.predictions is not None:
        return evaluate_predictions(
            options.predictions,
            options,
            protocol=options.protocol,
            out=options.out,
            allow_missing=options.allow_missing,
            skip_broken=options.skip_broken,
            draws=options.draws,
            seed=options.seed,
            quiet=options.quiet,
        )
    rank, _, _ = this_process(options.device)
    model = options.model or ""
    return evaluate(
        lambda: options.load(model, quiet=options.quiet or rank > 0),
        options,
        protocol=options.protocol,
        out=options.out,
        threshold=options.threshold,
        threshold_chosen_on=options.threshold_chosen_on,
        presence_threshold=options.presence_threshold,
        skip_broken=options.skip_broken,
        batch_size=options.batch_size,
        workers=options.workers,
        resume=options.resume,
        draws=options.draws,
        seed=options.seed,
        quiet=options.quiet,
    )


def _show(result: "Result", options: EvaluateOptions) -> None:
    from rich.console import Console

    from ..data.validation import Issues
    from ..evaluation.evaluator import result_file
    from .results import show_result

    model = result.model if options.predictions is None else options.predictions.stem
    place = result_file(options.out, model, result.dataset, result.split, result.protocol)
    if options.json:
        print(place.read_text(encoding="utf-8"), end="")
    else:
        show_result(result, Console())
        print(f"{place}  {place.parent / result.records}")
        if options.skip_broken:
            print(Issues(skip=True, broken=list(result.broken)).summary(), file=sys.stderr)
    if options.reliability is not None:
        _draw_reliability(result, options.reliability, quiet=options.json)


def _check_reliability(options: EvaluateOptions, plot: Path) -> None:
    """Raises `InputError` for what is known before hours of scoring."""
    if plot.suffix.lower() != ".png":
        raise InputError(f"The plot {plot} is a picture; give --reliability a name that ends in .png.")
    if options.is_generated and not options.no_target:
        raise _nothing_to_draw(options.data)


def _nothing_to_draw(data: str) -> InputError:
    return InputError(
        f"Every expression of {data} refers to something, so there is no reliability to draw; give data in which some "
        "refer to nothing, such as toyland:val with --no-target 4."
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
