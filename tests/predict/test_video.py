"""Clips: which frames are asked, their windows, smoothing, notes, and how little is kept."""

import itertools
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from deixis.batch import Batch, Output
from deixis.data.clips import open_clip
from deixis.data.collate import window
from deixis.data.transforms import Preprocess
from deixis.errors import InputError
from deixis.predict.encoded import Question
from deixis.predict.segmenter import Segmenter
from deixis.predict.video import FrameChoice, Smoother, ask_clip, windows
from deixis.text.tokenizer import Tokenizer
from tests.data.video_writing import number_of, write_video

WORDS = Tokenizer(["[PAD]", "[CLS]", "[SEP]", "[UNK]", "the", "red", "blue", "thing"])


class Brightness(nn.Module):
    """The probability of a pixel is its brightness; records the numbers that the frames of each window show."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(1.0))
        self.seen: list[list[int]] = []

    def forward(self, batch: Batch, *, features: tuple[str, ...] = (), explain: bool = False) -> Output:
        frames = (batch.images[0] * 255).round().byte().numpy().transpose(0, 2, 3, 1)
        self.seen.append([number_of(frame[:48, :64]) for frame in frames])
        pixels = batch.expand(batch.target_frames()).mean(1)
        return Output(logits=self.gain * torch.logit(pixels.clamp(0.01, 0.99)))


class EncodesOnce(Brightness):
    """The same with a vision half of its own; counts how often it runs."""

    encoded = 0

    def encode_images(self, images: Tensor) -> Tensor:
        self.encoded += 1
        return images

    def decode_expressions(
        self, encoded: Tensor, batch: Batch, *, features: object = (), explain: bool = False
    ) -> Output:
        return self(batch)


def segmenter(num_frames: int = 1, system: nn.Module | None = None) -> Segmenter:
    preprocess = Preprocess(
        image_size=64, max_tokens=8, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), fit="pad", num_frames=num_frames
    )
    return Segmenter(system or Brightness(), WORDS, preprocess)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_video(tmp_path / "clip.mp4", 12)


def asked_frames(path: Path, **options: object) -> list[int]:
    return [each.frame for each in segmenter().video(path, "the red thing", **options)]


def test_every_frame_comes_with_its_number_and_its_time(clip: Path) -> None:
    found = list(segmenter().video(clip, "the red thing"))
    assert [each.frame for each in found] == list(range(12))
    assert [number_of(each.image) for each in found] == list(range(12))
    assert [each.time for each in found] == pytest.approx([index / 10 for index in range(12)])


def test_several_expressions_are_asked_about_each_frame_in_order(clip: Path) -> None:
    found = [(each.frame, each.expression) for each in segmenter().video(clip, ["the red thing", "blue"], every=6)]
    assert found == [(0, "the red thing"), (0, "blue"), (6, "the red thing"), (6, "blue")]


def test_a_frame_is_encoded_once_for_all_expressions(clip: Path) -> None:
    system = EncodesOnce()
    expressions = [f"the {colour} thing" for colour in ("red", "blue")] * 5
    assert len(list(segmenter(system=system).video(clip, expressions, every=4))) == 30
    assert system.encoded == 3


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"every": 5}, [0, 5, 10]),
        ({"fps": 2.5}, [0, 4, 8]),
        ({"fps": 30.0}, list(range(12))),
        ({"start": 0.5, "end": 0.7}, [5, 6, 7]),
        ({"start": 0.25, "every": 4}, [3, 7, 11]),
        ({"start": 0.3, "end": 0.9, "fps": 5.0}, [3, 5, 7, 9]),
    ],
)
def test_which_frames_are_asked(clip: Path, options: dict[str, object], expected: list[int]) -> None:
    assert asked_frames(clip, **options) == expected


def test_a_number_of_frames_a_second_goes_by_their_times(tmp_path: Path) -> None:
    times = [0, 100, 200, 300, 500, 600, 700, 1000, 1900]
    path = write_video(tmp_path / "uneven.mkv", len(times), times=times)
    # Every half second: 0.0, 0.5, 1.0, and 1.9 is the first one from 1.5 on.
    assert asked_frames(path, fps=2.0) == [0, 4, 7, 8]


@pytest.mark.parametrize(("count", "num_frames"), [*itertools.product((1, 2, 5, 12), (1, 2, 3, 8, 16))])
def test_windows_are_those_of_training(count: int, num_frames: int) -> None:
    expected = [tuple(window(frame, count, num_frames)) for frame in range(count)]
    assert list(windows(range(count), num_frames)) == expected


def test_a_clip_system_sees_the_frames_around_each_frame_that_is_asked(clip: Path) -> None:
    system = Brightness()
    found = list(segmenter(8, system).video(clip, "the red thing", every=5, start=0.1, end=0.8))
    assert [each.frame for each in found] == [1, 6]
    assert system.seen == [[0, 0, 0, 0, 1, 2, 3, 4], [2, 3, 4, 5, 6, 7, 8, 9]]
    assert [number_of(each.image) for each in found] == [1, 6]


def test_a_clip_system_sees_a_photo_as_a_clip_that_stands() -> None:
    system = Brightness()
    segmenter(8, system)(np.zeros((48, 64, 3), np.uint8), "the red thing")
    assert system.seen == [[0] * 8]


def test_smoothing_is_an_exponential_average_of_the_maps(clip: Path) -> None:
    plain = [each.probability for each in segmenter().video(clip, "the red thing")]
    average, expected = plain[0], [plain[0]]
    for each in plain[1:]:
        average = 0.6 * average + 0.4 * each
        expected.append(average)
    found = list(segmenter().video(clip, ["the red thing", "blue"], smooth=0.6))[::2]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.probability, other, atol=1e-6)
        assert (one.mask == (one.probability > 0.5)).all()


@pytest.mark.parametrize("smooth", [None, 0.2])
def test_frames_that_are_skipped_change_nothing(tmp_path: Path, smooth: float | None) -> None:
    path, one, system = write_video(tmp_path / "clip.mp4", 40), segmenter(), Brightness()
    whole = list(one.video(path, "the red thing", smooth=smooth))
    asked = Question.of(one, "the red thing")
    rest = list(ask_clip(segmenter(system=system), open_clip(path), asked, FrameChoice(), Smoother(smooth), skip=36))
    assert [each.frame for each in rest] == [36, 37, 38, 39]
    for found, expected in zip(rest, whole[36:], strict=True):
        np.testing.assert_allclose(found.probability, expected.probability, atol=1e-7)
    assert len(system.seen) == 4 + Smoother(smooth).memory  # 0.2 forgets after eleven frames


def test_the_last_frame_says_where_a_cut_off_file_ended(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", 60)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    found = list(segmenter().video(path, "the red thing", every=7))
    assert "is cut off" in found[-1].notes[-1]
    assert not any("cut off" in note for each in found[:-1] for note in each.notes)


def test_predictions_are_not_kept(clip: Path) -> None:
    found = segmenter(4).video(clip, "the red thing")
    images = [weakref.ref(next(found).image) for _ in range(9)]
    assert sum(image() is not None for image in images) <= 4 + 1


def test_a_folder_of_frames_is_a_clip_without_times(tmp_path: Path) -> None:
    for number in range(4):
        Image.new("RGB", (64, 48), (9, 9, 9 * number)).save(tmp_path / f"{number:05d}.png")
    found = list(segmenter().video(tmp_path, "the red thing", every=3))
    assert [(each.frame, each.time) for each in found] == [(0, None), (3, None)]
    with pytest.raises(InputError, match="have no times; give their rate"):
        next(segmenter().video(tmp_path, "the red thing", fps=2.0))
    timed = segmenter().video(open_clip(tmp_path, rate=2.0), "the red thing", start=1.0)
    assert [(each.frame, each.time) for each in timed] == [(2, 1.0), (3, 1.5)]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"every": 0}, "every is 0; expected 1"),
        ({"fps": 0.0}, "fps is 0.0; expected a positive"),
        ({"fps": 2.0, "every": 2}, "Both every and fps"),
        ({"start": -1.0}, "start is -1.0; expected seconds"),
        ({"start": 3.0, "end": 2.0}, "expected a start before the end"),
        ({"smooth": 1.0}, "smooth is 1.0; expected a number between 0 and 1"),
    ],
)
def test_impossible_options_are_refused_before_a_frame_is_read(options: dict[str, object], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        segmenter().video(Path(__file__), "the red thing", **options)


def test_a_part_without_a_frame_is_refused(clip: Path) -> None:
    with pytest.raises(InputError, match=r"start is 5 s, but the last frame of .* is at 1\.10 s"):
        next(segmenter().video(clip, "the red thing", start=5.0))
    with pytest.raises(InputError, match=r"has no frame between 0\.51 and 0\.55 s"):
        next(segmenter().video(clip, "the red thing", start=0.51, end=0.55))


@pytest.mark.parametrize(
    ("choice", "expected"),
    [({}, 12), ({"every": 5}, 3), ({"fps": 2.5}, 3), ({"start": 0.5, "end": 0.7}, 3), ({"start": 5.0}, 1)],
)
def test_how_many_frames_are_expected(clip: Path, choice: dict[str, float], expected: int) -> None:
    assert FrameChoice(**choice).expected(open_clip(clip)) == expected
