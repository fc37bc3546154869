"""The benchmark of adaptation: what is trained once, what a table says, and which units follow each other."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.adaptation import __main__ as benchmark
from benchmarks.adaptation import results, rows
from benchmarks.adaptation.rows import (
    ABLATED,
    FIRST,
    LONGER,
    ORACLE,
    ROWS,
    SOURCE_ONLY,
    TABLE_2,
    TABLES_3_TO_5,
    Unit,
    chain_of,
    planned,
)
from benchmarks.adaptation.scores import MEASURES, mean_precision
from benchmarks.adaptation.training import run_folders
from deixis.adapt.sda.activation import ActivationOptions
from deixis.adapt.sda.categories import Clusters
from deixis.adapt.sda.construction import CategoryOptions
from deixis.adapt.sda.dual import DualAdaptationConfig
from deixis.adapt.sda.semantic import SemanticInitialisationConfig
from deixis.data.transforms import Preprocess
from deixis.metrics.scored import Answer, Scored
from deixis.models.sda import SDAConfig
from deixis.recipes import adapt
from deixis.recipes.adapt_toyland import TARGET_SCENES, toyland_transfer
from deixis.recipes.sda import SDAStages, sda_runs
from deixis.recipes.toyland import SCENE_PARSING
from deixis.records import Ids
from deixis.runs.data import ToylandData
from deixis.runs.run import Chain, Run, with_seed
from deixis.text.gru import GRUConfig
from deixis.toyland.scene.domains import TRANSFERS
from deixis.vision.resnet import ResNetConfig

SYSTEM = SDAConfig(
    vision=ResNetConfig(depths=(1, 1, 1, 1), width=4, norms="trained"),
    text=GRUConfig(vocabulary=400, embedding=8, width=8),
    width=8,
    decoder_width=4,
    regions=8,
)


def tiny(run: Run, packed: str | None) -> Run:
    """The transfer's Run of two steps."""
    small = {"num_scenes": 3, "validation_scenes": 1, "validation_limit": 2, "size": 64, "packed": packed}
    source, target = (replace(each, **small) for each in (run.data, run.target))  # type: ignore[type-var, arg-type]
    schedule = replace(run.schedule, steps=2, batch_size=4, warm_up=1, validate_every=2, save_every=1, log_every=1)
    preprocess = Preprocess(image_size=64, max_tokens=8, fit="pad")
    return replace(run, data=source, target=target, schedule=schedule, preprocess=preprocess, system=SYSTEM)


def with_tiny_parsing(chain: Chain, run: Run) -> Chain:
    """The chain with two steps of a small first Run."""
    runs = dict(chain.runs)
    parsing: Any = runs[SCENE_PARSING]
    system = replace(parsing.system, vision=SYSTEM.vision, width=8)
    schedule = replace(run.schedule, batch_size=2)
    runs[SCENE_PARSING] = replace(parsing, system=system, schedule=schedule, preprocess=run.preprocess)
    return Chain(runs=runs)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Units are trained for two steps, and their results are in a folder of their own."""
    plain, chain_of = benchmark.Budget.run, benchmark.chain_of
    monkeypatch.setattr(
        benchmark, "chain_of", lambda row, run, steps: with_tiny_parsing(chain_of(row, run, steps), run)
    )
    monkeypatch.setattr(benchmark.Budget, "run", lambda budget, unit: tiny(plain(budget, unit), budget.packed))
    monkeypatch.setattr(results, "FILE", tmp_path / "adaptation.json")
    return tmp_path


def run_benchmark(folder: Path, *options: str) -> None:
    benchmark.main(
        [
            "--folder",
            str(folder / "runs"),
            "--packed",
            str(folder / "packed"),
            "--sentences",
            "4",
            "--adaptation",
            "3",
            *options,
        ]
    )


@pytest.mark.parametrize("name", TRANSFERS)
def test_a_transfers_data_are_its_domains_and_share_no_scene(name: str) -> None:
    run, transfer = toyland_transfer(name), TRANSFERS[name]
    assert isinstance(run.data, ToylandData)
    assert isinstance(run.target, ToylandData)
    for data, domain in ((run.data, transfer.source), (run.target, transfer.target)):
        found = data.content, data.style, data.subsets
        assert found == (domain.content.name, domain.style.name, (domain.subset,))
    assert run.data.num_scenes <= run.target.skip_scenes == TARGET_SCENES
    style_only = toyland_transfer(name, ["style"])
    assert isinstance(style_only.target, ToylandData)
    assert style_only.target == replace(run.data, style=run.target.style, skip_scenes=TARGET_SCENES)


@pytest.mark.slow
def test_the_sources_run_is_trained_once_for_all_rows(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--transfer", FIRST, "--seeds", "0", "--rows", SOURCE_ONLY, "MMD")
    run_benchmark(small, *options)
    runs = sorted(path.name.rpartition("-")[0] for path in (small / "runs" / FIRST / "runs").iterdir())
    assert runs == ["mmd", "scene-parsing", "source"]
    (source,) = (small / "runs" / FIRST / "runs").glob("source-*")
    trained = (source / "last" / "model.safetensors").stat().st_mtime_ns
    found = json.loads(results.FILE.read_text())
    assert [*found["units"]] == [f"{FIRST} / {SOURCE_ONLY} / 0", f"{FIRST} / MMD / 0"]
    assert all([*each["scores"]] == [*MEASURES] for each in found["units"].values())
    assert "| MMD | 1 |" in capsys.readouterr().out
    run_benchmark(small, *options)  # nothing is left to do
    assert (source / "last" / "model.safetensors").stat().st_mtime_ns == trained
    assert json.loads(results.FILE.read_text()) == found


@pytest.mark.slow
def test_the_figures_of_a_trained_row_are_drawn(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clusters = Clusters(method="k-means", count=3)
    stages = SDAStages(
        semantic=SemanticInitialisationConfig(categories=CategoryOptions(clusters=clusters, boundary=None)),
        dual=DualAdaptationConfig(
            high=0.5, low=0.4, memory=2, cells=2, activation=ActivationOptions(scales=(1.0,), regions=8)
        ),
    )
    monkeypatch.setitem(adapt.METHODS, "sda", lambda source: sda_runs(source, stages))
    options = ("--transfer", FIRST, "--seeds", "0")
    run_benchmark(small, *options, "--rows", "SDA")
    assert "scores" in results.read()["units"][f"{FIRST} / SDA / 0"]
    run_benchmark(small, *options, "--figures")
    drawn = sorted((small / "runs" / "figures").iterdir())
    assert [path.name.split("-")[1] for path in drawn] == ["11", "12", "7", "9"]
    for path in drawn:
        pixels = np.asarray(Image.open(path))
        assert min(pixels.shape[:2]) > 60
        assert len(np.unique(pixels)) > 8


@pytest.mark.parametrize("name", ["steps", "adaptation", "parsing", "sentences", "settings"])
def test_units_of_another_budget_are_never_in_one_file(small: Path, name: str) -> None:
    budget = benchmark.Budget(steps=6, adaptation=3, sentences=4, folder=small, packed="elsewhere").facts
    assert budget.keys() == {"steps", "adaptation", "parsing", "sentences", "settings"}
    results.FILE.write_text(json.dumps({"units": {}, "budget": budget | {name: 5}}))
    with pytest.raises(SystemExit, match=f"'{name}': 5"):
        run_benchmark(small, "--steps", "6")


def test_the_settings_of_a_budget_are_those_of_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = benchmark.Budget(steps=6, adaptation=3, sentences=4, folder=Path("a"), packed="b")
    before = budget.facts["settings"]
    assert replace(budget, folder=Path("c"), packed="d").facts["settings"] == before
    monkeypatch.setattr(rows, "DISCRIMINATORS", 64)
    assert budget.facts["settings"] != before


def test_a_methods_steps_are_those_of_the_budget_and_all_seeds_share_the_parsing() -> None:
    run: Any = with_seed(toyland_transfer(FIRST), 2)
    steps = {row: [each.schedule.steps for each in chain_of(row, run, 180).runs.values()] for row in TABLE_2}
    assert steps[SOURCE_ONLY] == steps[ORACLE] == [400, 400]
    assert steps["MMD"] == steps["DANN"] == [400, 400, 180]
    assert steps["SDA"] == [400, 400, 100, 120, 100, 60]
    chain = chain_of("SDA", run, 180)
    assert [each.seed for each in chain.runs.values()] == [0, 2, 2, 2, 2, 2]
    assert chain.runs["sda"].schedule.after == 120


def test_a_method_that_cannot_be_trained_is_a_result(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise benchmark.DeixisError("100 % of the target's samples are common")

    monkeypatch.setattr(benchmark, "train", refuse)
    run_benchmark(small, "--transfer", FIRST, "--seeds", "0", "--rows", "SDA")
    assert results.read()["units"][f"{FIRST} / SDA / 0"] == {"failed": "100 % of the target's samples are common"}
    assert "100 % of the target's" in results.tables()


def test_rows_share_the_runs_that_they_begin_with() -> None:
    run = toyland_transfer(FIRST)
    folders = {row: dict(run_folders(chain_of(row, run, 180), Path("all"))) for row in ROWS}
    assert len({folders[row]["scene-parsing"] for row in ROWS}) == 1
    assert len({folders[row]["source"] for row in ROWS if row != ORACLE}) == 1
    full, without = folders["SDA"], folders["table-5/no-memory"]
    assert full["semantic"] == without["semantic"] == folders["table-3/csm"]["semantic"]
    assert full["classifier"] == without["classifier"]
    assert full["semantic"] != folders["table-4/no-si"]["semantic"]
    last = {row: [*found.values()][-1] for row, found in folders.items()}
    assert len(set(last.values())) == len(ROWS)
    assert [*folders[LONGER]] == ["scene-parsing", "source", "longer"]


def test_the_first_transfer_has_three_seeds_of_all_rows_and_the_others_one() -> None:
    units = planned()
    assert len(set(units)) == len(units)
    assert units[0] == Unit(transfer=FIRST, seed=0, row=SOURCE_ONLY)
    for name in TRANSFERS:
        for row in TABLE_2:
            seeds = {unit.seed for unit in units if (unit.transfer, unit.row) == (name, row)}
            assert seeds == ({0, 1, 2} if name == FIRST else {0})
    assert {unit.row for unit in units if unit.row in ABLATED} == {
        row for rows in TABLES_3_TO_5.values() for row in rows
    }
    assert [len(rows) for rows in TABLES_3_TO_5.values()] == [4, 5, 5]
    asked = benchmark.chosen([FIRST], ["table-6/k-means-50"], [1])
    assert asked == [Unit(transfer=FIRST, seed=1, row="table-6/k-means-50")]


def test_mean_precision_is_the_mean_of_ten_fractions() -> None:
    pairs = [(50, 100), (97, 100), (40, 100), (72, 90)]
    records = [
        Scored(
            ids=Ids(image=str(number // 2), object="o", sentence=str(number)),
            target=60,
            answers=(Answer(1.0, 60, one, of),),
        )
        for number, (one, of) in enumerate(pairs)
    ]
    expected = np.mean([[one / of >= threshold / 100 for threshold in range(50, 100, 5)] for one, of in pairs])
    found = mean_precision(records)
    assert found["value"] == pytest.approx(100 * expected)
    assert found["low"] is not None
    assert found["high"] is not None
    assert found["low"] <= 100 * expected <= found["high"]


def test_the_table_says_how_much_of_the_gap_is_closed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def unit(value: float) -> dict[str, Any]:
        one = {"value": value, "low": value - 1, "high": value + 1}
        return {"scores": dict.fromkeys(MEASURES, one)}

    monkeypatch.setattr(results, "FILE", tmp_path / "adaptation.json")
    values = {SOURCE_ONLY: (20.0, 22.0), "MAN": (25.0, 27.0), ORACLE: (40.0, 42.0)}
    units = {
        results.key(Unit(transfer=FIRST, seed=seed, row=row)): unit(value)
        for row, both in values.items()
        for seed, value in enumerate(both)
    }
    results.FILE.write_text(json.dumps({"units": units}))
    lines = results.tables().splitlines()
    (man,) = [line for line in lines if line.startswith("| MAN")]
    assert man.startswith("| MAN (reconstruction) | 2 | 26.0 ± 12.7 |")
    assert man.endswith("| 25 % |")
