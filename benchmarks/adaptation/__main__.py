"""Adaptation between Toyland's domains: `python -m benchmarks.adaptation`, then `--table` and `--figures`.

A unit is one row of one transfer and seed; it is trained, scored and written, then the next one. Runs that rows share,
such as the source's, are trained once. After a kill the same command goes on.
"""

import argparse
import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deixis.errors import DeixisError
from deixis.recipes.toyland import SCENE_PARSING
from deixis.runs.run import Chain, Run, with_seed
from deixis.vision.slic import FOLDER_VARIABLE

from . import results
from .rows import FIRST, FULL, LONGER, ROWS, SEEDS, TABLE_2, TRANSFERS, Unit, chain_of, planned
from .training import settings_of, train

WATCHED = 32  # sentences of validation at the end of a Run, which only its log shows


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What all units share: the steps of the source's Run and of a method, the scored sentences, and the folders."""

    steps: int
    adaptation: int
    sentences: int
    folder: Path
    packed: str

    @property
    def facts(self) -> dict[str, int | str]:
        """What the numbers depend on; `settings` is a digest of everything else, such as the sizes of images."""
        plain = replace(self, packed="")
        chains = [plain.chain(Unit(transfer=FIRST, seed=0, row=row)) for row in (*TABLE_2, LONGER)]
        parsing: Any = chains[0].runs[SCENE_PARSING].schedule.steps
        counts = {"steps": self.steps, "adaptation": self.adaptation, "parsing": parsing, "sentences": self.sentences}
        plain_settings = [[name, settings_of(run)] for chain in chains for name, run in chain.runs.items()]
        settings = json.dumps(plain_settings, sort_keys=True, default=str)
        return counts | {"settings": hashlib.sha256(settings.encode()).hexdigest()[:12]}

    def place(self, unit: Unit) -> Path:
        return self.folder / unit.transfer / f"seed-{unit.seed}" / re.sub(r"[^\w+.]+", "-", unit.row)

    def run(self, unit: Unit) -> Run:
        """The source's Run of the unit's transfer and seed."""
        from deixis.recipes.adapt_toyland import toyland_transfer

        run: Any = with_seed(toyland_transfer(unit.transfer), unit.seed)
        return replace(
            run,
            data=replace(run.data, packed=self.packed),
            target=replace(run.target, packed=self.packed, validation_limit=WATCHED),
            schedule=replace(run.schedule, steps=self.steps, validate_every=self.steps),
        )

    def chain(self, unit: Unit) -> Chain:
        return chain_of(unit.row, self.run(unit), self.adaptation)


def measured(unit: Unit, budget: Budget) -> Mapping[str, Any]:
    """The scores of a unit, which is trained first; what makes it impossible is a result, too. Exits when stopped."""
    import torch

    from deixis.runs.open_data import open_data

    from .scores import score

    torch.set_num_threads(1)
    place, begin = budget.place(unit), time.process_time()
    run = budget.run(unit)
    assert run.target is not None
    chain = budget.chain(unit)
    try:
        last = train(chain, place, budget.folder / unit.transfer / "runs")
    except DeixisError as error:
        return {"failed": str(error)}
    finally:
        spent = _spent(place, time.process_time() - begin)
    if last is None:
        sys.exit("stopped and saved; call it again to resume")
    _, validation = open_data(run.target)
    scores = score(last / "last", validation, budget.sentences, place / "scores.json")
    return {"scores": scores, "cpu_seconds": round(spent)}


def _spent(place: Path, seconds: float) -> float:
    """The seconds of the processor that training a row took so far, without the Runs that another row trained."""
    file = place / "cpu_seconds.json"
    place.mkdir(parents=True, exist_ok=True)
    total = seconds + (json.loads(file.read_text()) if file.exists() else 0.0)
    file.write_text(json.dumps(total))
    return total


def chosen(transfers: Sequence[str], rows: Sequence[str], seeds: Sequence[int]) -> list[Unit]:
    """The planned units among these; those that are asked for by row and are in no plan come last."""
    wanted = {Unit(transfer=one, seed=seed, row=row) for one in transfers for seed in seeds for row in rows}
    plan = [unit for unit in planned() if unit in wanted]
    asked = rows != list(ROWS)  # a row by its name is measured for each transfer and seed
    return plan + sorted(wanted - set(plan)) if asked else plan


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.adaptation", description=__doc__)
    parser.add_argument("--list", action="store_true", help="print the units and what is measured")
    parser.add_argument("--table", action="store_true", help="print the tables of what is measured")
    parser.add_argument("--figures", action="store_true", help="draw the figures of the first transfer and seed")
    parser.add_argument("--transfer", nargs="*", default=list(TRANSFERS), choices=list(TRANSFERS))
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=list(ROWS), metavar="ROW")
    parser.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS))
    parser.add_argument("--steps", type=int, default=400, help="of the source's Run")
    parser.add_argument("--adaptation", type=int, default=180, help="steps of a method after the source's")
    parser.add_argument("--sentences", type=int, default=300, help="of the target's validation split, to score on")
    parser.add_argument("--packed", default="runs/packed")
    parser.add_argument("--folder", type=Path, default=Path("runs/adaptation"))
    given = parser.parse_args(arguments)
    budget = Budget(
        steps=given.steps,
        adaptation=given.adaptation,
        sentences=given.sentences,
        folder=given.folder,
        packed=given.packed,
    )
    units = chosen(given.transfer, given.rows, given.seeds)
    if given.list:
        done = results.read()["units"]
        for unit in units:
            print("measured" if results.key(unit) in done else "to do   ", results.key(unit))
    elif given.figures:
        from .figures import draw_all

        unit = Unit(transfer=given.transfer[0], seed=given.seeds[0], row=FULL)
        print(*draw_all(budget.run(unit), budget.place(unit), budget.folder / "figures"), sep="\n")
    else:
        if not given.table:
            os.environ.setdefault(FOLDER_VARIABLE, str(budget.folder / "superpixels"))  # of one image for all rows
            measure_all(units, budget)
        print(results.tables())


def measure_all(units: Sequence[Unit], budget: Budget) -> None:
    """Every unit without a result, in order. Exits where the results are those of another budget."""
    if (known := results.read().get("budget", budget.facts)) != budget.facts:
        sys.exit(f"{results.FILE} holds units of {known}, not of {budget.facts}; move it and {budget.folder} away.")
    for number, unit in enumerate(units, start=1):
        if results.key(unit) in results.read()["units"]:
            continue
        print(f"unit {number} of {len(units)}: {results.key(unit)}", file=sys.stderr, flush=True)
        results.record(unit, measured(unit, budget), budget.facts)


if __name__ == "__main__":
    main()
