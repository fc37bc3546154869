"""The effect of each part of MagNet on Toyland: `python -m benchmarks.ablations`, then `--table`.

Every variant is trained with the same three seeds, data, steps and encoders, and scored on held-out sentences as the
training loop scores. Finished runs are kept and a stopped run is resumed: after a kill, start it again.
"""

import argparse
import itertools
import json
import math
import os
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .measure import RESULTS, machine

FILE = RESULTS / "ablations.json"
SEEDS = (0, 1, 2)
SUBSETS = ("toyland", "toyland+", "toyland-g")
START = "runs/late-fusion-toyland/late-fusion/best"  # `deixis train late-fusion-toyland` makes it
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # 97.5 % quantile with one degree of freedom less than runs


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A recipe, the options that make it this variant, and the variant that it is compared with."""

    recipe: str
    options: tuple[str, ...] = ()
    against: str | None = None


VARIANTS = {
    "magnet": Variant(recipe="magnet-toyland"),
    "magnet without mask grounding": Variant(
        recipe="magnet-toyland", options=("--objective", "supervised"), against="magnet"
    ),
    "magnet with words taken out, none guessed": Variant(
        recipe="magnet-toyland", options=("--objective.weight", "0"), against="magnet"
    ),
    "magnet with mask grounding of half the sentences": Variant(
        recipe="magnet-toyland", options=("--objective.fraction", "0.5"), against="magnet"
    ),
    "magnet without alignment module": Variant(
        recipe="magnet-toyland", options=("--system.alignment-module", "False"), against="magnet"
    ),
    "magnet without pooled maps": Variant(
        recipe="magnet-toyland", options=("--system.pooled-sides",), against="magnet"
    ),
    "magnet without alignment loss": Variant(
        recipe="magnet-toyland", options=("--system.alignment-weight", "0"), against="magnet"
    ),
    "magnet with the published language fusion": Variant(
        recipe="magnet-toyland", options=("--system.language-fusion", "published"), against="magnet"
    ),
    "lavt": Variant(recipe="lavt-toyland"),
    "lavt with mask grounding": Variant(recipe="lavt-toyland-grounded", against="lavt"),
    "lavt with mask grounding of half the sentences": Variant(
        recipe="lavt-toyland-grounded", options=("--objective.fraction", "0.5"), against="lavt"
    ),
    "vega": Variant(recipe="vega-toyland"),
    "vega with mask grounding": Variant(recipe="vega-toyland-grounded", against="vega"),
}


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What all variants share; 20 tokens, because the published language fusion reads as many."""

    steps: int
    start: str  # the checkpoint whose encoders all start from
    sentences: int
    folder: Path

    @property
    def facts(self) -> dict[str, int | str]:
        """What the table's numbers depend on."""
        return {"steps": self.steps, "sentences": self.sentences, "start": self.start}

    def options(self, seed: int) -> list[str]:
        return [
            *("--preprocess.image-size", "128", "--preprocess.max-tokens", "20"),
            *("--schedule.steps", str(self.steps), "--schedule.warm-up", "30", "--schedule.save-every", "100"),
            *("--schedule.validate-every", str(self.steps), "--data.validation-limit", "64"),
            *("--data.no-target", "0", "--data.packed", "runs/packed"),
            *("--schedule.batch-size", "16", "--optimiser.lr", "8e-4", "--optimiser.muon-lr", "0.005"),
            *("--optimiser.average", "0.99", "--start-from.checkpoint", self.start),
            *("--vocabulary", f"{self.start}/vocab.txt"),
            *("--precision", "bf16", "--workers", "0", "--seed", str(seed)),
        ]


def train(name: str, seed: int, budget: Budget) -> Path:
    """The folder of the finished run: of the recipe's chain the last Run alone, from the budget's encoders."""
    from deixis.cli.train_options import configured
    from deixis.recipes.catalogue import recipe_named
    from deixis.runs.execute import execute, holds_job

    variant = VARIANTS[name]
    out = budget.folder / f"{name.replace(' ', '-')}-{seed}"
    recipe: Any = list(recipe_named(variant.recipe).runs.values())[-1]  # type: ignore[union-attr]
    run = configured(recipe, [*budget.options(seed), *variant.options], None, "benchmarks.ablations")
    assert run is not None
    if not execute(run, out, resume=holds_job(out), quiet=True).finished:
        sys.exit("stopped and saved; call it again to resume")
    return out


def score(run: Path, count: int) -> dict[str, dict[str, float]]:
    """Each subset's measures in percent on `count` packed sentences of val, at the size that the model reads."""
    import torch

    from deixis.data.batches import EvalBatches
    from deixis.objectives.supervised import Supervised
    from deixis.toyland.packed import PackedToyland
    from deixis.training.validation import validate
    from deixis.zoo.loading import load

    torch.set_num_threads(1)
    model = load(run / "last", device="cpu")
    found = {}
    for subset in SUBSETS:
        batches = EvalBatches(
            reader=PackedToyland("runs/packed/val", (subset,)),
            tokenizer=model.tokenizer,
            preprocess=model.preprocess,
            batch_size=16,
            limit=count,
        )
        scores = validate(Supervised(model.system), batches.share(), torch.device("cpu"))
        found[subset] = {name: 100 * scores[name] for name in ("mIoU", "oIoU", "P@0.5")}
    return found


def read() -> dict[str, Any]:
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {"runs": {}}


def record(name: str, seed: int, scores: dict[str, dict[str, float]], budget: Budget) -> None:
    """Beside, then renamed; two processes may share the work, so what is there is read again first."""
    everything = read()
    everything["machine"] = machine()
    everything["budget"] = budget.facts
    everything["runs"].setdefault(name, {})[str(seed)] = scores
    beside = FILE.with_suffix(f".{os.getpid()}.part")
    beside.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")
    os.replace(beside, FILE)


def interval(values: list[float]) -> tuple[float, float]:
    """Mean and half the width of its 95 % interval, by Student's distribution."""
    half = STUDENT[len(values)] * statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return statistics.mean(values), half


def table() -> str:
    """Markdown: mIoU in percent, its mean over seeds with interval, and the difference of equal seeds."""
    runs = read()["runs"]
    lines = [f"| variant | runs | {' | '.join(f'`{one}` mIoU' for one in SUBSETS)} | all three | against |"]
    lines.append("|---" * (4 + len(SUBSETS)) + "|")
    for name, variant in VARIANTS.items():
        if not (mine := runs.get(name)):
            continue
        cells = [_show([scores[one]["mIoU"] for scores in mine.values()]) for one in SUBSETS]
        overall = {seed: _overall(scores) for seed, scores in mine.items()}
        theirs = runs.get(variant.against, {}) if variant.against else {}
        gaps = [value - _overall(theirs[seed]) for seed, value in overall.items() if seed in theirs]
        gap = f"{_show(gaps, sign=True)} to {variant.against}" if gaps else ""
        lines.append(f"| {name} | {len(mine)} | {' | '.join(cells)} | {_show(list(overall.values()))} | {gap} |")
    return "\n".join(lines)


def _overall(scores: dict[str, dict[str, float]]) -> float:
    return statistics.mean(scores[subset]["mIoU"] for subset in SUBSETS)


def _show(values: list[float], *, sign: bool = False) -> str:
    mean, half = interval(values)
    return f"{mean:+.1f} ± {half:.1f}" if sign else f"{mean:.1f} ± {half:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", action="store_true", help="print the table of what was measured before")
    parser.add_argument("--only", nargs="*", default=list(VARIANTS), choices=list(VARIANTS), help="variants to train")
    parser.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--sentences", type=int, default=300, help="of each register, to score on")
    parser.add_argument("--start", default=START, help="the checkpoint whose encoders all start from")
    parser.add_argument("--folder", type=Path, default=Path("runs/ablations"))
    arguments = parser.parse_args()
    if not arguments.table:
        budget = Budget(
            steps=arguments.steps, start=arguments.start, sentences=arguments.sentences, folder=arguments.folder
        )
        if (known := read().get("budget", budget.facts)) != budget.facts:
            sys.exit(f"{FILE} holds runs of {known}, not of {budget.facts}; move it and {budget.folder} away first.")
        for seed, name in itertools.product(arguments.seeds, arguments.only):
            if str(seed) not in read()["runs"].get(name, {}):
                record(name, seed, score(train(name, seed, budget), budget.sentences), budget)
    print(table())


if __name__ == "__main__":
    main()
