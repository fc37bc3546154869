"""Options of a command as a dataclass, read by tyro; what tyro complains about becomes one sentence."""

import io
import re
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import MISSING, dataclass, fields
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tyro

from ..errors import DeixisError, InputError, did_you_mean

Options = TypeVar("Options")

EXPECTED = {int: "a whole number", float: "a number"}


@dataclass(frozen=True, kw_only=True)
class BootstrapOptions:
    """How intervals are drawn."""

    draws: int = 10_000
    """Draws of the bootstrap."""
    seed: int = 0
    """Seed of the bootstrap."""

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise InputError(f"The number of draws is {self.draws}; expected 1 or more.")
        if self.seed < 0:
            raise InputError(f"The seed of the bootstrap is {self.seed}; expected 0 or more.")


def parse(kind: type[Options], arguments: Sequence[str], program: str, epilogue: str = "") -> Options:
    """The options that `arguments` spell; positional arguments may stand between options, and follow `--` in any form.

    `--help` prints the options and the epilogue and exits. Raises `InputError` with one sentence for anything wrong.
    """
    options = _options_of(kind)
    ordered = _options_first(arguments, options, program)
    printed, complaint = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(printed), redirect_stderr(complaint):
            return tyro.cli(
                kind, prog=program, args=ordered, config=(tyro.conf.FlagCreatePairsOff,), use_underscores=False
            )
    except SystemExit as stopped:
        if not stopped.code:
            print(_plain_help(printed.getvalue()) + epilogue)
            raise
        raise own_error(stopped) or InputError(_sentence(complaint.getvalue(), ordered, options, program)) from None


def own_error(stopped: BaseException) -> DeixisError | None:
    """The error that a dataclass raised for its values, where that is why tyro stopped."""
    reason = stopped.__context__
    return reason if reason is None or isinstance(reason, DeixisError) else own_error(reason)


def plain_text(complaint: str) -> str:
    """What tyro printed, without colours, boxes and its closing hint."""
    plain = re.sub(r"\x1b\[[0-9;]*m|[\u2500-\u257f]|^\W*-{9,}\W*$", "", complaint, flags=re.MULTILINE)
    return " ".join(plain.split()).split(" For full helptext")[0]


@dataclass(frozen=True)
class _Option:
    name: str  # as it is written, or the metavar of a positional argument
    hint: Any
    is_positional: bool
    is_required: bool

    @property
    def is_flag(self) -> bool:
        return self.hint is bool


def _options_of(kind: type[Any]) -> dict[str, _Option]:
    found = {}
    hints = get_type_hints(kind, include_extras=True)
    for each in fields(kind):
        hint, metadata = hints[each.name], list[Any]()
        if get_origin(hint) is Annotated:
            hint, *metadata = get_args(hint)
        is_positional = tyro.conf.Positional in metadata
        metavar = next((one.metavar for one in metadata if getattr(one, "metavar", None)), each.name.upper())
        name = metavar if is_positional else f"--{each.name.replace('_', '-')}"
        is_required = each.default is MISSING and each.default_factory is MISSING
        found[name] = _Option(name, hint, is_positional, is_required)
    return found


def _options_first(arguments: Sequence[str], options: dict[str, _Option], program: str) -> list[str]:
    """The same arguments with the positional ones last, as tyro reads them; raises `InputError` for unknown options."""
    named = {name: option for name, option in options.items() if not option.is_positional}
    first: list[str] = []
    positional: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        written, equals, value = argument.partition("=")
        name = written.replace("_", "-")
        if argument == "--":
            positional += rest
        elif argument in {"-h", "--help"}:
            return ["--help"]
        elif not argument.startswith("-") or argument == "-":  # a single one stands for standard input
            positional.append(argument)
        elif name not in named:
            raise InputError(f"There is no option {written!r}. {did_you_mean(name, [*named, '--help'])}")
        elif named[name].is_flag:
            first.append(argument)
        else:
            given = value if equals else next(rest, None)
            if given is None or (not equals and given.partition("=")[0] in named):
                raise InputError(f"{name} has no value; `{program} --help` shows what it takes.")
            first.append(f"{name}={given}")
    used = {argument.partition("=")[0] for argument in first}
    required = [option.name for option in options.values() if option.is_required]
    missing = [name for name in required if name in named and name not in used]
    missing += [name for name in required if name not in named][len(positional) :]
    if missing:
        raise InputError(f"{missing[0]} is missing; `{program} --help` shows the options.")
    return [*first, "--", *positional] if positional else first


def _sentence(complaint: str, arguments: list[str], options: dict[str, _Option], program: str) -> str:
    plain = plain_text(complaint)
    if wrong := re.search(r"Error parsing (\S+):|invalid choice .* for argument '(\S+)'", plain):
        name = wrong[1] or wrong[2]
        value = next((one.partition("=")[2] for one in reversed(arguments) if one.startswith(f"{name}=")), "")
        return f"{name} is {value!r}; expected {_expected(options[name].hint, value)}"
    if surplus := re.search(r"Unrecognized options: (.+)", plain):
        return f"{surplus[1]!r} is one argument too many; `{program} --help` shows what is expected."
    return f"The options cannot be read: {plain}"


def _expected(hint: Any, value: str) -> str:
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if get_origin(kinds[0]) is Literal:
        return f"one of its choices. {did_you_mean(value, map(str, get_args(kinds[0])))}"
    return f"{EXPECTED.get(kinds[0], 'another value')}."


def _plain_help(text: str) -> str:
    """Without defaults that say nothing and the lines that they leave empty."""
    text = re.sub(r"\{None\}\|(\S+)", r"\1       ", text)  # the column of descriptions stays where it is
    text = re.sub(r"\(default:(\s+(None|False))?\s*\)", "", text)
    text = re.sub(r"[ ]+$", "", text, flags=re.MULTILINE)
    return re.sub(r"\n\n+(  -|\n*$)", r"\n\1", text)
