"""SDA between Toyland's clips: `python -m benchmarks.clip_adaptation`, then `--table`.

Source only, SDA and oracle on one transfer, each seed scored on the target's validation split; beside them the source's
network on its own domain, and a blob in the picture's centre on both. A row is written when it is scored. Runs that
rows share are trained once; after a kill the same command goes on.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from deixis.data.subsets import Subset
from deixis.evaluation.evaluator import evaluate
from deixis.files import replaced
from deixis.recipes.adapt import SOURCE, after_source
from deixis.recipes.adapt_toyland_clips import clip_oracle, clip_sda, source_only, toyland_clips_transfer
from deixis.records import Reader
from deixis.runs.open_data import open_data
from deixis.runs.run import Chain, Run, with_seed
from deixis.vision.slic import FOLDER_VARIABLE
from deixis.zoo.loading import load

from .adaptation.scores import DRAWS, MEASURES, PROTOCOL, score
from .adaptation.training import train
from .measure import RESULTS, called, machine
from .sag_floors import CentrePrior

FILE = RESULTS / "clip_adaptation.json"
SOURCE_ONLY, LONGER, SDA, ORACLE = "source only", "source only, longer", "SDA", "oracle"
OWN, CENTRE, OWN_CENTRE = "source only, on its own domain", "centre prior", "centre prior, on the source's domain"
SCORED_ONLY = (OWN, CENTRE, OWN_CENTRE)  # rows of the network that "source only" trains
ROWS = (SOURCE_ONLY, *SCORED_ONLY, SDA, ORACLE, LONGER)
SEEDS = (0, 1)
HEADLINE = "mIoU"


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What all rows share."""

    steps: int | None  # of the source's Run; None: the recipe's
    sentences: int
    folder: Path

    def run(self, seed: int) -> Run:
        """The source's Run of a seed."""
        run: Any = with_seed(toyland_clips_transfer(), seed)
        packed = str(self.folder / "packed")
        steps = run.schedule.steps if self.steps is None else self.steps
        return replace(
            run,
            data=replace(run.data, packed=packed),
            target=replace(run.target, packed=packed),
            schedule=replace(run.schedule, steps=steps, validate_every=steps),
        )


def longer(run: Run) -> Chain:
    """The source's Run goes on for as many steps as SDA's later stages."""
    runs = source_only(run).runs
    return Chain(runs={**runs, "longer": after_source(runs[SOURCE])})


CHAINS: dict[str, Callable[[Run], Chain]] = {
    SOURCE_ONLY: source_only,
    LONGER: longer,
    SDA: clip_sda,
    ORACLE: clip_oracle,
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clip_adaptation", description=__doc__)
    parser.add_argument("--table", action="store_true", help="print the table of what is measured")
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=list(ROWS), metavar="ROW")
    parser.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS))
    parser.add_argument("--steps", type=int, help="of the source's Run; by default the recipe's")
    parser.add_argument("--sentences", type=int, default=400, help="of a validation split, to score on")
    parser.add_argument("--folder", type=Path, default=Path("runs/clip-adaptation"))
    given = parser.parse_args(arguments)
    if not given.table:
        os.environ.setdefault(FOLDER_VARIABLE, str(given.folder / "superpixels"))  # of one clip for all rows
        budget = Budget(steps=given.steps, sentences=given.sentences, folder=given.folder)
        for seed in given.seeds:
            for row in given.rows:
                if f"{row} / {seed}" not in read()["rows"]:
                    print(f"{row}, seed {seed}", file=sys.stderr, flush=True)
                    record(row, seed, measured(row, seed, budget))
    print(table(read()["rows"]))


def measured(row: str, seed: int, budget: Budget) -> dict[str, Any]:
    """The scores of a row, which is trained first, and the processor's seconds for that."""
    run, began = budget.run(seed), time.process_time()
    chain = CHAINS.get(row, source_only)(run)
    folder = budget.folder / f"seed-{seed}" / row.replace(" ", "-").replace(",", "")
    last = train(chain, folder, budget.folder / "runs")
    if last is None:
        sys.exit("stopped and saved; call it again to resume")
    spent = round(time.process_time() - began)
    assert run.target is not None
    _, validation = open_data(run.data if row in (OWN, OWN_CENTRE) else run.target)
    scored = centre_prior if row in (CENTRE, OWN_CENTRE) else score
    found = scored(last / "last", validation, budget.sentences, folder / "scores.json")
    return {"scores": found, "cpu_seconds": spent, "steps": run.schedule.steps, "sentences": budget.sentences}


def centre_prior(checkpoint: Path, reader: Reader, sentences: int, out: Path) -> dict[str, dict[str, float | None]]:
    """As `score`, of a blob in the centre of the pictures that the checkpoint reads; without the mean precision."""
    segmenter = load(checkpoint, device="cpu")
    segmenter.system = CentrePrior(segmenter.system).eval()
    some = Subset(reader, np.linspace(0, len(reader) - 1, min(sentences, len(reader))).round().astype(int).tolist())
    measures = evaluate(segmenter, some, protocol=PROTOCOL, out=out, resume=True, draws=DRAWS).measures
    return {
        name: {"value": measures[name].value, "low": measures[name].low, "high": measures[name].high}
        for name in MEASURES
        if name in measures
    }


def read() -> dict[str, Any]:
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {"rows": {}}


def record(row: str, seed: int, found: Mapping[str, Any]) -> None:
    everything = read()
    everything |= {"command": called("benchmarks.clip_adaptation"), "machine": machine()}
    everything["rows"][f"{row} / {seed}"] = dict(found)
    with replaced(FILE) as beside:
        beside.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")


def table(rows: Mapping[str, Any]) -> str:
    """Markdown: each measure of each seed with its interval over clips, and the part of the gap that SDA closes."""
    lines = [f"| row | seed | {' | '.join(MEASURES)} |", "|---" * (2 + len(MEASURES)) + "|"]
    for row in ROWS:
        for name, each in rows.items():
            if name.startswith(f"{row} / "):
                cells = [_cell(each["scores"].get(measure)) for measure in MEASURES]
                lines.append(f"| {row} | {name.rpartition(' ')[2]} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *_closed(rows)])


def _cell(score: Mapping[str, float] | None) -> str:
    return "" if score is None else f"{score['value']:.1f} ({score['low']:.1f} to {score['high']:.1f})"


def _closed(rows: Mapping[str, Any]) -> list[str]:
    """One line for each seed that has all three rows."""
    lines = []
    for seed in sorted({int(name.rpartition(" ")[2]) for name in rows}):
        names = [f"{row} / {seed}" for row in (SOURCE_ONLY, SDA, ORACLE)]
        if all(name in rows for name in names):
            low, own, high = (rows[name]["scores"][HEADLINE]["value"] for name in names)
            lines.append(
                f"Seed {seed}: SDA is {own - low:+.1f} {HEADLINE} from source only, the oracle {high - low:+.1f}"
                + (f"; SDA closes {100 * (own - low) / (high - low):.0f} % of the gap." if high > low else ".")
            )
    return lines


if __name__ == "__main__":
    main()
