"""Samples to a batch: what is shared, labels of all kinds, and the frames that are read of a clip."""

import runpy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from deixis import masks
from deixis.data.collate import collate, window
from deixis.data.images import ImageArray
from deixis.data.transforms import Preprocess
from deixis.errors import InputError

tiny = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "training" / "tiny.py")))
PREPROCESS = Preprocess(image_size=12, max_tokens=5)


def test_sentences_of_one_image_share_it() -> None:
    reader = tiny.Squares(2)
    batch = collate([reader[0], reader[7], reader[3]], tiny.Letters(), PREPROCESS)
    assert batch.images.shape == (2, 1, 3, 12, 12)
    assert batch.image_index is not None
    assert batch.image_index.tolist() == [0, 1, 0]
    assert batch.token_ids.tolist() == [[2, 0], [1, 2], [1, 3]]
    assert batch.token_mask.tolist() == [[True, False], [True, True], [True, True]]
    assert batch.expressions == ("red", "the red", "the green")
    assert batch.sizes == ((12, 12),) * 3
    assert batch.masks is not None
    for mask, position in zip(batch.masks, (0, 7, 3), strict=True):
        np.testing.assert_array_equal(mask.numpy(), masks.decode(reader[position].mask))
    shown = PREPROCESS.pixels(batch.expand(batch.images)[2, 0].numpy())
    np.testing.assert_array_equal(shown, reader[3].visual.read()[0])


def test_expressions_with_their_own_images_need_no_index() -> None:
    reader = tiny.Squares(2)
    assert collate([reader[0], reader[6]], tiny.Letters(), PREPROCESS).image_index is None


def test_a_batch_without_any_mask_has_no_masks() -> None:
    reader = tiny.Squares(2, labelled=False)
    batch = collate([reader[0], reader[1]], tiny.Letters(), PREPROCESS)
    assert batch.masks is None
    assert not batch.targets


def test_in_a_mixed_batch_unlabelled_samples_have_empty_masks_and_are_told_apart() -> None:
    reader = tiny.Squares(2)
    batch = collate([replace(reader[0], mask=None), reader[1]], tiny.Letters(), PREPROCESS)
    assert batch.masks is not None
    assert batch.masks.flatten(1).any(1).tolist() == [False, True]
    assert batch.targets["labelled"].tolist() == [False, True]
    assert "labelled" not in collate([reader[0], reader[1]], tiny.Letters(), PREPROCESS).targets


def test_a_mask_of_another_size_is_refused_with_the_samples_name() -> None:
    wrong = replace(tiny.Squares(1)[0], visual=ImageArray(np.zeros((9, 12, 3), dtype=np.uint8)))
    with pytest.raises(InputError, match=r"image0.*is 12x12, but its image is 9x12"):
        collate([wrong], tiny.Letters(), PREPROCESS)


@pytest.mark.parametrize(("fit", "rows"), [("stretch", 8), ("pad", 4)])
def test_dense_classes_are_resized_as_masks_are_and_keep_their_type(fit: str, rows: int) -> None:
    draw = np.random.default_rng(0)
    classes = draw.integers(0, 5, (6, 12), dtype=np.uint8)
    sample = replace(
        tiny.Squares(1)[0],
        visual=ImageArray(np.zeros((6, 12, 3), dtype=np.uint8)),
        mask=masks.encode(classes == 3),
        targets={"kind": classes},
    )
    preprocess = Preprocess(image_size=8, max_tokens=5, fit=fit)  # type: ignore[arg-type]
    batch = collate([sample], tiny.Letters(), preprocess)
    kinds = batch.targets["kind"]
    assert kinds.shape == (1, 8, 8)
    assert kinds.dtype == torch.uint8
    assert batch.masks is not None
    assert torch.equal(kinds == 3, batch.masks)
    assert kinds[:, :rows].any()
    assert not kinds[:, rows:].any()


def test_labels_of_a_whole_image_are_stacked_as_they_are() -> None:
    reader = tiny.Squares(2)
    labels = [np.array([0.0, 1.0, 0.5]), np.array([1.0, 0.0, 0.0])]
    samples = [replace(reader[at], targets={"words": label}) for at, label in zip((0, 6), labels, strict=True)]
    assert torch.equal(collate(samples, tiny.Letters(), PREPROCESS).targets["words"], torch.tensor(np.stack(labels)))


@pytest.mark.parametrize(
    ("frame", "available", "num_frames", "expected"),
    [
        (0, 1, 1, [0]),
        (3, 5, 1, [3]),
        (0, 1, 3, [0, 0, 0]),
        (5, 20, 8, [1, 2, 3, 4, 5, 6, 7, 8]),
        (0, 20, 8, [0, 0, 0, 0, 0, 1, 2, 3]),
        (19, 20, 8, [15, 16, 17, 18, 19, 19, 19, 19]),
        (2, 5, 5, [0, 1, 2, 3, 4]),
    ],
)
def test_a_window_repeats_the_frames_at_the_ends_of_a_clip(
    frame: int, available: int, num_frames: int, expected: list[int]
) -> None:
    positions = window(frame, available, num_frames)
    assert positions == expected
    assert positions[num_frames // 2] == frame


class Clip:
    """Frame f is filled with 10 · f."""

    size = (12, 12)
    num_frames = 5

    def read(self, frames: Sequence[int] | None = None) -> np.ndarray:
        clip = np.stack([np.full((12, 12, 3), 10 * frame, dtype=np.uint8) for frame in range(5)])
        return clip if frames is None else clip[list(frames)]


@pytest.mark.parametrize("num_frames", [1, 3, 4])
def test_the_target_frame_of_a_clip_is_the_one_that_its_mask_belongs_to(num_frames: int) -> None:
    sample = replace(tiny.Squares(1)[0], visual=Clip(), frame=4)
    batch = collate([sample], tiny.Letters(), replace(PREPROCESS, num_frames=num_frames))
    assert batch.images.shape[1] == num_frames
    assert (PREPROCESS.pixels(batch.target_frames()[0].numpy()) == 40).all()


def test_sentences_about_different_frames_of_a_clip_do_not_share_them() -> None:
    first = replace(tiny.Squares(1)[0], visual=Clip(), frame=1)
    batch = collate([first, replace(first, frame=3), first], tiny.Letters(), replace(PREPROCESS, num_frames=3))
    assert batch.image_index is not None
    assert batch.image_index.tolist() == [0, 1, 0]
    middles = [int(PREPROCESS.pixels(frame.numpy()).mean()) for frame in batch.target_frames()]
    assert middles == [10, 30]
