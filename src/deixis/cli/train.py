"""`deixis train RECIPE [--any.field VALUE …]`: train a recipe, or go on with a run."""

import io
import re
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DeixisError, InputError, did_you_mean

if TYPE_CHECKING:
    from ..runs.run import Run

USAGE = """\
usage: deixis train RECIPE [--out DIR] [--resume] [--quiet] [--FIELD VALUE ...]
       deixis train --list

Train a recipe into DIR (default: runs/RECIPE); any field of its Run is an option with dots, `--schedule.steps 200`.
Ctrl-C finishes the step and saves; the same command with --resume goes on, and ends as if nothing had happened.
Many processes: accelerate launch -m deixis.cli train RECIPE ..., on processors alone torchrun --nproc-per-node N
--module deixis.cli train RECIPE ...

`deixis train --list` shows the recipes, `deixis train RECIPE --help` every field."""


def main(arguments: list[str]) -> int:
    """0: trained to the end; 3: a signal stopped the run, which was saved."""
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(USAGE)
        return 0
    from ..recipes.catalogue import RECIPES
    from ..runs.run import execute
    from ..training.processes import processes

    if arguments[0] == "--list":
        print(_listed(RECIPES))
        return 0
    name, rest = arguments[0].replace("-", "_"), list(arguments[1:])
    if name not in RECIPES:
        known = [recipe.replace("_", "-") for recipe in RECIPES]
        raise InputError(f"There is no recipe {arguments[0]!r}. {did_you_mean(name.replace('_', '-'), known)}")
    out = Path(_take_value(rest, "--out") or f"runs/{name.replace('_', '-')}")
    resume, quiet = _take_flag(rest, "--resume"), _take_flag(rest, "--quiet")
    run = _configured(RECIPES[name](), rest, out, resume, f"deixis train {arguments[0]}")
    if run is None:
        return 0
    result = execute(run, out, resume=resume, quiet=quiet)
    if processes().is_main_process:
        best = "" if result.best is None else f", best mIoU {result.best:.4f} in {out / 'best'}"
        ending = "finished" if result.finished else "stopped and saved; --resume goes on"
        print(f"{ending} at step {result.step}{best}", file=sys.stderr)
    return 0 if result.finished else 3


def _configured(run: "Run", options: list[str], out: Path, resume: bool, program: str) -> "Run | None":
    """The recipe's Run with the options' fields; a resumed run starts from what its folder says. None after --help."""
    import tyro

    from ..runs.run import Run, read_run

    before = read_run(out) if resume else None
    if before is not None and _kind(before) != _kind(run):
        raise InputError(
            f"{out} holds a run of {_kind(before)}, and `{program}` is {_kind(run)}; resume it by its own recipe, or "
            "choose another --out."
        )
    run = _with_grounding_switched(before or run, options)
    told, complained = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(told), redirect_stderr(complained):
            return tyro.cli(
                Run,
                prog=program,
                args=options,
                default=run,
                config=(tyro.conf.AvoidSubcommands, tyro.conf.FlagConversionOff),
                use_underscores=False,
            )
    except SystemExit as stopped:
        if not stopped.code:
            print(told.getvalue(), end="")
            return None
        raise _own(stopped) or InputError(_complaint(options, complained.getvalue(), run)) from None


def _kind(run: "Run") -> str:
    from ..zoo.systems import name_of

    return f"{name_of(run.system)} on {type(run.data).__name__}"


def _own(stopped: BaseException) -> DeixisError | None:
    """The sentence of ours that a config refused its values with, where that is why tyro stopped."""
    reason = stopped.__context__
    return reason if reason is None or isinstance(reason, DeixisError) else _own(reason)


def _with_grounding_switched(run: "Run", options: list[str]) -> "Run":
    """`--grounding None` leaves it out, an option of it sets it up; of a part that is there tyro offers the fields."""
    from dataclasses import replace

    from ..objectives.mask_grounding import GroundingConfig

    for given in (["--grounding=None"], ["--grounding", "None"]):
        for at in range(len(options)):
            if options[at : at + len(given)] == given:
                del options[at : at + len(given)]
                return replace(run, grounding=None)
    if run.grounding is None and any(option.startswith("--grounding.") for option in options):
        return replace(run, grounding=GroundingConfig())
    return run


def _complaint(options: list[str], complaint: str, run: "Run") -> str:
    """One sentence about the first option that names no field, else what tyro has to say, without its frame."""
    fields = [f"--{name}" for name in _dotted(run)]
    for option in options:
        if option.startswith("--"):
            name = option.split("=")[0].replace("_", "-")
            if name not in fields:
                return f"The recipe has no option {option.split('=')[0]!r}. {did_you_mean(name, fields)}"
    plain = re.sub(r"\x1b\[[0-9;]*m|[\u2500-\u257f]|^\W*-{9,}\W*$", "", complaint, flags=re.MULTILINE)
    plain = " ".join(plain.split()).split(" For full helptext")[0]
    if lacking := re.search(r"Missing value for argument '(\S+)'. Expected (\d+) values", plain):
        return f"{lacking[1]} wants {lacking[2]} value{'s' * (lacking[2] != '1')} after it; `--help` says which."
    if wrong := re.search(r"Error parsing (--\S+):|invalid choice .* for argument '(\S+)'", plain):
        name = wrong[1] or wrong[2]
        return f"{name} cannot be {_given(options, name)}; `--help` says what it takes."
    if surplus := re.search(r"Unrecognized options: (.+)", plain):
        return f"{surplus[1]} belongs to no option; write --FIELD VALUE, and `--help` says which there are."
    return f"The options do not fit: {plain}"


def _given(options: list[str], name: str) -> str:
    """What stands after the option, where it stands last."""
    values: list[str] = []
    taking = False
    for option in options:
        if option.startswith("--"):
            given, equals, value = option.partition("=")
            if taking := given.replace("_", "-") == name:
                values = [value] if equals else []
        elif taking:
            values.append(option)
    return " ".join(values) or "empty"


def _dotted(config: object, prefix: str = "") -> list[str]:
    from dataclasses import fields, is_dataclass

    names: list[str] = []
    for each in fields(config) if is_dataclass(config) else ():
        value, name = getattr(config, each.name), f"{prefix}{each.name.replace('_', '-')}"
        names += _dotted(value, f"{name}.") if is_dataclass(value) else [name]
    return names


def _listed(recipes: Mapping[str, object]) -> str:
    lines, wide = [], max(map(len, recipes))
    for name, recipe in recipes.items():
        sentence = " ".join((recipe.__doc__ or "").split("\n\n")[0].split())
        lines.append(f"{name.replace('_', '-'):<{wide}} {sentence.split(': ', 1)[-1]}")
    return "\n".join(lines)


def _take_flag(options: list[str], flag: str) -> bool:
    present = flag in options
    while flag in options:
        options.remove(flag)
    return present


def _take_value(options: list[str], name: str) -> str | None:
    for position, option in enumerate(options):
        if option == name:
            if position + 1 == len(options):
                raise InputError(f"{name} wants a folder after it.")
            value = options[position + 1]
            del options[position : position + 2]
            return value
        if option.startswith(f"{name}="):
            del options[position]
            return option.split("=", 1)[1]
    return None
