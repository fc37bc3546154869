"""ViT: published names, position tables of other sizes, and sizes that are not whole patches."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from deixis.errors import InputError
from deixis.vision.vit import ViT, ViTConfig, load_vit, rename_vit, resized_positions

TINY = ViTConfig(layers=2, width=16, heads=2, patch=4, grid=3)


@pytest.fixture
def model() -> ViT:
    torch.manual_seed(0)
    return ViT(TINY).eval()


def test_timms_names_are_ours(model: ViT) -> None:
    weights = model.state_dict()
    published = weights | {"head.weight": torch.zeros(5, 16), "head.bias": torch.zeros(5)}
    renamed = rename_vit(published)
    assert renamed.keys() == weights.keys()
    assert all(torch.equal(renamed[name], weights[name]) for name in weights)


def test_a_file_of_transformers_gives_the_features_of_its_own_vit(model: ViT, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=12,
        patch_size=4,
        layer_norm_eps=1e-5,
    )
    torch.manual_seed(1)
    other = transformers.ViTModel(config, add_pooling_layer=False).eval()
    other.save_pretrained(tmp_path)  # under the names of the published files
    load_vit(model, tmp_path / "model.safetensors")
    images = torch.randn(2, 3, 12, 12)
    with torch.no_grad():
        expected = other(images).last_hidden_state[:, 1:].unflatten(1, (3, 3))
        torch.testing.assert_close(model(images), expected, atol=1e-5, rtol=1e-4)


def test_an_incomplete_attention_is_named() -> None:
    with pytest.raises(InputError, match=r"lack the key, value of blocks\.0\.attn\.qkv\.bias"):
        rename_vit({"encoder.layer.0.attention.attention.query.bias": torch.zeros(4)})


def test_an_image_of_incomplete_patches_is_padded_with_zeros(model: ViT) -> None:
    images = torch.randn(1, 3, 10, 15)
    found = model(images)
    assert found.shape == (1, 3, 4, 16)
    torch.testing.assert_close(found, model(F.pad(images, (0, 1, 0, 2))))


def test_resized_positions_keep_the_class_token_and_a_table_of_the_same_grid() -> None:
    table = torch.randn(1, 1 + 9, 4)
    torch.testing.assert_close(resized_positions(table, 3), table)
    larger = resized_positions(table, 5)
    assert larger.shape == (1, 26, 4)
    assert torch.equal(larger[:, 0], table[:, 0])


def test_a_published_file_fills_a_vit_and_one_of_another_size_is_refused(model: ViT, tmp_path: Path) -> None:
    save_file(model.state_dict(), file := tmp_path / "vit.safetensors")
    other = ViT(TINY)
    load_vit(other, file)
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in other.state_dict().items())
    load_vit(ViT(ViTConfig(layers=2, width=16, heads=2, patch=4, grid=5)), file)
    with pytest.raises(InputError, match=r"expected .*: give the file of a ViT of this size"):
        load_vit(ViT(ViTConfig(layers=2, width=32, heads=2, patch=4, grid=3)), file)
    with pytest.raises(InputError, match="There is no file"):
        load_vit(other, tmp_path / "absent")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"heads": 5}, "not divisible by its 5 heads"),
        ({"layers": 0}, "'layers' is 0"),
        ({"drop_path": 1.0}, "'drop_path'"),
    ],
)
def test_a_wrong_config_is_one_sentence(change: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        ViTConfig(**change)


def test_some_patches_are_encoded_without_the_others(model: ViT) -> None:
    """All of them, in any order, have the features of the whole image; fewer have others."""
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    patches = model.embed(images).flatten(1, 2)
    whole = model(images).flatten(1, 2)
    order = torch.randperm(patches.shape[1], generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(model.encode(patches[:, order]), whole[:, order], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(model.encode(patches[:, :1]), whole[:, :1])
