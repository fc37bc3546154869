"""SaG on Toyland from sentences alone, its floors, its ceiling and its ablations: `python -m benchmarks.sag`.

Every training starts from the same weights, which saw pictures and sentences but no mask, and has the same steps.
Every score is `deixis evaluate`'s on `toyland:val`, protocol `weak`, with a bootstrap over images. What is finished is
kept, and a stopped training is resumed: after a kill, start it again. `--train sag:0 sag:1` and `--score` limit the
work, so that two processes share it; `--table` prints the tables of docs/sag.md, `--pictures FILE` draws entities.
"""

import argparse
import fcntl
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .measure import RESULTS, machine
from .sag_floors import CentrePrior, RandomEntity

FILE = RESULTS / "sag.json"
FOLDER = Path("runs/sag")
STARTS = ("pictures", "base")  # the trainings that the others start from
DATA = "toyland:val"
MEASURES = ("mIoU", "oIoU", "A@0.3", "A@0.5", "A@0.7")
SENTENCES, MASKS, NONE = "sentences", "full masks", "none"


@dataclass(frozen=True, kw_only=True)
class Training:
    """A Run of `recipes/sag_toyland.py`, and the fields of its system that make it a variant.

    With `after` it goes on from the weights of another training, for `steps`.
    """

    run: str = "sag"
    system: tuple[tuple[str, Any], ...] = ()
    supervision: str = SENTENCES
    after: str | None = None
    steps: int | None = None


TRAININGS = {
    "sag": Training(),
    "sag-t1": Training(system=(("iterations", 1),)),
    "sag-random": Training(system=(("slots", "random"),)),
    "sag-query": Training(system=(("slots", "query"),)),
    "late-fusion": Training(run="late-fusion", supervision=MASKS),
    "sag-longer": Training(after="sag:0", steps=300),
}
ORDER = ("sag:0", "late-fusion:0", "sag:1", "sag-t1:0", "sag:2", "sag-random:0", "sag-query:0", "sag-longer:0")


@dataclass(frozen=True, kw_only=True)
class Score:
    """One row: a trained model, what is changed at test time, and the group of expressions that share a table."""

    name: str
    table: str
    training: str
    iterations: int | None = None
    threshold: float | None = None
    refine: str | None = None
    noise: str | None = None
    floor: str | None = None
    few: bool = False  # scored on fewer scenes, because a DenseCRF takes long
    supervision: str | None = None  # None: that of the training

    @property
    def supervised_by(self) -> str:
        return self.supervision or TRAININGS[self.training.partition(":")[0]].supervision


def scores() -> list[Score]:
    rows = [Score(name=f"SaG, seed {seed}", table="main", training=f"sag:{seed}") for seed in range(3)]
    rows += [
        Score(name="SaG, seed 0, 300 more steps", table="main", training="sag-longer:0"),
        Score(name="late fusion, masks", table="main", training="late-fusion:0"),
        Score(name="random entity of SaG", table="main", training="sag:0", floor="random entity"),
        Score(name="image centre", table="main", training="sag:0", floor="centre", supervision=NONE),
    ]
    rows += [Score(name=f"T = {t} at test", table="A2", training="sag:0", iterations=t) for t in (1, 2, 4, 6, 8)]
    rows.append(Score(name="T = 1, retrained", table="A2", training="sag-t1:0"))
    rows += [
        Score(name=f"τ = {threshold}", table="A3", training="sag:0", threshold=threshold)
        for threshold in (0.3, 0.4, 0.5, 0.6, 0.7)
    ]
    rows += [
        Score(name="entity slots", table="slots", training="sag:0"),
        Score(name="entity slots, sampled at test", table="slots", training="sag:0", noise="sample"),
        Score(name="random slots", table="slots", training="sag-random:0"),
        Score(name="random slots, sampled at test", table="slots", training="sag-random:0", noise="sample"),
        Score(name="query slots", table="slots", training="sag-query:0"),
        Score(name="without CRF", table="CRF", training="sag:0", few=True),
        Score(name="with CRF", table="CRF", training="sag:0", refine="crf", few=True),
    ]
    return rows


def run_of(training: str) -> Any:
    """The Run of a training such as `sag-t1:0`, which starts from the base in `FOLDER`."""
    from deixis.recipes.sag_toyland import late_fusion_vit_toyland, sag_toyland
    from deixis.runs.run import StartFrom, with_seed

    name, _, seed = training.partition(":")
    variant = TRAININGS.get(name, Training(run=name))
    run: Any = {**sag_toyland().runs, **late_fusion_vit_toyland().runs}[variant.run]
    changes: dict[str, Any] = {"system": replace(run.system, **dict(variant.system))}
    if (earlier := run.start_from.checkpoint) is not None:
        changes["start_from"] = replace(run.start_from, checkpoint=str(FOLDER / earlier / "last"))
    if variant.after is not None:
        changes["start_from"] = StartFrom(checkpoint=str(folder_of(variant.after) / "last"))
    if variant.steps is not None:
        changes["schedule"] = replace(run.schedule, steps=variant.steps, validate_every=variant.steps)
    if run.vocabulary in STARTS:
        changes["vocabulary"] = str(FOLDER / run.vocabulary / "last")
    return with_seed(replace(run, **changes), int(seed or 0))


def train(training: str) -> None:
    """Train or resume it; its seconds, over all its processes, are recorded."""
    from deixis.runs.execute import execute, holds_job

    run, out = run_of(training), folder_of(training)
    if (out / "result.json").exists():
        return
    wall, cpu = time.perf_counter(), time.process_time()
    result = execute(run, out, resume=holds_job(out), quiet=True)
    with results() as everything:
        entry = everything["trainings"].setdefault(training, {"wall_seconds": 0.0, "cpu_seconds": 0.0})
        entry["wall_seconds"] = round(entry["wall_seconds"] + time.perf_counter() - wall, 1)
        entry["cpu_seconds"] = round(entry["cpu_seconds"] + time.process_time() - cpu, 1)
        entry |= {"steps": result.step, "training_loop": result.scores}
    if not result.finished:
        sys.exit("stopped and saved; call it again to resume")


def folder_of(training: str) -> Path:
    return FOLDER / training.replace(":", "-")


def score(row: Score, scenes: int) -> None:
    """Evaluate and record it."""
    import torch

    from deixis.evaluation.evaluator import evaluate
    from deixis.evaluation.splits import SplitOptions

    torch.set_num_threads(1)
    out = FOLDER / "scores" / f"{row.table}-{row.name.replace(' ', '-').replace(',', '')}.json"
    result = evaluate(
        segmenter_of(row),
        SplitOptions(data=DATA, scenes=scenes),
        protocol="weak",
        threshold=row.threshold,
        out=out,
        resume=out.parent.exists() and any(out.parent.glob(f"{out.stem}*")),
    )
    with results() as everything:
        everything["rows"][f"{row.table}/{row.name}"] = {
            "supervision": row.supervised_by,
            "scenes": result.num_images,
            "expressions": result.num_expressions,
            "threshold": result.threshold,
            "computed": dict(result.computed or {}),
            **{
                name: {key: round(getattr(estimate, key), 2) for key in ("value", "low", "high")}
                for name, estimate in result.measures.items()
                if name in MEASURES
            },
        }


def segmenter_of(row: Score) -> Any:
    """The trained model, changed as the row says."""
    from deixis.zoo.loading import load

    settings = {"iterations": row.iterations, "noise": row.noise}
    segmenter = load(
        folder_of(row.training) / "last",
        device="cpu",
        refine=row.refine,
        settings={name: value for name, value in settings.items() if value is not None},
    )
    system: Any = segmenter.system
    if row.floor == "random entity":
        segmenter.system = RandomEntity(system).eval()
    if row.floor == "centre":
        segmenter.system = CentrePrior(system).eval()
    return segmenter


@contextmanager
def results() -> Iterator[dict[str, Any]]:
    """The results, to be changed; two processes may share the work, so the file is locked, read again and written."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        everything = read()
        yield everything
        everything["machine"] = machine()
        beside = FILE.with_suffix(".part")
        beside.write_text(json.dumps(everything, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        beside.replace(FILE)


def read() -> dict[str, Any]:
    if FILE.exists():
        return json.loads(FILE.read_text(encoding="utf-8"))
    return {"trainings": {}, "rows": {}}


def table() -> str:
    """Markdown: one table for each group of rows, each row with its supervision."""
    everything = read()
    lines = []
    for group in dict.fromkeys(row.table for row in scores()):
        rows = [(row.name, everything["rows"].get(f"{group}/{row.name}")) for row in scores() if row.table == group]
        lines += [f"| {group} | supervision | scenes, expressions | {' | '.join(MEASURES)} |"]
        lines += ["|---" * (3 + len(MEASURES)) + "|"]
        for name, found in rows:
            if found is not None:
                counts = f"{found['scenes']}, {found['expressions']:,}"
                cells = [_cell(found[measure]) for measure in MEASURES]
                lines.append(f"| {name} | {found['supervision']} | {counts} | {' | '.join(cells)} |")
        lines.append("")
    lines += ["| training | steps | CPU minutes | wall minutes |", "|---|---|---|---|"]
    for name, entry in everything["trainings"].items():
        taken = (entry[kind] for kind in ("cpu_seconds", "wall_seconds"))
        minutes = ("not measured" if seconds is None else f"{seconds / 60:.1f}" for seconds in taken)
        lines.append(f"| {name} | {entry['steps']} | {' | '.join(minutes)} |")
    return "\n".join(lines)


def _cell(estimate: dict[str, float]) -> str:
    return f"{estimate['value']:.1f} ({estimate['low']:.1f}-{estimate['high']:.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print the tables of what was measured before")
    parser.add_argument("--train", nargs="*", default=list(ORDER), choices=[*ORDER], help="trainings")
    parser.add_argument("--score", nargs="*", help="tables to score: main, A2, A3, slots, CRF; all by default")
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--crf-scenes", type=int, default=15)
    parser.add_argument("--pictures", type=Path, metavar="FILE", help="draw the entities of a few scenes")
    arguments = parser.parse_args()
    if arguments.pictures:
        from .sag_pictures import draw

        return draw(segmenter_of(scores()[0]), arguments.pictures)
    if not arguments.table:
        for training in (*STARTS, *arguments.train):
            train(training)
        for row in scores():
            is_chosen = arguments.score is None or row.table in arguments.score
            is_known = f"{row.table}/{row.name}" in read()["rows"]
            if is_chosen and not is_known and (folder_of(row.training) / "result.json").exists():
                score(row, arguments.crf_scenes if row.few else arguments.scenes)
    print(table())
    return None


if __name__ == "__main__":
    main()
