"""The rows of the tables: which Runs, in order, give the system that a row scores."""

from dataclasses import dataclass, replace
from typing import Any

from deixis.adapt.dann import DANNConfig
from deixis.objectives.supervised import SupervisedConfig
from deixis.recipes.adapt import LONGER as MORE
from deixis.recipes.adapt import SOURCE, adaptation, after_source, oracle
from deixis.recipes.adapt_toyland import parsed
from deixis.recipes.sda import CLASSIFIER, PREDICTOR
from deixis.recipes.sda_ablations import ABLATIONS, SAME_AS_FULL, ablation
from deixis.recipes.toyland import SCENE_PARSING
from deixis.records import Config
from deixis.runs.run import Chain, Run
from deixis.toyland.scene.domains import TRANSFERS

METHODS = {"MMD": "mmd", "DANN": "dann", "PLCA": "plca", "MAN": "man", "ACP": "acp", "SDA": "sda"}
SOURCE_ONLY, LONGER, ORACLE, FULL = "source only", "source only, longer", "oracle", "SDA"
RECONSTRUCTED = ("MAN", "ACP")  # only their abstracts could be read
TABLE_2 = (SOURCE_ONLY, *METHODS, ORACLE)
ABLATED = tuple(name for name in ABLATIONS if name != "full" and name not in SAME_AS_FULL)
TABLES_3_TO_5 = {
    table: tuple(name for name in ABLATED if name.startswith(f"{table}/"))
    for table in ("table-3", "table-4", "table-5")
}
ROWS = (*TABLE_2, LONGER, *ABLATED)
STAGE_3 = "sda"  # the name of the last Run
KEPT = (SCENE_PARSING, SOURCE, ORACLE, PREDICTOR, CLASSIFIER)  # Runs whose length the methods' does not change
WORDS, OUTPUTS = "table-4/words", 1024  # the mean of words forms more categories than the classifier's 512 outputs
DISCRIMINATORS = 128  # their width, half of these features'; 1,024 is for features of 2,048 channels
FIRST, *OTHERS = TRANSFERS
SEEDS = (0, 1, 2)


@dataclass(frozen=True, kw_only=True, order=True)
class Unit:
    """One row of one transfer and seed: what is trained, scored and written at a time."""

    transfer: str
    seed: int
    row: str


def planned() -> list[Unit]:
    """The units of the tables, the most wanted first.

    Three seeds of Table 2 on the first transfer and one on the others; Tables 3 to 5 with one seed on the first. The
    sweeps, Tables 6 to 9 and the figures', are measured by their names only.
    """
    first = [Unit(transfer=FIRST, seed=0, row=row) for row in (*TABLE_2, LONGER)]
    seeds = [Unit(transfer=FIRST, seed=seed, row=row) for seed in SEEDS[1:] for row in TABLE_2]
    others = [Unit(transfer=name, seed=0, row=row) for name in OTHERS for row in TABLE_2]
    ablated = [Unit(transfer=FIRST, seed=0, row=row) for rows in TABLES_3_TO_5.values() for row in rows]
    return [*first, *seeds, *others, *ablated]


def chain_of(row: str, run: Run, adaptation_steps: int) -> Chain:
    """The Runs of a row, of which the last one's system is scored; `run` is the source's, with its target.

    A method has `adaptation_steps`, of which SDA's second stage takes two thirds and its third stage one, as published.
    The Runs of its predictor and its classifier keep their lengths, and all seeds share the first Run, which parses.
    """
    chain = parsed(_after_parsing(row, run), run)
    assert run.schedule.steps is not None
    times = adaptation_steps / (MORE * run.schedule.steps)
    if row == "DANN":
        chain = _with_objective(chain, METHODS[row], DANNConfig(width=DISCRIMINATORS))
    if row == WORDS:
        chain = _with_outputs(chain, OUTPUTS)
    runs = {name: each if name in KEPT else _scaled(each, times) for name, each in chain.runs.items()}
    return Chain(runs={**runs, SCENE_PARSING: replace(runs[SCENE_PARSING], seed=0)})


def _with_objective(chain: Chain, name: str, objective: Config) -> Chain:
    return Chain(runs={**chain.runs, name: replace(chain.runs[name], objective=objective)})


def _with_outputs(chain: Chain, most: int) -> Chain:
    """The chain with a classifier of `most` outputs, also as the last Run's objective describes it."""
    system: Any = chain.runs[CLASSIFIER].system
    last = chain.runs[STAGE_3]
    objective: Any = last.objective
    classifier = replace(system, most=most)
    dual = replace(objective, classifier=classifier)
    changed = {CLASSIFIER: replace(chain.runs[CLASSIFIER], system=classifier), STAGE_3: replace(last, objective=dual)}
    return Chain(runs={**chain.runs, **changed})


def _scaled(run: Run, times: float) -> Run:
    """The Run at another length, and at the rates that its length gives."""
    schedule = run.schedule
    assert schedule.steps is not None
    return replace(
        run, schedule=replace(schedule, steps=round(times * schedule.steps), after=round(times * schedule.after))
    )


def _after_parsing(row: str, run: Run) -> Chain:
    source = replace(run, objective=SupervisedConfig())
    if row in METHODS:
        return adaptation(METHODS[row], run)
    if row == ORACLE:
        return Chain(runs={ORACLE: oracle(run)})
    if row == LONGER:
        return Chain(runs={SOURCE: source, "longer": after_source(source)})
    return Chain(runs={SOURCE: source}) if row == SOURCE_ONLY else ablation(row, source)
