"""The loop's scores against loops over pixels, and the pictures it keeps."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from deixis.batch import Batch, Output
from deixis.data.transforms import Preprocess
from deixis.errors import DeixisError
from deixis.training.validation import Album, tally, validate

apple = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "apple.py")))


def test_the_tally_equals_a_loop_over_pixels() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 5, 4, generator=generator)
    target = torch.rand(6, 5, 4, generator=generator) > 0.4
    target[0], logits[1], target[2], logits[2] = logits[0] > 0, -1.0, False, -1.0  # right, nothing found, both empty
    expected = np.zeros(5)
    for found, meant in zip((logits > 0).numpy(), target.numpy(), strict=True):
        both = sum(bool(a and b) for a, b in zip(found.flat, meant.flat, strict=True))
        either = sum(bool(a or b) for a, b in zip(found.flat, meant.flat, strict=True))
        iou = both / either if either else 0.0
        expected += [1, iou, both, either, iou >= 0.5]
    np.testing.assert_allclose(tally(logits, target).numpy(), expected, rtol=1e-12)


def test_an_apple_gpu_is_asked_for_no_float64() -> None:
    logits, target = torch.randn(3, 5, 4), torch.rand(3, 5, 4) > 0.5
    assert torch.equal(tally(apple.on_apple(logits), apple.on_apple(target)), tally(logits, target))


class Echo(nn.Module):
    """Answers with its image's red channel."""

    def forward(self, batch: Batch) -> Output:
        return Output(logits=batch.images[:, 0, 0])


def batch(size: int = 2, *, labelled: bool = True) -> Batch:
    masks = torch.zeros(size, 8, 8, dtype=torch.bool)
    masks[:, :4] = True
    return Batch(
        images=torch.where(masks, 1.0, -1.0)[:, None, None].expand(-1, 1, 3, -1, -1).contiguous(),
        token_ids=torch.ones(size, 2, dtype=torch.long),
        token_mask=torch.ones(size, 2, dtype=torch.bool),
        masks=masks if labelled else None,
        expressions=("the upper half ☺",) * size,
        ids=(),
    )


def same(sums: Tensor) -> Tensor:
    return sums


def test_a_perfect_system_scores_one_and_keeps_its_mode() -> None:
    system, shown = Echo().train(), []
    scores = validate(system, [batch(2), batch(3)], torch.device("cpu"), same, lambda of, _: shown.append(len(of)))
    assert (scores.miou, scores.oiou, scores.p50) == (1.0, 1.0, 1.0)
    assert shown == [2, 3]
    assert system.training


def test_sums_over_processes_are_what_is_scored() -> None:
    def with_a_failing_neighbour(sums: Tensor) -> Tensor:
        return sums + torch.tensor([2.0, 0.0, 0.0, 64.0, 0.0], dtype=torch.float64)

    scores = validate(Echo(), [batch(2)], torch.device("cpu"), with_a_failing_neighbour, lambda *_: None)
    assert scores.miou == pytest.approx(0.5)
    assert scores.oiou == pytest.approx(64 / 128)


def test_validation_without_expressions_or_masks_is_refused() -> None:
    with pytest.raises(DeixisError, match="no expressions"):
        validate(Echo(), [], torch.device("cpu"), same, lambda *_: None)
    with pytest.raises(DeixisError, match="needs masks"):
        validate(Echo(), [batch(labelled=False)], torch.device("cpu"), same, lambda *_: None)


def test_an_album_shows_the_first_predictions_two_in_a_row(tmp_path: Path) -> None:
    album = Album(Preprocess(image_size=8), count=3)
    for _ in range(2):
        album.show(batch(2), Echo()(batch(2)))
    assert len(album.pages) == 3
    path = tmp_path / "samples" / "one.png"
    album.save(path)
    with Image.open(path) as picture:
        assert picture.size == (2 * 16, 2 * (8 + 16))


def test_an_empty_album_writes_nothing(tmp_path: Path) -> None:
    Album(Preprocess()).save(tmp_path / "one.png")
    assert not list(tmp_path.iterdir())
