"""`deixis train finetune` continues from a model's checkpoint, and prints what that did to its scores."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deixis.checkpoints import native
from deixis.checkpoints.configs import to_dict
from deixis.cli import main
from deixis.cli.finetune import verdict
from deixis.data.transforms import Preprocess
from deixis.evaluation.comparison import Difference
from deixis.models.late_fusion import LateFusionConfig
from deixis.models.proposal_matching import ProposalMatchingConfig
from deixis.records import MaskRule
from deixis.runs.data import StoredData
from deixis.runs.execute import read_job
from deixis.runs.finetune import Effect, finetuned
from deixis.runs.run import Run
from deixis.text.bert import BertConfig
from deixis.text.gru import GRUConfig
from deixis.text.tokenizer import Tokenizer
from deixis.training.optim import Optimiser
from deixis.vision.swin import SwinConfig
from deixis.zoo.loading import load

CONFIG = LateFusionConfig(
    vision=SwinConfig(embed_dim=4, depths=(1, 1, 1, 1), heads=(1, 1, 1, 1), window=4),
    text=BertConfig(layers=1, width=8, heads=1, feed_forward=8, vocabulary=200, positions=8),
    width=8,
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    card = native.Card(
        system="late_fusion",
        config=to_dict(CONFIG),
        preprocess=Preprocess(image_size=48, max_tokens=7),
        mask_rule=MaskRule(threshold=0.4),
        run={"optimiser": to_dict(Optimiser(lr=0.01, weight_decay=0.5))},
    )
    words = Tokenizer.learn(["the left block", "the right block"], 200).vocabulary
    native.save(tmp_path / "model", CONFIG.build().state_dict(), card, words)
    return tmp_path / "model"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for split in ("train", "val"):
        lines = []
        for number in range(4):
            Image.fromarray(draw.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(folder / f"{split}{number}.png")
            record = {"image": f"{split}{number}.png", "expression": "the left block", "mask": [[2, 2, 20, 2, 20, 20]]}
            lines.append(json.dumps(record) + "\n")
        (folder / f"{split}.jsonl").write_text("".join(lines))
    return folder


def command(model: Path | str, data: Path, out: Path, *more: str) -> list[str]:
    fields = ["--schedule.steps", "2", "--schedule.validate-every", "2", "--schedule.batch-size", "2", "--workers", "0"]
    where = ["--data.root", str(data), "--data.sentences-per-image", "1", "--out", str(out), "--quiet"]
    return ["train", "finetune", "--from", str(model), *where, *fields, *more]


def test_architecture_vocabulary_and_preprocessing_are_the_models_and_rates_a_tenth(model: Path) -> None:
    run = finetuned(str(model))
    assert run.system == CONFIG
    assert run.preprocess == Preprocess(image_size=48, max_tokens=7)
    assert run.mask_rule == MaskRule(threshold=0.4)
    assert (run.vocabulary, run.start_from.checkpoint) == (str(model), str(model))
    assert run.optimiser.lr == pytest.approx(0.001)
    assert run.optimiser.weight_decay == 0.5


def test_the_bundled_model_is_a_start_with_its_own_words_and_rates() -> None:
    run = finetuned("bundled")
    card = native.read_card(Path(load("bundled").weights or "").parent)
    assert run.optimiser.lr == pytest.approx(card.run["optimiser"]["lr"] / 10)
    assert run.optimiser.muon_lr == pytest.approx(card.run["optimiser"]["muon_lr"] / 10)


def test_scores_before_and_after_are_printed_on_new_and_on_old_data(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(command(model, data, out, "--keep", str(data), "--keep-limit", "3")) == 0
    printed = capsys.readouterr()
    assert "mIoU on the new validation data" in printed.out
    assert "mIoU on the old data" in printed.out
    assert "location words: with" in printed.out
    assert "finished at step 2" in printed.err
    assert load(out).tokenizer.vocabulary == load(model).tokenizer.vocabulary
    job = read_job(out)
    assert isinstance(job, Run)
    assert job.system == CONFIG
    # Started from the model's weights: after two steps at a small rate they are close, and not the same.
    before, after = (native.read(place).weights["bias"] for place in (model, out / "last"))
    assert 0 < float((before - after).abs()) < 0.05
    assert main(["train", "finetune", "--resume", "--out", str(out), "--schedule.steps", "3", "--quiet"]) == 0
    assert "finished at step 3" in capsys.readouterr().err


def test_a_vocabulary_may_be_a_models_folder_elsewhere_too(model: Path, data: Path, tmp_path: Path) -> None:
    run = replace(finetuned(str(model)), start_from=replace(finetuned(str(model)).start_from, checkpoint=None))
    from deixis.runs.open_data import open_data
    from deixis.runs.vocabulary import tokenizer_of

    run = replace(run, data=replace(run.data, root=str(data)))  # type: ignore[call-arg]
    training, _ = open_data(run.data)
    for name in (model, model / "model.safetensors", model / "vocab.txt"):
        words = tokenizer_of(replace(run, vocabulary=str(name)), training, tmp_path / "x", True, {}).vocabulary
        assert words == load(model).tokenizer.vocabulary
    bundled = replace(run, vocabulary="bundled", system=load("bundled").system.config)
    assert tokenizer_of(bundled, training, tmp_path / "x", True, {}).vocabulary == load("bundled").tokenizer.vocabulary


def test_new_words_of_the_data_join_a_vocabulary_of_whole_words(data: Path, tmp_path: Path) -> None:
    from deixis.runs.open_data import open_data
    from deixis.runs.vocabulary import tokenizer_of

    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\nleft\n")
    run = Run(
        data=StoredData(root=str(data)),
        system=ProposalMatchingConfig(text=GRUConfig(vocabulary=12, embedding=4, width=4)),
        vocabulary=str(tmp_path / "vocab.txt"),
        new_words=True,
    )
    training, _ = open_data(run.data)
    assert tokenizer_of(run, training, tmp_path / "x", True, {}).vocabulary == (
        "[PAD]",
        "[UNK]",
        "left",
        "block",
        "the",
    )


@pytest.mark.parametrize(
    ("low", "high", "sentence"),
    [
        (-9.0, -3.0, "Fine-tuning harms the scores on the old data: mIoU -6.0 points, 95% interval -9.0 … -3.0."),
        (3.0, 9.0, "Fine-tuning improves the scores on the old data: mIoU +6.0 points, 95% interval +3.0 … +9.0."),
        (-2.0, 4.0, "On the old data no change is certain: mIoU +1.0 points, 95% interval -2.0 … +4.0."),
    ],
)
def test_harm_is_said_where_the_whole_interval_is_below_zero(low: float, high: float, sentence: str) -> None:
    middle = (low + high) / 2
    difference = Difference(first=50.0, second=50.0 + middle, difference=middle, low=low, high=high, p=0.01, draws=9)
    assert verdict("old data", Effect(overall=difference, num_expressions=9, groups=())) == sentence


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--data.root", "x"], "--from is missing; give the model to start from"),
        (["--from", "bundledd"], "There is no model 'bundledd'. Did you mean 'bundled'?"),
        (["--from", "bundled", "--keep", "toylnd:val"], "There is no data set 'toylnd'"),
        (["--from", "bundled", "--keep-limit", "0"], "--keep-limit is 0; expected a positive number."),
        (["--from", "vega-refcoco"], "vega-refcoco"),
    ],
)
def test_mistakes_are_one_sentence(options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "finetune", *options]) == 2
    complaint = capsys.readouterr().err
    assert sentence in complaint
    assert complaint.count("\n") == 1


def test_help_names_its_options_and_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "finetune", "--help"]) == 0
    shown = capsys.readouterr().out
    for option in ("--from", "--keep", "--keep-limit", "--out", "--resume", "--data.root", "--schedule.steps"):
        assert option in shown
