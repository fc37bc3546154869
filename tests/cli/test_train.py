"""`deixis train` lists what can be trained, reads its options, and reports mistakes in one sentence."""

import csv
import json
import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deixis.checkpoints.configs import to_dict
from deixis.cli import main
from deixis.models.lavt import LAVTConfig
from deixis.objectives.mask_grounding import MaskGroundingConfig
from deixis.objectives.supervised import SupervisedConfig
from deixis.recipes.catalogue import RECIPES
from deixis.runs import execute as executing
from deixis.runs.run import Chain, Run
from deixis.training.loop import Result
from tests.processes import start


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Run | Chain, Path, bool]]:
    calls: list[tuple[Run | Chain, Path, bool]] = []

    def execute(
        job: Run | Chain, out: Path, *, resume: bool = False, data_changed: bool = False, quiet: bool = False
    ) -> Result:
        calls.append((job, out, resume))
        return Result(step=3, finished=not quiet, scores=None, best=0.25 + 0.1 * len(calls), best_by="mIoU")

    monkeypatch.setattr(executing, "execute", execute)
    return calls


def vega(**changes: Any) -> Chain:
    """The recipe with changes of its last Run."""
    chain = RECIPES["vega_toyland"]()
    assert isinstance(chain, Chain)
    return Chain(runs={**chain.runs, "vega": replace(chain.runs["vega"], **changes)})


def test_recipes_are_listed_with_what_they_train_the_time_and_the_score(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [name.replace("_", "-") for name in sorted(RECIPES)]
    line = next(line for line in lines if line.startswith("vega-refcoco-plus"))
    assert "VEGA on RefCOCO+, as published." in line
    assert "time: not measured" in line
    assert line.endswith("score: published oIoU 66.70 val, 72.08 testA, 59.85 testB")


def test_a_row_of_a_papers_table_is_listed_and_trained_by_its_name(
    executed: list[tuple[Run | Chain, Path, bool]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--list", "vega-refcoco"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 30
    assert lines[11].split("  ")[0] == "vega-refcoco/table-4a/threshold"
    assert lines[11].endswith(
        "sigmoid (> 0.5)                          published on RefCOCO val: mIoU 76.15, oIoU 74.81"
    )
    assert main(["train", "vega-toyland/table-4a/threshold", "--seed", "3"]) == 0
    job, out, _ = executed[0]
    assert isinstance(job, Chain)
    assert job.runs["vega"].system == replace(vega().runs["vega"].system, selection="threshold")  # type: ignore[call-arg]
    assert (job.runs["vega"].seed, out) == (3, Path("runs/vega-toyland-table-4a-threshold"))
    assert main(["train", "--list", "sag-toyland"]) == 2
    assert "has no rows of tables" in capsys.readouterr().err


def test_help_needs_no_recipe_and_names_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train"]) == 0
    shown = capsys.readouterr().out
    assert "usage: deixis train RECIPE" in shown
    assert "deixis train --list" in shown


def test_help_of_a_chain_names_its_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "vega-toyland", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "A chain of scene-parsing, late-fusion, vega." in shown
    assert "--scene-parsing.FIELD" in shown
    assert "--system.selection-ratio" in shown


def test_an_option_without_a_name_is_of_the_last_run_and_names_take_dashes_or_underscores(
    executed: list[tuple[Run | Chain, Path, bool]], capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--schedule.steps", "200", "--system.selection-ratio", "0.5", "--data.packed", "None", "--seed=3"]
    assert main(["train", "vega_toyland", *options, "--out", "runs/x"]) == 0
    assert main(["train", "vega-toyland"]) == 0
    run = vega().runs["vega"]
    changed = vega(
        seed=3,
        schedule=replace(run.schedule, steps=200),
        system=replace(run.system, selection_ratio=0.5),  # type: ignore[call-arg]
        data=replace(run.data, packed=None),
    )
    assert executed == [(changed, Path("runs/x"), False), (vega(), Path("runs/vega-toyland"), False)]
    assert "finished at step 3, best mIoU 0.3500 in runs/x" in capsys.readouterr().err


def test_a_name_before_the_dot_chooses_the_run_and_all_every_run(
    executed: list[tuple[Run | Chain, Path, bool]],
) -> None:
    options = ["--scene-parsing.schedule.steps", "500", "--late_fusion.seed=4", "--vega.seed", "5"]
    assert main(["train", "vega-toyland", *options]) == 0
    assert main(["train", "vega-toyland", "--all.precision", "bf16"]) == 0
    parsing, fusion, run = vega().runs.values()
    runs = {
        "scene-parsing": replace(parsing, schedule=replace(parsing.schedule, steps=500)),
        "late-fusion": replace(fusion, seed=4),
        "vega": replace(run, seed=5),
    }
    narrow = {name: replace(run, precision="bf16") for name, run in vega().runs.items()}
    assert [job for job, _, _ in executed] == [Chain(runs=runs), Chain(runs=narrow)]


def test_an_objective_and_a_system_are_chosen_by_name(executed: list[tuple[Run | Chain, Path, bool]]) -> None:
    assert main(["train", "vega-toyland", "--objective", "mask-grounding", "--objective.weight", "0.1"]) == 0
    assert main(["train", "lavt-toyland-grounded", "--objective=supervised"]) == 0
    assert main(["train", "vega-refcoco", "--system", "lavt", "--system.decoder-width", "32"]) == 0
    assert executed[0][0] == vega(objective=MaskGroundingConfig(weight=0.1))
    lavt = executed[1][0]
    assert isinstance(lavt, Chain)
    assert lavt.runs["lavt"].objective == SupervisedConfig()
    assert executed[2][0] == replace(RECIPES["vega_refcoco"](), system=LAVTConfig(decoder_width=32))  # type: ignore


def test_a_mapping_is_given_as_pairs_which_replace_the_recipes_or_by_its_keys(
    executed: list[tuple[Run | Chain, Path, bool]],
) -> None:
    optimiser = vega().runs["vega"].optimiser
    given: dict[tuple[str, ...], dict[str, float]] = {
        ("--optimiser.lr-multipliers", "mask.*", "0.5", "text.*", "0.1"): {"mask.*": 0.5, "text.*": 0.1},
        ("--optimiser.lr-multipliers",): {},
        ("--optimiser.lr-multipliers.text.*", "0.7"): {**optimiser.lr_multipliers, "text.*": 0.7},
    }
    for options, expected in given.items():
        assert main(["train", "vega-toyland", *options]) == 0
        assert executed[-1][0] == vega(optimiser=replace(optimiser, lr_multipliers=expected))


def test_several_seeds_are_trained_into_folders_of_their_own(
    executed: list[tuple[Run | Chain, Path, bool]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "vega-refcoco", "--seed", "7", "--seeds", "3", "--out", "runs/x"]) == 0
    assert [out for _, out, _ in executed] == [Path(f"runs/x/seed-{number}") for number in range(3)]
    assert [job.seed for job, _, _ in executed if isinstance(job, Run)] == [7, 8, 9]
    # 0.35, 0.45 and 0.55: their mean and their sample's standard deviation.
    assert "finished 3 seeds, best mIoU 0.4500 ± 0.1000 (standard deviation)" in capsys.readouterr().err


def test_a_stopped_run_has_an_exit_code_of_its_own(executed: list[tuple[Run | Chain, Path, bool]]) -> None:
    assert main(["train", "lavt-toyland", "--quiet", "--out=runs/y"]) == 3
    assert executed[0][1] == Path("runs/y")


def store(job: Run | Chain, folder: Path) -> None:
    name = "chain.json" if isinstance(job, Chain) else "run.json"
    (folder / name).write_text(json.dumps(to_dict(job)))


def test_a_resumed_job_is_what_its_folder_holds(executed: list[tuple[Run | Chain, Path, bool]], tmp_path: Path) -> None:
    store(vega(seed=41), tmp_path)
    assert main(["train", "vega-toyland", "--resume", "--out", str(tmp_path)]) == 0
    assert executed == [(vega(seed=41), tmp_path, True)]


def test_a_job_is_resumed_by_a_recipe_of_its_own_kind_alone(
    executed: list[tuple[Run | Chain, Path, bool]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store(vega(), tmp_path)
    for recipe, kind in (
        ("lavt-toyland", "lavt (a run of lavt on ToylandData)"),
        ("vega-refcoco", "vega on StoredData"),
    ):
        assert main(["train", recipe, "--resume", "--out", str(tmp_path)]) == 2
        complaint = capsys.readouterr().err
        assert "vega (a run of vega on ToylandData), but `deixis train" in complaint
        assert f"{kind}; resume it with its own recipe" in complaint
    assert executed == []
    assert main(["train", "vega-toyland-grounded", "--resume", "--out", str(tmp_path)]) == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["vega-toylnd"], "There is no recipe 'vega-toylnd'. Did you mean 'vega-toyland'?"),
        (["vega-toyland", "--schedule.stps", "3"], "no option '--schedule.stps'. Did you mean '--schedule.steps'?"),
        (["vega-toyland", "--scene-parsng.seed", "3"], "'--scene-parsng.seed'. Did you mean '--scene-parsing.seed'?"),
        (
            ["vega-toyland", "--late-fusion.schedule.stps", "3"],
            "'--late-fusion.schedule.stps'. Did you mean '--late-fusion.schedule.steps'?",
        ),
        (["vega-toyland", "--scene-parsing.seed", "x"], "deixis: --scene-parsing.seed cannot be x;"),
        (
            ["vega-toyland-grounded", "--objective", "x"],
            "There is no objective 'x'. Choose one of: acp, dann, dense_",
        ),
        (["vega-toyland", "--system", "vegan"], "There is no system 'vegan'. Did you mean 'vega'?"),
        (["vega-toyland", "--system", "no.such:Config"], "'no.such:Config' cannot be imported (No module named 'no')"),
        (["vega-toyland", "--system", "pathlib:Path"], "'pathlib:Path' is not a config; expected a dataclass"),
        (["vega-toyland", "--seeds", "0"], "--seeds is 0; expected a positive number."),
        (["vega-toyland-grounded", "--objective.encoder", "center"], "encoder"),
        (["vega-toyland", "--schedule.steps", "x"], "deixis: --schedule.steps cannot be x; `--help` shows"),
        (
            ["vega-toyland", "--precision", "fp8"],
            "deixis: --precision cannot be fp8; `--help` shows what it",
        ),
        (["vega-toyland", "--seed", "1.5"], "deixis: --seed cannot be 1.5; `--help` shows what it accepts.\n"),
        (["vega-toyland", "--seed", "2", "--seed="], "--seed cannot be empty; `--help` shows"),
        (["vega-toyland", "--optimiser.betas=1", "x"], "--optimiser.betas cannot be 1 x; `--help` shows"),
        (["vega-toyland", "--data.subsets", "toyworld", "--seed", "1"], "--data.subsets cannot be toyworld;"),
        (["vega-toyland", "--optimiser.betas", "1"], "--optimiser.betas needs 2 values after it; see `--help`"),
        (["vega-toyland", "--seed"], "--seed needs 1 value after it; see `--help`"),
        (
            ["vega-toyland", "--system.text.dropout", "2"],
            "deixis: BERT's 'dropout' is 2.0; expected a prob",
        ),
        (["vega-toyland", "--system.heads", "0"], "deixis: VEGA's widths 128 and (32, 64, 128) cannot be shared by 0"),
        (["vega-toyland", "--optimiser.lr", "-1"], "deixis: The learning rate"),
        (["vega-toyland", "--out"], "--out needs a value after it"),
        (["vega-toyland", "surplus"], "deixis: surplus belongs to no option;"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_code_two(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *arguments]) == 2
    complaint = capsys.readouterr().err
    assert sentence in complaint
    assert complaint.count("\n") == 1


def rows_of(table: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(table.read_text().splitlines()))


@pytest.mark.slow
def test_two_processes_share_each_run_of_a_chain(tmp_path: Path) -> None:
    """As `torchrun --nproc-per-node 2 --module deixis.cli train …` starts them on a machine without a GPU."""
    fields = {
        "data.packed": tmp_path / "packed",
        "data.packers": 1,
        "data.num-scenes": 4,
        "data.validation-scenes": 1,
        "data.size": 64,
        "data.subsets": "toyland+",
        "data.sentences-per-image": 2,
        "data.validation-limit": 4,
        "preprocess.image-size": 64,
        "schedule.steps": 2,
        "schedule.batch-size": 4,
        "schedule.warm-up": 1,
        "system.vision.drop-path": 0,
        "workers": 0,
    }
    options = [part for name, value in fields.items() for part in (f"--all.{name}", str(value))]
    options += ["--late-fusion.system.text.dropout", "0", "--vega.system.text.dropout", "0"]
    command = ["train", "vega-toyland", *options, "--quiet", "--out"]
    code, complaint = start(main, [*command, str(tmp_path / "one")]).wait()
    assert code == 0, complaint
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    world = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    alone = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    del alone["ACCELERATE_USE_CPU"]  # without it, too, they must find each other
    worlds = [{**alone, **world, "RANK": rank, "LOCAL_RANK": rank} for rank in ("0", "1")]
    pair = [start(main, [*command, str(tmp_path / "two")], environment=world) for world in worlds]
    ended = [process.wait() for process in pair]
    assert [code for code, _ in ended] == [0, 0], ended
    assert [text.count("finished at step 2") for _, text in ended] == [1, 0]
    for run in ("scene-parsing", "late-fusion", "vega"):
        one, two = (rows_of(tmp_path / name / run / "metrics.csv") for name in ("one", "two"))
        assert [row["step"] for row in one] == [row["step"] for row in two]
        losses = [[float(row["loss"]) for row in rows if row["loss"]] for rows in (one, two)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-2)
    one_file, two_file = (tmp_path / name / "vega" / "last" / "model.safetensors" for name in ("one", "two"))
    assert one_file.read_bytes() != two_file.read_bytes()  # sums in another order: they did share
