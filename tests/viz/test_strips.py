"""Painted frames with their legend, and evidence strips."""

import numpy as np
import pytest

from deixis.errors import InputError
from deixis.viz.layout import PANEL
from deixis.viz.strips import Painted, StripFrame, clip_colours, evidence_strip, painted_frame

GREY = np.full((48, 64, 3), 128, np.uint8)


def mask(rows: slice) -> np.ndarray:
    chosen = np.zeros((48, 64), bool)
    chosen[rows] = True
    return chosen


def test_a_painted_frame_has_each_mask_in_its_colour_and_a_legend_below() -> None:
    red, cyan = clip_colours(2)
    painted = [Painted(mask=mask(slice(0, 10)), colour=red, label="the dog")]
    painted.append(Painted(mask=mask(slice(20, 20)), colour=cyan, label="the ball"))
    drawn = painted_frame(GREY, painted)
    assert drawn.shape == (84, 64, 3)
    assert drawn[5, 30].tolist() == [round((128 + each) / 2) for each in red]
    assert (drawn[11:48] == 128).all()
    squares = [drawn[48 + 18 * number + 9, 9].tolist() for number in (0, 1)]
    assert squares == [list(red), [24, 24, 28]]  # a filled square where it was found, an empty one where it was not


def test_colours_differ() -> None:
    colours = np.array(clip_colours(12), float)
    distances = np.abs(colours[:, None] - colours).max(-1) + 999 * np.eye(12)
    assert distances.min() > 60


def frames(count: int, **evidence: np.ndarray) -> list[StripFrame]:
    tokens = ("[CLS]", "the", "dog", "[SEP]", "[PAD]")
    return [
        StripFrame(
            caption=f"{number} s",
            image=GREY,
            mask=mask(slice(0, 10)),
            probability=mask(slice(0, 10)).astype(np.float32),
            tokens=tokens,
            evidence=evidence,
        )
        for number in range(count)
    ]


def test_a_strip_has_a_row_for_each_word() -> None:
    noise = np.random.default_rng(0).random((5, 6, 8)).astype(np.float32)
    height = evidence_strip("the dog", frames(2)).height
    by_word = evidence_strip("the dog", frames(2, similarity=noise)).height
    both = evidence_strip("the dog", frames(2, similarity=noise, chosen=noise > 0.5, map=noise[0])).height
    row = PANEL * 48 // 64 + 10
    assert by_word - height == 3 * row  # the sentence, "the" and "dog", without padding
    assert both - by_word == 4 * row
    assert evidence_strip("the dog", frames(3)).width > evidence_strip("the dog", frames(2)).width


def test_a_strip_without_frames_is_refused() -> None:
    with pytest.raises(InputError, match="no frames"):
        evidence_strip("the dog", [])
