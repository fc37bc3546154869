"""A system outside of the package trains, evaluates and segments like a built-in one, and no card imports anything."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import deixis
from deixis.checkpoints import native
from deixis.cli import main
from deixis.data.transforms import Preprocess
from deixis.errors import InputError
from deixis.runs.data import ToylandData
from deixis.runs.execute import execute
from deixis.runs.run import LEARNED, Run
from deixis.toyland.world import Toyland
from deixis.training.optim import Optimiser
from deixis.training.schedule import Schedule
from deixis.zoo import lookup
from deixis.zoo.systems import name_of, system_named, system_of_card

SOURCE = '''
"""A mean colour of pixels against a mean of words."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from deixis.batch import Batch, Output
from deixis.records import Config


@dataclass(frozen=True, kw_only=True)
class DotConfig(Config):
    width: int = 8
    vocabulary_size: int = 300
    longest_sentence: int = 16
    num_layers: int = 2
    tokenizer: str = "wordpiece"

    def build(self) -> "Dot":
        return Dot(self)


class Dot(nn.Module):
    loss_features: tuple[str, ...] = ()

    def __init__(self, config: DotConfig) -> None:
        super().__init__()
        self.config = config
        self.words = nn.Embedding(config.vocabulary_size, config.width)
        self.pixels = nn.Linear(3, config.width)
        self.register_buffer("scale", torch.tensor(0.5), persistent=False)  # no checkpoint holds it

    def forward(self, batch: Batch, *, features: Iterable[str] = (), explain: bool = False) -> Output:
        pixels = self.pixels(batch.target_frames().permute(0, 2, 3, 1))
        real = batch.token_mask[..., None].float()
        words = (self.words(batch.token_ids) * real).sum(1) / real.sum(1)
        return Output(logits=self.scale * torch.einsum("bhwd,bd->bhw", batch.expand(pixels), words))

    def loss(self, batch: Batch, output: Output) -> dict[str, torch.Tensor]:
        return {"mask": nn.functional.binary_cross_entropy_with_logits(output.logits, batch.masks.float())}
'''
PATH = "deixis_test_plugin.dot:DotConfig"
TOYLAND = ToylandData(num_scenes=2, validation_scenes=1, size=48, packed=None, subsets=("toyland",), validation_limit=4)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Any]]:
    """The config class of a package in the working directory."""
    package = tmp_path / "deixis_test_plugin"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "dot.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield system_named(PATH)
    for name in [name for name in sys.modules if name.startswith("deixis_test_plugin")]:
        del sys.modules[name]


def train(config: Any, out: Path) -> None:
    run = Run(
        data=TOYLAND,
        system=config,
        preprocess=Preprocess(image_size=48, max_tokens=12),
        optimiser=Optimiser(lr=1e-3),
        schedule=Schedule(steps=2, batch_size=4),
        vocabulary=LEARNED,
        workers=0,
    )
    assert execute(run, out, quiet=True).finished


def test_a_system_of_ones_own_trains_evaluates_and_segments(plugin: type[Any], tmp_path: Path) -> None:
    options = ["--system", PATH, "--system.width", "6", "--objective", "supervised", "--vocabulary", "learned"]
    options += [
        "--data.root",
        str(tmp_path / "data"),
        "--data.dataset",
        "refcoco",
    ]
    options += ["--workers", "0", "--schedule.steps", "2", "--schedule.batch-size", "2"]
    options += ["--preprocess.image-size", "48", "--preprocess.max-tokens", "12", "--quiet", "--out", "run"]
    from deixis.toyland.export.refcoco import write_refcoco
    from deixis.toyland.export.trees import Tree

    write_refcoco(tmp_path / "data", Tree(scenes={"train": 2, "val": 1}, size=48, objects_per_scene=2))
    assert main(["train", "vega-small", *options]) == 0
    assert main(["train", "vega-small", *options, "--resume"]) == 0
    card = native.read_card(tmp_path / "run/last")
    assert (card.system, card.config["width"]) == (PATH, 6)
    segmenter = deixis.load("run", system=plugin, device="cpu")
    assert segmenter.system.scale.item() == 0.5
    photo = np.zeros((20, 30, 3), np.uint8)
    assert segmenter(photo, "the red cup").mask.shape == (20, 30)
    result = deixis.evaluate(segmenter, Toyland(split="val", num_scenes=1, size=48), draws=10)
    assert 0 <= result.measures["mIoU"].value <= 100
    Image.fromarray(photo).save("photo.png")
    assert main(["segment", "photo.png", "the red cup", "--model", "run", "--system", PATH, "--out", "out"]) == 0
    options = ["--data", "toyland:val", "--scenes", "1", "--draws", "10", "--quiet", "--system", PATH]
    assert main(["evaluate", "run", *options, "--out", "result.json"]) == 0


def test_a_card_never_causes_an_import(plugin: type[Any], tmp_path: Path) -> None:
    train(plugin(), tmp_path / "run")
    for name in [name for name in sys.modules if name.startswith("deixis_test_plugin")]:
        del sys.modules[name]
    with pytest.raises(InputError, match=r"not part of deixis; if you trust that module, pass it: `--system deixis_te"):
        deixis.load(tmp_path / "run", device="cpu")
    assert "deixis_test_plugin" not in sys.modules


def test_an_installed_package_adds_its_system_by_an_entry_point(
    plugin: type[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = EntryPoint(name="dot", value=PATH, group="deixis.systems")
    monkeypatch.setattr(lookup, "entry_points", lambda group: [point] if group == point.group else [])
    assert system_named("dot") is plugin
    assert name_of(plugin()) == "dot"
    train(plugin(width=4), tmp_path / "run")
    assert native.read_card(tmp_path / "run/last").system == "dot"
    assert deixis.load(tmp_path / "run", device="cpu").system.config == plugin(width=4)
    with pytest.raises(InputError, match=r"There is no system 'dott'\. Did you mean 'dot'\?"):
        system_named("dott")


def test_a_config_that_is_not_the_cards_is_refused(plugin: type[Any]) -> None:
    assert system_of_card("vega") is type(deixis.RECIPES["vega_refcoco"]().system)  # type: ignore[union-attr]
    with pytest.raises(InputError, match=r"The checkpoint's system is 'vega', not 'deixis_test_plugin\.dot:DotConfig'"):
        system_of_card("vega", plugin)


def test_a_system_is_named_by_its_config(plugin: type[Any]) -> None:
    assert name_of(plugin()) == PATH
    assert name_of(replace(deixis.RECIPES["vega_refcoco"]().system)) == "vega"  # type: ignore[union-attr, type-var]
