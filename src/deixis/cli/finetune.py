"""`deixis train finetune --from MODEL --data.root FOLDER`: continue from a model, and print what it gained and lost."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from ..errors import InputError

if TYPE_CHECKING:
    from ..records import Reader
    from ..runs.finetune import Effect
    from ..runs.run import Run

PROGRAM = "deixis train finetune"
KEEP_LIMIT = 1000  # expressions of the old data
USAGE = f"""\
usage: {PROGRAM} --from MODEL --data.root FOLDER [--keep DATA] [--out DIR] [--resume] [--quiet] [--FIELD VALUE ...]

Continue from a model: its architecture, vocabulary and preprocessing are used. At the end its scores before and after
are printed.

  --from MODEL     bundled, the folder of a checkpoint or a run, or a published model that is on this machine
  --keep DATA      the model's old data, as toyland:val or a folder: their scores by group show what it forgot
  --keep-limit N   score N expressions of them ({KEEP_LIMIT})
  --out DIR        the folder of the run (runs/finetune)
  --resume         resume what DIR holds; with more --schedule.steps a finished run goes on to these
  --data-changed   resume although the data changed since the run began
  --quiet          no progress display
"""


def main(options: list[str]) -> int:
    """0: trained to the end; 3: a signal stopped the run, which was saved."""
    from ..runs.execute import execute, read_job
    from ..runs.finetune import finetuned
    from ..runs.run import Run
    from ..training.processes import processes
    from ..zoo.systems import system_named
    from .train import count_of, summary
    from .train_options import configured, last_value, take_flag, take_value

    out = Path(take_value(options, "--out") or "runs/finetune")
    resume, quiet = take_flag(options, "--resume"), take_flag(options, "--quiet")
    data_changed = take_flag(options, "--data-changed")
    model, keep = take_value(options, "--from"), take_value(options, "--keep")
    limit = count_of(take_value(options, "--keep-limit"), "--keep-limit") or KEEP_LIMIT
    if {"-h", "--help"} & {*options}:
        print(USAGE)
        model = model or "bundled"
    own = last_value(options, "--system")
    system = None if own is None else system_named(own)
    if model is None and resume and isinstance(stored := read_job(out, *([system] if system else [])), Run):
        model = stored.start_from.checkpoint
    if model is None:
        raise InputError(f"--from is missing; give the model to start from: {PROGRAM} --from MODEL --data.root FOLDER.")
    kept = None if keep is None else _open_kept(keep)
    job = configured(finetuned(model, system), options, out if resume else None, PROGRAM)
    if not isinstance(job, Run):  # --help
        return 0
    result = execute(job, out, resume=resume, data_changed=data_changed, quiet=quiet)
    if processes().is_main_process:
        print(summary([result], out), file=sys.stderr)
        if result.finished:
            _show_effects(job, model, out, kept, limit, quiet)
    return 0 if result.finished else 3


def _open_kept(keep: str) -> "Reader":
    from ..data.validation import Issues
    from ..evaluation.splits import SplitOptions, open_split

    return open_split(SplitOptions(data=keep), Issues())


def _show_effects(run: "Run", model: str, out: Path, kept: "Reader | None", limit: int, quiet: bool) -> None:
    from ..runs.finetune import effect
    from ..runs.open_data import open_data
    from ..zoo.loading import load

    before, after = (load(place, system=_own(run)) for place in (model, out))
    _, validation = open_data(run.data)
    splits = [("new validation data", validation, run.data.validation_limit)]
    splits += [] if kept is None else [("old data", kept, limit)]
    for what, reader, most in splits:
        _show(what, effect(before, after, reader, limit=most, quiet=quiet))


def _own(run: "Run") -> "type | None":
    """The config class where the system is not built in."""
    from ..zoo.systems import name_of

    return type(run.system) if ":" in name_of(run.system) else None


def _show(what: str, found: "Effect") -> None:
    table = Table(title=f"mIoU on the {what}")
    for heading in ("expressions", "number", "before", "after", "change"):
        table.add_column(heading, justify="left" if heading == "expressions" else "right")
    total = found.overall
    table.add_row("all", *_cells(found.num_expressions, total.first or 0.0, total.second or 0.0), end_section=True)
    for group in found.groups:
        table.add_row(f"{group.axis}: {group.name}", *_cells(group.num_expressions, group.before, group.after))
    console = Console(highlight=False)
    console.print(table)
    console.print(verdict(what, found), soft_wrap=True)


def verdict(what: str, found: "Effect") -> str:
    """One sentence: whether the model is better or worse than before on these data, with the interval."""
    total = found.overall
    if total.difference is None or total.low is None or total.high is None:
        return f"The {what} are too few to say whether fine-tuning changed the scores."
    change = f"mIoU {total.difference:+.1f} points, 95% interval {total.low:+.1f} … {total.high:+.1f}"
    if found.harms:
        return f"Fine-tuning harms the scores on the {what}: {change}."
    if total.low > 0:
        return f"Fine-tuning improves the scores on the {what}: {change}."
    return f"On the {what} no change is certain: {change}."


def _cells(number: int, before: float, after: float) -> tuple[str, str, str, str]:
    return f"{number:,}", f"{before:.1f}", f"{after:.1f}", f"{round(after - before, 1) + 0.0:+.1f}"
