"""Published LAVT files in every layout they come in, and files that are no such thing."""

import json
import os
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from deixis.checkpoints.configs import from_dict
from deixis.checkpoints.official import read_official
from deixis.errors import DeixisError
from deixis.models.lavt import LAVT, LAVTConfig

NAMES = Path(__file__).parents[1] / "goldens" / "lavt_small_w7.json"
SMALLER = {768: 64, 30522: 20}  # BERT's width and vocabulary, so that files stay small


@pytest.fixture(scope="module")
def parts() -> dict[str, dict[str, Tensor]]:
    torch.manual_seed(0)
    named = json.loads(NAMES.read_text())["state_dict"]
    made = {
        part: {name: torch.randn(shrink(part, name, shape)) * 0.02 for name, shape in names.items()}
        for part, names in named.items()
    }
    made["model"]["backbone.layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(49, 49, dtype=torch.long)
    made["model"]["classifier.bn1_4.num_batches_tracked"] = torch.tensor(7)
    return made


def shrink(part: str, name: str, shape: list[int]) -> list[int]:
    reads_words = part == "bert_model" or "f_key" in name or "f_value" in name
    return [SMALLER.get(side, side) for side in shape] if reads_words else shape


def write(path: Path, model: Any, bert: Any = None, **rest: Any) -> Path:
    torch.save({"model": model} | ({} if bert is None else {"bert_model": bert}) | rest, path)
    return path


def test_the_two_part_layout_is_read_with_its_arguments(parts: dict, tmp_path: Path) -> None:
    path = write(
        tmp_path / "lavt.pth",
        *parts.values(),
        epoch=39,
        optimizer={"state": {}, "param_groups": [{"lr": 1e-5}]},
        args=Namespace(mha="1-2-1-4", swin_type="base", lr=5e-5),
    )
    checkpoint = read_official(path)
    assert checkpoint.system == "lavt"
    assert checkpoint.config == {
        "vision": {"embed_dim": 32, "depths": [2, 2, 2, 2], "heads": [1, 2, 4, 8], "window": 7},
        "text": {"layers": 2, "width": 64, "heads": 1, "feed_forward": 512, "vocabulary": 20, "positions": 512},
        "fusion_heads": [1, 2, 1, 4],
        "decoder_width": 128,
    }
    model = LAVT(from_dict(LAVTConfig, checkpoint.config))
    left = model.load_state_dict(checkpoint.state_dict, strict=False)
    assert left.unexpected_keys == []
    assert all(name.endswith("num_batches_tracked") for name in left.missing_keys)
    assert model.decoder.levels[0].bn1.num_batches_tracked == 7


def test_every_layout_holds_the_same_weights(parts: dict, tmp_path: Path) -> None:
    model, bert = parts["model"], parts["bert_model"]
    bare = {name: tensor for name, tensor in bert.items() if not name.startswith("pooler.")}
    files = (
        write(tmp_path / "two.pth", model, bert),
        write(tmp_path / "no_pooler.pth", model, bare),
        write(tmp_path / "one.pth", model | {f"text_encoder.{name}": tensor for name, tensor in bare.items()}),
        write(tmp_path / "wrapped.pth", *({f"module.{k}": v for k, v in part.items()} for part in (model, bert))),
    )
    expected = read_official(files[0])
    assert expected.config["fusion_heads"] == [1, 1, 1, 1]
    for path in files[1:]:
        checkpoint = read_official(path)
        assert checkpoint.config == expected.config
        assert checkpoint.state_dict.keys() == expected.state_dict.keys()
        assert all(torch.equal(tensor, checkpoint.state_dict[name]) for name, tensor in expected.state_dict.items())


def without(tensors: dict[str, Tensor], *names: str) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if name not in names}


def test_a_missing_or_unknown_weight_is_named(parts: dict, tmp_path: Path) -> None:
    model, bert = parts["model"], parts["bert_model"]
    lacking = without(model, "backbone.layers.2.blocks.1.mlp.fc1.weight")
    with pytest.raises(DeixisError, match=r"a\.pth lacks fusion\.vision\.stages\.2\.1\.mlp\.0\.weight;"):
        read_official(write(tmp_path / "a.pth", lacking, bert))
    with pytest.raises(DeixisError, match=r"has classifier\.extra, which LAVT does not know"):
        read_official(write(tmp_path / "b.pth", model | {"classifier.extra": torch.zeros(1)}, bert))
    with pytest.raises(DeixisError, match="has no BERT"):
        read_official(write(tmp_path / "c.pth", model))
    with pytest.raises(DeixisError, match="no LAVT or MagNet checkpoint: it has conv1"):
        read_official(write(tmp_path / "d.pth", {"conv1": torch.zeros(1)}))
    lacking = without(bert, "encoder.layer.1.output.dense.bias")
    with pytest.raises(DeixisError, match=r"lacks text\.bert\.encoder\.layer\.1\.output\.dense\.bias"):
        read_official(write(tmp_path / "e.pth", model, lacking))


def test_a_stage_that_is_absent_is_named(parts: dict, tmp_path: Path) -> None:
    kept = {name: tensor for name, tensor in parts["model"].items() if not name.startswith("backbone.layers.3.")}
    with pytest.raises(DeixisError, match=r"lacks fusion\.fusions\.3\."):
        read_official(write(tmp_path / "short.pth", kept, parts["bert_model"]))


def test_values_that_are_no_numbers_are_named(parts: dict, tmp_path: Path) -> None:
    broken = parts["model"] | {"classifier.conv1_1.bias": torch.tensor([0.0, float("nan")])}
    with pytest.raises(DeixisError, match=r"no numbers in decoder\.classes\.bias"):
        read_official(write(tmp_path / "nan.pth", broken, parts["bert_model"]))


class Evil:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.trace),)


def test_nothing_in_a_file_is_executed(parts: dict, tmp_path: Path) -> None:
    path = write(tmp_path / "evil.pth", parts["model"], parts["bert_model"], args=Evil(tmp_path / "trace"))
    with pytest.raises(DeixisError, match=r"evil\.pth cannot be read safely"):
        read_official(path)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"\n <!DOCTYPE html><html>Not found</html>", "is a web page"),
        (b"PK\x03\x04 and then nothing", "truncated or no checkpoint"),
        (b"some text\n", "checkpoint"),
        (bytes(range(256)) * 8, "checkpoint"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_one_sentence(content: bytes, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    path.write_bytes(content)
    with pytest.raises(DeixisError, match=sentence) as caught:
        read_official(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_truncated_file_and_a_file_that_is_not_there(parts: dict, tmp_path: Path) -> None:
    path = write(tmp_path / "whole.pth", *parts.values())
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(DeixisError, match="truncated"):
        read_official(path)
    with pytest.raises(DeixisError, match="There is no checkpoint file"):
        read_official(tmp_path / "absent.pth")
    torch.save([1, 2], path)
    with pytest.raises(DeixisError, match="holds a list"):
        read_official(path)
