"""Every row of VEGA's tables and of MagNet's ablations on Toyland: `python -m benchmarks.ablations`, then `--table`.

All rows start from the bundled model's encoders and are trained for equally many steps of the same size, on the same
data. VEGA's and LAVT's rows, which share the early fusion, start from the bundled model's as well; MagNet's is another.
A unit is one row and seed; it is trained, scored and written, then the next one. The rows of the papers' claims have
three seeds. After a kill the same command goes on.
"""

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from deixis.files import replaced
from deixis.recipes.paper_tables import FULL, MAGNET_ROWS, VEGA_ROWS, Row, same_as_full

from .measure import RESULTS, machine

FILE = RESULTS / "ablations.json"
SEEDS = (0, 1, 2)
# 97.5 % quantiles by degrees of freedom: one less than seeds, of several rows their sum.
STUDENT = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 6: 2.447, 8: 2.306, 10: 2.228, 12: 2.179, 14: 2.145}
MEASURES = ("mIoU", "oIoU", "P@0.5")
START = "bundled"
FUSED, ENCODERS = ("text.*", "fusion.*"), ("text.*", "fusion.vision.*")  # the weights that are read from it
# VEGA's and LAVT's rows start from trained early fusion, MagNet's from encoders alone: they need more steps.
STEPS = {"vega": 60, "lavt": 60, "magnet": 200}
# On processors without bf16 instructions a step in bf16 takes ten times as long.
PRECISION = {"vega": "bf16", "lavt": "fp32", "magnet": "fp32"}
SIZE, BATCH, TOKENS, SCENES, DRAWS = 128, 16, 20, 2_000, 1_000


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a paper says: the first row is better than the second one."""

    says: str
    better: str
    worse: str


VEGA_CLAIMS = (
    Claim(says="the words enhanced by pixels help", better="vega/table-2/enhanced", worse="vega/table-2/words"),
    Claim(says="the visual expression helps beside them", better="vega/full", worse="vega/table-2/enhanced"),
    Claim(says="selected pixels beat all pixels", better="vega/table-3a/top-pixels", worse="vega/table-3a/all-pixels"),
    Claim(says="the visual expression beats selected pixels", better="vega/full", worse="vega/table-3a/top-pixels"),
    Claim(says="cues help", better="vega/full", worse="vega/table-3b/none"),
    Claim(says="the global cue helps beside local cues", better="vega/full", worse="vega/table-3b/local"),
    Claim(says="local cues help beside the global cue", better="vega/full", worse="vega/table-3b/global"),
    Claim(says="top-k beats the threshold", better="vega/full", worse="vega/table-4a/threshold"),
    Claim(says="the pixel contrast helps", better="vega/full", worse="vega/table-4b/off"),
    Claim(says="weights by similarity help", better="vega/full", worse="vega/table-4c/off"),
    Claim(says="normalised similarities help", better="vega/full", worse="vega/table-4d/none"),
    Claim(says="attention to selected pixels helps", better="vega/full", worse="vega/table-4e/off"),
    Claim(says="30 % of the pixels beat 10 %", better="vega/full", worse="vega/table-6/0.1"),
    Claim(says="30 % of the pixels beat 80 %", better="vega/full", worse="vega/table-6/0.8"),
)
MAGNET_CLAIMS = (
    Claim(says="mask grounding helps MagNet", better="magnet/full", worse="magnet/parts/no-grounding"),
    Claim(says="the alignment module helps", better="magnet/full", worse="magnet/parts/no-module"),
    Claim(says="the alignment loss helps", better="magnet/full", worse="magnet/parts/no-loss"),
    Claim(says="mask grounding helps LAVT", better="lavt/grounded", worse="lavt/full"),
    Claim(says="mask grounding helps VEGA", better="vega/grounded", worse="vega/full"),
)
# Three seeds each.
VEGA_HEADLINES = ("vega/full", "vega/table-2/enhanced", "vega/table-2/words")
MAGNET_HEADLINES = ("magnet/full", "magnet/parts/no-grounding", "magnet/parts/no-module", "magnet/parts/no-loss")
HEADLINES = (*VEGA_HEADLINES, *MAGNET_HEADLINES)
ADDED = {
    "lavt/full": "lavt-toyland",
    "lavt/grounded": "lavt-toyland-grounded",
    "vega/grounded": "vega-toyland-grounded",
}


def distinct(system: str, rows: Mapping[str, Row]) -> tuple[str, ...]:
    repeated = same_as_full(rows)
    return tuple(f"{system}/{name}" for name in rows if name not in repeated)


TABLES = {"VEGA": distinct("vega", VEGA_ROWS), "MagNet": (*distinct("magnet", MAGNET_ROWS), *ADDED)}
ROWS = tuple(row for rows in TABLES.values() for row in rows)


def planned(rows: Sequence[str] = ROWS, seeds: Sequence[int] = SEEDS) -> list[tuple[str, int]]:
    """The units among these, the most wanted first: VEGA's claims, one seed of every row, MagNet's other seeds."""
    plan = [(row, seed) for seed in SEEDS for row in VEGA_HEADLINES]
    plan += [(row, 0) for row in (*MAGNET_HEADLINES, *ROWS) if (row, 0) not in plan]
    plan += [(row, seed) for seed in SEEDS[1:] for row in MAGNET_HEADLINES]
    plan = list(dict.fromkeys(plan))
    return [(row, seed) for row, seed in plan if row in rows and seed in seeds]


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What all units share, and where they are."""

    sentences: int
    folder: Path
    packed: str
    scale: float = 1.0  # of the steps

    @property
    def facts(self) -> dict[str, Any]:
        """What the numbers depend on."""
        steps = {system: self.steps(system) for system in STEPS}
        shared = {"size": SIZE, "batch": BATCH, "scenes": SCENES, "sentences": self.sentences}
        return {"steps": steps, "precision": PRECISION, **shared}

    def steps(self, system: str) -> int:
        return round(self.scale * STEPS[system])

    def place(self, row: str, seed: int) -> Path:
        return self.folder / f"{row.replace('/', '-')}-{seed}"


def run_of(row: str, seed: int, budget: Budget) -> Any:
    """The last Run of the row's recipe, from the bundled model's encoders, with the budget."""
    from deixis.recipes.catalogue import recipe_named
    from deixis.runs.run import StartFrom

    system, _, name = row.partition("/")
    recipe: Any = recipe_named(ADDED.get(row, f"{system}-toyland/{name}"))
    run = list(recipe.runs.values())[-1]
    steps = budget.steps(system)
    return replace(
        run,
        data=replace(
            run.data,
            num_scenes=SCENES,
            validation_scenes=60,
            size=SIZE,
            no_target=0.0,
            packed=budget.packed,
            packers=1,
            validation_limit=16,
        ),
        preprocess=replace(run.preprocess, image_size=SIZE, max_tokens=TOKENS),
        optimiser=replace(run.optimiser, lr=8e-4, muon_lr=0.005, average=0.95),
        schedule=replace(
            run.schedule, steps=steps, batch_size=BATCH, warm_up=10, log_every=20, validate_every=steps, save_every=50
        ),
        vocabulary=START,
        start_from=StartFrom(checkpoint=START, patterns=ENCODERS if system == "magnet" else FUSED),
        precision=PRECISION[system],
        workers=0,
        seed=seed,
    )


def measured(row: str, seed: int, budget: Budget) -> dict[str, Any]:
    """Train the unit, then its measures in percent and the sums of its IoUs for each image. Exits when stopped."""
    import torch

    from deixis.data.subsets import Subset
    from deixis.evaluation.evaluator import evaluate
    from deixis.evaluation.record_files import read_records
    from deixis.metrics.protocols import protocol_named
    from deixis.runs.execute import execute, holds_job
    from deixis.toyland.packed import PackedToyland
    from deixis.zoo.loading import load

    torch.set_num_threads(1)
    out, begin = budget.place(row, seed), time.process_time()
    if not execute(run_of(row, seed, budget), out, resume=holds_job(out), quiet=True).finished:
        sys.exit("stopped and saved; call it again to resume")
    reader = PackedToyland(f"{budget.packed}/val")
    chosen = np.linspace(0, len(reader) - 1, min(budget.sentences, len(reader))).round().astype(int).tolist()
    file = out / "scores.json"
    result = evaluate(
        lambda: load(out / "last", device="cpu"),
        Subset(reader, chosen),
        out=file,
        batch_size=32,
        resume=True,
        draws=DRAWS,
    )
    images: dict[str, list[float]] = {}
    for one in read_records(file.with_name(result.records)):
        images.setdefault(one.ids.image, []).append(one.iou(protocol_named("full")))
    return {
        "measures": {
            name: [round(one.value or 0.0, 2), one.low and round(one.low, 2), one.high and round(one.high, 2)]
            for name, one in result.measures.items()
            if name in MEASURES
        },
        "images": [[len(ious), round(sum(ious), 4)] for _, ious in sorted(images.items())],
        "cpu_seconds": round(time.process_time() - begin),
    }


def read() -> dict[str, Any]:
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {"units": {}}


def record(row: str, seed: int, found: Mapping[str, Any], budget: Budget) -> None:
    """Add one unit, each on a line of its own, with the machine that trained it."""
    units = {**read()["units"], f"{row} {seed}": {**found, "machine": machine()}}
    head = json.dumps({"budget": budget.facts}, indent=1)
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(unit)}" for name, unit in units.items())
    with replaced(FILE) as beside:
        beside.write_text(f'{head[:-2]},\n "units": {{\n{lines}\n }}\n}}\n', encoding="utf-8")


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half the width of its 95 % interval, by Student's distribution."""
    half = STUDENT[len(values) - 1] * statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return statistics.mean(values), half


def difference(units: Mapping[str, Any], first: str, second: str) -> tuple[float, float, float] | None:
    """First minus second in points of mIoU with its 95 % interval, over seeds where both have several.

    Of one seed it is a paired interval over images, widened by the spread of seeds: of MagNet's rows for MagNet, of
    VEGA's for VEGA and LAVT, which start alike.
    """
    from deixis.metrics.bootstrap import interval as central
    from deixis.metrics.bootstrap import ratio, resampled_sums

    pairs = [
        (np.array(units[f"{first} {seed}"]["images"]), np.array(units[f"{second} {seed}"]["images"]))
        for seed in SEEDS
        if f"{first} {seed}" in units and f"{second} {seed}" in units
    ]
    if not pairs:
        return None
    gaps = [100 * (one[:, 1].sum() / one[:, 0].sum() - other[:, 1].sum() / other[:, 0].sum()) for one, other in pairs]
    if len(gaps) > 1:
        mean, half = interval(gaps)
        return mean, mean - half, mean + half
    one, other = pairs[0]
    sums = resampled_sums(np.column_stack([one, other[:, 1]]))
    low, high = central(100 * ratio(sums[:, 1] - sums[:, 2], sums[:, 0])) or (math.nan, math.nan)
    rows = MAGNET_HEADLINES if first.startswith("magnet/") else VEGA_HEADLINES
    below, above = (math.hypot(gaps[0] - low, spread(units, rows)), math.hypot(high - gaps[0], spread(units, rows)))
    return gaps[0], gaps[0] - below, gaps[0] + above


def spread(units: Mapping[str, Any], rows: Sequence[str]) -> float:
    """Half the 95 % interval of a difference of two seeds in mIoU, from rows with several seeds; 0 without any."""
    scores = [[unit["measures"]["mIoU"][0] for seed in SEEDS if (unit := units.get(f"{row} {seed}"))] for row in rows]
    several = [values for values in scores if len(values) > 1]
    if not several:
        return 0.0
    freedom = sum(len(values) - 1 for values in several)
    variance = sum((len(values) - 1) * statistics.variance(values) for values in several) / freedom
    return STUDENT[max(known for known in STUDENT if known <= freedom)] * math.sqrt(2 * variance)


def verdict(found: tuple[float, float, float] | None) -> str:
    if found is None:
        return "not measured"
    _, low, high = found
    return "holds here" if low > 0 else "does not hold here" if high < 0 else "undecided"


def tables(names: Sequence[str] = tuple(TABLES)) -> str:
    """Markdown: of each paper the measured rows, then its claims."""
    units = read()["units"]
    claims = {"VEGA": VEGA_CLAIMS, "MagNet": MAGNET_CLAIMS}
    return "\n\n".join(f"{_rows(TABLES[name], units)}\n\n{_claims(claims[name], units)}" for name in names)


def _rows(rows: Sequence[str], units: Mapping[str, Any]) -> str:
    lines = [f"| row | seeds | {' | '.join(MEASURES)} | mIoU against full |", "|---" * (3 + len(MEASURES)) + "|"]
    for row in rows:
        mine = [units[key] for seed in SEEDS if (key := f"{row} {seed}") in units]
        if mine:
            cells = [_cell([unit["measures"][measure] for unit in mine]) for measure in MEASURES]
            full = f"{row.partition('/')[0]}/{FULL}"
            gap = "" if row == full else _gap(difference(units, row, full))
            lines.append(f"| `{row}` | {len(mine)} | {' | '.join(cells)} | {gap} |")
    return "\n".join(lines)


def _claims(claims: Sequence[Claim], units: Mapping[str, Any]) -> str:
    lines = ["| claim | rows | difference in mIoU | here |", "|---" * 4 + "|"]
    for claim in claims:
        found = difference(units, claim.better, claim.worse)
        rows = f"`{claim.better}` minus `{claim.worse}`"
        lines.append(f"| {claim.says} | {rows} | {_gap(found)} | {verdict(found)} |")
    return "\n".join(lines)


def _cell(scores: Sequence[Sequence[float]]) -> str:
    """Of several seeds the mean with Student's interval, of one its bootstrap interval over images."""
    if len(scores) == 1:
        value, low, high = scores[0]
        return f"{value:.1f} ({low:.1f} to {high:.1f})"
    mean, half = interval([value for value, *_ in scores])
    return f"{mean:.1f} ± {half:.1f}"


def _gap(found: tuple[float, float, float] | None) -> str:
    return "" if found is None else f"{found[0]:+.1f} ({found[1]:+.1f} to {found[2]:+.1f})"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablations", description=__doc__)
    parser.add_argument("--table", action="store_true", help="print the tables of what is measured")
    parser.add_argument("--list", action="store_true", help="print the units and what is measured")
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=list(ROWS), metavar="ROW")
    parser.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS))
    parser.add_argument("--scale", type=float, default=1.0, help="factor of the steps")
    parser.add_argument("--sentences", type=int, default=360, help="of val, to score on")
    parser.add_argument("--packed", default="runs/packed-ablations")
    parser.add_argument("--folder", type=Path, default=Path("runs/ablations"))
    given = parser.parse_args(arguments)
    budget = Budget(sentences=given.sentences, folder=given.folder, packed=given.packed, scale=given.scale)
    units = planned(given.rows, given.seeds)
    if given.list:
        for row, seed in units:
            print("measured" if f"{row} {seed}" in read()["units"] else "to do   ", row, seed)
        return
    if not given.table:
        if (known := read().get("budget", budget.facts)) != budget.facts:
            sys.exit(f"{FILE} holds units of {known}, not of {budget.facts}; move it and {budget.folder} away.")
        for number, (row, seed) in enumerate(units, start=1):
            if f"{row} {seed}" not in read()["units"]:
                print(f"unit {number} of {len(units)}: {row} {seed}", file=sys.stderr, flush=True)
                record(row, seed, measured(row, seed, budget), budget)
    print(tables())


if __name__ == "__main__":
    main()
