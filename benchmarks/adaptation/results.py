"""`results/adaptation.json`: what each unit scored, and the tables that are made from it."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from deixis.files import replaced

from ..ablations import interval
from ..measure import RESULTS, machine
from .rows import ABLATED, FULL, LONGER, ORACLE, RECONSTRUCTED, SOURCE_ONLY, TABLE_2, Unit
from .scores import MEASURES

FILE = RESULTS / "adaptation.json"
HEADLINE = "mIoU"  # of which the closed part of the gap is computed


def read() -> dict[str, Any]:
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {"units": {}}


def key(unit: Unit) -> str:
    return f"{unit.transfer} / {unit.row} / {unit.seed}"


def record(unit: Unit, found: Mapping[str, Any], budget: Mapping[str, Any]) -> None:
    """Add one unit's result; it is read again first, because two processes may share the work."""
    everything = read()
    everything["machine"] = machine()
    everything["budget"] = dict(budget)
    everything["units"][key(unit)] = dict(found)
    FILE.parent.mkdir(exist_ok=True)
    with replaced(FILE) as beside:
        beside.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")


def tables() -> str:
    """Markdown: Table 2 of each transfer that has results, then the ablations, as far as they are measured."""
    units = read()["units"]
    parts = []
    for transfer in dict.fromkeys(name.split(" / ")[0] for name in units):
        mine = {(row, seed): each for row, seed, each in _of(units, transfer)}
        parts.append(f"`{transfer}`\n\n{_table((*TABLE_2, LONGER), mine)}")
        tables = dict.fromkeys(row.split("/")[0] for row in ABLATED if any(row == of for of, _ in mine))
        for table in tables:
            rows = tuple(row for row in ABLATED if row.startswith(f"{table}/"))
            parts.append(f"{table.replace('-', ' ').capitalize()}, `{transfer}`\n\n{_table((*rows, FULL), mine)}")
    return "\n\n".join(parts)


def _of(units: Mapping[str, Any], transfer: str) -> Iterator[tuple[str, str, Any]]:
    for name, each in units.items():
        of, row, seed = name.split(" / ")
        if of == transfer:
            yield row, seed, each


def _table(rows: tuple[str, ...], units: Mapping[tuple[str, str], Any]) -> str:
    lines = [f"| row | seeds | {' | '.join(MEASURES)} | gap closed |", "|---" * (3 + len(MEASURES)) + "|"]
    for row in rows:
        mine = {seed: each for (of, seed), each in units.items() if of == row}
        if not mine:
            continue
        name = f"{row} (reconstruction)" if row in RECONSTRUCTED else row
        if failed := [each["failed"] for each in mine.values() if "failed" in each]:
            lines.append(f"| {name} | {len(mine)} | {failed[0]} |{' |' * len(MEASURES)}")
            continue
        cells = [_cell([each["scores"][measure] for each in mine.values()]) for measure in MEASURES]
        lines.append(f"| {name} | {len(mine)} | {' | '.join(cells)} | {_closed(row, mine, units)} |")
    return "\n".join(lines)


def _cell(scores: list[Mapping[str, float]]) -> str:
    """Of several seeds the mean with Student's interval, of one its bootstrap interval over images."""
    if len(scores) == 1:
        (one,) = scores
        return f"{one['value']:.1f} ({one['low']:.1f} to {one['high']:.1f})"
    mean, half = interval([one["value"] for one in scores])
    return f"{mean:.1f} ± {half:.1f}"


def _closed(row: str, mine: Mapping[str, Any], units: Mapping[tuple[str, str], Any]) -> str:
    """The part of the gap between source only and oracle, at equal seeds, that the row closes."""
    if row in (SOURCE_ONLY, ORACLE):
        return ""
    ends = [
        (units[SOURCE_ONLY, seed], each, units[ORACLE, seed])
        for seed, each in mine.items()
        if (SOURCE_ONLY, seed) in units and (ORACLE, seed) in units
    ]
    low, own, high = (
        (math.fsum(each["scores"][HEADLINE]["value"] for each in column) for column in zip(*ends, strict=True))
        if ends
        else (0.0, 0.0, 0.0)
    )
    return f"{100 * (own - low) / (high - low):.0f} %" if high > low else ""
