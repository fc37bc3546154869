"""Options of `deixis train` to the Run or Chain that they describe; tyro reads the fields, the sentences are ours."""

import io
import re
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import InputError, did_you_mean
from ..records import Config
from ..runs.data import StoredData
from ..runs.execute import read_job
from ..runs.run import Chain, Run, StartFrom
from ..zoo.objectives import objective_named
from ..zoo.systems import SYSTEMS, name_of, system_named
from .options import own_error, plain_text

ALL = "all"  # before the dot: an option of every Run of a chain


def configured(recipe: Run | Chain, options: list[str], resumed: Path | None, program: str) -> Run | Chain | None:
    """The recipe with the options' fields; a `resumed` folder's own job replaces the recipe. None after --help."""
    parts = _by_run(recipe, options)
    given = [
        named(name)
        for part in parts.values()
        for option, named in (("--system", system_named), ("--objective", objective_named))
        if (name := last_value(part, option)) is not None
    ]
    before = None if resumed is None else read_job(resumed, *given)
    if before is not None and _kind(before) != _kind(_replaced(recipe, parts)):
        raise InputError(
            f"{resumed} holds {_kind(before)}, but `{program}` is {_kind(recipe)}; resume it with its own recipe, or "
            "choose another --out."
        )
    job = before or recipe
    if before is not None:
        check_imports(before, parts)
    if isinstance(job, Run):
        return _configured(job, parts[""], program)
    if "-h" in options or "--help" in options:
        *earlier, last = job.runs
        print(_chain_help(earlier, last))
        _configured(job.runs[last], ["--help"], program)
        return None
    runs = {name: _configured(run, parts[name], program, job, name) for name, run in job.runs.items()}
    return Chain(runs={name: run for name, run in runs.items() if run is not None})


def check_imports(stored: Run | Chain, parts: dict[str, list[str]]) -> None:
    """A stored run never chooses which module is imported: a data set of one's own must be named again."""
    runs = {"": stored} if isinstance(stored, Run) else stored.runs
    read = [
        (name, field, data)
        for name, run in runs.items()
        for field, data in (("data", run.data), ("target", run.target))
    ]
    for name, field, data in read:
        dataset = data.dataset if isinstance(data, StoredData) else None
        if dataset and ":" in dataset and last_value(parts.get(name, ()), f"--{field}.dataset") != dataset:
            option = f"--{name}.{field}.dataset" if name else f"--{field}.dataset"
            raise InputError(
                f"The run reads its data by {dataset!r}, which is not part of deixis; if you trust that module, add "
                f"`{option} {dataset}`."
            )


def options_of_runs(options: Sequence[str], names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The options without the name of a Run in front of a dot, and those with one; values stay with their options."""
    shared, named = list[str](), list[str]()
    part = shared
    for option in options:
        if option.startswith("--"):
            head, dot, _ = option[2:].partition(".")
            part = named if dot and head.replace("_", "-") in {*names, ALL} else shared
        part.append(option)
    return shared, named


def take_flag(options: list[str], flag: str) -> bool:
    """Whether the flag is among the options, from which it is removed."""
    present = flag in options
    options[:] = [option for option in options if option != flag]
    return present


def take_value(options: list[str], name: str) -> str | None:
    """The value after the option, both of which are removed."""
    for position, option in enumerate(options):
        if option == name:
            if position + 1 == len(options):
                raise InputError(f"{name} needs a value after it.")
            value = options[position + 1]
            del options[position : position + 2]
            return value
        if option.startswith(f"{name}="):
            del options[position]
            return option.split("=", 1)[1]
    return None


def _by_run(job: Run | Chain, options: Sequence[str]) -> dict[str, list[str]]:
    """The options of each Run without its name; a Run alone has the name ''."""
    names = [""] if isinstance(job, Run) else list(job.runs)
    parts: dict[str, list[str]] = {name: [] for name in names}
    owners = [names[-1]]
    for option in options:
        if option.startswith("--") and not isinstance(job, Run):
            head, dot, rest = option[2:].partition(".")
            owner = head.replace("_", "-")
            is_named = bool(dot) and owner in {*names, ALL}
            owners = (names if owner == ALL else [owner]) if is_named else [names[-1]]
            option = f"--{rest}" if is_named else option
        for owner in owners:
            parts[owner].append(option)
    return parts


def _replaced(job: Run | Chain, parts: dict[str, list[str]]) -> Run | Chain:
    """The job with the systems and objectives that the options name."""
    if isinstance(job, Run):
        return _with_configs(job, list(parts[""]))
    return Chain(runs={name: _with_configs(run, list(parts[name])) for name, run in job.runs.items()})


def _with_configs(run: Run, options: list[str]) -> Run:
    """The run with another system or objective where an option names one; that option is removed.

    What the recipe says of weights by their names does not hold for a system that is not built in, and is dropped.
    """
    while (name := take_value(options, "--system")) is not None:
        if (kind := system_named(name)) is not type(run.system):
            run = replace(run, system=_default(kind, name))
            if kind not in SYSTEMS.values():
                unnamed = replace(run.optimiser, no_decay=(), frozen=(), lr_multipliers={})
                run = replace(run, optimiser=unnamed, start_from=StartFrom())
    while (name := take_value(options, "--objective")) is not None:
        if (kind := objective_named(name)) is not type(run.objective):
            run = replace(run, objective=_default(kind, name))
    return run


def _default(kind: type[Config], name: str) -> Config:
    try:
        return kind()
    except TypeError as error:  # a field without default
        raise InputError(f"{name} cannot be built from its defaults ({error}); give each of its fields one.") from error


def _configured(run: Run, options: list[str], program: str, chain: Chain | None = None, name: str = "") -> Run | None:
    import tyro

    run = _with_configs(run, options)
    for option in options:
        run = _emptied(run, option[2:].split("=")[0].replace("-", "_").split("."))
    output, complaint = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(output), redirect_stderr(complaint):
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
            print(output.getvalue(), end="")
            return None
        raise own_error(stopped) or InputError(_sentence(options, complaint.getvalue(), run, chain, name)) from None


def _emptied(config: Any, path: list[str]) -> Any:
    """The config with an empty mapping at the path: tyro then reads all its pairs, and not only the known keys."""
    name, *inner = path
    value = getattr(config, name, None)
    if inner and is_dataclass(value):
        return replace(config, **{name: _emptied(value, inner)})
    return replace(config, **{name: {}}) if not inner and isinstance(value, Mapping) else config


def _kind(job: Run | Chain) -> str:
    if isinstance(job, Chain):
        return "a chain of " + ", ".join(f"{name} ({_kind(run)})" for name, run in job.runs.items())
    return f"a run of {name_of(job.system)} on {type(job.data).__name__}"


def _chain_help(earlier: list[str], last: str) -> str:
    named = ", ".join(f"--{name}.FIELD" for name in earlier)
    return (
        f"A chain of {', '.join([*earlier, last])}. The options below are fields of {last!r}, its last Run;\n"
        f"{named} sets a field of an earlier one, --{ALL}.FIELD of every Run.\n"
    )


def _sentence(options: list[str], complaint: str, run: Run, chain: Chain | None, name: str) -> str:
    """One sentence about the first option that names no field, otherwise tyro's own text without its frame."""
    fields_ = [f"--{field}" for field in _dotted(run)]
    is_last = chain is not None and name == list(chain.runs)[-1]
    prefix = "" if chain is None or is_last else f"{name}."
    for option in options:
        if option.startswith("--"):
            field = option.split("=")[0].replace("_", "-")
            if field not in fields_:
                known = [f"--{prefix}{each[2:]}" for each in fields_]
                if chain is not None and is_last:
                    known += [f"--{other}.{each}" for other, one in chain.runs.items() for each in _dotted(one)]
                shown = f"--{prefix}{field[2:]}"
                return f"The recipe has no option {shown!r}. {did_you_mean(shown, known)}"
    plain = plain_text(complaint)
    if lacking := re.search(r"Missing value for argument '(\S+)'. Expected (\d+) values", plain):
        return f"--{prefix}{lacking[1][2:]} needs {lacking[2]} value{'s' * (lacking[2] != '1')} after it; see `--help`."
    if wrong := re.search(r"Error parsing (--\S+):|invalid choice .* for argument '(\S+)'", plain):
        field = wrong[1] or wrong[2]
        return (
            f"--{prefix}{field[2:]} cannot be {last_value(options, field) or 'empty'}; `--help` shows what it accepts."
        )
    if surplus := re.search(r"Unrecognized options: (.+)", plain):
        return f"{surplus[1]} belongs to no option; write --FIELD VALUE, and see `--help` for the fields."
    return f"The options do not fit: {plain}"


def last_value(options: Sequence[str], name: str) -> str | None:
    """The values of the option where it is given last; None where it is not given or has none."""
    values: list[str] = []
    is_value = False
    for option in options:
        if option.startswith("--"):
            given, equals, value = option.partition("=")
            if is_value := given.replace("_", "-") == name:
                values = [value] if equals else []
        elif is_value:
            values.append(option)
    return " ".join(values) or None


def _dotted(config: object, prefix: str = "") -> list[str]:
    names: list[str] = []
    for each in fields(config) if is_dataclass(config) else ():
        value, name = getattr(config, each.name), f"{prefix}{each.name.replace('_', '-')}"
        names += _dotted(value, f"{name}.") if is_dataclass(value) else [name]
    return names
