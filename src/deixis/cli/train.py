"""`deixis train RECIPE [--any.field VALUE …]`: train a recipe, or resume a run."""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from ..training.loop import Result

USAGE = """\
usage: deixis train RECIPE [--out DIR] [--resume] [--quiet] [--seeds N] [--FIELD VALUE ...]
       deixis train finetune --from MODEL --data.root FOLDER [--keep DATA] [--out DIR] [--FIELD VALUE ...]
       deixis train --list [RECIPE]

Train a recipe into DIR (default: runs/RECIPE). Any field of its Run is an option with dots, `--schedule.steps 200`.
RECIPE/ROW, such as vega-refcoco/table-2/words, is a row of the tables of its paper; `--list vega-refcoco` shows them.
A recipe of several Runs is a chain: `--scene-parsing.schedule.steps 500` sets a field of the Run of that name,
`--all.precision bf16` one of every Run, and an option without a name one of the last Run.

  --system NAME     the config of another system: a built-in name, or your own as my_package.my_file:MyConfig,
                    for which the recipe's patterns of weight names and its start_from are dropped
  --objective NAME  the same for the objective
  --seeds N         train N times into DIR/seed-0, DIR/seed-1 ..., and print the mean and spread of the best score
  --resume          resume what DIR holds; a chain at its first unfinished Run. With more --schedule.steps a finished
                    Run goes on to these
  --data-changed    resume although the data changed since the run began
  --quiet           no progress display

`finetune` continues from a model: it takes its architecture, vocabulary and preprocessing, and prints the scores before
and after on the new validation data. --keep names the model's old data, such as toyland:val or a folder, whose scores
by group show what it forgot; --keep-limit N scores N expressions of them (1000).

Ctrl-C, SIGTERM and SIGHUP finish the step and save; the same command with --resume ends as if it had not been stopped.
Several processes: accelerate launch -m deixis.cli train RECIPE ..., on CPUs torchrun --nproc-per-node N
--module deixis.cli train RECIPE ...

`deixis train --list` shows each recipe with its time and score, `deixis train RECIPE --help` every field."""


def main(arguments: list[str]) -> int:
    """0: trained to the end; 3: a signal stopped the run, which was saved."""
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(USAGE)
        return 0
    if arguments[0] == "--list":
        print(listed_rows(arguments[1]) if len(arguments) > 1 else listed())
        return 0
    from ..recipes.catalogue import recipe_named
    from ..runs.execute import execute, execute_seeds
    from ..training.processes import processes
    from .train_options import configured, take_flag, take_value

    name, options = arguments[0].replace("_", "-"), list(arguments[1:])
    if name == "finetune":
        from .finetune import main as finetune

        return finetune(options)
    recipe = recipe_named(name)
    out = Path(take_value(options, "--out") or f"runs/{name.replace('/', '-')}")
    resume, quiet = take_flag(options, "--resume"), take_flag(options, "--quiet")
    data_changed = take_flag(options, "--data-changed")
    seeds = count_of(take_value(options, "--seeds"), "--seeds")
    job = configured(recipe, options, out if resume and seeds is None else None, f"deixis train {name}")
    if job is None:  # --help
        return 0
    if seeds is None:
        results = [execute(job, out, resume=resume, data_changed=data_changed, quiet=quiet)]
    else:
        results = execute_seeds(job, out, seeds, resume=resume, data_changed=data_changed, quiet=quiet)
    if processes().is_main_process:
        print(summary(results, out), file=sys.stderr)
    return 0 if all(result.finished for result in results) else 3


def listed() -> str:
    """A line for each recipe: its name, what it trains, the time it takes and the score to expect."""
    from ..recipes.catalogue import RECIPES

    rows = [(name.replace("_", "-"), *_described(recipe.__doc__ or "")) for name, recipe in RECIPES.items()]
    return _in_columns(rows)


def listed_rows(recipe: str) -> str:
    """A line for each row of the tables of the recipe's paper: its name, what it changes, and its published scores.

    They are those on RefCOCO val, whatever the recipe's data are.
    """
    from ..recipes.catalogue import recipe_named
    from ..recipes.paper_tables import rows_of

    found = rows_of(recipe_named(recipe))
    if not found:
        raise InputError(f"The recipe {recipe!r} has no rows of tables; VEGA's and MagNet's recipes have.")
    rows = [
        (
            f"{recipe}/{name}",
            row.change,
            _published(row.published),
        )
        for name, row in found.items()
    ]
    return _in_columns(rows)


def _published(scores: Mapping[str, float]) -> str:
    named = ", ".join(f"{measure} {score:.2f}" for measure, score in scores.items())
    return f"published on RefCOCO val: {named}" if named else ""


def _in_columns(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _described(docstring: str) -> tuple[str, str, str]:
    """What a recipe's docstring says: its first sentence, its time and its score."""
    text = " ".join(docstring.split())
    facts = re.search(r"Time: (.+?)\. Score: (.+)\.$", text)
    assert facts is not None, docstring
    sentence = " ".join(docstring.split("\n\n")[0].split()).split(": ", 1)[-1]
    return sentence, f"time: {facts[1]}", f"score: {facts[2]}"


def count_of(given: str | None, option: str) -> int | None:
    """The number after an option that counts. Raises `InputError` unless it is positive."""
    if given is None:
        return None
    if not given.isdecimal() or int(given) < 1:
        raise InputError(f"{option} is {given}; expected a positive number.")
    return int(given)


def summary(results: "list[Result]", out: Path) -> str:
    """One sentence about how training ended."""
    last = results[-1]
    best = [result.best for result in results if result.finished and result.best is not None]
    if not last.finished:
        return f"stopped and saved at step {last.step}; --resume resumes it"
    if len(results) > 1 and best:
        spread = f" ± {stdev(best):.4f}" if len(best) > 1 else ""
        return f"finished {len(best)} seeds, best {last.best_by} {mean(best):.4f}{spread} (standard deviation)"
    score = f", best {last.best_by} {best[0]:.4f} in {out}" if best else ""
    return f"finished at step {last.step}{score}"
