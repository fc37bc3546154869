"""A compiled system is asked in one shape and answers as it does uncompiled; slow tests ask the compiler itself."""

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
from deixis.errors import DeixisError
from deixis.predict.compiled import Compiled
from deixis.predict.segmenter import LARGEST_BATCH

segmenting = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("test_segmenter.py"))))


@pytest.fixture(autouse=True)
def options(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the compiler is asked for; it leaves the systems as they are."""
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self, **options: asked.append(options))
    return asked


class Echo(nn.Module):
    """Answers with numbers that tell which image and which words it was asked about."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, batch: Batch) -> Output:
        self.shapes.append((*batch.images.shape[:1], *batch.token_ids.shape))
        assert batch.token_mask.any(1).all()
        said = (batch.token_ids * batch.token_mask).sum(1)
        logits = batch.expand(batch.images[:, 0, 0]) * said[:, None, None] * self.weight
        return Output(logits=logits, evidence={"said": said})

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
def test_it_answers_in_the_order_of_the_batch_and_is_asked_in_one_shape(
    image_index: list[int] | None, sentences: int
) -> None:
    system = Echo()
    batch = asked(image_index, 5 if image_index is None else 3, 5)
    wanted = system(batch)
    system.shapes.clear()
    found = Compiled(system, words=6, sentences=sentences)(batch)
    assert set(system.shapes) == {(1, sentences, 6)}
    assert torch.equal(found.logits, wanted.logits)
    assert torch.equal(found.evidence["said"], wanted.evidence["said"])


def test_what_has_no_answer_or_too_many_words_is_refused() -> None:
    batch, compiled = asked(None, 2, 2), Compiled(Echo(), words=3)
    with pytest.raises(ValueError, match="4 words came and 3 are read"):
        compiled(batch)
    nothing = replace(batch, token_ids=batch.token_ids[:0], token_mask=batch.token_mask[:0])
    with pytest.raises(ValueError, match="without expressions"):
        compiled(nothing)


def test_the_compiler_may_pack_the_weights_for_the_processor(options: list[dict[str, Any]]) -> None:
    """Which it does neither for gradients nor in inference mode, nor when it is told among its options."""
    system, seen = Echo(), []
    forward = system.forward

    def look(batch: Batch) -> Output:
        seen.append((torch._inductor.config.freezing, torch.is_grad_enabled(), torch.is_inference_mode_enabled()))
        return forward(batch)

    system.forward = look  # type: ignore[method-assign]
    with torch.inference_mode():
        Compiled(system, words=6)(asked(None, 2, 2))
    assert seen == [(True, False, False)] * 2
    assert options == [{"dynamic": False}]
    assert not torch._inductor.config.freezing


def test_a_segmenter_gives_the_same_answers_compiled() -> None:
    photo, sentences = segmenting.photo(), ["red", "the blue thing", "the red", "green"]
    plain, compiled = segmenting.segmenter(), segmenting.segmenter(compiled=True)
    for one, other in zip(plain(photo, sentences), compiled(photo, sentences), strict=True):
        assert (one.mask == other.mask).all()
        assert one.score == pytest.approx(other.score, abs=1e-6)
        assert other.words[: len(one.words)] == one.words
        assert len(other.words) == other.evidence["similarity"].shape[0] == segmenting.LIMIT
    assert compiled.system.batches == [(1, 1)] * 4
    assert np.allclose(plain(photo, "red").probability, compiled(photo, "red").probability, atol=1e-6)
    assert compiled(photo, []) == []
    compiled.system.batches.clear()
    next(compiled.stream(photo, sentences))
    assert compiled.system.batches == [(1, 1)]  # an answer that is known does not wait for others


def test_other_devices_are_asked_for_more_sentences_at_once(options: list[dict[str, Any]]) -> None:
    system = segmenting.ColourSystem().to("meta")
    one = segmenting.Segmenter(system, segmenting.WORDS, segmenting.Preprocess(), device="meta", compiled=True)
    assert one._compiled is not None
    assert (one._compiled.sentences, one._compiled.frozen) == (LARGEST_BATCH, False)
    assert options == [{"dynamic": False}]


def test_a_compiler_that_fails_is_one_sentence() -> None:
    system = Echo()
    compiled = Compiled(system, words=6)

    def fail(batch: Batch) -> Output:
        raise torch._dynamo.exc.InternalTorchDynamoError(
            "backend='inductor' raised:\nInvalidCxxCompiler: No working C++ compiler.\n\nSet …"
        )

    system.forward = fail  # type: ignore[method-assign]
    with pytest.raises(DeixisError, match=r"^The system cannot be compiled here \(Inv.*compiler\); .* g\+\+: .*$"):
        compiled(asked(None, 2, 2))
