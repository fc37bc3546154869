"""Early fusion: sharing an image changes the cost only."""

import pytest
import torch
from torch import nn

from deixis.layers.early_fusion import EarlyFusion


class CountingVision(nn.Module):
    """A small encoder with four stages that records the number of images of its first stage."""

    widths = (4, 8, 16, 32)

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []
        self.patches = nn.Linear(3, 4)
        self.blocks = nn.ModuleList(nn.Linear(width, width) for width in self.widths)
        self.mergers = nn.ModuleList(nn.Linear(width, 2 * width) for width in self.widths[:-1])

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        return self.patches(images[:, :, ::4, ::4].permute(0, 2, 3, 1))

    def stage(self, index: int, features: torch.Tensor) -> torch.Tensor:
        if index == 0:
            self.seen.append(features.shape[0])
        return features + self.blocks[index](features).tanh()

    def merge(self, index: int, features: torch.Tensor) -> torch.Tensor:
        return self.mergers[index](features[:, ::2, ::2])


@pytest.fixture
def fusion() -> EarlyFusion:
    torch.manual_seed(0)
    return EarlyFusion(CountingVision(), word_width=6, heads=(1, 2, 1, 4))


IMAGES = torch.randn(2, 3, 32, 64, generator=torch.Generator().manual_seed(1))
WORDS = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(2))
MASK = torch.arange(4) < torch.tensor([[4], [2], [3]])
INDEX = torch.tensor([1, 0, 1])


def test_sharing_an_image_equals_giving_it_to_each_expression(fusion: EarlyFusion) -> None:
    shared, _ = fusion(IMAGES, WORDS, MASK, INDEX)
    assert fusion.vision.seen == [2]
    for ours, theirs in zip(shared, fusion(IMAGES[INDEX], WORDS, MASK)[0], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_maps_have_the_strides_of_the_stages_and_are_normalised(fusion: EarlyFusion) -> None:
    maps, attention = fusion(IMAGES, WORDS, MASK, INDEX)
    assert [tuple(features.shape) for features in maps] == [(3, 8, 16, 4), (3, 4, 8, 8), (3, 2, 4, 16), (3, 1, 2, 32)]
    assert [tuple(each.shape) for each in attention] == [(3, 1, 128, 4), (3, 2, 32, 4), (3, 1, 8, 4), (3, 4, 2, 4)]
    for features in maps[:3]:
        torch.testing.assert_close(features.mean(-1), torch.zeros(features.shape[:-1]), atol=1e-4, rtol=0)


def test_a_closed_gate_keeps_the_words_out_of_the_encoder(fusion: EarlyFusion) -> None:
    for gate in fusion.gates:
        nn.init.zeros_(gate.gate.weight)
    features, inner = fusion.vision.embed(IMAGES), []
    for index in range(4):
        features = fusion.vision.stage(index, features)
        inner.append(fusion.norms[index](fusion.fusions[index](features[INDEX], WORDS, MASK)[0]))
        features = fusion.vision.merge(index, features) if index < 3 else features
    for ours, expected in zip(fusion(IMAGES, WORDS, MASK, INDEX)[0], inner, strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def test_an_open_gate_adds_the_fused_map_to_the_next_stages_input(
    fusion: EarlyFusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    fusion.gates = nn.ModuleList(nn.Identity() for _ in fusion.gates)  # fully open
    vision, merged = fusion.vision, []
    merge = vision.merge
    monkeypatch.setattr(vision, "merge", lambda index, given: merged.append(given) or merge(index, given))
    fusion(IMAGES[INDEX], WORDS, MASK)
    features = vision.embed(IMAGES[INDEX])
    for index, given in enumerate(merged):
        features = vision.stage(index, features)
        features = features + fusion.fusions[index](features, WORDS, MASK)[0]
        torch.testing.assert_close(given, features)
        features = merge(index, features)
    assert len(merged) == 3


def test_every_weight_gets_gradient(fusion: EarlyFusion) -> None:
    maps, _ = fusion(IMAGES, WORDS, MASK, INDEX)
    weights = [torch.randn_like(features) for features in maps]
    sum((features * weight).sum() for features, weight in zip(maps, weights, strict=True)).backward()
    assert [name for name, weight in fusion.named_parameters() if weight.grad is None or not weight.grad.any()] == []
