"""Run by `test_export.py` in a process without checks of shapes, which PyTorch's exporter cannot trace."""

import runpy
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import nn

from deixis.batch import Batch, Output
from deixis.checkpoints.card import Card
from deixis.checkpoints.configs import to_dict
from deixis.data.transforms import Preprocess
from deixis.export import writing
from deixis.export.graphs import graphs
from deixis.export.writing import _write, export_model
from deixis.models.late_fusion import LateFusionConfig
from deixis.predict.domain import statistics_of
from deixis.predict.segmenter import Segmenter
from deixis.records import Config
from deixis.text.bert import BertConfig
from deixis.text.tokenizer import SPECIAL, Tokenizer
from deixis.vision.vit import ViTConfig

PHOTO = Path(__file__).parents[2] / "examples" / "toyland.png"
SENTENCES = ["the red thing", "blue", "the thing w1 w2", "red", "the blue thing"]
SIDE, LENGTH, NUM_TOKENS = 64, 12, 40


@dataclass(frozen=True, kw_only=True)
class DotConfig(Config):
    """A pixel's colour times the mean of the words: the smallest system of one graph."""

    tokenizer: str = "wordpiece"
    vocabulary_size: int = NUM_TOKENS
    longest_sentence: int = 8
    num_layers: int = 1
    presence: bool = True

    def build(self) -> "Dot":
        return Dot(self)


class Dot(nn.Module):
    def __init__(self, config: DotConfig) -> None:
        super().__init__()
        self.config = config
        self.words, self.pixels = nn.Embedding(NUM_TOKENS, 8), nn.Linear(3, 8)

    def forward(self, batch: Batch, *, features: Any = (), explain: bool = False) -> Output:
        pixels = batch.expand(self.pixels(batch.target_frames().permute(0, 2, 3, 1)))
        real = batch.token_mask[..., None].float()
        words = (self.words(batch.token_ids) * real).sum(1) / real.sum(1)
        return Output(logits=torch.einsum("bhwd,bd->bhw", pixels, words), presence=1 + words.sum(1))


def tiny() -> dict[str, Any]:
    return runpy.run_path(str(Path(__file__).parents[1] / "test_systems.py"))["TINY"]


def write(folder: Path) -> None:
    """Exports of two small systems, `Dot` of one graph and late fusion of two, and their checkpoints."""
    from deixis.checkpoints import native

    text = BertConfig(layers=1, width=16, heads=2, feed_forward=32, vocabulary=40, positions=24, dropout=0.0)
    late = LateFusionConfig(vit=ViTConfig(layers=1, width=16, heads=2, grid=4, drop_path=0.0), text=text, width=16)
    words = Tokenizer([*SPECIAL, "red", "blue", "thing", "the", *(f"w{number}" for number in range(31))])
    preprocess = Preprocess(image_size=32, max_tokens=8)
    configs: dict[str, Any] = {"dot": DotConfig(), "late_fusion": late}
    for name, config in configs.items():
        torch.manual_seed(1)
        system = config.build().eval()
        card = Card(system=name, config=to_dict(config), preprocess=preprocess, domain="drawings")
        if name == "late_fusion":
            greys = (np.full((32, 32, 3), grey, np.uint8) for grey in range(100, 150))
            card = replace(card, domain_statistics=statistics_of(system, preprocess, greys, "greys"))
        native.save(folder / name, system.state_dict(), card, words.vocabulary)
        one = Segmenter(system, words, preprocess, card, weights=folder / name / native.WEIGHTS, name=name)
        export_model(one, folder / f"{name}-onnx", "onnx")
        if name == "dot":
            written = folder / f"{name}-onnx" / "model.onnx"  # of the same graph, which is traced once
            with patch.object(writing, "_write_onnx", lambda graph, file, written=written: shutil.copy(written, file)):
                export_model(one, folder / f"{name}-openvino", "openvino")
        found = one(PHOTO, SENTENCES)
        np.save(folder / f"{name}.npy", np.stack([each.probability for each in found]))
        (folder / f"{name}.txt").write_text(found[0].notes[-1])


def compare(name: str, folder: Path) -> None:
    """Masks equal PyTorch's on 99.99 % of the pixels, for one, two and three expressions of different lengths."""
    torch.manual_seed(0)
    config = tiny()[name]
    system = config.build().eval().requires_grad_(False)
    for weight in system.parameters():
        weight.copy_(weight + 0.02 * torch.randn_like(weight))  # no layer is at its start
    for part, weight in system.named_parameters():
        if part.endswith("assign.q_proj.weight"):  # GroupViT's choices of random weights are near ties
            weight.mul_(100)
    preprocess = Preprocess(image_size=SIDE, max_tokens=LENGTH)
    traced = graphs(system, preprocess, NUM_TOKENS)  # before any forward pass
    run = [_write(graph, folder / f"{name}{number}.onnx", "onnx") for number, graph in enumerate(traced)]
    for count in (1, 2, 3):
        ids = torch.randint(5, NUM_TOKENS, (count, LENGTH))
        mask = torch.arange(LENGTH) < torch.randint(3, LENGTH, (count, 1))
        images = torch.randn(1 if len(run) == 2 else count, 1, 3, SIDE, SIDE)
        batch = Batch(images=images.expand(count, -1, -1, -1, -1).contiguous(), token_ids=ids, token_mask=mask)
        expected = system(batch if len(run) == 1 else shared(batch)).logits.numpy()
        found = answers(run, system, images, ids.numpy(), mask.numpy())
        assert found.shape == expected.shape
        assert ((found > 0) == (expected > 0)).mean() >= 0.9999, name
        assert np.abs(found - expected).max() <= 1e-3 * np.abs(expected).max(), name


def shared(batch: Batch) -> Batch:
    index = torch.zeros(len(batch), dtype=torch.long)
    return replace(batch, images=batch.images[:1], image_index=index)


def answers(run: list[Any], system: Any, images: torch.Tensor, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    text, seen = {"token_ids": ids, "token_mask": mask}, {"images": images.numpy()}
    if len(run) == 1:
        return run[0]({**seen, **text})[0]
    if hasattr(system, "regions_of"):
        seen["regions"] = system.regions_of(images[:, 0]).numpy()
    features = {f"feature{number}": each for number, each in enumerate(run[0](seen))}
    return run[1]({**text, **features})[0]


if __name__ == "__main__":
    write(Path(sys.argv[1])) if len(sys.argv) == 2 else compare(sys.argv[1], Path(sys.argv[2]))
