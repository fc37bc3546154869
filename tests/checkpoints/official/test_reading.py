"""Published files of LAVT and MagNet in every layout, and files that are something else."""

import os
import runpy
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from deixis.checkpoints.configs import from_dict
from deixis.checkpoints.official.reading import LAYOUTS, OfficialCheckpoint, read_official
from deixis.errors import DeixisError, InputError, ModelError
from deixis.models.lavt import LAVT, LAVTConfig
from deixis.models.magnet import MagNet, MagNetConfig

files = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("published_files.py"))))
TRAINING = {
    "epoch": 39,
    "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-5}]},
    "lr_scheduler": {"last_epoch": 39, "lr_lambdas": [None]},
    "args": Namespace(mha="1-2-1-4", swin_type="base", lr=5e-5, nested=Namespace(deep=[None, "a"])),
}


@pytest.fixture(scope="module")
def parts() -> dict[str, dict[str, Tensor]]:
    return files.lavt()


@pytest.fixture(scope="module")
def magnet() -> dict[str, Tensor]:
    return files.magnet()["model"]


def write(path: Path, model: Any, bert: Any = None, **rest: Any) -> Path:
    return files.save(path, {"model": model} | ({} if bert is None else {"bert_model": bert}), **rest)


def wrapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"module.{name}": tensor for name, tensor in tensors.items()}


def beside(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def same(first: OfficialCheckpoint, second: OfficialCheckpoint) -> bool:
    assert first.config == second.config
    assert first.state_dict.keys() == second.state_dict.keys()
    return all(torch.equal(tensor, second.state_dict[name]) for name, tensor in first.state_dict.items())


def test_the_two_part_layout_is_read_with_its_arguments(parts: dict, tmp_path: Path) -> None:
    checkpoint = read_official(write(tmp_path / "lavt.pth", *parts.values(), **TRAINING))
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


def test_every_layout_of_lavt_holds_the_same_weights(parts: dict, tmp_path: Path) -> None:
    model, bert = parts["model"], parts["bert_model"]
    one = model | beside(bert, "text_encoder.")
    paths = (
        write(tmp_path / "two.pth", model, bert),
        write(tmp_path / "pooler.pth", model, bert | files.POOLER),
        write(tmp_path / "one.pth", one),
        write(tmp_path / "one_wrapped.pth", wrapped(one)),
        write(tmp_path / "wrapped.pth", wrapped(model), wrapped(bert | files.POOLER)),
        write(tmp_path / "positions.pth", model, bert | {"embeddings.position_ids": torch.arange(512)[None]}),
    )
    expected = read_official(paths[0])
    assert expected.config["fusion_heads"] == [1, 1, 1, 1]
    for path in paths[1:]:
        assert same(read_official(path), expected), path.name


def test_magnets_layout_is_read_as_the_network_that_was_published(magnet: dict, tmp_path: Path) -> None:
    checkpoint = read_official(write(tmp_path / "magnet.pth", magnet))
    assert checkpoint.system == "magnet"
    assert checkpoint.config == {
        "vision": {"embed_dim": 32, "depths": [2, 2, 2, 2], "heads": [1, 2, 4, 8], "window": 12},
        "text": {"layers": 4, "width": 64, "heads": 1, "feed_forward": 512, "vocabulary": 20, "positions": 512},
        "fusion_heads": [1, 1, 1, 1],
        "language_fusion": "published",
        "width": 64,
        "mask_width": 32,
        "heads": 4,
        "pixel_layers": 2,
        "pixel_feed_forward": 1024,
        "query_layers": 4,
        "query_feed_forward": 128,
        "presence": False,
        "alignment_weight": 0.0,
    }
    MagNet(from_dict(MagNetConfig, checkpoint.config)).load_state_dict(checkpoint.state_dict)


def test_every_layout_of_magnet_holds_the_same_weights(magnet: dict, tmp_path: Path) -> None:
    pooler = beside(files.POOLER, "language_model.")
    paths = (
        write(tmp_path / "plain.pth", magnet),
        write(tmp_path / "pooler.pth", magnet | pooler),
        write(tmp_path / "wrapped.pth", wrapped(magnet | pooler)),
        write(tmp_path / "trained.pth", magnet, **{**TRAINING, "args": Namespace(mha="")}),
        files.save(tmp_path / "bare.pth", magnet),
    )
    expected = read_official(paths[0])
    for path in paths[1:]:
        assert same(read_official(path), expected), path.name
    with_heads = read_official(write(tmp_path / "heads.pth", magnet, **TRAINING))
    assert with_heads.config == {**expected.config, "fusion_heads": [1, 2, 1, 4]}


def test_files_of_old_pytorch_and_in_half_precision_are_read(magnet: dict, tmp_path: Path) -> None:
    torch.save({"model": magnet}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    expected = read_official(write(tmp_path / "new.pth", magnet))
    assert same(read_official(tmp_path / "old.pth"), expected)
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in magnet.items()}
    checkpoint = read_official(write(tmp_path / "half.pth", half))
    assert {tensor.dtype for tensor in checkpoint.state_dict.values()} == {torch.float32}
    assert torch.allclose(checkpoint.state_dict["referent.query"], expected.state_dict["referent.query"], atol=1e-3)


def without(tensors: dict[str, Tensor], *starts: str) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(starts)}


def test_every_weight_maps_back_to_its_published_name(parts: dict, magnet: dict) -> None:
    flat = {**parts["model"], **beside(parts["bert_model"], "text_encoder.")}
    for layout, official in ((LAYOUTS["lavt"], flat), (LAYOUTS["magnet"], magnet), (LAYOUTS["sag"], files.sag())):
        ours, unknown = layout.rename(official)
        assert not unknown
        assert {layout.original(name) for name in ours} <= official.keys()
        assert layout.original("what.no.rule.makes") == "what.no.rule.makes"


def test_a_missing_or_unknown_weight_is_named(parts: dict, tmp_path: Path) -> None:
    model, bert = parts["model"], parts["bert_model"]
    lacking = without(model, "backbone.layers.2.blocks.1.mlp.fc1.weight")
    with pytest.raises(ModelError, match=r"a\.pth lacks backbone\.layers\.2\.blocks\.1\.mlp\.fc1\.weight;"):
        read_official(write(tmp_path / "a.pth", lacking, bert))
    with pytest.raises(ModelError, match=r"has classifier\.extra, which LAVT does not have"):
        read_official(write(tmp_path / "b.pth", model | {"classifier.extra": torch.zeros(1)}, bert))
    with pytest.raises(ModelError, match="has no BERT, neither in `bert_model` nor as text_encoder"):
        read_official(write(tmp_path / "c.pth", model))
    with pytest.raises(
        InputError, match=r"not a LAVT, MagNet or SaG checkpoint: it has conv1; expected backbone\.layers\.\* or"
    ):
        read_official(write(tmp_path / "d.pth", {"conv1": torch.zeros(1)}))
    lacking = without(bert, "encoder.layer.1.output.dense.bias")
    with pytest.raises(ModelError, match=r"lacks text_encoder\.encoder\.layer\.1\.output\.dense\.bias"):
        read_official(write(tmp_path / "e.pth", model, lacking))


def test_the_first_few_of_many_missing_weights_are_named_and_the_others_counted(magnet: dict, tmp_path: Path) -> None:
    lacking = without(magnet, "classifier.pixel_decoder.input_proj", "lang_proj")
    with pytest.raises(
        ModelError,
        match=r"lacks classifier\.pixel_decoder\.input_proj\.0\.0\.bias, (.+), (.+), (.+) and 12 more; download",
    ):
        read_official(write(tmp_path / "a.pth", lacking))
    surplus = without(magnet, "classifier.predictor.decoder_norm") | beside(magnet, "teacher.")
    many = len(magnet) - 4
    several = rf"lacks (.+)decoder_norm\.bias, (.+)decoder_norm\.weight and has teacher\..+ and {many} more, which"
    with pytest.raises(ModelError, match=several):
        read_official(write(tmp_path / "b.pth", surplus))
    with pytest.raises(ModelError, match="has no BERT"):
        read_official(write(tmp_path / "c.pth", without(magnet, "language_model.")))


def test_a_stage_that_is_absent_is_named(parts: dict, magnet: dict, tmp_path: Path) -> None:
    kept = without(parts["model"], "backbone.layers.3.")
    with pytest.raises(ModelError, match=r"lacks backbone\.layers\.3\."):
        read_official(write(tmp_path / "short.pth", kept, parts["bert_model"]))
    with pytest.raises(ModelError, match=r"lacks image_model\.layers\.3\."):
        read_official(write(tmp_path / "short.pth", without(magnet, "image_model.layers.3.")))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("image_model.patch_embed.proj.weight", (32 * 3 * 16,)),
        ("image_model.patch_embed.proj.weight", (0, 3, 4, 4)),
        ("image_model.layers.0.blocks.0.attn.relative_position_bias_table", (529,)),
        ("classifier.pixel_decoder.transformer.encoder.layers.0.self_attn.attention_weights.weight", ()),
        ("classifier.predictor.transformer_self_attention_layers.0.self_attn.in_proj_weight", ()),
        ("language_model.embeddings.word_embeddings.weight", (20,)),
    ],
)
def test_shapes_that_no_network_has_are_one_sentence(
    magnet: dict, tmp_path: Path, name: str, shape: tuple[int, ...]
) -> None:
    with pytest.raises(ModelError, match=r"of shapes that no MagNet has|lacks|has classifier"):
        read_official(write(tmp_path / "a.pth", magnet | {name: torch.zeros(shape)}))


def test_heads_that_are_not_four_numbers_are_one_sentence(magnet: dict, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"trained with mha='1-two'; expected four numbers such as 1-2-1-4"):
        read_official(write(tmp_path / "a.pth", magnet, args=Namespace(mha="1-two")))


def test_values_that_are_not_finite_are_named(parts: dict, tmp_path: Path) -> None:
    broken = parts["model"] | {"classifier.conv1_1.bias": torch.tensor([0.0, float("nan")])}
    with pytest.raises(ModelError, match=r"a weight 'decoder\.classes\.bias' with values that are not finite"):
        read_official(write(tmp_path / "nan.pth", broken, parts["bert_model"]))


class Evil:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("is_nested", [False, True])
def test_no_code_in_a_file_is_executed(parts: dict, tmp_path: Path, is_nested: bool) -> None:
    evil = Evil(tmp_path / "trace")
    path = write(tmp_path / "evil.pth", *parts.values(), args=Namespace(mha=evil) if is_nested else evil)
    with pytest.raises(ModelError, match=r"evil\.pth cannot be read safely"):
        read_official(path)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"\n <!DOCTYPE html><html>Not found</html>", "is a web page"),
        (b"PK\x03\x04 and then nothing", "truncated, or not a checkpoint"),
        (b"some text\n", "checkpoint"),
        (bytes(range(256)) * 8, "checkpoint"),
    ],
)
def test_a_file_that_is_not_a_checkpoint_is_one_sentence(content: bytes, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=sentence) as caught:
        read_official(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("is_old", [False, True])
def test_a_file_broken_anywhere_is_one_sentence(tmp_path: Path, is_old: bool) -> None:
    path, weights = tmp_path / "file.pth", {"image_model.layers.0.x": torch.arange(6.0)}
    torch.save({"model": weights, "args": Namespace(mha="")}, path, _use_new_zipfile_serialization=not is_old)
    intact = path.read_bytes()
    draw = torch.Generator().manual_seed(0)
    for place in torch.randint(len(intact), (150,), generator=draw).tolist():
        for broken in (intact[:place], intact[:place] + bytes([intact[place] ^ 0x55]) + intact[place + 1 :]):
            path.write_bytes(broken)
            with pytest.raises(DeixisError) as caught:
                read_official(path)
            assert "\n" not in str(caught.value)


def test_a_truncated_file_and_a_missing_file_are_one_sentence(parts: dict, tmp_path: Path) -> None:
    path = write(tmp_path / "intact.pth", *parts.values())
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ModelError, match="truncated"):
        read_official(path)
    with pytest.raises(InputError, match="There is no checkpoint file"):
        read_official(tmp_path / "absent.pth")
    torch.save([1, 2], path)
    with pytest.raises(ModelError, match="holds a list"):
        read_official(path)


@pytest.mark.parametrize("number", ["99999999", "9" * 5000])
def test_a_block_with_an_endless_number_is_one_sentence(magnet: dict, number: str, tmp_path: Path) -> None:
    surplus = f"image_model.layers.1.blocks.{number}.norm1.weight"
    with pytest.raises(ModelError, match=r"lacks image_model\.layers\.1\.blocks\."):
        read_official(write(tmp_path / "a.pth", magnet | {surplus: torch.ones(8)}))
