"""Mutual fusion: words gather pixels as a literal attention does, and each side reads the other's earlier features."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.layers.mutual_fusion import MutualFusion, WordPixelAttention, inverse_deviation, sequence_norm
from deixis.vision.swin import Swin, SwinConfig

MASK = torch.arange(5) < torch.tensor([[5], [3]])


def literal(layer: WordPixelAttention, words: Tensor, features: Tensor, mask: Tensor) -> Tensor:
    """Every pixel becomes a key and a value, instance norms over pixels; then attention word by word, head by head."""
    answers = []
    for tokens, cells, real in zip(words, features.flatten(1, 2), mask, strict=True):
        asks = real.float() if layer.form == "intended" else (~real).float() * -1e4
        query = layer.query(tokens) * asks[:, None]
        key, value = (F.instance_norm(each(cells).T[None])[0].T for each in (layer.key, layer.value))
        rows = []
        for q in query.split(query.shape[1] // layer.heads, dim=1):
            at = len(rows) * q.shape[1]
            part = slice(at, at + q.shape[1])
            scores = q @ key[:, part].T * query.shape[1] ** -0.5
            rows.append(scores.softmax(-1) @ value[:, part])
        gathered = layer.output(torch.cat(rows, dim=1))
        counted = gathered[real] if layer.form == "intended" else gathered
        variance, mean = torch.var_mean(counted, dim=0, correction=0)
        gathered = (gathered - mean) / (variance + 1e-5).sqrt()
        fused = F.gelu(layer.fuse(F.gelu(layer.words(tokens)) * gathered))
        answers.append(fused * real[:, None] if layer.form == "intended" else fused)
    return torch.stack(answers)


@pytest.mark.parametrize("form", ["intended", "published"])
@pytest.mark.parametrize("heads", [1, 4])
def test_words_gather_pixels_as_a_literal_attention_does(form: str, heads: int) -> None:
    torch.manual_seed(0)
    layer = WordPixelAttention(16, 8, heads, form).double()
    words = torch.randn(2, 5, 16, dtype=torch.double, requires_grad=True)
    features = (torch.randn(2, 3, 4, 8, dtype=torch.double) * 3 + 5).requires_grad_()
    gathered, expected = layer(words, features, MASK), literal(layer, words, features, MASK)
    torch.testing.assert_close(gathered, expected, atol=1e-4, rtol=1e-4)
    pull = torch.randn_like(gathered)
    inputs = (words, features, *layer.parameters())
    for own, plain in zip(
        torch.autograd.grad(gathered, inputs, pull), torch.autograd.grad(expected, inputs, pull), strict=True
    ):
        torch.testing.assert_close(own, plain, atol=1e-3 * plain.abs().max().item() + 1e-12, rtol=0)


def test_the_inverse_deviation_is_that_of_the_projected_features_even_where_nothing_varies() -> None:
    torch.manual_seed(0)
    cells, weight = torch.randn(2, 50, 6) * torch.tensor([1e3, 1.0, 1.0, 0.0, 1.0, 1.0]), torch.randn(7, 6)
    weight[0] = torch.eye(6)[3]  # looks at the channel that is always zero
    centred = cells - cells.mean(1, keepdim=True)
    found = inverse_deviation(weight, centred.mT @ centred / 50)
    expected = (cells.double() @ weight.double().T).var(1, correction=0)
    torch.testing.assert_close(found.double(), (expected + 1e-5).rsqrt(), atol=0, rtol=1e-4)


def test_in_the_intended_form_padding_gathers_nothing_and_counts_in_no_norm() -> None:
    torch.manual_seed(0)
    layer, features = WordPixelAttention(16, 8, 2, "intended"), torch.randn(2, 3, 4, 8)
    words = torch.randn(2, 5, 16)
    gathered = layer(words, features, MASK)
    assert not gathered[1, 3:].any()
    changed = torch.where(MASK[..., None], words, torch.full_like(words, 9.0))
    torch.testing.assert_close(layer(changed, features, MASK), gathered)
    longer = layer(F.pad(words, (0, 0, 0, 4), value=2.0), features, F.pad(MASK, (0, 4)))
    torch.testing.assert_close(longer[:, :5], gathered)


def test_a_norm_over_counted_words_ignores_the_others_and_is_finite_without_any() -> None:
    features = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    normed = sequence_norm(features, MASK)
    torch.testing.assert_close(normed[1, :3], F.instance_norm(features[1, :3].T[None])[0].T)
    assert sequence_norm(features, torch.zeros_like(MASK)).isfinite().all()


class Watched(nn.Module):
    """A layer that records its arguments."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.given: list[tuple] = []

    def forward(self, *given: object) -> object:
        self.given.append(given)
        return self.layer(*given)


def test_each_side_reads_the_others_features_from_before_the_steps_gates() -> None:
    torch.manual_seed(0)
    config = SwinConfig(embed_dim=8, depths=(1, 1, 1, 1), heads=(1, 1, 2, 2), window=4, drop_path=0.0)
    fusion = MutualFusion(Swin(config), 16)
    fusion.alignments = nn.ModuleList(Watched(each) for each in fusion.alignments)
    fusion.word_fusions = nn.ModuleList(Watched(each) for each in fusion.word_fusions)
    steps = []

    def read(step: int, words: Tensor) -> Tensor:
        steps.append(step)
        return words + 1

    words = torch.randn(2, 5, 16)
    fused = fusion(torch.randn(2, 3, 32, 32), words, MASK, None, read)
    assert steps == [0, 1, 2, 3]
    for aligned, gathered in zip(fusion.alignments, fusion.word_fusions, strict=False):
        pixels, seen_words, _ = aligned.given[0]
        own_words, seen_pixels, _ = gathered.given[0]
        assert torch.equal(pixels, seen_pixels)
        assert torch.equal(own_words, seen_words)
    assert torch.equal(fusion.alignments[0].given[0][1], words + 1)
    assert torch.equal(fusion.alignments[3].given[0][1], fused.words)  # no gate changes the last words
    assert [tuple(each.shape[1:]) for each in fused.maps] == [(8, 8, 8), (4, 4, 16), (2, 2, 32), (1, 1, 64)]
    assert [tuple(each.shape[1:]) for each in fused.attention] == [(1, 64, 5), (1, 16, 5), (1, 4, 5), (1, 1, 5)]
