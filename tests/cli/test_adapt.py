"""`deixis adapt` on two folders of blocks: the page, resuming, and what is refused."""

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deixis.cli import main
from deixis.evaluation.comparison import Difference
from deixis.runs.adaptation import Gain, write_gain
from deixis.runs.execute import read_job
from deixis.runs.run import Chain

SMALL = {
    "schedule.steps": "2",
    "schedule.batch-size": "2",
    "schedule.validate-every": "2",
    "workers": "0",
    "preprocess.image-size": "64",
    "system.vision.width": "4",
    "system.vision.depths": "1 1 1 1",
    "system.width": "16",
    "system.decoder-width": "8",
    "system.text.width": "16",
    "system.text.embedding": "12",
    "system.regions": "10",
}
TINY = [word for name, value in SMALL.items() for word in (f"--{name}", *value.split())] + ["--quiet"]


def blocks(folder: Path, seed: int, *, masks: bool, splits: tuple[str, ...] = ("train",)) -> Path:
    """Three photos a split, each with a sentence about a block."""
    draw = np.random.default_rng(seed)
    folder.mkdir()
    for split in splits:
        records = []
        for number in range(3):
            pixels = draw.integers(0, 255, (40, 40, 3), dtype=np.uint8)
            pixels[4:20, 4:20] = (220, 30, 30)
            Image.fromarray(pixels).save(folder / f"{split}{number}.png")
            record = {"image": f"{split}{number}.png", "expression": f"the <red> block {seed}"}
            records.append(record | ({"mask": [[4, 4, 20, 4, 20, 20, 4, 20]]} if masks else {}))
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records))
    return folder


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished adaptation."""
    root = tmp_path_factory.mktemp("adapt")
    source = blocks(root / "labelled", 0, masks=True)
    target = blocks(root / "target", 1, masks=True, splits=("train", "val"))
    command = ["adapt", "--source", str(source), "--target", str(target), "--out", str(root / "out"), *TINY]
    assert main([*command, "--method", "mmd", "--mmd.objective.weight", "0.01"]) == 0
    return root / "out"


def test_the_page_shows_both_models_on_the_target_and_needs_no_other_file(adapted: Path) -> None:
    page = (adapted / "report.html").read_text(encoding="utf-8")
    assert "the &lt;red&gt; block 1" in page
    assert len(re.findall('<img src="data:image/png;base64,', page)) == page.count("<img") == 3
    assert not re.search(r"https?:|<script|<link", page)
    facts = json.loads((adapted / "report.json").read_bytes())
    assert facts["runs"] == {"source": "SupervisedConfig", "mmd": "MMDConfig"}
    assert facts["expressions"] == 3
    measure = facts["measures"]["mIoU"]
    assert measure["difference"] == pytest.approx(measure["second"] - measure["first"])
    assert "<td>mIoU</td>" in page


def test_the_methods_run_takes_over_the_sources_fields_and_has_its_own(adapted: Path) -> None:
    chain = read_job(adapted)
    assert isinstance(chain, Chain)
    source, mmd = chain.runs.values()
    assert (source.schedule.steps, mmd.schedule.steps) == (2, 3)
    assert mmd.system == source.system
    assert mmd.objective.weight == 0.01  # type: ignore[attr-defined]
    assert mmd.start_from.checkpoint == mmd.vocabulary == "source"


def test_a_finished_adaptation_is_resumed_without_its_options(
    adapted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = (adapted / "mmd/last/model.safetensors").read_bytes()
    assert main(["adapt", "--resume", "--out", str(adapted), "--quiet"]) == 0
    assert "finished at step 3" in capsys.readouterr().err
    assert (adapted / "mmd/last/model.safetensors").read_bytes() == weights


def test_a_run_that_has_not_begun_is_resumed_with_other_fields(
    adapted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(adapted, tmp_path / "out")
    shutil.rmtree(tmp_path / "out/mmd")
    resumed = ["adapt", "--resume", "--out", str(tmp_path / "out"), "--quiet"]
    assert main([*resumed, "--mmd.objective.weight", "0.5"]) == 0
    for stored in (tmp_path / "out", tmp_path / "out/mmd"):
        job = read_job(stored)
        run = job.runs["mmd"] if isinstance(job, Chain) else job
        assert run.objective.weight == 0.5  # type: ignore[union-attr]
    assert main([*resumed, "--mmd.objective.weight", "0.7"]) == 2
    assert "holds another run (runs.mmd.objective.weight is 0.5 there, 0.7 here)" in capsys.readouterr().err


def test_a_refinement_of_sdas_maps_that_is_trained_adds_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = blocks(tmp_path / "source", 0, masks=True), blocks(tmp_path / "target", 1, masks=False)
    jobs: list[Chain] = []
    monkeypatch.setattr("deixis.runs.execute.execute", lambda job, *_, **__: jobs.append(job) or sys.exit(0))
    command = [
        "adapt",
        "--source",
        str(source),
        "--target",
        str(target),
        *TINY,
        "--affinity.objective.foreground",
        "0.4",
    ]
    with pytest.raises(SystemExit):
        main([*command, "--sda.objective.activation.refinement", "boundary-walk"])
    assert [*jobs[0].runs] == ["source", "predictor", "semantic", "classifier", "affinity", "sda"]
    assert jobs[0].runs["affinity"].objective.foreground == 0.4  # type: ignore[attr-defined]
    assert main(command) == 2  # without the refinement there is no such Run


def test_without_masks_the_page_says_that_nothing_was_measured(adapted: Path, tmp_path: Path) -> None:
    shutil.copytree(adapted, tmp_path / "out")
    target = adapted.parent / "target"
    records = [json.loads(line) for line in (target / "val.jsonl").read_text().splitlines()]
    before = (target / "val.jsonl").read_text()
    (target / "val.jsonl").write_text("".join(json.dumps(each | {"mask": None}) + "\n" for each in records))
    chain = read_job(tmp_path / "out")
    assert isinstance(chain, Chain)
    try:
        gain = write_gain(chain, tmp_path / "out", quiet=True)
    finally:
        (target / "val.jsonl").write_text(before)
    assert gain.measures is None
    assert "Nothing was measured: the target has no validation split" in (tmp_path / "out/report.html").read_text()
    assert json.loads((tmp_path / "out/report.json").read_bytes())["measures"] is None


@pytest.mark.parametrize(
    ("records", "sentence"),
    [
        ([], "target holds no records"),
        ([{"image": "train0.png"}], "expression"),
        ([{"image": "train0.png", "expression": ""}], "expression"),
    ],
)
def test_a_target_without_expressions_is_one_sentence_and_leaves_nothing(
    records: list[dict[str, str]], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = blocks(tmp_path / "source", 0, masks=True), blocks(tmp_path / "target", 1, masks=False)
    (target / "train.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records))
    command = ["adapt", "--source", str(source), "--target", str(target), "--out", str(tmp_path / "out"), *TINY]
    assert main(command) == 2
    printed = capsys.readouterr().err.strip().splitlines()
    assert printed[-1].startswith("deixis: ")
    assert sentence in printed[-1]
    assert not (tmp_path / "out").exists()


def test_a_source_without_masks_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = blocks(tmp_path / "source", 0, masks=False), blocks(tmp_path / "target", 1, masks=False)
    command = ["adapt", "--source", str(source), "--target", str(target), "--out", str(tmp_path / "out"), *TINY]
    assert main(command) == 2
    assert "of source has no mask, and needs one here" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_target_of_other_splits_names_the_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = blocks(tmp_path / "source", 0, masks=True)
    target = blocks(tmp_path / "target", 1, masks=False, splits=("val", "test"))
    command = ["adapt", "--source", str(source), "--target", str(target), "--out", str(tmp_path / "out"), *TINY]
    assert main(command) == 2
    found = "no split 'train'; the splits there are: test, val. Name another one with --target.train-split."
    assert found in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("low", "high", "sentence"),
    [
        (0.4, 1.6, "The adaptation improves the scores on the target: mIoU +1.0 points, 95% interval +0.4 … +1.6."),
        (-1.6, -0.4, "The adaptation harms the scores on the target: mIoU"),
        (-0.2, 1.6, "No change of the scores on the target is certain: mIoU"),
        (0.01, 0.04, "No change of the scores on the target is certain: mIoU"),
    ],
)
def test_a_gain_is_certain_where_its_printed_interval_is_apart_from_zero(
    low: float, high: float, sentence: str
) -> None:
    found = Difference(first=10.0, second=11.0, difference=1.0, low=low, high=high, p=0.0, draws=10)
    assert Gain(measures={"mIoU": found}, num_expressions=9, reports={}).sentence().startswith(sentence)


def test_too_few_sentences_for_a_batch_leave_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = blocks(tmp_path / "source", 0, masks=True), blocks(tmp_path / "target", 1, masks=False)
    command = ["adapt", "--source", str(source), "--target", str(target), "--out", str(tmp_path / "out"), *TINY]
    assert main([*command, "--schedule.batch-size", "8"]) == 2
    assert "An epoch has 3 expressions, too few for one batch of 8" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--target", "b"], "--source is missing"),
        (["--source", "a"], "--target is missing"),
        (["--source", "a", "--target", "b", "--method", "mdm"], "There is no method 'mdm'. Did you mean 'mmd'"),
        (["--source", "a", "--target", "b", "--model", "vga"], "There is no model 'vga' to adapt. Did you mean 'vega'"),
        (["--source", "a", "--target", "b", "--schedule.step", "9"], "Did you mean '--schedule.steps'"),
        (["--source", "absent", "--target", "b"], "absent"),
        (["--resume", "--out", "absent"], "absent holds no adaptation to resume"),
    ],
)
def test_wrong_options_are_one_sentence(
    options: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["adapt", *options]) == 2
    assert sentence in capsys.readouterr().err
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_help_names_the_methods_and_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["adapt", "--help"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("mmd", "dann", "plca", "man", "lavt, sda, vega"))
