"""VEGA's guidance sets: which tokens each contains, in which order, and which of them the decoder may attend to."""

import pytest
import torch
from torch import Tensor, nn

from deixis.layers.attention import CrossAttention
from deixis.layers.guidance import (
    EnhancedWordGuidance,
    PixelGuidance,
    TopPixelGuidance,
    VisualGuidance,
    WordGuidance,
)
from deixis.layers.similarity import Similarity
from deixis.layers.visual_expression import VisualExpression, selector

MASK = torch.arange(6) < torch.tensor([[6], [4]])


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    return torch.randn(2, 10, 32, generator=draw), torch.randn(2, 6, 32, generator=draw), MASK


@pytest.fixture
def enhance() -> CrossAttention:
    torch.manual_seed(0)
    return CrossAttention(32, 2)


def test_words_alone_are_returned_as_they_are() -> None:
    pixels, words, mask = inputs()
    found = WordGuidance()(pixels, words, mask)
    assert torch.equal(found.tokens, words)
    assert torch.equal(found.mask, mask)
    assert (found.num_words, found.maps) == (6, {})


def test_enhanced_words_have_attended_to_the_pixels(enhance: CrossAttention) -> None:
    pixels, words, mask = inputs()
    found = EnhancedWordGuidance(enhance)(pixels, words, mask)
    assert torch.equal(found.tokens, enhance(words, pixels))
    assert torch.equal(found.mask, mask)
    assert (found.num_words, found.maps) == (6, {})


def test_the_visual_expression_of_the_enhanced_words_follows_them(enhance: CrossAttention) -> None:
    (pixels, words, mask), expression = inputs(), VisualExpression(32, 2)
    found = VisualGuidance(enhance, expression)(pixels, words, mask)
    visual = expression(pixels, enhance(words, pixels), mask)
    assert torch.equal(found.tokens, torch.cat((enhance(words, pixels), visual.tokens), 1))
    assert torch.equal(found.mask, torch.cat((mask, mask), 1))
    assert torch.equal(found.maps["similarity"], visual.similarity)
    assert torch.equal(found.maps["selected"], visual.selected)


def test_all_pixels_follow_the_enhanced_words(enhance: CrossAttention) -> None:
    pixels, words, mask = inputs()
    found = PixelGuidance(enhance)(pixels, words, mask)
    assert torch.equal(found.tokens, torch.cat((enhance(words, pixels), pixels), 1))
    assert found.mask[:, 6:].all()
    assert torch.equal(found.mask[:, :6], mask)


@pytest.mark.parametrize(("selection", "ratio", "count"), [("top-k", 0.3, 3), ("top-k", 0.8, 8), ("threshold", 0.3, 0)])
def test_of_the_pixels_only_those_of_the_global_word_may_be_attended_to(
    enhance: CrossAttention, selection: str, ratio: float, count: int
) -> None:
    (pixels, words, mask), similarity = inputs(), Similarity(32)
    found = TopPixelGuidance(enhance, similarity, selector(selection, ratio))(pixels, words, mask)  # type: ignore[arg-type]
    scores = similarity(pixels, enhance(words, pixels))[:, 0]
    assert torch.equal(found.tokens[:, 6:], pixels)
    for chosen, values in zip(found.mask[:, 6:], scores, strict=True):
        best = set(values.topk(count).indices.tolist()) if count else set((values > 0).nonzero()[:, 0].tolist())
        assert set(chosen.nonzero()[:, 0].tolist()) == (best or {int(values.argmax())})


def test_weights_have_the_names_of_the_checkpoints(enhance: CrossAttention) -> None:
    def parts(guidance: nn.Module) -> set[str]:
        return {name.split(".")[0] for name in guidance.state_dict()}

    assert parts(WordGuidance()) == set()
    assert parts(EnhancedWordGuidance(enhance)) == parts(PixelGuidance(enhance)) == {"enhance"}
    assert parts(TopPixelGuidance(enhance, Similarity(32), selector("top-k", 0.3))) == {"enhance", "similarity"}
    assert parts(VisualGuidance(enhance, VisualExpression(32, 2))) == {"enhance", "expression"}
