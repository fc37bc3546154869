"""`deixis checkpoint`: the card on the terminal, and a published file turned into a model that segments."""

import hashlib
import json
import logging
import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError
from PIL import Image

from deixis.checkpoints.official.published import PUBLISHED
from deixis.cli import main

FILES = Path(__file__).parents[1] / "checkpoints" / "official" / "published_files.py"
files = SimpleNamespace(**runpy.run_path(str(FILES)))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files in the layouts that LAVT's and MagNet's authors published, with a vocabulary beside them."""
    folder = tmp_path_factory.mktemp("published")
    files.save(folder / "lavt.pth", files.lavt())
    files.save(folder / "magnet.pth", files.magnet())
    files.save_vocabulary(folder / "vocab.txt")
    return folder


@pytest.fixture(scope="module", params=["lavt", "magnet"])
def converted(request: pytest.FixtureRequest, published: Path) -> Path:
    file, out = published / f"{request.param}.pth", published / request.param
    assert main(["checkpoint", "convert", str(file), str(out), "--vocabulary", str(published / "vocab.txt")]) == 0
    return out


@pytest.fixture
def hub(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No network, a temporary cache, and a hub with our small MagNet; returns the requests to the hub."""
    asked: list[str] = []

    def download(repository: str, file: str, **options: object) -> str:
        asked.append(f"{repository} {file}")
        return str(published / ("vocab.txt" if file == "vocab.txt" else "magnet.pth"))

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setenv("DEIXIS_CACHE", str(tmp_path / "cache"))
    digest = hashlib.sha256((published / "magnet.pth").read_bytes()).hexdigest()
    known = replace(PUBLISHED["magnet-refcoco-plus"], sha256=digest)
    monkeypatch.setitem(PUBLISHED, "magnet-refcoco-plus", known)
    return asked


def photo(folder: Path) -> str:
    Image.fromarray(np.full((30, 40, 3), 90, np.uint8)).save(folder / "photo.png")
    return str(folder / "photo.png")


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    lines = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    return {name.strip(): value.strip() for name, value in lines.items()}


def test_a_published_file_becomes_a_model_that_segments(
    converted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {path.name for path in converted.iterdir()} == {"model.safetensors", "card.json", "vocab.txt"}
    assert main(["segment", photo(tmp_path), "the red cup", "--json", "--model", str(converted)]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["size"] == [30, 40]
    assert record["model"] == str(converted)


def test_a_converted_magnet_is_scored_on_a_tree_of_refcocos_layout(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, tree, out = tmp_path / "model", tmp_path / "data", tmp_path / "val.json"
    vocabulary = ["--vocabulary", str(published / "vocab.txt")]
    assert main(["checkpoint", "convert", str(published / "magnet.pth"), str(model), *vocabulary]) == 0
    assert main(["toyland", "write", str(tree), "--scenes", "2", "--size", "48", "--subset", "toyland"]) == 0
    data = ["--data", str(tree), "--dataset", "refcoco", "--split", "val", "--protocol", "lavt-480"]
    assert main(["evaluate", str(model), *data, "--limit", "2", "--draws", "20", "--quiet", "--out", str(out)]) == 0
    result = json.loads(out.read_text())
    assert result["num_expressions"] == 2
    assert result["checkpoint_hash"] == hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()
    assert 0 <= result["measures"]["oIoU"]["value"] <= 100


def test_show_prints_the_model_and_its_origin(
    converted: Path, published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["checkpoint", "show", str(converted)]) == 0
    shown, name = told(capsys), converted.name
    assert shown["system"] == name
    assert shown["description"].endswith(f"converted from {name}.pth.")
    assert shown["licence"].startswith({"lavt": "GPL-3.0", "magnet": "AGPL-3.0"}[name])
    assert shown["origin sha256"] == hashlib.sha256((published / f"{name}.pth").read_bytes()).hexdigest()
    assert shown["origin hash"] == "recorded when converted, not known beforehand"
    assert shown["origin protocol"] == "lavt-480"
    assert shown["reads"] == "480x480 pixels (stretch), at most 20 tokens"
    assert shown["vocabulary"].startswith("20 tokens")
    assert shown["score is"].startswith("the mean probability of the mask's pixels")
    assert not any(line.startswith("score published") for line in shown)


def test_show_as_json_counts_the_parameters(converted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from deixis.zoo.loading import load

    assert main(["checkpoint", "show", "--json", str(converted)]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["system"] == converted.name
    assert card["config"]["vision"]["window"] == {"lavt": 7, "magnet": 12}[converted.name]
    assert card["parameters"] == sum(
        value.numel() for value in load(converted, device="cpu").system.state_dict().values()
    )
    if converted.name == "magnet":
        assert (card["config"]["language_fusion"], card["config"]["presence"]) == ("published", False)


def test_a_published_checkpoint_is_downloaded_once_and_then_has_a_name(
    hub: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    segment = ["segment", photo(tmp_path), "the red cup", "--json", "--model", "magnet-refcoco+"]
    assert main(segment) == 2
    assert (
        "allow it once (some 1.2 GB) with `deixis checkpoint download magnet-refcoco-plus`" in capsys.readouterr().err
    )
    assert hub == []
    assert main(["checkpoint", "download", "magnet-refcoco+"]) == 0
    assert "magnet-refcoco-plus is ready (AGPL-3.0, as its authors state):" in capsys.readouterr().out
    assert hub == ["bert-base-uncased vocab.txt", "yxchng/magnet_weights magnet_refcoco+.pth"]
    assert main(segment) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "magnet-refcoco+"
    assert main(["checkpoint", "show", "magnet-refcoco-plus"]) == 0
    shown = told(capsys)
    assert shown["origin hash"] == "known beforehand"
    assert shown["origin dataset"] == "refcoco+"
    assert shown["score published, lavt-480 refcoco+:testB oIoU"] == "58.1400"
    assert len(hub) == 2


def test_a_download_without_a_network_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> str:
        logging.getLogger("huggingface_hub.utils._http").warning("Retrying in 1s.")
        raise LocalEntryNotFoundError("Please check your connection.") from OSError("[Errno 111] Connection refused")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", offline)
    monkeypatch.setenv("DEIXIS_CACHE", str(tmp_path / "cache"))
    files.save_vocabulary(tmp_path / "vocab.txt")
    reason = "could not be downloaded (no network: [Errno 111] Connection refused); try again"
    download = ["checkpoint", "download", "magnet-refcoco"]
    for command, missing in (
        (download, "vocab.txt of bert-base-uncased"),
        ([*download, "--vocabulary", str(tmp_path / "vocab.txt")], "magnet_refcoco.pth of yxchng/magnet_weights"),
    ):
        assert main(command) == 2
        complaint = capsys.readouterr().err
        assert complaint.startswith(f"deixis: {missing} {reason}")
        assert complaint.count("\n") == 1
        assert "unasked" not in complaint


def test_segment_and_evaluate_download_with_the_option(
    hub: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate = ["evaluate", "magnet-refcoco-plus", "--data", "toyland:val", "--scenes", "1", "--limit", "1"]
    evaluate += ["--draws", "20", "--quiet", "--out", str(tmp_path / "val.json")]
    assert main(evaluate) == 2
    assert "nothing is downloaded without permission" in capsys.readouterr().err
    assert main([*evaluate, "--download"]) == 0
    assert json.loads((tmp_path / "val.json").read_text())["model"] == "magnet-refcoco-plus"
    asked = len(hub)
    segment = ["segment", photo(tmp_path), "the red cup", "--json", "--model", "magnet-refcoco-plus", "--download"]
    assert main(segment) == 0
    assert len(hub) == asked == 2


def test_scores_are_shown_by_protocol_and_split(
    converted: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from deixis.checkpoints import native

    checkpoint = native.read(converted)
    scored = replace(checkpoint, card=replace(checkpoint.card, scores={"lavt": {"val": {"miou": 0.71239, "n": 12}}}))
    monkeypatch.setattr(native, "read", lambda path: scored)
    assert main(["checkpoint", "show", str(converted)]) == 0
    shown = told(capsys)
    assert shown["score lavt val miou"] == "0.7124"
    assert shown["score lavt val n"] == "12"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["sho", "x"], "no command 'checkpoint sho'. Did you mean 'show'?"),
        (["show"], "NAME|PATH is missing"),
        (["show", "absent"], "no model 'absent'"),
        (["convert", "absent.pth", "out"], "no checkpoint file at absent.pth"),
        (["convert", "text.pth", "out"], "text.pth cannot be read"),
        (["convert", "text.pth", "text.pth"], "text.pth is a file; give the name of a folder"),
        (["download"], "NAME is missing"),
        (["download", "magnet-refcok"], "no published checkpoint 'magnet-refcok'. Did you mean 'magnet-refcoco'?"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_code_two(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.pth").write_text("no weights at all")
    assert main(["checkpoint", *arguments]) == 2
    captured = capsys.readouterr()
    assert complaint in captured.err
    assert len(captured.err.splitlines()) == 1
    assert captured.out == ""
    assert not Path("out").exists()


def test_a_vocabulary_of_another_model_and_a_full_folder_are_refused(
    published: Path, converted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(files.VOCABULARY[:-1]) + "\n")
    file, other = str(published / "lavt.pth"), ["--vocabulary", str(tmp_path / "vocab.txt")]
    assert main(["checkpoint", "convert", file, str(tmp_path / "out"), *other]) == 2
    assert "The vocabulary has 19 words" in capsys.readouterr().err
    assert main(["checkpoint", "convert", file, str(converted), *other]) == 2
    assert "already holds a checkpoint" in capsys.readouterr().err


def test_usage_names_every_command_and_published_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checkpoint"]) == 0
    usage = capsys.readouterr().out
    for name in ("show NAME", "download NAME", "convert FILE.pth", *PUBLISHED):
        assert name in usage
