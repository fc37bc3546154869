"""The rows of the tables: which Runs, in order, give the system that a row scores."""

from dataclasses import dataclass, replace

from deixis.objectives.supervised import SupervisedConfig
from deixis.recipes.adapt import SOURCE, adaptation, after_source, oracle
from deixis.recipes.adapt_toyland import parsed
from deixis.recipes.sda_ablations import ABLATIONS, SAME_AS_FULL, ablation
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
    others = [Unit(transfer=name, seed=0, row=row) for name in OTHERS for row in TABLE_2]
    ablated = [Unit(transfer=FIRST, seed=0, row=row) for rows in TABLES_3_TO_5.values() for row in rows]
    seeds = [Unit(transfer=FIRST, seed=seed, row=row) for seed in SEEDS[1:] for row in TABLE_2]
    return [*first, *others, *ablated, *seeds]


def chain_of(row: str, run: Run) -> Chain:
    """The Runs of a row, of which the last one's system is scored; `run` is the source's, with its target."""
    return parsed(_after_parsing(row, run), run)


def _after_parsing(row: str, run: Run) -> Chain:
    source = replace(run, objective=SupervisedConfig())
    if row in METHODS:
        return adaptation(METHODS[row], run)
    if row == ORACLE:
        return Chain(runs={ORACLE: oracle(run)})
    if row == LONGER:
        return Chain(runs={SOURCE: source, "longer": after_source(source)})
    return Chain(runs={SOURCE: source}) if row == SOURCE_ONLY else ablation(row, source)
