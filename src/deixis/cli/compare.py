"""`deixis compare A.json B.json`: two results side by side, with a paired bootstrap of the difference."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from ..errors import InputError
from ..evaluation.splits import SplitOptions
from .options import BootstrapOptions, parse

if TYPE_CHECKING:
    from ..evaluation.report import Result
    from ..metrics.accumulators import Totals
    from ..metrics.presence import PresenceRows


EPILOGUE = """
  deixis compare ours.json theirs.json
  deixis compare ours.json theirs.json --pictures pictures --data data --dataset refcoco --split testA"""


@dataclass(frozen=True, kw_only=True)
class CompareOptions(BootstrapOptions, SplitOptions):
    """Compare two results of `deixis evaluate` by a paired bootstrap over images: A minus B.

    Both must have one protocol and the same expressions; the records beside them are read. With --pictures the models
    are loaded, and the masks are drawn where one of them is right and the other one wrong; the options of the split are
    read for these alone.
    """

    first: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="A.json")]
    """A result."""
    second: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="B.json")]
    """Another result, on the same expressions."""
    data: str = ""
    """With --pictures: the data that were evaluated, a folder or Toyland as toyland:val."""
    pictures: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Draw the masks of both models where one is right and the other wrong, the largest difference first."""
    count: int = 12
    """Expressions on a sheet of --pictures."""
    device: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """With --pictures: cpu, cuda, cuda:1 or mps; by default the fastest one available."""
    json: bool = False
    """Print JSON instead of a table."""


def main(arguments: list[str]) -> int:
    options = parse(CompareOptions, arguments, "deixis compare", EPILOGUE)
    if options.count < 1:
        raise InputError(f"--count is {options.count}; expected 1 or more.")
    if options.data and options.pictures is None:
        raise InputError("--data is what --pictures draws; give --pictures DIR, or omit it.")

    from rich.console import Console

    from ..evaluation.comparison import compare_presence, compare_totals
    from ..evaluation.report import Result
    from .results import show_differences

    results = [Result.read(path) for path in (options.first, options.second)]
    _check_comparable(results[0], results[1])
    first, second = (
        totals_beside(path, one) for path, one in zip((options.first, options.second), results, strict=True)
    )
    differences = compare_totals(first, second, draws=options.draws, seed=options.seed)
    if all(one.presence is not None for one in results):
        rows = [_presence_rows(path, one) for path, one in zip((options.first, options.second), results, strict=True)]
        presence = compare_presence(*rows, draws=options.draws, seed=options.seed)
        differences |= {name: one for name, one in presence.items() if name not in differences}
    if options.json:
        print(json.dumps({name: asdict(difference) for name, difference in differences.items()}))
    else:
        show_differences(options.first.stem, options.second.stem, differences, Console())
    if options.pictures is not None:
        from .compare_pictures import draw, show

        show(draw(options, options.pictures, results), as_json=options.json)
    return 0


def totals_beside(path: Path, result: "Result") -> "Totals":
    """The sums of the records beside a result."""
    from ..evaluation.record_files import check_header, read_records
    from ..metrics.accumulators import Totals
    from ..metrics.protocols import protocol_named

    records = path.parent / result.records
    if not records.is_file():
        raise InputError(f"The records {records} are missing; put them beside {path}.")
    check_header(records, {"ids_hash": result.ids_hash, "protocol": result.protocol, "model": result.model})
    totals = Totals(protocol_named(result.protocol)).add_all(read_records(records))
    # Another evaluation into the same folder may have replaced the records of this result.
    values, written = totals.overall.values(), {name: one.value for name, one in result.measures.items()}
    if totals.overall.totals()["expressions"] != result.num_expressions or written != written | values:
        raise InputError(
            f"The records {records} are not those that {path} was computed from; evaluate again, each result with its "
            "own --out."
        )
    return totals


def _presence_rows(path: Path, result: "Result") -> "PresenceRows":
    from ..evaluation.record_files import read_records
    from ..metrics.presence import PresenceRows

    return PresenceRows.of(read_records(path.parent / result.records))


def _check_comparable(first: "Result", second: "Result") -> None:
    for what in ("protocol", "ids_hash"):
        one, other = getattr(first, what), getattr(second, what)
        if one != other:
            described = "protocols" if what == "protocol" else "expressions"
            raise InputError(
                f"The {described} of the results differ ({one[:16]}, {other[:16]}); evaluate both in the same way."
            )
