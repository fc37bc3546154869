"""Published Swin weights in three spellings, against transformers' own Swin with the same random weights."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import SwinConfig as PublishedConfig
from transformers import SwinModel

from deixis.errors import DeixisError
from deixis.vision.pretrained import load_pretrained, stretch_position_bias
from deixis.vision.swin import Swin, SwinConfig

SIZE = SwinConfig(embed_dim=8, depths=(2, 2, 2, 2), heads=(1, 2, 2, 4), window=4, drop_path=0.0)


@pytest.fixture(scope="module")
def published() -> SwinModel:
    torch.manual_seed(0)
    config = PublishedConfig(embed_dim=8, depths=[2, 2, 2, 2], num_heads=[1, 2, 2, 4], window_size=4, image_size=160)
    model = SwinModel(config, add_pooling_layer=False).eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return model


def new_spelling(model: SwinModel) -> dict[str, Tensor]:
    """As transformers names them in memory."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def hub_spelling(model: SwinModel) -> dict[str, Tensor]:
    """As the files on the hub name them, with a classifier's head."""
    renamed = {}
    for name, tensor in new_spelling(model).items():
        name = re.sub(r"attention\.([qkv])_proj", lambda m: "attention.self." + WHOLE[m[1]], name)
        name = name.replace("attention.o_proj", "attention.output.dense")
        name = name.replace("attention.relative_position_bias.relative", "attention.self.relative")
        name = name.replace("mlp.fc1", "intermediate.dense").replace("mlp.fc2", "output.dense")
        renamed[f"swin.{name}"] = tensor
    index = "swin.encoder.layers.0.blocks.0.attention.self.relative_position_index"
    return renamed | {index: torch.zeros(16, 16, dtype=torch.long), "classifier.weight": torch.zeros(5, 64)}


WHOLE = {"q": "query", "k": "key", "v": "value"}


def original_spelling(model: SwinModel) -> dict[str, Tensor]:
    """As the authors' own files name them: queries, keys and values in one."""
    state, renamed = new_spelling(model), {}
    for name, tensor in state.items():
        if re.search("[kv]_proj", name):
            continue
        if "q_proj" in name:
            tensor = torch.cat([state[name.replace("q_proj", f"{part}_proj")] for part in "qkv"])
        for ours, theirs in (
            ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
            ("embeddings.norm", "patch_embed.norm"),
            ("encoder.", ""),
            ("layernorm_before", "norm1"),
            ("layernorm_after", "norm2"),
            ("attention.q_proj", "attn.qkv"),
            ("attention.o_proj", "attn.proj"),
            ("attention.relative_position_bias.", "attn."),
        ):
            name = name.replace(ours, theirs)
        renamed[re.sub("^layernorm", "norm", name)] = tensor
    mask = {"layers.0.blocks.1.attn_mask": torch.zeros(100, 16, 16), "head.bias": torch.zeros(5)}
    return renamed | mask


@pytest.mark.parametrize("spelling", [new_spelling, hub_spelling, original_spelling])
def test_every_spelling_gives_the_maps_of_transformers(published: SwinModel, spelling, tmp_path: Path) -> None:
    weights = spelling(published)
    if spelling is original_spelling:
        path = tmp_path / "swin.pth"
        torch.save({"model": weights}, path)
    else:
        path = tmp_path / "model.safetensors"
        save_file(weights, path)
    swin = Swin(SIZE).eval()
    load_pretrained(swin, path)
    images = torch.randn(2, 3, 160, 148, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        theirs = published(images, output_hidden_states=True, interpolate_pos_encoding=True)
        maps = swin(images)
        torch.testing.assert_close(swin.embed(images).flatten(1, 2), theirs.hidden_states[0], atol=1e-4, rtol=1e-4)
        for stage in range(3):
            merged = swin.merge(stage, maps[stage]).flatten(1, 2)
            torch.testing.assert_close(merged, theirs.hidden_states[stage + 1], atol=1e-4, rtol=1e-4)
        last = published.layernorm(maps[3].flatten(1, 2))
        torch.testing.assert_close(last, theirs.last_hidden_state, atol=1e-4, rtol=1e-4)


def test_another_window_stretches_the_position_biases(published: SwinModel, tmp_path: Path) -> None:
    torch.save({"model": original_spelling(published)}, tmp_path / "swin.pth")
    swin = Swin(SwinConfig(embed_dim=8, depths=SIZE.depths, heads=SIZE.heads, window=6, coordinates=True))
    before = [part.coordinates.weight.clone() for part in (swin.patches, *swin.mergers)]
    load_pretrained(swin, tmp_path / "swin.pth")
    assert swin.stages[0][0].attention.position_bias.shape == (121, 1)
    torch.testing.assert_close([part.coordinates.weight for part in (swin.patches, *swin.mergers)], before)


def test_stretching_keeps_constants_centre_and_symmetry() -> None:
    torch.testing.assert_close(stretch_position_bias(torch.full((49, 2), 3.0), 7), torch.full((169, 2), 3.0))
    y, x = torch.meshgrid(torch.arange(-3.0, 4), torch.arange(-3.0, 4), indexing="ij")
    table = torch.stack([y * x, y**2 + x], dim=-1).flatten(0, 1)
    stretched = stretch_position_bias(table, 6).unflatten(0, (11, 11))
    assert stretched[5, 5, 0].abs() < 1e-5
    torch.testing.assert_close(stretched[..., 0], stretched[..., 0].flip(0, 1), atol=1e-5, rtol=1e-5)
    assert stretch_position_bias(table, 4) is table


def test_a_file_that_does_not_fit_says_what_is_wrong(published: SwinModel, tmp_path: Path) -> None:
    path, weights = tmp_path / "swin.pth", original_spelling(published)

    def load(tensors: dict[str, Tensor], config: SwinConfig = SIZE) -> None:
        torch.save({"model": tensors}, path)
        load_pretrained(Swin(config), path)

    lacking = {name: tensor for name, tensor in weights.items() if name != "layers.1.blocks.0.norm1.bias"}
    with pytest.raises(DeixisError, match=r"missing stages\.1\.0\.attention_norm\.bias; unexpected nothing"):
        load(lacking)
    with pytest.raises(DeixisError, match=r"unexpected stages\.2\.1\."):
        load(weights, SwinConfig(embed_dim=8, depths=(2, 2, 1, 2), heads=SIZE.heads, window=4))
    with pytest.raises(DeixisError, match=r"of shape \[8, 48\], and this Swin wants \[16, 48\]"):
        load(weights, SwinConfig(embed_dim=16, depths=SIZE.depths, heads=SIZE.heads, window=4))
    with pytest.raises(DeixisError, match="is no Swin: it has absolute_pos_embed"):
        load(weights | {"absolute_pos_embed": torch.zeros(1)})


@pytest.mark.parametrize("name", ["swin.pth", "swin.safetensors"])
def test_a_file_that_is_no_checkpoint_is_one_sentence(name: str, tmp_path: Path) -> None:
    with pytest.raises(DeixisError, match="There are no weights"):
        load_pretrained(Swin(SIZE), tmp_path / name)
    for content in (b"", b"<html></html>", bytes(range(200))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(
            DeixisError, match=r"not a safetensors file, or is truncated|is empty|web page|cannot be read safely"
        ):
            load_pretrained(Swin(SIZE), tmp_path / name)


@pytest.mark.parametrize("held", [{"model": None}, {"model": [1]}, {}, {"model": {"x": 1}}])
def test_a_file_without_tensors_is_one_sentence(held: dict[str, object], tmp_path: Path) -> None:
    torch.save(held, tmp_path / "swin.pth")
    with pytest.raises(DeixisError, match="is no Swin: it has nothing; give a published Swin's weights"):
        load_pretrained(Swin(SIZE), tmp_path / "swin.pth")


TABLE = "layers.0.blocks.0.attn.relative_position_bias_table"


@pytest.mark.parametrize("shape", [(170, 1), (49, 1, 1), (0, 1), (49, 0), (), (16, 1)])
def test_a_position_table_of_no_window_is_one_sentence(
    published: SwinModel, shape: tuple[int, ...], tmp_path: Path
) -> None:
    torch.save({"model": original_spelling(published) | {TABLE: torch.zeros(shape)}}, tmp_path / "swin.pth")
    with pytest.raises(DeixisError, match=r"stages\.0\.0\.attention\.position_bias of shape .* get an unchanged copy"):
        load_pretrained(Swin(SIZE), tmp_path / "swin.pth")


def test_queries_and_keys_that_cannot_be_joined_are_one_sentence(published: SwinModel, tmp_path: Path) -> None:
    key = "encoder.layers.0.blocks.0.attention.k_proj.weight"
    assert key in new_spelling(published)
    for broken in (torch.zeros(8, 9), torch.tensor(0.0)):
        save_file(new_spelling(published) | {key: broken}, tmp_path / "model.safetensors")
        with pytest.raises(DeixisError, match=r"missing stages\.0\.0\.attention\.qkv\.weight"):
            load_pretrained(Swin(SIZE), tmp_path / "model.safetensors")


def test_values_that_are_no_numbers_are_named_before_anything_is_filled(published: SwinModel, tmp_path: Path) -> None:
    weights = original_spelling(published)
    weights["layers.2.blocks.1.mlp.fc1.bias"][3] = float("nan")
    torch.save({"model": weights}, tmp_path / "swin.pth")
    swin = Swin(SIZE)
    before = swin.patches.projection.weight.clone()
    with pytest.raises(
        DeixisError, match=r"swin\.pth has a weight 'stages\.2\.1\.mlp\.0\.bias' with values that are no"
    ):
        load_pretrained(swin, tmp_path / "swin.pth")
    assert torch.equal(swin.patches.projection.weight, before)
