"""Videos that are written: times, odd sides, missing encoders, and nothing half-written."""

from pathlib import Path

import numpy as np
import pytest

from deixis.data.clips import open_clip
from deixis.data.video_writer import available_codec, video_writer
from deixis.errors import InputError


def test_frames_keep_their_times(tmp_path: Path) -> None:
    times = [0.0, 1001 / 30000, 0.5, 0.5, 2.0]  # two of one time are one tick apart
    with video_writer(tmp_path / "out.mp4") as writer:
        for time in times:
            writer.add(np.full((48, 64, 3), round(100 * time), np.uint8), time)
    with open_clip(tmp_path / "out.mp4").frames() as frames:
        assert [frame.time for frame in frames] == pytest.approx(times, abs=2 / 60_000)


def test_an_encoder_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    av = pytest.importorskip("av")

    def codec(name: str, mode: str) -> None:
        raise av.codec.codec.UnknownCodecError(name)

    monkeypatch.setattr(av.codec, "Codec", codec)
    with pytest.raises(InputError, match="cannot write h264; choose another codec, such as vp9"):
        available_codec("h264")
    with pytest.raises(InputError, match="cannot write vp9 or av1 or mpeg4"):
        available_codec()


def test_a_codec_that_needs_even_sides_gets_them(tmp_path: Path) -> None:
    for codec in ("h264", "vp9", "mpeg4"):
        path = tmp_path / f"{codec}.mp4"
        try:
            with video_writer(path, codec) as writer:
                for number in range(3):
                    writer.add(np.full((49, 65, 3), 80 * number, np.uint8), number / 10)
        except InputError:
            continue  # this build of PyAV has no such encoder
        height, width = open_clip(path).size
        assert (height, width) in {(49, 65), (50, 66)}
        assert open_clip(path).num_frames == 3


def test_a_video_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def write_and_fail() -> None:
        with video_writer(tmp_path / "out.mp4") as writer:
            writer.add(np.zeros((48, 64, 3), np.uint8), 0.0)
            raise InputError("stop")

    with pytest.raises(InputError, match="stop"):
        write_and_fail()
    assert not list(tmp_path.iterdir())
