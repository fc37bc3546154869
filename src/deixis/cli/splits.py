"""The split that a command is asked to go through: a data set's, or one of our generated world."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError, did_you_mean

if TYPE_CHECKING:
    from ..data.segmentation import Overlaps
    from ..data.validation import Issues
    from ..records import Reader

REGISTERS = ("toyland", "toyland+", "toyland-g")
DATA = "DATA is a data set's folder, or our generated world as toyland:val, toyland+:testA, toyland-g:testB."


def add_data_options(parser: argparse.ArgumentParser, no_target: float = 0.0) -> None:
    """What `open_split` reads; our generated world tells `no_target` sentences a scene about nothing unless told."""
    parser.add_argument("--data", required=True, help="a data set's folder, or toyland:val")
    parser.add_argument("--split", help="default: val, or the only one there is")
    parser.add_argument("--dataset", help="refcoco, refcoco+, refcocog …, where the folder holds several")
    parser.add_argument("--split-by", help="unc, umd or google")
    parser.add_argument("--scenes", type=int, default=500, help="scenes of our generated world (default: 500)")
    parser.add_argument(
        "--no-target", type=float, metavar="N", help=f"its sentences a scene that mean nothing there ({no_target:g})"
    )
    parser.set_defaults(usual_no_target=no_target)


def open_split(options: argparse.Namespace, report: "Issues", overlaps: "Overlaps" = "union") -> "Reader":
    name, _, split = options.data.partition(":")
    if is_generated(options):
        _check_generated(options, split)
        from ..toyland.telling import Extras
        from ..toyland.world import Toyland

        extras = Extras(no_target=no_target_of(options))
        return Toyland(split=split or options.split or "val", register=name, num_scenes=options.scenes, extras=extras)
    if (split or name.startswith("toyland")) and "/" not in name and not Path(options.data).exists():
        raise InputError(f"There is no data set {name!r}. {did_you_mean(name, REGISTERS)}")
    if options.no_target:
        raise InputError(
            f"--no-target {options.no_target:g} makes sentences up, which only our generated world can; leave it away, "
            "or give toyland:val as --data."
        )

    from ..data.readers.formats import open_data

    return open_data(options.data, options.split, options.dataset, options.split_by, report, overlaps)


def _check_generated(options: argparse.Namespace, split: str) -> None:
    """Raises DeixisError for options that would name the score after something else."""
    for option in ("dataset", "split_by"):
        if getattr(options, option) is not None:
            name = f"--{option.replace('_', '-')}"
            raise InputError(f"{options.data} is our generated world, which knows no {name}; leave that away.")
    if split and options.split not in (None, split):
        raise InputError(f"--data says the split {split!r}, --split {options.split!r}; say it once.")


def is_generated(options: argparse.Namespace) -> bool:
    """Whether the data are our generated world's, and no folder's of that name."""
    return options.data.partition(":")[0] in REGISTERS and not Path(options.data).exists()


def no_target_of(options: argparse.Namespace) -> float:
    """How many sentences a scene of our generated world mean nothing."""
    return options.usual_no_target if options.no_target is None else options.no_target


@contextmanager
def bar(what: str, total: int, quiet: bool, done: int = 0) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr, where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet or not sys.stderr.isatty()) as progress:
        task = progress.add_task(what, total=total, completed=done)
        yield lambda count: progress.advance(task, count)
