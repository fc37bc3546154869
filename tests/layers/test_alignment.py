"""The cross-modal alignment module against its textbook order: attend, enlarge, concatenate, mix."""

import torch
from torch import Tensor
from torch.nn import functional as F

from deixis.layers.alignment import CrossModalAlignment, NormalisedPixelWordAttention, PooledScale

MASK = torch.arange(5) < torch.tensor([[5], [3]])


def literal_attention(layer: NormalisedPixelWordAttention, cells: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
    """Cell by cell and head by head over the real words alone."""
    fused, attention = [], []
    for pixels, tokens, real in zip(cells, words, MASK, strict=True):
        query, key, value = layer.query_norm(layer.query(pixels)), layer.key(tokens[real]), layer.value(tokens[real])
        width = query.shape[1] // layer.heads
        gathered, weights = [], []
        for head in range(layer.heads):
            part = slice(head * width, (head + 1) * width)
            fractions = (query[:, part] @ key[:, part].T * query.shape[1] ** -0.5).softmax(-1)
            gathered.append(fractions @ value[:, part])
            weights.append(F.pad(fractions, (0, len(real) - int(real.sum()))))
        output = layer.output_norm(layer.output(torch.cat(gathered, 1)))
        fused.append(F.gelu(layer.fuse(F.gelu(layer.vision(pixels)) * output)))
        attention.append(torch.stack(weights).mean(0))
    return torch.stack(fused), torch.stack(attention)


def literal_scale(scale: PooledScale, features: Tensor, words: Tensor) -> Tensor:
    """1x1 convolutions on the pooled map, then attention, then back to the map's size."""
    height, width = features.shape[1:3]
    pooled = F.adaptive_avg_pool2d(features.permute(0, 3, 1, 2), scale.side).permute(0, 2, 3, 1)
    pooled = scale.quarter(F.gelu(scale.narrow(scale.norm(scale.widen(pooled)))))
    fused = literal_attention(scale.fusion, pooled.flatten(1, 2), words)[0].unflatten(1, (scale.side, scale.side))
    fused = F.interpolate(fused.permute(0, 3, 1, 2), size=(height, width), mode="bilinear", align_corners=True)
    return fused.permute(0, 2, 3, 1)


def test_cells_gather_words_as_a_literal_attention_does() -> None:
    torch.manual_seed(0)
    layer = NormalisedPixelWordAttention(8, 16, heads=2)
    cells, words = torch.randn(2, 12, 8), torch.randn(2, 5, 16)
    fused, attention = layer(cells, words, MASK)
    expected, weights = literal_attention(layer, cells, words)
    torch.testing.assert_close(fused, expected)
    torch.testing.assert_close(attention.mean(1), weights)
    torch.testing.assert_close(attention.sum(-1), torch.ones(2, 2, 12))


def test_scales_are_enlarged_and_mixed_as_their_concatenation_would_be() -> None:
    torch.manual_seed(0)
    for sides, heads in (((1, 2, 3, 6), 1), ((2, 5), 2), ((), 1)):
        module = CrossModalAlignment(16, 12, heads=heads, sides=sides)
        features, words = torch.randn(2, 7, 4, 16), torch.randn(2, 5, 12)
        aligned, fused, attention = module(features, words, MASK)
        full = literal_attention(module.fusion, features.flatten(1, 2), words)[0].unflatten(1, (7, 4))
        joined = torch.cat([*(literal_scale(scale, features, words) for scale in module.scales), full], dim=-1)
        torch.testing.assert_close(aligned, F.gelu(module.output(module.norm(module.mix(joined)))))
        torch.testing.assert_close(fused, full)
        assert attention.shape == (2, heads, 28, 5)


def test_padding_words_change_nothing() -> None:
    torch.manual_seed(0)
    module, features, words = CrossModalAlignment(16, 12), torch.randn(2, 6, 6, 16), torch.randn(2, 5, 12)
    changed = torch.where(MASK[..., None], words, torch.full_like(words, 7.0))
    for before, after in zip(module(features, words, MASK), module(features, changed, MASK), strict=True):
        torch.testing.assert_close(after, before)
