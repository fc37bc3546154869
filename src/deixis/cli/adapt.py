"""`deixis adapt --source LABELLED --target UNLABELLED`: adapt a model to another domain, and show what it gained."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from ..runs.adaptation import Gain
    from ..runs.run import Chain

PROGRAM = "deixis adapt"
USAGE = f"""\
usage: {PROGRAM} --source LABELLED --target UNLABELLED [--method NAME] [--model NAME] [--out DIR] [--FIELD VALUE ...]
       {PROGRAM} --resume [--out DIR] [--RUN.FIELD VALUE ...]

Train a model on a source domain with masks and adapt it to a target domain with sentences alone. At the end DIR holds
the adapted model and report.html: its scores and pictures on the target beside those of the source's model.

  --source FOLDER  images, sentences and masks: a data set of your own (JSONL, COCO) or a published one; the training
                   split, or the only split that it has
  --target FOLDER  images and sentences; masks of its training split are not read. With a validation split that has
                   masks the best weights are chosen and the gain is measured, without one nothing is measured
  --method NAME    {{methods}} ({{method}})
  --model NAME     {{models}} ({{model}}); small networks that need no download
  --out DIR        the folder of the runs (runs/adapt)
  --resume         resume what DIR holds; of Runs that have not begun, fields may change
  --data-changed   resume although the data changed since the run began
  --quiet          no progress display

Any field of the source's Run is an option with dots, and the method's Runs take it over: --schedule.steps 500 (the
method's are 1.5 times as many), --start-from.resnet resnet101.pth (the network then has the paper's size),
--target.validation-split test. After them, --NAME.FIELD sets a field of the Run of that name:
--mmd.objective.weight 0.01. `deixis train sda-base-refcoco --help` shows every field. MAN and ACP are reconstructions
from their abstracts.

Ctrl-C, SIGTERM and SIGHUP finish the step and save; --resume ends as if it had not been stopped.
"""
METHOD, MODEL = "sda", "sda"
REFINEMENT = "--sda.objective.activation.refinement"  # which decides whether there is one Run more


def main(arguments: list[str]) -> int:
    """0: trained to the end; 3: a signal stopped the run, which was saved."""
    options = list(arguments)
    if not options or {"-h", "--help"} & {*options}:
        print(_usage())
        return 0
    from ..runs.execute import execute
    from ..training.processes import processes
    from .train import summary
    from .train_options import take_flag, take_value

    out = Path(take_value(options, "--out") or "runs/adapt")
    resume, quiet = take_flag(options, "--resume"), take_flag(options, "--quiet")
    data_changed = take_flag(options, "--data-changed")
    is_stored = resume and not {"--source", "--target"} & {option.partition("=")[0] for option in options}
    chain = _stored(out, options) if is_stored else _configured(options)
    result = execute(chain, out, resume=resume, data_changed=data_changed, quiet=quiet)
    if processes().is_main_process:
        print(summary([result], out), file=sys.stderr)
        if result.finished:
            _show(chain, out, quiet)
    return 0 if result.finished else 3


def _usage() -> str:
    from ..recipes.adapt import METHODS, MODELS

    return USAGE.format(methods=", ".join(METHODS), method=METHOD, models=", ".join(MODELS), model=MODEL)


def _stored(out: Path, options: list[str]) -> "Chain":
    from ..runs.execute import read_job
    from ..runs.run import Chain
    from .train_options import configured

    job = read_job(out)
    if not isinstance(job, Chain):
        raise InputError(f"{out} holds no adaptation to resume; give --source and --target, or its folder as --out.")
    changed = configured(job, options, out, PROGRAM)
    assert isinstance(changed, Chain)
    return changed


def _configured(options: list[str]) -> "Chain":
    from ..recipes.adapt import adaptation, own_source
    from ..runs.data import StoredData
    from ..runs.run import Chain, Run
    from .train_options import configured, last_value, options_of_runs, take_value

    method, model = take_value(options, "--method") or METHOD, take_value(options, "--model") or MODEL
    source, target = (_folder(take_value(options, name), name) for name in ("--source", "--target"))
    start = own_source(
        model,
        StoredData(root=source, draw="sentence"),
        StoredData(root=target, draw="sentence", labels="none"),
        is_published=last_value(options, "--start-from.resnet") is not None,
    )
    walk = last_value(options, REFINEMENT)
    names = list(_refined(adaptation(method, start), walk).runs)
    shared, own = options_of_runs(options, names)
    run = configured(start, shared, None, PROGRAM)
    assert isinstance(run, Run)  # --help was answered before
    chain = _refined(adaptation(method, run), walk)
    job = configured(chain, own, None, PROGRAM)
    assert isinstance(job, Chain)
    return job


def _refined(chain: "Chain", refinement: str | None) -> "Chain":
    """SDA's chain with the Run that this refinement of activation maps needs; any other as it is."""
    from typing import get_args

    from ..adapt.sda.activation import Refinement
    from ..recipes.sda import SDA, with_refinement

    known = {name: name for name in get_args(Refinement)}
    return with_refinement(chain, known[refinement]) if SDA in chain.runs and refinement in known else chain


def _folder(given: str | None, option: str) -> str:
    if given is None:
        raise InputError(f"{option} is missing; run {PROGRAM} --source LABELLED --target UNLABELLED.")
    return given


def _show(chain: "Chain", out: Path, quiet: bool) -> None:
    from ..runs.adaptation import PAGE, write_gain
    from ..zoo.systems import name_of

    first = next(iter(chain.runs.values()))
    own = type(first.system) if ":" in name_of(first.system) else None  # not built in
    gain = write_gain(chain, out, system=own, quiet=quiet)
    _print_table(gain)
    print(f"{gain.sentence()}\nThe page is {out / PAGE}.")


def _print_table(gain: "Gain") -> None:
    from rich.console import Console
    from rich.table import Table

    if gain.measures is None:
        return
    table = Table(title=f"{gain.num_expressions:,} expressions of the target")
    for heading in ("measure", "source only", "adapted", "change"):
        table.add_column(heading, justify="left" if heading == "measure" else "right")
    for name, each in gain.measures.items():
        cells = ["" if value is None else f"{value:.1f}" for value in (each.first, each.second)]
        table.add_row(name, *cells, "" if each.difference is None else f"{each.difference:+.1f}")
    Console(highlight=False).print(table)
