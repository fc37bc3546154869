"""Pictures of a SaG's entities from the command line and from the example."""

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deixis.checkpoints import native
from deixis.checkpoints.configs import to_dict
from deixis.cli import main
from deixis.data.transforms import Preprocess
from deixis.models.sag import SaGConfig
from deixis.records import MaskRule
from deixis.text.bert import BertConfig
from deixis.text.tokenizer import SPECIAL
from deixis.vision.vit import ViTConfig
from deixis.viz.entities import gaussian_colours
from deixis.viz.layout import GREY

EXAMPLE = Path(__file__).parents[2] / "examples" / "6_entities.py"
TINY = SaGConfig(
    vision=ViTConfig(layers=1, width=16, heads=2, grid=3, drop_path=0.0),
    text=BertConfig(layers=1, width=16, heads=2, feed_forward=32, vocabulary=30, positions=16, dropout=0.0),
    width=16,
    gaussians=3,
    samples=2,
    iterations=1,
    heads=2,
    head_width=8,
    interaction_head_width=8,
    fusion_head_width=8,
    noise="sample",
)


def save(folder: Path, config: SaGConfig) -> str:
    torch.manual_seed(0)
    card = native.Card(
        system="sag",
        config=to_dict(config),
        preprocess=Preprocess(image_size=48, max_tokens=8),
        mask_rule=MaskRule(kind="min-max"),
        description="tiny",
    )
    native.save(folder, config.build().state_dict(), card, (*SPECIAL, "the", "red", "cup"))
    return str(folder)


@pytest.fixture
def photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)).save("photo.png")
    return "photo.png"


def colours_of(picture: np.ndarray) -> list[bool]:
    """Which of the three Gaussians' colours are in the picture."""
    return [bool((picture == colour).all(axis=2).any()) for colour in gaussian_colours(3)]


def test_explain_draws_every_entity_framed_by_its_gaussian(photo: str, tmp_path: Path) -> None:
    model = save(tmp_path / "sag", TINY)
    assert main(["segment", photo, "the red cup", "--model", model, "--explain", "--out", "out"]) == 0
    (drawn,) = (tmp_path / "out").glob("*-evidence.png")
    assert all(colours_of(np.asarray(Image.open(drawn))))


def test_without_noise_the_entities_of_a_gaussian_are_drawn_once(photo: str, tmp_path: Path) -> None:
    heights = {}
    for noise in ("mean", "sample"):
        config = replace(TINY, gaussians=4, samples=3, noise=noise)
        model = save(tmp_path / noise, config)
        assert main(["segment", photo, "the red cup", "--model", model, "--explain", "--out", f"out-{noise}"]) == 0
        (drawn,) = (tmp_path / f"out-{noise}").glob("*-evidence.png")
        heights[noise] = Image.open(drawn).height
    assert heights["sample"] > heights["mean"]  # 13 pictures in three rows against 5 in one


def test_the_example_compares_the_slots_of_runs(photo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [save(tmp_path / slots, replace(TINY, slots=slots)) for slots in ("entity", "random", "query")]
    example = runpy.run_path(str(EXAMPLE))["main"]
    example(photo, "the red cup", *runs)
    assert capsys.readouterr().out.split() == ["out/entities.png", "out/slots.png"]
    assert all(colours_of(np.asarray(Image.open("out/entities.png"))))
    compared = np.asarray(Image.open("out/slots.png"))
    grey = (compared == GREY).all(axis=2).sum(axis=1)
    assert grey.max() > 6 * 100  # the edges of frames: query slots have no Gaussian
    with pytest.raises(SystemExit, match="these have no entities: bundled"):
        example(photo, "the red cup", "bundled")
