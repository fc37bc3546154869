"""Our checkpoint: what is saved is what is read, whole or not at all, and every fault is one sentence."""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from deixis.checkpoints import native
from deixis.checkpoints.native import (
    SCORE_OF_HEAD,
    SCORE_OF_MASK,
    Card,
    fill,
    read,
    read_card,
    save,
    write_card,
)
from deixis.data.transforms import Preprocess
from deixis.errors import DeixisError, InputError
from deixis.metrics.calibration import Calibration
from deixis.records import MaskRule

WORDS = ("[PAD]", "[UNK]", "ünïcode", "cup")


@dataclass(frozen=True, kw_only=True)
class Config:
    width: int = 4


CARD = Card(
    system="linear", config={"width": 4}, preprocess=Preprocess(image_size=64, max_tokens=9), description="tiny ☺"
)


def weights(seed: int = 0) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return {"weight": torch.randn(3, 4).t(), "bias": torch.randn(4), "count": torch.tensor(7)}


def test_a_checkpoint_is_read_as_it_was_saved(tmp_path: Path) -> None:
    save(tmp_path / "model", weights(), CARD, WORDS)
    back = read(tmp_path / "model")
    assert back.card == CARD
    assert back.vocabulary == WORDS
    assert back.weights.keys() == weights().keys()
    assert all(torch.equal(back.weights[name], tensor) for name, tensor in weights().items())
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "card.json",
        "model.safetensors",
        "vocab.txt",
    ]
    assert (tmp_path / "model/vocab.txt").read_text(encoding="utf-8").splitlines() == list(WORDS)
    assert json.loads((tmp_path / "model/card.json").read_text(encoding="utf-8"))["preprocess"]["image_size"] == 64
    modes = {path.stat().st_mode for path in (tmp_path / "model").iterdir()}
    assert len(modes) == 1  # whoever may read the card may read the weights


def test_the_weights_file_alone_is_a_checkpoint(tmp_path: Path) -> None:
    save(tmp_path, weights(), CARD, WORDS)
    alone = tmp_path / "elsewhere.safetensors"
    (tmp_path / "model.safetensors").rename(alone)
    assert read(alone).card == CARD
    assert read(alone).vocabulary == WORDS


def test_half_precision_is_read_as_floats_and_too_large_values_stay_finite(tmp_path: Path) -> None:
    large = weights() | {"bias": torch.tensor([1e6, -1e6, 0.1, 2.0])}
    save(tmp_path, large, CARD, WORDS, half=True)
    assert load_file(tmp_path / "model.safetensors")["weight"].dtype == torch.float16
    back = read(tmp_path).weights
    assert back["bias"].dtype == torch.float32
    assert back["count"].dtype == torch.int64
    torch.testing.assert_close(back["weight"], weights()["weight"], rtol=1e-3, atol=1e-4)
    assert back["bias"].tolist() == pytest.approx([65504.0, -65504.0, 0.1, 2.0], rel=1e-3)


def test_a_card_can_be_written_anew(tmp_path: Path) -> None:
    save(tmp_path, weights(), CARD, WORDS, half=True)
    scored = replace(CARD, scores={"full": {"val": {"miou": 0.75}}})
    before = read(tmp_path).weights
    write_card(tmp_path, scored)
    assert read_card(tmp_path) == scored == read_card(tmp_path / "model.safetensors")
    assert load_file(tmp_path / "model.safetensors")["weight"].dtype == torch.float16
    assert all(torch.equal(before[name], tensor) for name, tensor in read(tmp_path).weights.items())


def test_a_calibration_stays_with_its_checkpoint(tmp_path: Path) -> None:
    mended = Calibration(scale=1.5, bias=-0.2, data="toyland:val", expressions=900, ece_before=0.2, ece_after=0.03)
    save(tmp_path, weights(), CARD, WORDS)
    write_card(tmp_path, replace(CARD, calibration=mended))
    assert read_card(tmp_path).calibration == mended == read_card(tmp_path / "model.safetensors").calibration
    told = json.loads((tmp_path / "card.json").read_text(encoding="utf-8"))
    told["calibration"]["scale"] = -1.0
    (tmp_path / "card.json").write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(DeixisError, match="positive scale"):
        read_card(tmp_path)


def test_the_mask_rule_is_in_the_card_and_older_cards_have_the_default(tmp_path: Path) -> None:
    rule = MaskRule(kind="min-max", threshold=0.3)
    save(tmp_path, weights(), replace(CARD, mask_rule=rule), WORDS)
    assert read_card(tmp_path).mask_rule == rule
    fields = json.loads((tmp_path / "card.json").read_text(encoding="utf-8"))
    assert fields["mask_rule"] == {"kind": "min-max", "threshold": 0.3, "chosen_on": ""}
    del fields["mask_rule"], fields["preprocess"]["fit"]
    (tmp_path / "card.json").write_text(json.dumps(fields), encoding="utf-8")
    assert read_card(tmp_path).mask_rule == MaskRule()
    assert read_card(tmp_path).preprocess.fit == "stretch"
    fields["mask_rule"] = {"kind": "min-mac"}
    (tmp_path / "card.json").write_text(json.dumps(fields), encoding="utf-8")
    with pytest.raises(InputError, match="'min-mac'"):
        read_card(tmp_path)


def test_a_card_describes_the_score_of_a_prediction() -> None:
    assert CARD.score_means == SCORE_OF_MASK
    assert replace(CARD, config={"presence": True}).score_means == SCORE_OF_HEAD
    assert replace(CARD, config={"presence": False}, score_means="of an older card").score_means == SCORE_OF_MASK


@pytest.mark.parametrize("dies_at", ["vocab.txt", "model.safetensors", "card.json"])
def test_a_kill_while_saving_leaves_a_whole_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_at: str
) -> None:
    save(tmp_path, weights(0), CARD, WORDS)
    rename = os.replace

    def killed(source: Path, target: Path) -> None:
        if Path(target).name == dies_at:
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, weights(1), CARD, WORDS)
    found = read(tmp_path).weights
    written = 1 if dies_at == "card.json" else 0
    assert all(torch.equal(found[name], tensor) for name, tensor in weights(written).items())


def test_weights_that_are_no_numbers_are_neither_saved_nor_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = weights() | {"bias": torch.tensor([0.0, float("nan"), 0.0, 0.0])}
    with pytest.raises(DeixisError, match="'bias' has values that are not finite numbers"):
        save(tmp_path, broken, CARD, WORDS)
    assert not list(tmp_path.iterdir())
    save(tmp_path, weights(), CARD, WORDS)
    kept, header = native._tensors(tmp_path / "model.safetensors")
    native.save_file(kept | {"bias": broken["bias"]}, str(tmp_path / "model.safetensors"), metadata=header)
    with pytest.raises(DeixisError, match="a weight 'bias' with values that are not finite"):
        read(tmp_path)


def test_faults_of_a_checkpoint_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DeixisError, match="There is no checkpoint at"):
        read(tmp_path)
    save(tmp_path, weights(), CARD, WORDS)
    whole = (tmp_path / "model.safetensors").read_bytes()
    for kept in (0, 4, 100, len(whole) - 1):
        (tmp_path / "model.safetensors").write_bytes(whole[:kept])
        with pytest.raises(DeixisError, match="not a safetensors file, or is truncated"):
            read(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(whole)
    words = (tmp_path / "vocab.txt").read_bytes()
    for name, rest in (("card.json", b"{}"), ("vocab.txt", words)):
        (tmp_path / name).write_bytes(b"\xff" + rest)
        with pytest.raises(DeixisError, match=rf"{name} is not text \(invalid start byte\)"):
            read(tmp_path)
        (tmp_path / name).write_bytes(rest)
    (tmp_path / "card.json").write_text("{")
    with pytest.raises(DeixisError, match="is not JSON"):
        read(tmp_path)
    (tmp_path / "card.json").write_text(json.dumps({"system": "linear", "config": {}, "format": 99}))
    with pytest.raises(DeixisError, match="has format 99"):
        read(tmp_path)
    native.save_file(weights() | {"weight": weights()["bias"]}, str(tmp_path / "bare.safetensors"))
    with pytest.raises(DeixisError, match="give a checkpoint that deixis wrote"):
        read(tmp_path / "bare.safetensors")


def test_weights_that_do_not_fit_are_named() -> None:
    system = nn.Linear(3, 4)
    good = {"weight": torch.ones(4, 3), "bias": torch.ones(4)}
    fill(system, good, "The checkpoint x")
    assert (system.weight == 1).all()
    with pytest.raises(DeixisError, match=r"x lacks 1 weights \(bias\)"):
        fill(system, {"weight": good["weight"]}, "The checkpoint x")
    with pytest.raises(DeixisError, match=r"has 1 that the system does not have \(extra\)"):
        fill(system, good | {"extra": good["bias"]}, "The checkpoint x")
    with pytest.raises(DeixisError, match=r"'bias' of shape \[5\], but the system has \[4\]"):
        fill(system, good | {"bias": torch.ones(5)}, "The checkpoint x")


def test_a_system_without_memory_gets_memory_of_its_own() -> None:
    with torch.device("meta"):
        system = nn.Linear(3, 4)
    weights = {"weight": torch.ones(4, 3), "bias": torch.ones(4)}
    fill(system, weights, "The checkpoint x")
    assert all(weight.requires_grad for weight in system.parameters())
    weights["weight"].zero_()
    assert (system.weight == 1).all()
    assert system.weight.dtype == torch.float32


def test_weights_of_eight_bits_are_read_as_floats(tmp_path: Path) -> None:
    save(tmp_path, weights(), CARD, WORDS)
    kept, header = native._tensors(tmp_path / "model.safetensors")
    small = {name: tensor.to(torch.float8_e4m3fn) for name, tensor in kept.items() if tensor.is_floating_point()}
    native.save_file(kept | small, str(tmp_path / "model.safetensors"), metadata=header)
    back = read(tmp_path).weights
    assert back["weight"].dtype == torch.float32
    assert torch.equal(back["weight"], small["weight"].float())


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        ("[" * 100_000, "is not JSON"),
        ("[" * 300 + "]" * 300, "nested deeper than 50 levels"),
        ("9" * 5000, r"is not JSON \(a number of 5000 digits\)"),
    ],
)
def test_a_card_without_end_is_one_sentence(part: str, sentence: str, tmp_path: Path) -> None:
    save(tmp_path, weights(), CARD, WORDS)
    text = (tmp_path / "card.json").read_text(encoding="utf-8")
    (tmp_path / "card.json").write_text(text.replace('"width": 4', f'"width": {part}'), encoding="utf-8")
    for reading in (read, read_card):
        with pytest.raises(DeixisError, match=sentence):
            reading(tmp_path)


def test_a_full_disk_is_one_sentence_and_the_old_weights_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "model", weights(), CARD, WORDS)
    before = (tmp_path / "model/model.safetensors").read_bytes()
    monkeypatch.setattr(native, "save_file", Mock(side_effect=SafetensorError("I/O error: No space left on device")))
    with pytest.raises(DeixisError, match=r"model\.safetensors cannot be written \(I/O error: .*\); is the disk full"):
        save(tmp_path / "model", {name: tensor + 1 for name, tensor in weights().items()}, CARD, WORDS)
    assert (tmp_path / "model/model.safetensors").read_bytes() == before
