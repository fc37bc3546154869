"""`deixis evaluate` and `deixis compare` from the command line, on a small world and a small model."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from deixis import masks
from deixis.checkpoints import native
from deixis.checkpoints.configs import to_dict
from deixis.cli import main
from deixis.data.transforms import Preprocess
from deixis.metrics.report import Result, hash_of_ids
from deixis.models.vega import VEGAConfig
from deixis.recipes.systems import build
from deixis.text.bert import BertConfig
from deixis.toyland.world import Toyland
from deixis.vision.swin import SwinConfig

VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "left", "right")
CONFIG = VEGAConfig(
    vision=SwinConfig(embed_dim=8, depths=(1, 1, 1, 1), heads=(1, 1, 1, 1), window=4),
    text=BertConfig(layers=1, width=8, heads=1, feed_forward=16, vocabulary=len(VOCABULARY), positions=16),
    width=8,
    heads=1,
    decoder_widths=(8, 8, 8),
)
WORLD = Toyland(split="val", register="toyland", num_scenes=2)
DATA = ["--data", "toyland:val", "--scenes", "2", "--draws", "40", "--quiet"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    card = native.Card(
        system="vega", config=to_dict(CONFIG), preprocess=Preprocess(image_size=64, max_words=8), run={"seed": 7}
    )
    folder = tmp_path_factory.mktemp("model")
    native.save(folder, build("vega", CONFIG).state_dict(), card, VOCABULARY)
    return folder


def write(path: Path, keep: int | None = None, grow: int = 0) -> Path:
    """The world's own targets as predictions, `grow` rows longer."""
    with path.open("w") as file:
        for position in range(len(WORLD))[:keep]:
            sample = WORLD[position]
            assert sample.mask is not None
            mask = masks.decode(sample.mask)
            for _ in range(grow):
                mask[1:] |= mask[:-1]
            file.write(json.dumps({"id": sample.ids.sentence, "rle": masks.encode(mask)}) + "\n")
    return path


def result_of(path: Path) -> Result:
    return Result.read(path)


def test_a_model_is_scored_with_all_that_a_result_needs(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model.json"
    arguments = ["evaluate", str(model), *DATA, "--device", "cpu", "--limit", "6", "--out", str(out)]
    assert main(arguments) == 0
    result = result_of(out)
    assert (result.protocol, result.dataset, result.split, result.num_expressions) == ("full", "toyland", "val", 6)
    assert result.run == {"seed": 7}
    assert len(result.checkpoint_hash or "") == 64
    assert result.threshold == 0.5
    assert set(result.measures) == {"oIoU", "mIoU", "P@0.5", "P@0.6", "P@0.7", "P@0.8", "P@0.9"}
    assert len((tmp_path / result.records).read_text().splitlines()) == 7
    printed = capsys.readouterr().out
    assert "mIoU" in printed
    assert "target size" in printed
    assert str(out) in printed.replace("\n", "")


def test_perfect_masks_score_a_hundred(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "perfect.json"
    predictions = write(tmp_path / "masks.jsonl")
    assert main(["evaluate", "--predictions", str(predictions), *DATA, "--out", str(out), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(out.read_text())
    assert {one["value"] for one in printed["measures"].values()} == {100.0}
    assert printed["ids_hash"] == hash_of_ids(WORLD.ids)
    assert printed["num_images"] == 2
    assert printed["model"] == "masks.jsonl"


def test_missing_masks_refuse_the_score_unless_allowed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, predictions = tmp_path / "some.json", write(tmp_path / "masks.jsonl", keep=-2)
    arguments = ["evaluate", "--predictions", str(predictions), *DATA, "--out", str(out)]
    assert main(arguments) == 2
    complaint = capsys.readouterr().err
    left_out = [one.sentence for one in WORLD.ids[-2:]]
    assert all(one in complaint for one in left_out)
    assert "--allow-missing" in complaint
    assert (tmp_path / "some.missing.txt").read_text().split() == left_out
    assert not out.exists()
    assert main([*arguments, "--allow-missing"]) == 0
    result = result_of(out)
    assert result.num_missing == 2
    assert result.measures["P@0.9"].value == 100 * (len(WORLD) - 2) / len(WORLD)


def test_two_results_are_compared_draw_by_draw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, grow in (("perfect", 0), ("longer", 4)):
        predictions = write(tmp_path / f"{name}.jsonl", grow=grow)
        out = str(tmp_path / f"{name}.json")
        assert main(["evaluate", "--predictions", str(predictions), *DATA, "--out", out]) == 0
    capsys.readouterr()
    pair = [str(tmp_path / "perfect.json"), str(tmp_path / "longer.json")]
    assert main(["compare", *pair, "--draws", "50", "--json"]) == 0
    difference = json.loads(capsys.readouterr().out)["mIoU"]
    longer = result_of(tmp_path / "longer.json").measures["mIoU"].value
    assert longer is not None
    assert difference["difference"] == longer - 100.0
    assert difference["low"] <= difference["difference"] <= difference["high"] < 0
    assert main(["compare", *pair, "--draws", "50"]) == 0
    assert "longer minus perfect" in capsys.readouterr().out


def test_results_of_other_protocols_or_expressions_are_not_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predictions = write(tmp_path / "masks.jsonl")
    for name, more in (("a", []), ("b", ["--protocol", "weak"])):
        arguments = ["evaluate", "--predictions", str(predictions), *DATA, *more]
        assert main([*arguments, "--out", str(tmp_path / f"{name}.json")]) == 0
    assert main(["compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 2
    assert "protocols differ" in capsys.readouterr().err
    (tmp_path / "a.records.jsonl").unlink()
    assert main(["compare", str(tmp_path / "a.json"), str(tmp_path / "a.json")]) == 2
    assert "are missing" in capsys.readouterr().err


MISTAKES: dict[str, list[Any]] = {
    "Give either a MODEL or --predictions": [],
    "no protocol 'ful'. Did you mean 'full'": ["x", "--protocol", "ful"],
    "no data set 'toylnd'": ["x", "--data", "toylnd:val"],
    "The following arguments are required: --data": ["x", "--data"],
    "number of draws is 0": ["x", "--draws", "0"],
    "name that ends in .json": ["x", "--out", "result.txt"],
    "There is no model": ["no-such-model"],
    "Unrecognized arguments: --nonsense": ["x", "--nonsense"],
}


@pytest.mark.parametrize(("sentence", "arguments"), MISTAKES.items(), ids=MISTAKES)
def test_each_mistake_is_one_sentence(
    sentence: str, arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data = [] if "--data" in arguments else DATA
    out = [] if "--out" in arguments else ["--out", str(tmp_path / "r.json")]
    given = [argument for argument in arguments if argument != "--data" or "toylnd:val" in arguments]
    assert main(["evaluate", *data, *out, *given]) == 2
    complaint = capsys.readouterr().err
    assert sentence in complaint
    assert "Traceback" not in complaint
