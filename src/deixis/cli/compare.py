"""`deixis compare A.json B.json`: two results side by side, with a paired bootstrap of the difference."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from .parsing import Parser, add_bootstrap_options, check_bootstrap

if TYPE_CHECKING:
    from ..evaluation.report import Result
    from ..metrics.accumulators import Totals

EPILOG = "Both results must come from one protocol over the same expressions; the records beside them are read."


def main(arguments: list[str]) -> int:
    parser = Parser(prog="deixis compare", description="Set two results side by side.", epilog=EPILOG)
    parser.add_argument("first", type=Path, help="a result of `deixis evaluate`")
    parser.add_argument("second", type=Path, help="another, on the same expressions")
    add_bootstrap_options(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(arguments)
    check_bootstrap(options)

    from rich.console import Console

    from ..evaluation.comparison import compare_totals
    from ..evaluation.record_files import check_header, read_records
    from ..evaluation.report import Result
    from ..metrics.accumulators import Totals
    from ..metrics.protocols import protocol_named
    from .results import show_differences

    results = [Result.read(path) for path in (options.first, options.second)]
    _check_comparable(results[0], results[1])
    rules = protocol_named(results[0].protocol)
    totals = []
    for path, result in zip((options.first, options.second), results, strict=True):
        records = path.parent / result.records
        if not records.is_file():
            raise InputError(f"The records {records} are missing; they belong beside {path}.")
        check_header(records, {"ids_hash": result.ids_hash, "protocol": result.protocol, "model": result.model})
        totals.append(Totals(rules).add_all(read_records(records)))
        _check_records(records, totals[-1], path, result)
    differences = compare_totals(totals[0], totals[1], draws=options.draws, seed=options.seed)
    if options.json:
        print(json.dumps({name: asdict(difference) for name, difference in differences.items()}))
        return 0
    show_differences(options.first.stem, options.second.stem, differences, Console())
    return 0


def _check_records(records: Path, totals: "Totals", path: Path, result: "Result") -> None:
    """Another evaluation into the same folder may have written its records over those of this result."""
    values, written = totals.overall.values(), {name: one.value for name, one in result.measures.items()}
    if totals.overall.totals()["expressions"] != result.num_expressions or written != written | values:
        raise InputError(
            f"The records {records} are not those that {path} was added up from; evaluate again, each result with an "
            "--out of its own."
        )


def _check_comparable(first: "Result", second: "Result") -> None:
    for what in ("protocol", "ids_hash"):
        one, other = getattr(first, what), getattr(second, what)
        if one != other:
            described = "the protocols" if what == "protocol" else "the expressions"
            raise InputError(
                f"The results cannot be compared: {described} differ ({one[:16]}, {other[:16]}); evaluate both alike."
            )
