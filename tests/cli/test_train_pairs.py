"""`deixis train sag-own` on a person's own pairs of image and sentence, and its result under the protocol weak."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import deixis
from deixis.checkpoints import native
from deixis.cli import main
from deixis.evaluation.report import Result

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "red", "green", "blue", "square")
COLOURS = ("red", "green", "blue", "red")
SMALL = {
    "system.vision.layers": 1,
    "system.vision.width": 16,
    "system.vision.heads": 2,
    "system.vision.grid": 2,
    "system.text.layers": 1,
    "system.text.width": 16,
    "system.text.heads": 2,
    "system.text.feed-forward": 16,
    "system.text.vocabulary": len(WORDS),
    "system.text.positions": 16,
    "system.width": 16,
    "system.gaussians": 2,
    "system.samples": 2,
    "system.iterations": 2,
    "system.heads": 2,
    "system.head-width": 8,
    "system.interaction-head-width": 8,
    "system.fusion-head-width": 8,
    "preprocess.image-size": 32,
    "preprocess.max-tokens": 8,
    "schedule.batch-size": 3,
    "schedule.epochs": 2,
    "workers": 0,
}
REFUSED = (
    "starts from published encoders, which are not all given; add --start-from.vit FILE and --start-from.bert FILE"
)


def write_pairs(root: Path, kind: str) -> Path:
    root.mkdir()
    rows = []
    for number, colour in enumerate(COLOURS):
        pixels = np.zeros((20, 30, 3), np.uint8)
        pixels[5:15, 5:15, COLOURS.index(colour)] = 200
        Image.fromarray(pixels).save(root / f"{number}.png")
        rows.append({"image": f"{number}.png", "expression": f"the {colour} square"})
    rows[-1] = {**rows[-1], "mask": None}
    for name, chosen in (("train", rows[:3]), ("val", rows[3:])):
        if kind == "jsonl":
            (root / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chosen))
        else:
            with (root / f"{name}.csv").open("w", newline="") as file:
                table = csv.DictWriter(file, ["image", "expression", "mask"])
                table.writeheader()
                table.writerows(chosen)
    return root


def train(root: Path, out: Path, *more: str, **changes: Any) -> int:
    (out.parent / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    options = [part for name, value in (SMALL | changes).items() for part in (f"--{name}", str(value))]
    arguments = ["train", "sag-own", "--data.root", str(root), "--out", str(out), "--quiet", *options]
    return main([*arguments, "--vocabulary", str(out.parent / "vocab.txt"), *more])


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_pairs_without_masks_train_a_segmenter(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    root, out = write_pairs(tmp_path / "mine", kind), tmp_path / "run"
    assert train(root, out) == 2
    assert REFUSED in capsys.readouterr().err
    assert train(root, out, "--start-from.required", "False") == 0
    rows = list(csv.DictReader((out / "metrics.csv").read_text().splitlines()))
    assert {"loss/contrastive", "loss/reconstruction"} <= set(rows[0])
    assert not any(row.get("val/mIoU") for row in rows)
    assert json.loads((out / "run.json").read_text())["data"]["distinct_images"] is True
    card = native.read_card(out / "best")
    assert (card.mask_rule.kind, card.mask_rule.threshold) == ("min-max", 0.5)
    if kind == "csv":
        return
    _check_settings(out, root, tmp_path, capsys)


def _check_settings(model: Path, root: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """T and τ of the prediction are options of the library and of both commands."""
    photo = root / "0.png"
    plain, one = deixis.load(model, device="cpu"), deixis.load(model, device="cpu", settings={"iterations": 1})
    assert (plain.system.discovery.iterations, one.system.discovery.iterations) == (2, 1)
    before, after = (each(photo, "the red square").probability for each in (plain, one))
    assert not np.array_equal(before, after)
    with pytest.raises(deixis.DeixisError, match=r"no setting 'iteration' of its predictions\. Did you mean"):
        deixis.load(model, device="cpu", settings={"iteration": 1})
    with pytest.raises(deixis.DeixisError, match="no setting 'heads' of its predictions"):
        deixis.load(model, device="cpu", settings={"heads": 1})
    with pytest.raises(deixis.DeixisError, match="'iterations' is 0"):
        deixis.load(model, device="cpu", settings={"iterations": 0})
    segment = ["segment", str(photo), "the red square", "--model", str(model), "--out", str(folder / "answers")]
    assert main([*segment, "--device", "cpu", "--set", "iterations=1"]) == 0
    assert main([*segment, "--device", "cpu"]) == 2
    assert "was computed with another settings" in capsys.readouterr().err
    assert main([*segment, "--set", "iterations"]) == 2
    assert "--set is 'iterations'; expected NAME=VALUE" in capsys.readouterr().err
    evaluate = ["evaluate", str(model), "--data", "toyland:val", "--scenes", "1", "--draws", "5", "--quiet"]
    evaluate += ["--device", "cpu", "--protocol", "weak", "--out", str(folder / "scores"), "--limit", "3"]
    assert main([*evaluate, "--set", "iterations=1", "--set", "noise=sample"]) == 0
    (file,) = (folder / "scores").glob("*-weak.json")
    result = Result.read(file)
    assert (result.protocol, result.threshold, result.threshold_chosen_on) == ("weak", 0.5, "")
    assert result.computed is not None
    assert result.computed["settings"] == {"iterations": 1, "noise": "sample"}
    assert list(result.measures) == ["oIoU", "mIoU", "A@0.3", "A@0.5", "A@0.7"]
    file.unlink()
    assert main([*evaluate, "--threshold", "0.3", "--threshold-chosen-on", "mine val"]) == 0
    assert "threshold 0.3 chosen on labels of mine val" in " ".join(capsys.readouterr().out.split())
    (file,) = (folder / "scores").glob("*.json")
    assert "weak" not in file.name
    result = Result.read(file)
    assert (result.protocol, result.threshold_chosen_on) == ("labelled-threshold", "mine val")
    assert main([*evaluate, "--threshold-chosen-on", "mine val"]) == 2
    assert "give both" in capsys.readouterr().err


def test_too_few_images_for_a_batch_are_refused_with_both_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_pairs(tmp_path / "mine", "jsonl")
    for size, sentence in (
        (4, "A batch of 4 distinct images needs as many, but the data set has only 3 images"),
        (1, "schedule.batch_size is 1; set it to 2 or more"),
    ):
        changes = {"schedule.batch-size": size}
        assert train(root, tmp_path / f"run{size}", "--start-from.required", "False", **changes) == 2
        assert sentence in capsys.readouterr().err
        assert not (tmp_path / f"run{size}").exists()
    more = ("--schedule.accumulate", "3", "--start-from.required", "False")
    assert train(root, tmp_path / "parts", *more) == 2
    assert "compares all samples of a batch with each other" in capsys.readouterr().err
