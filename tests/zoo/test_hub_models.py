"""GroupViT and MaskCLIP from files in transformers' format: the numbers are those of transformers."""

import json
import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from transformers import CLIPTokenizer

from deixis import hub
from deixis.batch import Batch
from deixis.cli import main
from deixis.errors import InputError, ModelError
from deixis.models.maskclip import MaskCLIP
from deixis.zoo import hub_models
from deixis.zoo.hub_models import CLIP_MEAN, HUB_MODELS, convert_folder
from deixis.zoo.loading import load

published = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("published_clip.py"))))
WRITERS: dict[str, Any] = {"clip": published.write_clip, "groupvit": published.write_groupvit}
FEW = ("--scenes", "1", "--limit", "4", "--draws", "40")
SENTENCES = ["the red cup", "photo of the thing", "cup"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache as a folder of repositories, and a cache of ours; nothing reaches the network."""
    place = tmp_path / "hub"

    def cached(repository: str, file: str) -> Path | None:
        found = place / repository / file
        return found if found.exists() else None

    def fail(repository: str, file: str, revision: str | None = None, *, instead: str) -> Path:
        raise ModelError(f"{file} of {repository} could not be downloaded (no network); {instead}.")

    monkeypatch.setattr(hub, "cached", cached)
    monkeypatch.setattr(hub, "download", fail)
    monkeypatch.setenv("DEIXIS_CACHE", str(tmp_path / "own"))
    monkeypatch.chdir(tmp_path)
    return place


def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)


def theirs_batch(folder: Path, batch: Batch) -> dict[str, Any]:
    """What transformers reads for the batch of one image."""
    read = CLIPTokenizer.from_pretrained(folder)(SENTENCES, padding=True, return_tensors="pt")
    return {"pixel_values": batch.images[:, 0], **read}


def test_groupvit_gives_the_expression_the_segments_that_it_wins(cache: Path) -> None:
    repository = cache / HUB_MODELS["groupvit"].repository
    model = published.write_groupvit(repository)
    segmenter = load("groupvit", device="cpu")
    segmenter.preprocess = replace(segmenter.preprocess, image_size=32)  # transformers reads no other size
    batch = segmenter.batch(photo(), SENTENCES)
    output = segmenter.predict(batch, explain=True)
    queries = CLIPTokenizer.from_pretrained(repository)(
        [*SENTENCES, "a photo of a nothing"], padding=True, return_tensors="pt"
    )
    with torch.no_grad():
        right = model(pixel_values=batch.images[:, 0], output_segmentation=True, **queries)
        first, second = right.vision_model_output.attentions
        groups = F.interpolate((second @ first).unflatten(-1, (4, 4)), (32, 32), mode="bilinear", align_corners=False)
        embeddings = F.normalize(model.visual_projection(right.vision_model_output.last_hidden_state[0]), dim=-1)
        cosine = embeddings @ right.text_embeds.T
    torch.testing.assert_close(output.evidence["segment_similarity"][:3], cosine[:, :3].T, atol=1e-5, rtol=0)
    winner = groups.argmax(1)[0]
    assert len(winner.unique()) > 1
    for place in range(3):
        margin = (cosine[:, place] - cosine[:, 3])[winner]
        torch.testing.assert_close(output.logits[place], 100 * margin, atol=1e-3, rtol=0)
        assert torch.equal(output.logits[place] > 0, (cosine[:, place] > cosine[:, 3])[winner])


def last_block_by_hand(model: Any, pixels: torch.Tensor, *, plain: bool) -> torch.Tensor:
    """Each patch's unit feature from the states before the last block."""
    seen = model.vision_model(pixels, output_hidden_states=True, interpolate_pos_encoding=True)
    tokens = seen.hidden_states[-2][:, 1:]
    last = model.vision_model.encoder.layers[-1]
    value = last.self_attn.out_proj(last.self_attn.v_proj(last.layer_norm1(tokens)))
    if not plain:
        value = value + tokens
        value = value + last.mlp(last.layer_norm2(value))
    return F.normalize(model.visual_projection(model.vision_model.post_layernorm(value)), dim=-1)


@pytest.mark.parametrize("plain", [False, True])
def test_maskclip_is_the_cosine_of_patches_and_expression(cache: Path, plain: bool) -> None:
    repository = cache / HUB_MODELS["maskclip"].repository
    model = published.write_clip(repository)
    segmenter = load("maskclip", device="cpu")
    system: Any = segmenter.system
    system.config = replace(system.config, plain_value=plain)
    segmenter.preprocess = replace(segmenter.preprocess, image_size=48)  # positions are interpolated
    batch = segmenter.batch(photo(), SENTENCES)
    output = segmenter.predict(batch, explain=True)
    with torch.no_grad():
        read = theirs_batch(repository, batch)
        patches = last_block_by_hand(model, read.pop("pixel_values"), plain=plain)
        texts = F.normalize(model.get_text_features(**read).pooler_output, dim=-1)
        cosine = (patches[0] @ texts.T).T.unflatten(-1, (6, 6))
    torch.testing.assert_close(output.evidence["similarity"], cosine, atol=1e-5, rtol=0)
    upsampled = F.interpolate(cosine[:, None], (48, 48), mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(2 * output.logits.sigmoid() - 1, upsampled, atol=1e-5, rtol=0)


def test_maskclips_mask_is_the_upper_half_of_the_rescaled_map(cache: Path) -> None:
    published.write_clip(cache / HUB_MODELS["maskclip"].repository)
    segmenter = load("maskclip", device="cpu")
    prediction = segmenter(photo(), "the red cup")
    values = prediction.probability
    low, high = values.min(), values.max()
    assert high > low
    assert np.array_equal(prediction.mask, values - low >= 0.5 * (high - low))
    assert prediction.mask.shape == (40, 56)


def test_as_published_has_another_activation_epsilon_and_mean(cache: Path) -> None:
    published.write_clip(cache / HUB_MODELS["maskclip"].repository)
    plain, other = load("maskclip", device="cpu"), load("maskclip-as-published", device="cpu")
    for segmenter, name, epsilon, mean in ((plain, "quick_gelu", 1e-5, CLIP_MEAN), (other, "gelu", 1e-6, None)):
        system = segmenter.system
        assert isinstance(system, MaskCLIP)
        assert system.clip.config.vision_config.hidden_act == system.clip.config.text_config.hidden_act == name
        assert system.clip.vision_model.post_layernorm.eps == epsilon
        assert segmenter.preprocess.image_size == 512
        assert segmenter.preprocess.mean == (mean or (0.485, 0.456, 0.406))


def test_the_embeddings_that_are_trained_are_clips_own(cache: Path) -> None:
    repository = cache / HUB_MODELS["maskclip"].repository
    model = published.write_clip(repository)
    segmenter = load("maskclip", device="cpu")
    segmenter.preprocess = replace(segmenter.preprocess, image_size=32)
    batch = segmenter.batch(photo(), SENTENCES)
    with torch.no_grad():
        found = segmenter.system(batch, features=("image", "sentence")).features
        read = theirs_batch(repository, batch)
        image = model.get_image_features(pixel_values=read.pop("pixel_values")).pooler_output
        texts = model.get_text_features(**read).pooler_output
    torch.testing.assert_close(found["image"], F.normalize(image, dim=-1).expand(3, -1), atol=1e-5, rtol=0)
    torch.testing.assert_close(found["sentence"], F.normalize(texts, dim=-1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["groupvit", "maskclip-photo"])
def test_the_command_line_segments_with_it_and_names_what_it_would_fetch(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    Image.fromarray(photo()).save(tmp_path / "photo.png")
    entry = HUB_MODELS[name]
    command = ["segment", "photo.png", "the red cup", "--model", name, "--json", "--device", "cpu"]
    assert main(command) == 2
    complaint = capsys.readouterr().err
    assert "not on this machine, and nothing is downloaded without permission" in complaint
    for said in (entry.repository, f"some {entry.megabytes} MB", "https://huggingface.co/", "--download"):
        assert said in complaint
    assert len(complaint.splitlines()) == 1
    assert main([*command, "--download"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"deixis: fetching {entry.notice} (files that are in the hub's cache are used)"
    assert "could not be downloaded (no network)" in second
    WRITERS[entry.kind](cache / entry.repository)
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["size"] == [40, 56]
    assert main(["checkpoint", "show", name]) == 0
    assert entry.licence in capsys.readouterr().out


def test_a_download_takes_the_older_file_where_there_is_no_newer_one(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published.write_groupvit(tmp_path / "there")
    fetched: list[str] = []

    def download(repository: str, file: str, revision: str | None = None, *, instead: str) -> Path:
        fetched.append(file)
        if not (place := tmp_path / "there" / file).exists():
            raise ModelError("the hub returned 404")
        return place

    monkeypatch.setattr(hub, "download", download)
    assert hub_models.download_notice("groupvit") is not None
    assert load("groupvit", device="cpu", download=True).name == "groupvit"
    assert fetched == ["config.json", "vocab.json", "merges.txt", "model.safetensors", "pytorch_model.bin"]
    assert hub_models.download_notice("groupvit") is None
    assert hub_models.download_notice("lavt") is None


def test_a_folder_is_converted_and_evaluated_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    published.write_groupvit(tmp_path / "theirs")
    assert main(["checkpoint", "convert", "theirs", "ours"]) == 0
    assert main(["evaluate", "ours", "--data", "toyland:val", *FEW, "--json", "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert json.loads(printed[printed.index("{") :])["num_expressions"] == 4
    with pytest.raises(InputError, match="ours exists already"):
        convert_folder(tmp_path / "theirs", tmp_path / "ours")


def test_folders_that_are_not_clips_are_one_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    published.write_clip(folder)
    settings = folder / "config.json"
    plain = json.loads(settings.read_text())
    settings.write_text(json.dumps({**plain, "model_type": "bert"}))
    with pytest.raises(InputError, match="of the kind 'bert'; expected clip or groupvit"):
        convert_folder(folder, tmp_path / "out")
    settings.write_text(json.dumps({**plain, "projection_dim": 13}))
    with pytest.raises(InputError, match=r"has 'clip\.\w+_projection.weight' of shape"):
        convert_folder(folder, tmp_path / "out")
    settings.write_text("{")
    with pytest.raises(InputError, match="cannot be read as JSON"):
        convert_folder(folder, tmp_path / "out")
    (folder / "model.safetensors").unlink()
    (folder / "merges.txt").unlink()
    with pytest.raises(InputError, match=r"lacks merges.txt, model.safetensors or pytorch_model.bin"):
        convert_folder(folder, tmp_path / "out")
