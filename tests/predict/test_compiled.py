"""A compiled system is called with one shape and returns what it returns uncompiled."""

import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deixis.batch import Batch, Output
from deixis.errors import ModelError
from deixis.predict.compiled import Compiled
from deixis.predict.torch_network import LARGEST_BATCH, TorchNetwork

segmenting = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("test_segmenter.py"))))


@pytest.fixture(autouse=True)
def options(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The options that the compiler is called with; the systems stay as they are."""
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self, **options: asked.append(options))
    return asked


class Echo(nn.Module):
    """Returns numbers that identify the image and the tokens of each expression."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, batch: Batch, *, features: tuple[str, ...] = (), explain: bool = False) -> Output:
        self.shapes.append((*batch.images.shape[:1], *batch.token_ids.shape))
        assert batch.token_mask.any(1).all()
        said = (batch.token_ids * batch.token_mask).sum(1)
        logits = batch.expand(batch.images[:, 0, 0]) * said[:, None, None] * self.weight
        return Output(logits=logits, presence=said.float(), evidence={"said": said} if explain else {})

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        return {}


def asked(image_index: list[int] | None, images: int, expressions: int) -> Batch:
    draw = torch.Generator().manual_seed(0)
    token_mask = torch.ones(expressions, 4, dtype=torch.bool)
    token_mask[1::2, 3] = False
    return Batch(
        images=torch.randn(images, 1, 3, 2, 2, generator=draw),
        token_ids=torch.randint(1, 50, (expressions, 4), generator=draw),
        token_mask=token_mask,
        image_index=None if image_index is None else torch.tensor(image_index),
    )


@pytest.mark.parametrize("sentences", [1, 2, 3])
@pytest.mark.parametrize("image_index", [None, [0, 0, 0, 0, 0], [2, 0, 1, 0, 0], [1, 1, 0, 2, 1]])
def test_it_keeps_the_order_of_the_batch_and_calls_the_system_with_one_shape(
    image_index: list[int] | None, sentences: int
) -> None:
    system = Echo()
    batch = asked(image_index, 5 if image_index is None else 3, 5)
    expected = system(batch, explain=True)
    system.shapes.clear()
    found = Compiled(system, tokens=6, sentences=sentences)(batch, explain=True)
    assert set(system.shapes) == {(1, sentences, 6)}
    assert torch.equal(found.logits, expected.logits)
    assert torch.equal(found.presence, expected.presence)
    assert torch.equal(found.evidence["said"], expected.evidence["said"])
    assert not Compiled(system, tokens=6, sentences=sentences)(batch).evidence


def test_an_empty_batch_and_too_many_tokens_are_refused() -> None:
    batch, compiled = asked(None, 2, 2), Compiled(Echo(), tokens=3)
    with pytest.raises(ValueError, match="have 4 tokens, but at most 3 are read"):
        compiled(batch)
    nothing = replace(batch, token_ids=batch.token_ids[:0], token_mask=batch.token_mask[:0])
    with pytest.raises(ValueError, match="has no expressions"):
        compiled(nothing)


def test_the_compiler_may_pack_the_weights_for_the_processor(options: list[dict[str, Any]]) -> None:
    """It does so neither for gradients, nor in inference mode, nor as an option of `torch.compile`."""
    system, seen = Echo(), []
    forward = system.forward

    def look(batch: Batch, **options: Any) -> Output:
        seen.append((torch._inductor.config.freezing, torch.is_grad_enabled(), torch.is_inference_mode_enabled()))
        return forward(batch, **options)

    system.forward = look  # type: ignore[method-assign]
    with torch.inference_mode():
        Compiled(system, tokens=6)(asked(None, 2, 2))
    assert seen == [(True, False, False)] * 2
    assert options == [{"dynamic": False}]
    assert not torch._inductor.config.freezing


def test_a_segmenter_gives_the_same_predictions_compiled() -> None:
    photo, sentences = segmenting.photo(), ["red", "the blue thing", "the red", "green"]
    plain, compiled = segmenting.segmenter(), segmenting.segmenter(compiled=True)
    for one, other in zip(plain(photo, sentences, explain=True), compiled(photo, sentences, explain=True), strict=True):
        assert (one.mask == other.mask).all()
        assert one.score == pytest.approx(other.score, abs=1e-6)
        assert other.tokens[: len(one.tokens)] == one.tokens
        assert len(other.tokens) == other.evidence["similarity"].shape[0] == segmenting.LIMIT
    assert compiled.system.batches == [(1, 1)] * 4
    assert np.allclose(plain(photo, "red").probability, compiled(photo, "red").probability, atol=1e-6)
    assert compiled(photo, []) == []
    compiled.system.batches.clear()
    next(compiled.stream(photo, sentences))
    assert compiled.system.batches == [(1, 1)]  # the first prediction does not wait for the others


def test_other_devices_get_larger_batches(options: list[dict[str, Any]]) -> None:
    system = segmenting.ColourSystem().to("meta")
    one = segmenting.Segmenter(system, segmenting.WORDS, segmenting.Preprocess(), device="meta", compiled=True)
    assert isinstance(one.network, TorchNetwork)
    assert one.network.compiled is not None
    assert (one.network.compiled.sentences, one.network.compiled.frozen) == (LARGEST_BATCH, False)
    assert options == [{"dynamic": False}]


def test_a_compiler_that_fails_is_one_sentence() -> None:
    system = Echo()
    compiled = Compiled(system, tokens=6)

    def fail(batch: Batch, **options: Any) -> Output:
        raise torch._dynamo.exc.InternalTorchDynamoError(
            "backend='inductor' raised:\nInvalidCxxCompiler: No working C++ compiler.\n\nSet …"
        )

    system.forward = fail  # type: ignore[method-assign]
    with pytest.raises(ModelError, match=r"^The system cannot be compiled here \(Inv.*compiler\); .* g\+\+: .*$"):
        compiled(asked(None, 2, 2))
