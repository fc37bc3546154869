"""Options as dataclasses: positional arguments anywhere, and one sentence for each mistake."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
import tyro

from deixis.cli.options import BootstrapOptions, parse
from deixis.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Options(BootstrapOptions):
    """Do something."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A model."""
    data_set: str
    """The data."""
    limit: int | None = None
    """At most so many."""
    fit: Literal["stretch", "pad"] = "stretch"
    """How images are fitted."""
    out: Path | None = None
    """Where."""
    json: bool = False
    """Print JSON."""


@dataclass(frozen=True, kw_only=True)
class Several:
    """Take several."""

    arguments: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="THING")] = ()
    """Things."""
    text: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A text."""
    quiet: bool = False
    """Say nothing."""


def test_values_have_the_types_of_their_fields() -> None:
    found = parse(Options, ["--data-set", "d", "m", "--limit", "3", "--out=o", "--json", "--fit", "pad"], "deixis x")
    assert found == Options(model="m", data_set="d", limit=3, out=Path("o"), json=True, fit="pad")


@pytest.mark.parametrize(
    "arguments",
    [
        ["a", "b", "--quiet", "--text", "t", "--text=u"],
        ["--quiet", "a", "--text", "t", "b", "--text", "u"],
        ["--text", "t", "--text", "u", "--quiet", "--", "a", "b"],
    ],
)
def test_positional_arguments_may_stand_between_options(arguments: list[str]) -> None:
    assert parse(Several, arguments, "deixis x") == Several(arguments=("a", "b"), text=("t", "u"), quiet=True)


def test_after_two_dashes_everything_is_positional() -> None:
    assert parse(Several, ["a", "--", "--quiet", "-5"], "deixis x").arguments == ("a", "--quiet", "-5")


def test_a_value_may_be_negative_empty_or_contain_an_equals_sign() -> None:
    assert parse(Several, ["--text", "-5", "--text=", "--text", "a=b"], "deixis x").text == ("-5", "", "a=b")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["m"], "--data-set is missing; `deixis x --help` shows the options."),
        (["--data-set", "d"], "MODEL is missing; `deixis x --help` shows the options."),
        (["m", "--data-set"], "--data-set has no value; `deixis x --help` shows what it takes."),
        (["m", "--data-set", "--json"], "--data-set has no value; `deixis x --help` shows what it takes."),
        (["m", "--data_sets", "d"], "There is no option '--data_sets'. Did you mean '--data-set'?"),
        (["m", "n", "--data-set", "d"], "'n' is one argument too many; `deixis x --help` shows what is expected."),
        (["m", "--data-set", "d", "--limit", "few"], "--limit is 'few'; expected a whole number."),
        (["m", "--data-set", "d", "--draws", "1.5"], "--draws is '1.5'; expected a whole number."),
        (
            ["m", "--data-set", "d", "--fit", "padd"],
            "--fit is 'padd'; expected one of its choices. Did you mean 'pad'?",
        ),
        (["m", "--data-set", "d", "--draws", "0"], "The number of draws is 0; expected 1 or more."),
        (["m", "--data-set", "d", "--seed", "-1"], "The seed of the bootstrap is -1; expected 0 or more."),
    ],
)
def test_each_mistake_is_one_sentence(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError) as raised:
        parse(Options, arguments, "deixis x")
    assert str(raised.value) == sentence
    assert capsys.readouterr() == ("", "")


def test_help_shows_every_option_then_the_epilogue(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse(Options, ["m", "--help"], "deixis x", "\nAn example.")
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    assert printed.startswith("usage: deixis x")
    assert printed.rstrip().endswith("An example.")
    for part in ("MODEL", "--data-set STR", "--limit INT ", "(default: 10000)", "{stretch,pad}"):
        assert part in printed
    assert "None" not in printed
    assert "default: False" not in printed
    columns = {
        line.index(text)
        for text in ("At most so many.", "Print JSON.")
        for line in printed.splitlines()
        if text in line
    }
    assert len(columns) == 1
