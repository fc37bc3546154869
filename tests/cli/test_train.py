"""`deixis train` says what can be trained, and answers mistakes with one sentence."""

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from deixis.cli import main
from deixis.objectives.mask_grounding import GroundingConfig
from deixis.recipes.catalogue import RECIPES
from deixis.runs import run as runs
from deixis.runs.run import Run
from deixis.training.loop import Result


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Run, Path, bool]]:
    calls: list[tuple[Run, Path, bool]] = []

    def execute(run: Run, out: Path, *, resume: bool = False, quiet: bool = False) -> Result:
        calls.append((run, out, resume))
        return Result(step=3, finished=not quiet, scores=None, best=0.25)

    monkeypatch.setattr(runs, "execute", execute)
    return calls


def test_recipes_are_listed_with_what_they_train(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == [name.replace("_", "-") for name in sorted(RECIPES)]
    assert "VEGA on RefCOCO+, as published." in next(line for line in listed if line.startswith("vega-refcoco-plus"))


def test_help_needs_no_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train"]) == 0
    assert "usage: deixis train RECIPE" in capsys.readouterr().out


def test_any_field_is_an_option_and_names_take_dashes_or_underscores(
    executed: list[tuple[Run, Path, bool]], capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--schedule.steps", "200", "--system.selection-ratio", "0.5", "--data.packed", "None", "--seed=3"]
    assert main(["train", "vega_toyland", *options, "--out", "runs/x"]) == 0
    assert main(["train", "vega-toyland"]) == 0
    recipe = RECIPES["vega_toyland"]()
    changed = replace(
        recipe,
        seed=3,
        schedule=replace(recipe.schedule, steps=200),
        system=replace(recipe.system, selection_ratio=0.5),
        data=replace(recipe.data, packed=None),
    )
    assert executed == [(changed, Path("runs/x"), False), (recipe, Path("runs/vega-toyland"), False)]
    assert "finished at step 3, best mIoU 0.2500 in runs/x/best" in capsys.readouterr().err


def test_mask_grounding_is_set_up_or_left_out(executed: list[tuple[Run, Path, bool]]) -> None:
    recipe = RECIPES["lavt_toyland_grounded"]()
    assert recipe.grounding is not None
    for options in (["--grounding.probability", "0.3"], ["--grounding", "None"], ["--grounding=None", "--seed", "2"]):
        assert main(["train", "lavt-toyland-grounded", *options]) == 0
    expected = [
        replace(recipe, grounding=replace(recipe.grounding, probability=0.3)),
        replace(recipe, grounding=None),
        replace(recipe, grounding=None, seed=2),
    ]
    assert [run for run, _, _ in executed] == expected
    assert main(["train", "vega-refcoco", "--grounding.weight", "0.1"]) == 0
    assert executed[-1][0] == replace(RECIPES["vega_refcoco"](), grounding=GroundingConfig(weight=0.1))


def test_a_stopped_run_has_an_exit_code_of_its_own(executed: list[tuple[Run, Path, bool]]) -> None:
    assert main(["train", "lavt-toyland", "--quiet", "--out=runs/y"]) == 3
    assert executed[0][1] == Path("runs/y")


def test_a_resumed_run_begins_with_what_its_folder_says(executed: list[tuple[Run, Path, bool]], tmp_path: Path) -> None:
    kept = replace(RECIPES["vega_toyland"](), seed=41)
    runs._claim(kept, tmp_path)
    assert main(["train", "vega-toyland", "--resume", "--out", str(tmp_path)]) == 0
    assert executed == [(kept, tmp_path, True)]


def test_a_run_is_resumed_by_a_recipe_of_its_own_kind_alone(
    executed: list[tuple[Run, Path, bool]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs._claim(RECIPES["vega_toyland"](), tmp_path)
    for recipe, kind in (("lavt-toyland", "lavt on ToylandData"), ("vega-refcoco", "vega on StoredData")):
        assert main(["train", recipe, "--resume", "--out", str(tmp_path)]) == 2
        told = f"holds a run of vega on ToylandData, and `deixis train {recipe}` is {kind}; resume it by its own"
        assert told in capsys.readouterr().err
    assert executed == []
    assert main(["train", "vega-toyland-grounded", "--resume", "--out", str(tmp_path)]) == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["vega-toylnd"], "There is no recipe 'vega-toylnd'. Did you mean 'vega-toyland'?"),
        (["vega-toyland", "--schedule.stps", "3"], "no option '--schedule.stps'. Did you mean '--schedule.steps'?"),
        (["vega-toyland-grounded", "--grounding", "x"], "no option '--grounding'. Did you mean '--grounding."),
        (["vega-toyland-grounded", "--grounding.encoder", "center"], "encoder"),
        (["vega-toyland", "--schedule.steps", "x"], "deixis: --schedule.steps cannot be x; `--help` says"),
        (["vega-toyland", "--precision", "fp8"], "deixis: --precision cannot be fp8; `--help` says what it takes.\n"),
        (["vega-toyland", "--seed", "1.5"], "deixis: --seed cannot be 1.5; `--help` says what it takes.\n"),
        (["vega-toyland", "--seed", "2", "--seed="], "--seed cannot be empty; `--help` says"),
        (["vega-toyland", "--optimiser.betas=1", "x"], "--optimiser.betas cannot be 1 x; `--help` says"),
        (["vega-toyland", "--data.registers", "toyworld", "--seed", "1"], "--data.registers cannot be toyworld;"),
        (["vega-toyland", "--optimiser.betas", "1"], "--optimiser.betas wants 2 values after it; `--help`"),
        (["vega-toyland", "--seed"], "--seed wants 1 value after it; `--help`"),
        (["vega-toyland", "--system.text.dropout", "2"], "deixis: BERT's dropout is a probability in [0, 1), not 2.0."),
        (["vega-toyland", "--system.heads", "0"], "deixis: VEGA's widths 128 and (32, 64, 128) cannot be shared by 0"),
        (["vega-toyland", "--optimiser.lr", "-1"], "deixis: The learning rate"),
        (["vega-toyland", "--out"], "--out wants a folder"),
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


def test_two_processes_share_one_run(tmp_path: Path) -> None:
    """As `torchrun --nproc-per-node 2 --module deixis.cli train …` starts them on a machine without a GPU."""
    options = ["--data.packed", "None", "--data.num-scenes", "3", "--data.validation-scenes", "1", "--data.size", "64"]
    options += ["--data.registers", "toyland+", "--data.validation-limit", "4", "--preprocess.image-size", "64"]
    options += ["--schedule.steps", "2", "--schedule.batch-size", "4", "--schedule.warm-up", "1", "--workers", "0"]
    options += [
        "--start-from.checkpoint",
        "None",
        "--vocabulary",
        "learned",
        "--system.text.dropout",
        "0",
        "--system.vision.drop-path",
        "0",
    ]
    command = [sys.executable, "-m", "deixis.cli", "train", "vega-toyland", *options, "--quiet", "--out"]
    subprocess.run([*command, str(tmp_path / "one")], check=True, timeout=300, capture_output=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    world = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    alone = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    del alone["ACCELERATE_USE_CPU"]  # nobody tells them to use the CPU
    pair = [
        subprocess.Popen(
            [*command, str(tmp_path / "two")],
            env={**alone, **world, "RANK": rank, "LOCAL_RANK": rank},
            stderr=subprocess.PIPE,
        )
        for rank in ("0", "1")
    ]
    told = [process.communicate(timeout=300)[1].decode() for process in pair]
    assert [process.returncode for process in pair] == [0, 0], told
    assert [text.count("finished at step 2") for text in told] == [1, 0]
    one, two = (load_file(tmp_path / name / "last" / "model.safetensors") for name in ("one", "two"))
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-3
    assert any(not torch.equal(one[name], two[name]) for name in one)  # sums in another order: they did share
    header, *rows = (tmp_path / "two" / "journal.csv").read_text().splitlines()
    assert header.split(",").count("loss") == 1
    assert [row.split(",")[0] for row in rows] == ["2", "2"]
