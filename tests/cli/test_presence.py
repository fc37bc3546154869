"""Presence on the command line: a model with a presence head predicts, is calibrated and is evaluated."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from deixis.checkpoints import native
from deixis.checkpoints.configs import to_dict
from deixis.cli import main
from deixis.cli.compare_pictures import thresholds_of
from deixis.data.transforms import Preprocess
from deixis.evaluation.report import Result
from deixis.metrics.calibration import apply
from deixis.models.magnet import MagNetConfig
from deixis.text.bert import BertConfig
from deixis.vision.swin import SwinConfig

VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "left", "right", "red")


def config(**changes: Any) -> MagNetConfig:
    return MagNetConfig(
        vision=SwinConfig(embed_dim=8, depths=(1, 1, 1, 1), heads=(1, 1, 1, 1), window=4),
        text=BertConfig(layers=4, width=8, heads=1, feed_forward=16, vocabulary=len(VOCABULARY), positions=16),
        width=32,
        mask_width=8,
        heads=2,
        pixel_layers=1,
        pixel_feed_forward=16,
        query_layers=1,
        query_feed_forward=16,
        **changes,
    )


def save(folder: Path, **changes: Any) -> Path:
    torch.manual_seed(2)
    made = config(**changes)
    weights = made.build().state_dict()
    preprocess = Preprocess(image_size=64, max_tokens=8)
    native.save(folder, weights, native.Card(system="magnet", config=to_dict(made), preprocess=preprocess), VOCABULARY)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("models") / "headed")


@pytest.fixture(scope="module")
def headless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("models") / "headless", presence=False)


@pytest.fixture
def photo(tmp_path: Path) -> str:
    noise = np.random.default_rng(5).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "photo.png")
    return str(tmp_path / "photo.png")


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["segment", *arguments, "the red", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


DATA = ["--data", "toyland:val", "--scenes", "2", "--quiet", "--device", "cpu"]


def test_a_presence_threshold_decides_whether_there_is_a_mask(
    model: Path, photo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked_with = (photo, "--model", str(model), "--threshold", "0.01")
    loose, strict = (asked(capsys, *asked_with, "--presence-threshold", level) for level in ("0.01", "0.99"))
    assert loose["present"] is True
    assert loose["found"]
    assert (strict["present"], strict["found"]) == (False, False)
    assert strict["box"] is None
    assert loose["score"] == strict["score"]
    assert not loose["calibrated"]
    assert main(["segment", *asked_with, "the red", "--presence-threshold", "0.99", "--out", photo[:-4]]) == 0
    assert f"nothing found (score {strict['score']:.2f})" in capsys.readouterr().out
    assert main(["segment", *asked_with, "the red", "--presence-threshold", "1.5"]) == 2
    assert "The presence threshold is 1.5; expected a number between 0 and 1" in capsys.readouterr().err


def test_without_a_head_there_is_nothing_to_hold_a_presence_threshold_against(
    headless: Path, photo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not asked(capsys, photo, "--model", str(headless))["calibrated"]
    assert main(["segment", photo, "the red", "--model", str(headless), "--presence-threshold", "0.5"]) == 2
    assert "has no presence head, so it has no presence threshold" in capsys.readouterr().err
    assert main(["checkpoint", "calibrate", str(headless), *DATA]) == 2
    assert "has no presence head, and its score" in capsys.readouterr().err


def test_the_card_describes_the_score(model: Path, headless: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder, sentence in ((model, native.SCORE_OF_HEAD), (headless, native.SCORE_OF_MASK)):
        assert json.loads((folder / "card.json").read_text())["score_means"] == sentence
        assert main(["checkpoint", "show", str(folder)]) == 0
        assert sentence in capsys.readouterr().out


def believed(folder: Path) -> Path:
    """A model whose presence head has learnt a little: a fresh one may not separate anything."""
    checkpoint = native.read(folder)
    weights = checkpoint.weights | {"present.bias": torch.tensor([3.0])}
    native.save(folder, weights, checkpoint.card, checkpoint.vocabulary)
    return folder


def test_calibration_goes_into_the_card_and_from_there_into_every_score(
    tmp_path: Path, photo: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from deixis.evaluation import scoring

    folder = believed(save(tmp_path / "model"))
    before = asked(capsys, photo, "--model", str(folder), "--threshold", "0.01")
    assert before["found"]
    real = scoring.score_presence

    def sorted_by_truth(*arguments: Any) -> scoring.HeadAnswers:
        """The head of an untrained model is random; its probabilities are sorted, so that a fit exists."""
        given = real(*arguments)
        order = np.argsort(given.present, kind="stable")
        ious = np.where(given.present, 0.5, 0.0)
        return replace(given, probability=np.sort(given.probability)[np.argsort(order, kind="stable")], iou=ious)

    monkeypatch.setattr(scoring, "score_presence", sorted_by_truth)
    assert main(["checkpoint", "calibrate", str(folder), *DATA, "--max-loss", "5"]) == 0
    printed = capsys.readouterr().out
    rule = native.read_card(folder).presence_rule
    assert f"present above {rule.threshold:.3f}" in printed
    assert rule.chosen_on.endswith("the largest that costs at most 5 points of mIoU")
    assert main(["checkpoint", "show", str(folder)]) == 0
    assert f"above {rule.threshold:.3f}, chosen on toyland:val" in capsys.readouterr().out
    assert main(["evaluate", str(folder), *DATA, "--no-target", "4", "--out", str(tmp_path / "r.json")]) == 0
    presence = Result.read(tmp_path / "r.json").presence
    assert presence is not None
    assert presence.threshold == rule.threshold
    assert main(["checkpoint", "calibrate", str(folder), *DATA, "--max-loss", "0"]) == 2
    assert "--max-loss is 0; expected points of mIoU" in capsys.readouterr().err
    assert main(["checkpoint", "calibrate", str(folder), *DATA, "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["presence_rule"] == {"threshold": 0.5, "chosen_on": ""}  # of other probabilities than before
    assert found["data"] == "toyland:val, 2 scenes, 4 a scene refer to nothing"
    assert found["ece_after"] < found["ece_before"]
    card = native.read_card(folder)
    assert card.calibration is not None
    assert (card.calibration.scale, card.calibration.expressions) == (found["scale"], found["expressions"])
    assert native.read_card(folder / native.WEIGHTS) == card
    after = asked(capsys, photo, "--model", str(folder), "--presence-threshold", "0.0001", "--threshold", "0.01")
    assert after["calibrated"]
    expected = apply(np.array([before["score"]]), found["scale"], found["bias"])[0]
    assert after["score"] == pytest.approx(expected, abs=0.01)
    assert main(["checkpoint", "show", str(folder)]) == 0
    assert f"scale {found['scale']:.3f}" in capsys.readouterr().out


def test_presence_is_measured_drawn_and_printed(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, plot = tmp_path / "r.json", tmp_path / "new" / "reliability.png"
    arguments = ["evaluate", str(model), *DATA, "--no-target", "4", "--draws", "20", "--protocol", "grefcoco"]
    chosen = ["--presence-threshold", "0.4", "--out", str(out), "--reliability", str(plot)]
    assert main([*arguments, *chosen]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    presence = Result.read(out).presence
    assert presence is not None
    assert presence.num_absent > 4
    assert presence.score == "presence head"
    assert (presence.calibrated, presence.threshold) == (False, 0.4)
    measured = Result.read(out).measures
    assert presence.n_acc == pytest.approx(measured["N-acc"].value)
    assert presence.t_acc == pytest.approx(measured["T-acc"].value)
    assert sum(one.count for one in presence.bins) == Result.read(out).num_expressions
    assert "nothing (N-acc)" in printed
    assert "not calibrated" in printed
    with Image.open(plot) as picture:
        assert picture.width > 400
    records = [json.loads(line) for line in (tmp_path / "r.records.jsonl").read_text().splitlines()]
    assert records[0]["header"]["presence"] == {"calibrated": False, "threshold": 0.4}
    result = Result.read(out)  # its pictures are drawn with the same thresholds; half the maximum is none
    assert thresholds_of(out, result) == {"threshold": 0.5, "presence_threshold": 0.4}
    assert thresholds_of(out, replace(result, mask_rule="half-maximum"))["threshold"] is None


def test_a_headless_model_is_measured_by_its_masks(headless: Path, tmp_path: Path) -> None:
    arguments = ["evaluate", str(headless), *DATA, "--no-target", "2", "--draws", "20"]
    assert main([*arguments, "--out", str(tmp_path / "r.json")]) == 0
    presence = Result.read(tmp_path / "r.json").presence
    assert presence is not None
    assert (presence.score, presence.threshold) == ("mask", None)


def test_without_expressions_about_nothing_there_is_nothing_to_draw(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plot = str(tmp_path / "r.png")
    assert main(["evaluate", str(model), *DATA, "--reliability", plot]) == 2
    assert "toyland:val refers to something" in capsys.readouterr().err
    assert main(["evaluate", str(model), *DATA, "--no-target", "1", "--reliability", plot + ".jpg"]) == 2
    assert "ends in .png" in capsys.readouterr().err
    assert main(["checkpoint", "calibrate", str(model), *DATA, "--no-target", "0"]) == 2
    assert "Every expression of toyland:val refers to something" in capsys.readouterr().err
    (tmp_path / "data").mkdir()
    assert main(["evaluate", str(model), "--data", str(tmp_path / "data"), "--no-target", "1"]) == 2
    assert "which only Toyland can" in capsys.readouterr().err
    weights = str(model / native.WEIGHTS)
    assert main(["checkpoint", "calibrate", weights, *DATA]) == 2
    assert "give its checkpoint's folder" in capsys.readouterr().err
