"""`deixis evaluate` and `deixis compare` from the command line, on a small world and a small model."""

import json
import os
import runpy
import shutil
import signal
import socket
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image

from deixis import masks
from deixis.checkpoints import native
from deixis.checkpoints.configs import to_dict
from deixis.cli import main
from deixis.data.transforms import Preprocess
from deixis.evaluation.record_files import RecordWriter
from deixis.evaluation.report import Result, hash_of_ids
from deixis.models.vega import VEGAConfig
from deixis.text.bert import BertConfig
from deixis.toyland.world import Toyland
from deixis.vision.swin import SwinConfig
from tests.processes import start

Tree = runpy.run_path(str(Path(__file__).parents[1] / "data" / "readers" / "test_refcoco.py"))["SmallTree"]
VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "left", "right")
CONFIG = VEGAConfig(
    vision=SwinConfig(embed_dim=8, depths=(1, 1, 1, 1), heads=(1, 1, 1, 1), window=4),
    text=BertConfig(layers=1, width=8, heads=1, feed_forward=16, vocabulary=len(VOCABULARY), positions=16),
    width=8,
    heads=1,
    decoder_widths=(8, 8, 8),
)
WORLD = Toyland(split="val", subset="toyland", num_scenes=2)
DATA = ["--data", "toyland:val", "--scenes", "2", "--draws", "40", "--quiet"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    card = native.Card(
        system="vega", config=to_dict(CONFIG), preprocess=Preprocess(image_size=64, max_tokens=8), run={"seed": 7}
    )
    folder = tmp_path_factory.mktemp("model")
    native.save(folder, CONFIG.build().state_dict(), card, VOCABULARY)
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
    assert result.computed == {"device": "cpu", "dtype": "float32", "compiled": False}
    printed = capsys.readouterr().out
    assert "mIoU" in printed
    assert "in float32 on cpu" in printed
    assert "target size" in printed
    assert str(out) in printed.replace("\n", "")


def test_compiled_it_scores_the_same(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.nn.Module, "compile", compiled := Mock())  # what it makes, slow tests look at
    found = []
    for name, more in (("plain", ()), ("compiled", ("--compiled",))):
        out = tmp_path / f"{name}.json"
        arguments = ["evaluate", str(model), *DATA, "--device", "cpu", "--limit", "9", "--out", str(out), *more]
        assert main(arguments) == 0
        found.append(result_of(out))
    compiled.assert_called_once()
    assert found[0].measures == found[1].measures
    assert [one.computed and one.computed["compiled"] for one in found] == [False, True]


def told(out: Path) -> tuple[dict[str, Any], list[str]]:
    """All of a result but its time and its name, and its records."""
    fields = json.loads(out.read_text())
    records = (out.parent / fields["records"]).read_text().splitlines()
    del fields["wall_seconds"], fields["records"]
    return fields, records


def main_that_dies(batches: int, arguments: list[str]) -> int:
    """The command, which dies in the middle of writing a batch of records once it has written so many."""
    append, left = RecordWriter.append, [batches]

    def dying(self: RecordWriter, batch: Any) -> None:
        if not left[0]:
            self._file.write('{"image": "torn')
            self._file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        append(self, batch)

    RecordWriter.append = dying  # type: ignore[method-assign]
    return main(arguments)


@pytest.mark.usefixtures("one_thread")
def test_two_processes_and_a_killed_one_give_the_result_of_one(model: Path, tmp_path: Path) -> None:
    whole, two, killed = (tmp_path / f"{name}.json" for name in ("whole", "two", "killed"))
    arguments = ["evaluate", str(model), *DATA, "--batch-size", "2", "--out"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    alone = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    del alone["ACCELERATE_USE_CPU"]  # nobody tells them to use the CPU
    worlds = [{**alone, **world, "RANK": rank, "LOCAL_RANK": rank} for rank in ("0", "1")]
    started = [start(main, [*arguments, str(two)], environment=world) for world in worlds]
    started.append(start(main_that_dies, 2, [*arguments, str(killed)], environment=alone))
    assert main([*arguments, str(whole), "--device", "cpu"]) == 0
    ended = [process.wait() for process in started]
    assert [code for code, _ in ended] == [0, 0, -signal.SIGKILL], ended
    assert told(two) == told(whole)
    left = killed.with_suffix(".records.part0").read_text()
    assert left.count("\n") == 5  # a header and two batches
    assert left.endswith('{"image": "torn')
    assert not killed.exists()
    assert main([*arguments, str(killed)]) == 2  # not without being asked
    assert main([*arguments, str(killed), "--device", "cpu", "--resume"]) == 0
    assert told(killed) == told(whole)


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


def test_lavts_protocol_drops_what_its_code_drops_where_parts_overlap(tmp_path: Path) -> None:
    root = Tree(tmp_path / "data").write()
    kept = np.zeros((30, 40), dtype=bool)
    kept[3:11, 20:28] = kept[7:15, 24:32] = True
    kept[7:11, 24:28] = False  # of both squares
    said = {"id": "2", "rle": masks.encode(kept)}
    (tmp_path / "masks.jsonl").write_text(json.dumps(said) + "\n")
    found = {}
    for protocol in ("full", "lavt-480"):
        arguments = ["--predictions", str(tmp_path / "masks.jsonl"), "--data", str(root), "--split", "testA", "--quiet"]
        arguments += ["--protocol", protocol, "--out", str(out := tmp_path / f"{protocol}.json"), "--draws", "20"]
        assert main(["evaluate", *arguments]) == 0
        found[protocol] = result_of(out).measures["mIoU"].value
    assert found == {"full": pytest.approx(100 * 96 / 112), "lavt-480": 100.0}


def test_options_that_would_name_a_score_wrongly_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "embedded", "--data", "toyland:testA", "--split", "val"]) == 2
    assert "The data name the split 'testA', but --split is 'val'; give one of them" in capsys.readouterr().err
    assert main(["evaluate", "embedded", "--data", "toyland:val", "--dataset", "refcoco"]) == 2
    assert "is generated and has no --dataset; omit it" in capsys.readouterr().err
    for option, value in (("--images", ["photos"]), ("--allow-outside", [])):
        assert main(["evaluate", "embedded", "--data", "toyland:val", option, *value]) == 2
        assert f"is generated and has no {option}; omit it" in capsys.readouterr().err


def test_a_limit_ignores_the_masks_of_the_other_expressions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, predictions = tmp_path / "some.json", write(tmp_path / "masks.jsonl")
    arguments = ["evaluate", "--predictions", str(predictions), *DATA, "--out", str(out), "--limit", "3"]
    assert main(arguments) == 0
    assert result_of(out).num_expressions == 3
    with predictions.open("a") as file:
        file.write(predictions.read_text().splitlines()[0].replace(WORLD.ids[0].sentence, "nobody's") + "\n")
    assert main(arguments) == 2
    assert 'no expression of this split has the id "nobody\'s"' in capsys.readouterr().err


def test_masks_are_not_scored_over_the_records_of_another_evaluation(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, predictions = tmp_path / "one.json", write(tmp_path / "masks.jsonl")
    left = tmp_path / "one.records.part0"
    left.write_text(json.dumps({"header": {"model": "another"}}) + "\n")
    arguments = ["evaluate", "--predictions", str(predictions), *DATA, "--out", str(out)]
    assert main(arguments) == 2
    assert "one.records.part0 holds records of another evaluation" in capsys.readouterr().err
    assert "another" in left.read_text()
    left.unlink()
    assert main(arguments) == 0


def test_a_mistake_leaves_no_files_behind(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["evaluate", str(model), *DATA, "--device", "cpu", "--limit", "3", "--out", str(tmp_path / "m.json")]
    for mistake, sentence in (("--presence-threshold=0.5", "has no presence threshold"), ("--seed=-1", "0 or more")):
        assert main([*arguments, mistake]) == 2
        assert sentence in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []
    assert main(arguments) == 0


def test_results_are_not_compared_by_records_of_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shared, good, bad = tmp_path / "shared.json", tmp_path / "good.json", tmp_path / "bad.json"
    for kept, grow in ((good, 0), (bad, 3)):
        predictions = write(tmp_path / "masks.jsonl", grow=grow)
        assert main(["evaluate", "--predictions", str(predictions), *DATA, "--out", str(shared)]) == 0
        shared.rename(kept)  # both point to the records of the second
    capsys.readouterr()
    assert main(["compare", str(good), str(bad)]) == 2
    assert "shared.records.jsonl are not those that" in capsys.readouterr().err
    assert main(["compare", str(bad), str(bad)]) == 0


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
    assert difference["difference"] == 100.0 - longer
    assert 0 < difference["low"] <= difference["difference"] <= difference["high"]
    assert main(["compare", *pair, "--draws", "50"]) == 0
    printed = capsys.readouterr().out
    assert "perfect minus longer" in printed
    assert f"mIoU: perfect is better than longer by {100 - longer:.2f} points." in printed
    assert main(["compare", *reversed(pair), "--draws", "50"]) == 0
    assert f"mIoU: perfect is better than longer by {100 - longer:.2f} points." in capsys.readouterr().out


def test_two_models_are_drawn_where_one_is_right_and_the_other_wrong(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, threshold in (("all", "0.01"), ("none", "0.99")):
        out = str(tmp_path / f"{name}.json")
        assert main(["evaluate", str(model), *DATA, "--limit", "6", "--threshold", threshold, "--out", out]) == 0
    pair = [str(tmp_path / "all.json"), str(tmp_path / "none.json"), "--draws", "50"]
    drawn = [*pair, "--pictures", str(tmp_path / "pictures"), "--data", "toyland:val", "--scenes", "2", "--count", "2"]
    for module in ("evaluation.disagreements", "cli.compare_pictures"):
        monkeypatch.setattr(f"deixis.{module}.RIGHT", 0.001)
    capsys.readouterr()
    assert main(["compare", *drawn]) == 0
    printed = capsys.readouterr().out
    assert "none right (IoU 0.001 or more), all wrong: 0 expressions" in printed
    assert [file.name for file in (tmp_path / "pictures").iterdir()] == ["all-right.png"]
    with Image.open(tmp_path / "pictures" / "all-right.png") as picture:
        assert picture.height > 2 * 224
        assert picture.width >= 4 * 224
    assert main(["compare", *drawn, "--json"]) == 0
    assert "mIoU" in json.loads(capsys.readouterr().out)


def test_pictures_need_the_data_the_models_and_their_weights(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "model"
    shutil.copytree(model, own)
    out = tmp_path / "a.json"
    assert main(["evaluate", str(own), *DATA, "--limit", "3", "--out", str(out)]) == 0
    pair = ["compare", str(out), str(out), "--draws", "50"]
    pictures = ["--pictures", str(tmp_path / "pictures")]
    data = ["--data", "toyland:val", "--scenes", "2"]
    capsys.readouterr()
    assert main([*pair, *pictures]) == 2
    assert "give their --data" in capsys.readouterr().err
    assert main([*pair, *data]) == 2
    assert "give --pictures DIR" in capsys.readouterr().err
    (own / "model.safetensors").write_bytes((own / "model.safetensors").read_bytes()[:-4] + bytes(4))
    assert main([*pair, *pictures, *data]) == 2
    assert "other weights" in capsys.readouterr().err
    masks_out = str(tmp_path / "masks.json")
    assert main(["evaluate", "--predictions", str(write(tmp_path / "m.jsonl")), *DATA, "--out", masks_out]) == 0
    assert main(["compare", masks_out, masks_out, "--draws", "50", *pictures, *data]) == 2
    assert "a file of masks" in capsys.readouterr().err
    assert not (tmp_path / "pictures").exists()


def test_the_default_result_has_the_models_name_and_is_not_overwritten_by_another_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("ours", "theirs"):
        write(tmp_path / f"{name}.jsonl")
        for _ in range(2):  # the same masks may be scored again
            assert main(["evaluate", "--predictions", f"{name}.jsonl", *DATA]) == 0
        assert result_of(tmp_path / f"{name}-toyland-val-full.json").model == f"{name}.jsonl"
    kept = Path("ours-toyland-val-full.json").read_bytes()
    capsys.readouterr()
    assert main(["evaluate", "--predictions", "theirs.jsonl", *DATA, "--out", "ours-toyland-val-full.json"]) == 2
    assert "is the result of the model 'ours.jsonl'; give this one of 'theirs.jsonl'" in capsys.readouterr().err
    assert Path("ours-toyland-val-full.json").read_bytes() == kept


def test_a_text_key_and_exif_reach_the_reader(tmp_path: Path) -> None:
    photo = Image.new("RGB", (8, 6))
    exif = photo.getexif()
    exif[0x0112] = 6
    photo.save(tmp_path / "a.jpg", exif=exif)
    mask = masks.encode(np.ones((6, 8), dtype=bool))  # of the unturned photo
    (tmp_path / "val.jsonl").write_text(json.dumps({"image": "a.jpg", "said": "it", "mask": mask}))
    (tmp_path / "masks.jsonl").write_text(json.dumps({"id": "val:1", "rle": mask}))
    arguments = ["--predictions", str(tmp_path / "masks.jsonl"), "--data", str(tmp_path / "val.jsonl"), "--quiet"]
    arguments += ["--out", str(out := tmp_path / "r.json"), "--text-key", "said"]
    assert main(["evaluate", *arguments]) == 2
    assert main(["evaluate", *arguments, "--exif", "ignore"]) == 0
    assert result_of(out).measures["mIoU"].value == 100.0


def test_photos_of_another_folder_are_scored(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "mine").mkdir()
    Image.new("RGB", (8, 6)).save(tmp_path / "photos/a.png")
    mask = masks.encode(np.ones((6, 8), dtype=bool))
    absolute = str(tmp_path / "photos/a.png")
    for split, name in (("val", "a.png"), ("test", absolute)):
        (tmp_path / f"mine/{split}.jsonl").write_text(json.dumps({"image": name, "expression": "it", "mask": mask}))
        (tmp_path / f"{split}.jsonl").write_text(json.dumps({"id": f"{split}:1", "rle": mask}))
    for split, option in (("val", ["--images", str(tmp_path / "photos")]), ("test", ["--allow-outside"])):
        arguments = ["--predictions", str(tmp_path / f"{split}.jsonl"), "--data", str(tmp_path / "mine"), "--quiet"]
        arguments += ["--split", split, "--out", str(out := tmp_path / f"{split}.json")]
        assert main(["evaluate", *arguments]) == 2
        assert main(["evaluate", *arguments, *option]) == 0
        assert result_of(out).measures["mIoU"].value == 100.0


def test_results_of_other_protocols_or_expressions_are_not_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predictions = write(tmp_path / "masks.jsonl")
    for name, more in (("a", []), ("b", ["--protocol", "weak"])):
        arguments = ["evaluate", "--predictions", str(predictions), *DATA, *more]
        assert main([*arguments, "--out", str(tmp_path / f"{name}.json")]) == 0
    assert main(["compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 2
    assert "protocols of the results differ" in capsys.readouterr().err
    (tmp_path / "a.records.jsonl").unlink()
    assert main(["compare", str(tmp_path / "a.json"), str(tmp_path / "a.json")]) == 2
    assert "are missing" in capsys.readouterr().err


def test_names_in_the_data_choose_no_folder_for_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    mask = masks.encode(np.ones((6, 8), dtype=bool))
    line = {"image": "a.png", "expression": "it", "mask": mask, "dataset": "../a b/refcoco+"}
    (tmp_path / "val.jsonl").write_text(json.dumps(line))
    (tmp_path / "masks.jsonl").write_text(json.dumps({"id": "val:1", "rle": mask}))
    predictions = ["--predictions", str(tmp_path / "masks.jsonl"), "--data", str(tmp_path / "val.jsonl")]
    assert main(["evaluate", *predictions, "--quiet"]) == 0
    assert (here / "masks-..-a-b-refcoco+-val-full.json").is_file()


def test_places_that_cannot_be_read_or_written_are_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predictions = write(tmp_path / "masks.jsonl")
    assert main(["evaluate", "--predictions", str(predictions), *DATA, "--out", str(predictions / "r.json")]) == 2
    assert f"The folder {predictions} cannot be made: " in capsys.readouterr().err
    assert main(["compare", str(tmp_path), str(tmp_path)]) == 2
    assert f"The result {tmp_path} cannot be read: Is a directory" in capsys.readouterr().err


def folder_with_a_broken_mask_and_photo(folder: Path) -> Path:
    """Four sentences: the first is whole, then comes a mask of another size, a photo cut short, and a whole one."""
    folder.mkdir()
    for name in ("whole.png", "torn.png"):
        Image.fromarray(np.full((12, 16, 3), 90, dtype=np.uint8)).save(folder / name)
    torn = (folder / "torn.png").read_bytes()
    (folder / "torn.png").write_bytes(torn[:45])  # whole header, torn pixels
    rles = [masks.encode(np.eye(*size, dtype=bool)) for size in ((12, 16), (9, 9), (12, 16), (12, 16))]
    names = ("whole.png", "whole.png", "torn.png", "whole.png")
    lines = [
        {"image": name, "size": [12, 16], "expression": "the left", "mask": rle, "ids": {"sentence": f"s{number}"}}
        for number, (name, rle) in enumerate(zip(names, rles, strict=True))
    ]
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    return folder


def test_broken_records_stop_the_score_or_are_left_out_and_counted(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = folder_with_a_broken_mask_and_photo(tmp_path / "data"), tmp_path / "r.json"
    more = ["--data", str(data), "--draws", "20", "--quiet", "--out", str(out)]
    arguments = ["evaluate", str(model), *more, "--device", "cpu", "--workers", "1"]
    assert main(arguments) == 2
    complaint = capsys.readouterr().err
    assert "data.jsonl, line 2" in complaint
    assert complaint.count("\n") == 1
    assert main([*arguments, "--skip-broken", "--resume"]) == 0
    told = capsys.readouterr()
    assert "2 broken records were left out:" in told.err
    assert "line 2" in told.err
    assert "torn.png" in told.err
    assert "broken records left out: 2" in " ".join(told.out.split())
    result = result_of(out)
    assert result.num_expressions == 2
    assert len(result.broken) == 2
    recorded = [json.loads(line)["sentence"] for line in (tmp_path / result.records).read_text().splitlines()[1:]]
    assert recorded == ["s0", "s3"]


def test_masks_for_records_that_were_left_out_are_counted_too(tmp_path: Path) -> None:
    data, out, answers = folder_with_a_broken_mask_and_photo(tmp_path / "data"), tmp_path / "r.json", tmp_path / "a"
    rle = masks.encode(np.eye(12, 16, dtype=bool))
    answers.write_text("".join(json.dumps({"id": f"s{number}", "rle": rle}) + "\n" for number in range(4)))
    arguments = ["evaluate", "--predictions", str(answers), "--data", str(data), "--draws", "20", "--out", str(out)]
    assert main(arguments) == 2
    assert main([*arguments, "--skip-broken", "--quiet"]) == 0
    result = result_of(out)
    assert result.num_expressions == 3  # masks are compared without looking at photos
    assert result.measures["mIoU"].value == 100.0
    assert "line 2" in result.broken[0]
    assert result.broken[1:] == (f"{answers}: 1 of its masks are for sentences that are not scored.",)


def test_a_worker_meets_a_broken_photo_in_one_sentence(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = folder_with_a_broken_mask_and_photo(tmp_path / "data")
    lines = (data / "data.jsonl").read_text().splitlines()
    (data / "data.jsonl").write_text(f"{lines[0]}\n{lines[2]}\n")
    arguments = ["--data", str(data), "--quiet", "--device", "cpu", "--workers", "1", "--out", str(tmp_path / "r.json")]
    assert main(["evaluate", str(model), *arguments]) == 2
    complaint = capsys.readouterr().err
    assert "torn.png" in complaint
    assert complaint.count("\n") == 1
    (data / "data.jsonl").write_text(f"{lines[2]}\n")
    assert main(["evaluate", str(model), *arguments, "--skip-broken"]) == 2
    assert "all of them are broken" in capsys.readouterr().err


MISTAKES: dict[str, list[Any]] = {
    "Give either a MODEL or --predictions": [],
    "no protocol 'ful'. Did you mean 'full'": ["x", "--protocol", "ful"],
    "no data set 'toylnd'": ["x", "--data", "toylnd:val"],
    "--data is missing": ["x", "--data"],
    "number of draws is 0": ["x", "--draws", "0"],
    "name that ends in .json": ["x", "--out", "result.txt"],
    "There is no model": ["no-such-model"],
    "There is no option '--nonsense'": ["x", "--nonsense"],
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


def test_the_lines_of_segment_are_scored_as_the_model_is(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Photos of one name in two folders, one text for two objects, and pairs that the split does not have."""
    noise = np.random.default_rng(3).integers(0, 256, (2, 24, 32, 3), dtype=np.uint8)
    for name, pixels in zip(("one", "two"), noise, strict=True):
        (tmp_path / "mine" / name).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / "mine" / name / "a.png")
    half, whole = np.zeros((24, 32), dtype=bool), np.ones((24, 32), dtype=bool)
    half[:, :16] = True
    rows = (("one/a.png", "the left", half), ("two/a.png", "the left", whole), ("one/a.png", "the right", half))
    rows += (("one/a.png", "the left", whole),)
    lines = [{"image": image, "expression": text, "mask": masks.encode(mask)} for image, text, mask in rows]
    (tmp_path / "mine" / "data.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    monkeypatch.chdir(tmp_path)
    segment = ["segment", "./mine", "--recursive", "--text", "the left", "--text", "the right", "--model", str(model)]
    assert main([*segment, "--json", "--device", "cpu"]) == 0
    Path("masks.jsonl").write_text(printed := capsys.readouterr().out)
    assert len(printed.splitlines()) == 4
    data = ["--data", "mine", "--draws", "20", "--quiet"]
    assert main(["evaluate", "--predictions", "masks.jsonl", *data, "--out", "file.json"]) == 0
    assert main(["evaluate", str(model), *data, "--device", "cpu", "--out", "model.json"]) == 0
    by_file, by_model = result_of(Path("file.json")), result_of(Path("model.json"))
    assert by_file.num_expressions == by_model.num_expressions == 4
    for name, one in by_model.measures.items():
        assert by_file.measures[name].value == pytest.approx(one.value, abs=1e-9), name
    other = printed.replace("mine/one/a.png", "elsewhere/b.png")
    Path("masks.jsonl").write_text(other)
    assert main(["evaluate", "--predictions", "masks.jsonl", *data, "--out", "file.json"]) == 2
    assert "masks.jsonl, line 1: no 'id', and the photo 'elsewhere/b.png' is not one of this split" in (
        capsys.readouterr().err
    )


def test_a_sweep_scores_each_threshold_as_an_evaluation_with_it_does_and_writes_the_card(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(model, "model")
    arguments = ["evaluate", "model", *DATA, "--device", "cpu", "--limit", "6"]
    assert main([*arguments, "--sweep-threshold", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["scores"]) == 19
    assert list(tmp_path.iterdir()) == [tmp_path / "model"]
    for threshold in ("0.45", "0.5"):
        assert main([*arguments, "--threshold", threshold, "--out", f"{threshold}.json"]) == 0
        measures = result_of(Path(f"{threshold}.json")).measures
        assert found["scores"][threshold] == {name: one.value for name, one in measures.items()}
    assert found["by"] == "mIoU"
    assert found["scores"][f"{found['best']:g}"]["mIoU"] == max(one["mIoU"] for one in found["scores"].values())
    capsys.readouterr()
    assert main([*arguments, "--sweep-threshold", "--write-threshold"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "A threshold that is chosen on a split is not a result for that split" in printed
    rule = native.read_card("model").mask_rule
    assert (rule.threshold, rule.chosen_on) == (found["best"], "toyland val")
    assert native.read("model").card.run == {"seed": 7}


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--sweep-threshold", "--threshold", "0.4"], "does not go together with --threshold"),
        (["--write-threshold"], "give both"),
        (["--sweep-threshold", "--write-threshold"], "has no card of yours to write"),
    ],
)
def test_a_sweep_that_would_say_something_else_is_refused(
    more: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "bundled", *DATA, *more]) == 2
    assert sentence in capsys.readouterr().err


def test_the_default_of_two_models_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "auto", *DATA, "--out", str(tmp_path / "out.json")]) == 2
    assert "choose bundled or photos." in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()
