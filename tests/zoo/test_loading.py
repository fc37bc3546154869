"""From a name or a path to a Segmenter; everything that can be wrong with a model is one sentence."""

import json
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import deixis
from deixis.checkpoints import native
from deixis.checkpoints.configs import to_dict
from deixis.cli import main
from deixis.data.transforms import Preprocess
from deixis.errors import DeixisError
from deixis.models.vega import VEGAConfig
from deixis.text.bert import BertConfig
from deixis.vision.swin import SwinConfig
from deixis.zoo import bundled, loading
from deixis.zoo.bundled import BUNDLED_MODELS, BundledModel
from deixis.zoo.loading import find, load
from deixis.zoo.systems import SYSTEMS, name_of

BUNDLED = BUNDLED_MODELS["bundled"].folder

TINY = runpy.run_path(str(Path(__file__).parents[1] / "test_systems.py"))["TINY"]
VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "red", "blue", "cup")
CONFIG = VEGAConfig(
    vision=SwinConfig(embed_dim=8, depths=(1, 1, 1, 1), heads=(1, 1, 1, 1), window=4),
    text=BertConfig(layers=1, width=8, heads=1, feed_forward=16, vocabulary=len(VOCABULARY), positions=16),
    width=8,
    heads=1,
    decoder_widths=(8, 8, 8),
)
PHOTO = np.random.default_rng(3).integers(0, 256, (40, 56, 3), dtype=np.uint8)


def weights(seed: int = 0) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return CONFIG.build().state_dict()


def write(folder: Path, tensors: dict[str, Tensor]) -> Path:
    card = native.Card(
        system="vega", config=to_dict(CONFIG), preprocess=Preprocess(image_size=64, max_tokens=8), description="tiny"
    )
    native.save(folder, tensors, card, VOCABULARY)
    return folder


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write(tmp_path / "tiny", weights())


def test_a_checkpoint_answers_as_the_system_that_was_saved(checkpoint: Path) -> None:
    segmenter, system = load(checkpoint, device="cpu"), CONFIG.build().eval()
    system.load_state_dict(weights())
    for name, tensor in segmenter.system.state_dict().items():
        assert torch.equal(tensor, system.state_dict()[name]), name
    prediction = segmenter(PHOTO, "the red cup", explain=True)
    assert prediction.size == (40, 56)
    assert prediction.tokens == ("[CLS]", "the", "red", "cup", "[SEP]")
    assert prediction.evidence["similarity"].shape == (5, 2, 2)
    assert segmenter.card.description == "tiny"
    assert segmenter.name == str(checkpoint)


def test_the_bundled_model_names_no_place_of_the_machine_it_was_made_on() -> None:
    def texts(told: object) -> Iterator[str]:
        if isinstance(told, str):
            yield told
        elif isinstance(told, dict | list):
            for one in told.values() if isinstance(told, dict) else told:
                yield from texts(one)

    card, inside = native.read_card(BUNDLED), native.read(BUNDLED / native.WEIGHTS).card
    assert card == inside
    told = list(texts(to_dict(card)))
    assert "runs/packed-rare" in told
    assert not [text for text in told if re.match(r"[/~\\]|[A-Za-z]:[/\\]", text)]


def test_a_list_of_sentences_is_answered_as_they_are_one_by_one(checkpoint: Path) -> None:
    segmenter = load(checkpoint, device="cpu")
    sentences = ["red", "the blue cup", "the red the red cup"]
    for sentence, prediction in zip(sentences, segmenter(PHOTO, sentences), strict=True):
        assert np.allclose(prediction.probability, segmenter(PHOTO, sentence).probability, atol=1e-5)


def test_more_words_than_the_text_encoder_knows_are_one_sentence(checkpoint: Path) -> None:
    whole = (checkpoint / native.VOCABULARY).read_text()
    (checkpoint / native.VOCABULARY).write_text(whole + "surplus\n")
    with pytest.raises(
        DeixisError, match="a vocabulary of 10 and reads 8 tokens at a time, but its text encoder supports 9"
    ):
        load(checkpoint, device="cpu")
    (checkpoint / native.VOCABULARY).write_text(whole)
    card = (checkpoint / native.CARD).read_text()
    (checkpoint / native.CARD).write_text(card.replace('"max_tokens": 8', '"max_tokens": 17'))
    with pytest.raises(DeixisError, match="reads 17 tokens at a time, but its text encoder supports 9 and 16;"):
        load(checkpoint, device="cpu")


def test_a_folder_its_file_and_a_run_are_all_found(checkpoint: Path, tmp_path: Path) -> None:
    assert find(checkpoint) == checkpoint
    assert find(checkpoint / native.WEIGHTS) == checkpoint / native.WEIGHTS
    run = tmp_path / "run"
    write(run / "last", weights(1))
    assert find(run) == run / "last"
    write(run / "best", weights(2))
    assert find(str(run)) == run / "best"
    assert load(checkpoint / native.WEIGHTS, device="cpu")(PHOTO, "red").size == (40, 56)


def test_the_bundled_model_needs_no_path(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(bundled.BUNDLED_MODELS, "bundled", BundledModel(folder=checkpoint, domain="drawings"))
    assert load(device="cpu").name == "bundled"
    loading._cached.cache_clear()
    one = deixis.segment(PHOTO, "red")
    several = deixis.segment(PHOTO, ["red", "blue"])
    assert np.allclose(one.probability, several[0].probability, atol=1e-5)
    assert loading._cached.cache_info().hits == 1
    loading._cached.cache_clear()
    absent = BundledModel(folder=checkpoint / "absent", domain="drawings")
    for name in BUNDLED_MODELS:
        monkeypatch.setitem(bundled.BUNDLED_MODELS, name, absent)
    with pytest.raises(DeixisError, match="no bundled model"):
        load()


def test_an_unknown_name_is_answered_with_the_nearest(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DeixisError, match=r"no model 'bundeld'. Did you mean 'bundled'\?"):
        load("bundeld")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DeixisError, match=r"no model 'tinny'. Did you mean 'tiny'\?"):
        load("tinny")
    with pytest.raises(DeixisError, match=r"Did you mean '.*tiny'\?"):
        load(tmp_path / "tiny2")


def test_a_folder_without_weights_and_a_foreign_file_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DeixisError, match=r"holds no model\.safetensors"):
        load(tmp_path / "empty")
    (tmp_path / "old.pth").write_bytes(b"PK")
    with pytest.raises(DeixisError, match="deixis checkpoint convert"):
        load(tmp_path / "old.pth")
    (tmp_path / "notes.txt").write_text("not weights")
    with pytest.raises(DeixisError, match="not a safetensors file"):
        load(tmp_path / "notes.txt")


def test_weights_that_are_no_numbers_are_refused(checkpoint: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(checkpoint / native.WEIGHTS)
    name = next(name for name, tensor in tensors.items() if tensor.is_floating_point())
    tensors[name].flatten()[0] = float("nan")
    save_file(tensors, checkpoint / native.WEIGHTS)
    with pytest.raises(DeixisError, match="values that are not finite"):
        load(checkpoint)


def test_weights_of_another_config_or_truncated_are_refused(checkpoint: Path) -> None:
    short = weights()
    dropped = sorted(short)[0]
    del short[dropped]
    with pytest.raises(DeixisError, match=f"lacks 1 weights .{dropped}"):
        load(write(checkpoint, short))
    content = (checkpoint / native.WEIGHTS).read_bytes()
    (checkpoint / native.WEIGHTS).write_bytes(content[: len(content) // 2])
    with pytest.raises(DeixisError, match="truncated"):
        load(checkpoint)


def rewrite_card(checkpoint: Path, **changes: object) -> None:
    """Change fields of the card's config, named with `__` between the levels."""
    card = json.loads((checkpoint / native.CARD).read_text())
    for name, value in changes.items():
        *levels, last = name.split("__")
        part = card["config"]
        for level in levels:
            part = part[level]
        part[last] = value
    (checkpoint / native.CARD).write_text(json.dumps(card))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"heads": 0}, "The card's config of 'vega': VEGA's widths 8 and (8, 8, 8) cannot be shared by 0 heads"),
        ({"text__heads": 0}, "BERT's 'heads' is 0"),
        ({"text__dropout": float("nan")}, "is nan"),
        ({"vision__heads": [0, 1, 1, 1]}, "give numbers of 1 or more"),
        ({"fusion_heads": [0, 1, 1, 1]}, "Fusion 1's 0 heads"),
    ],
)
def test_a_card_with_numbers_out_of_range_is_one_sentence(
    checkpoint: Path, changes: dict[str, object], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rewrite_card(checkpoint, **changes)
    Image.fromarray(PHOTO).save(checkpoint / "photo.png")
    assert main(["segment", str(checkpoint / "photo.png"), "red", "--json", "--model", str(checkpoint)]) == 2
    complaint = capsys.readouterr().err
    assert sentence in complaint
    assert complaint.count("\n") == 1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"text__width": 10**9}, r"of shape \[8, 8\], but the system has \[8, 1000000000\]"),
        ({"text__width": 10**12}, "asks for weights of impossible size"),
        ({"text__positions": 10**9}, r"has \[1000000000, 8\]"),
        ({"text__positions": 10**30}, "a number of 31 digits"),
        ({"vision__window": 10**6}, r"has \[3999996000001, 1\]"),
        ({"text__layers": 10**6}, r"asks for 1000004 layers, but holds \d+ weights; get an unchanged copy"),
        ({"vision__depths": [1, 1, 1, 10**7]}, "asks for 10000004 layers"),
        ({"text__layers": 10}, "lacks 144 weights"),
    ],
)
def test_a_card_that_asks_for_more_than_the_file_holds_is_refused_before_it_is_built(
    checkpoint: Path, changes: dict[str, object], sentence: str
) -> None:
    rewrite_card(checkpoint, **changes)
    with pytest.raises(DeixisError, match=sentence):
        load(checkpoint, device="cpu")


@pytest.mark.parametrize("name", [name for name, config in TINY.items() if config.tokenizer != "clip"])
def test_what_no_checkpoint_holds_is_as_in_a_system_that_was_built(name: str, tmp_path: Path) -> None:
    config: Any = TINY[name]
    vocabulary = ("[PAD]", "[UNK]", "red") if config.tokenizer == "words" else VOCABULARY
    system, preprocess = config.build(), Preprocess(image_size=64, max_tokens=8)
    card = native.Card(system=name, config=to_dict(config), preprocess=preprocess)
    native.save(tmp_path, system.state_dict(), card, vocabulary)
    loaded = load(tmp_path, device="cpu").system
    buffers = dict(system.named_buffers())
    assert buffers.keys() == dict(loaded.named_buffers()).keys()
    assert all(torch.equal(tensor, buffers[of]) for of, tensor in loaded.named_buffers())
    assert [tensor.requires_grad for tensor in loaded.parameters()] == [True] * len(list(system.parameters()))


def test_devices_and_dtypes_are_checked_before_anything_is_read() -> None:
    with pytest.raises(DeixisError, match="'gpu7' cannot be used"):
        load("absent", device="gpu7")
    with pytest.raises(DeixisError, match=r"no dtype 'float23' for models. Did you mean 'float32'\?"):
        load("absent", dtype="float23")


def test_dtype_is_taken_as_a_name_or_as_pytorchs_own(checkpoint: Path) -> None:
    assert load(checkpoint, device="cpu", dtype=torch.bfloat16).dtype == torch.bfloat16
    assert load(checkpoint, device="cpu", dtype="float16").dtype == torch.float16


def test_the_old_name_of_the_bundled_model_still_finds_it() -> None:
    assert find("embedded") == find("bundled") == BUNDLED


def test_a_chain_is_its_last_run_once_that_has_weights(tmp_path: Path) -> None:
    write(tmp_path / "chain/late-fusion/best", weights(1))
    (tmp_path / "chain/chain.json").write_text(json.dumps({"runs": {"late-fusion": {}, "vega": {}}}))
    with pytest.raises(DeixisError, match=r"not trained its last run, 'vega', yet; .*an earlier run \(late-fusion\)"):
        find(tmp_path / "chain")
    write(tmp_path / "chain/vega/best", weights(2))
    assert find(tmp_path / "chain") == tmp_path / "chain/vega/best"


def test_an_encoder_to_start_from_is_not_loaded_as_a_model(checkpoint: Path) -> None:
    card = json.loads((checkpoint / native.CARD).read_text())
    (checkpoint / native.CARD).write_text(json.dumps(card | {"system": "parsing", "config": {}}))  # its old name
    with pytest.raises(DeixisError, match=r"holds an encoder to start a training from \(`--start-from\.checkpoint`\)"):
        load(checkpoint, device="cpu")


def test_every_system_is_known_by_its_config() -> None:
    assert {name: name_of(config) for name, config in TINY.items()} == {name: name for name in SYSTEMS}
