"""`deixis checkpoint`: the card on the terminal, and a published file turned into a model that segments."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deixis.cli import main

GOLDEN = Path(__file__).parents[1] / "goldens" / "lavt_small_w7.json"
VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "red", "blue", "cup", *"abcdefghijk")
SMALLER = {30522: len(VOCABULARY)}  # so that files stay small


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in the layout that LAVT's authors published, with a vocabulary beside it."""
    folder = tmp_path_factory.mktemp("published")
    torch.manual_seed(0)
    parts = {
        part: {name: torch.randn([SMALLER.get(side, side) for side in shape]) * 0.02 for name, shape in names.items()}
        for part, names in json.loads(GOLDEN.read_text())["state_dict"].items()
    }
    for name, tensor in parts["model"].items():
        if name.endswith("running_var"):
            tensor.abs_().add_(1.0)  # no variance is negative
    torch.save(parts, folder / "lavt.pth")
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    return folder


@pytest.fixture(scope="module")
def converted(published: Path) -> Path:
    arguments = [str(published / "lavt.pth"), str(published / "out"), "--vocabulary", str(published / "vocab.txt")]
    assert main(["checkpoint", "convert", *arguments]) == 0
    return published / "out"


def test_a_published_file_becomes_a_model_that_segments(
    converted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {path.name for path in converted.iterdir()} == {"model.safetensors", "card.json", "vocab.txt"}
    Image.fromarray(np.full((30, 40, 3), 90, np.uint8)).save(tmp_path / "photo.png")
    assert main(["segment", str(tmp_path / "photo.png"), "the red cup", "--json", "--model", str(converted)]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["size"] == [30, 40]
    assert record["model"] == str(converted)


def test_show_says_what_the_model_is(converted: Path, published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checkpoint", "show", str(converted)]) == 0
    lines = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    told = {name.strip(): value.strip() for name, value in lines.items()}
    digest = hashlib.sha256((published / "lavt.pth").read_bytes()).hexdigest()
    assert told["system"] == "lavt"
    assert told["description"] == f"Converted from lavt.pth, sha256 {digest}."
    assert told["licence"].startswith("GPL-3.0")
    assert told["reads"] == "480x480 pixels, at most 20 words or word pieces"
    assert told["vocabulary"].startswith("20 words")


def test_show_as_json_counts_the_parameters(converted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from deixis.recipes.loading import load

    assert main(["checkpoint", "show", "--json", str(converted)]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["system"] == "lavt"
    assert card["config"]["vision"]["window"] == 7
    assert card["parameters"] == sum(
        value.numel() for value in load(converted, device="cpu").system.state_dict().values()
    )


def test_scores_are_shown_by_protocol_and_split(
    converted: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from deixis.checkpoints import native

    checkpoint = native.read(converted)
    scored = replace(checkpoint, card=replace(checkpoint.card, scores={"lavt": {"val": {"miou": 0.71239, "n": 12}}}))
    monkeypatch.setattr(native, "read", lambda path: scored)
    assert main(["checkpoint", "show", str(converted)]) == 0
    told = capsys.readouterr().out
    assert "score lavt val miou  0.7124" in told
    assert "score lavt val n     12" in told


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["sho", "x"], "no command 'checkpoint sho'. Did you mean 'show'?"),
        (["show"], "The following arguments are required: NAME|PATH"),
        (["show", "absent"], "no model 'absent'"),
        (["convert", "absent.pth", "out"], "no checkpoint file at absent.pth"),
        (["convert", "text.pth", "out"], "text.pth cannot be read"),
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
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY[:-1]) + "\n")
    file, other = str(published / "lavt.pth"), ["--vocabulary", str(tmp_path / "vocab.txt")]
    assert main(["checkpoint", "convert", file, str(tmp_path / "out"), *other]) == 2
    assert "The vocabulary has 19 words" in capsys.readouterr().err
    assert main(["checkpoint", "convert", file, str(converted), *other]) == 2
    assert "already holds a checkpoint" in capsys.readouterr().err


def test_usage_names_both_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checkpoint"]) == 0
    told = capsys.readouterr().out
    assert "deixis checkpoint show" in told
    assert "deixis checkpoint convert" in told
