"""`POST /v1/clip`: frames and their answers, the bounds on them, and files that are not clips."""

import base64
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deixis import masks
from deixis.server import clips
from tests.data.video_writing import number_of, write_video
from tests.server.stub import Served, photo, serve


@pytest.fixture(scope="module")
def served() -> Served:
    return serve(frames=4)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Twelve frames, ten a second; the red corner is a quarter of the height and half of the width."""
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4").read_bytes()


def ask(served: Served, content: bytes, *sentences: str, **fields: Any) -> Any:
    data = {"sentence": list(sentences), **fields}
    return served.client.post("/v1/clip", files={"clip": ("../../clip.mp4", content)}, data=data)


def test_frames_are_spread_over_a_clip_and_each_has_its_answers(served: Served, clip: bytes) -> None:
    answer = ask(served, clip, "red", "nothing", images=1, probability=1).json()
    assert answer["model"]["name"] == "redness"
    assert answer["clip"] == {"height": 48, "width": 64}
    frames = answer["frames"]
    assert 2 <= len(frames) <= 4
    assert [frame["time"] for frame in frames] == [pytest.approx(frame["frame"] / 10) for frame in frames]
    assert frames[-1]["frame"] > 5
    for frame in frames:
        found, missing = frame["answers"]
        assert (found["expression"], missing["found"]) == ("red", False)
        assert masks.area(found["rle"]) == pytest.approx(12 * 32, abs=60)
        picture = np.asarray(Image.open(BytesIO(base64.b64decode(frame["image"]))))
        assert number_of(picture) == frame["frame"]
        assert Image.open(BytesIO(base64.b64decode(found["probability"]))).size == (64, 48)
        assert "image" not in found


def test_a_caller_chooses_a_rate_and_a_span(served: Served, clip: bytes) -> None:
    frames = ask(served, clip, "red", fps=5, start=0.4, end=0.9).json()["frames"]
    assert [frame["frame"] for frame in frames] == [4, 6, 8]
    assert set(frames[0]) == {"frame", "time", "answers"}


def test_large_frames_come_at_640_pixels() -> None:
    content = clips.jpeg(np.zeros((1000, 2000, 3), np.uint8))
    assert Image.open(BytesIO(content)).size == (640, 320)


def test_a_clip_of_unknown_length_says_where_the_answers_end(
    served: Served, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clips.VideoFile, "expected_frames", None)
    frames = ask(served, clip, "red").json()["frames"]
    assert len(frames) == 4
    assert frames[-1]["answers"][0]["notes"][-1].startswith("At most 4 frames are answered")
    assert not any("At most" in note for note in frames[0]["answers"][0]["notes"])


@pytest.mark.parametrize(
    ("fields", "status", "part"),
    [
        ({"fps": 10}, 422, "12 frames of the clip are asked; at most 4 are answered"),
        ({"fps": 0}, 422, "fps is '0'"),
        ({"fps": "nan"}, 422, "fps is 'nan'"),
        ({"start": -1}, 422, "start is '-1'; expected seconds from 0"),
        ({"start": 1, "end": 0.5}, 422, "expected a start before the end"),
        ({"start": 60}, 422, "The clip has no frame in this span."),
        ({"frames": 3}, 422, "no field 'frames'"),
    ],
)
def test_mistakes_are_one_sentence(served: Served, clip: bytes, fields: dict[str, Any], status: int, part: str) -> None:
    answer = ask(served, clip, "red", **fields)
    assert (answer.status_code, part in answer.json()["error"]["message"]) == (status, True), answer.json()


@pytest.mark.parametrize("content", [b"", b"hello", b"#EXTM3U\n/etc/passwd\n", photo(), b"ffconcat version 1.0\n"])
def test_what_is_not_a_video_is_415_and_names_no_path(served: Served, content: bytes) -> None:
    answer = ask(served, content, "red")
    assert answer.status_code == 415
    assert tempfile.gettempdir() not in answer.text


def test_nothing_stays_on_disk(served: Served, clip: bytes) -> None:
    assert ask(served, clip, "break").status_code == 500
    assert ask(served, clip, "red").status_code == 200
    assert not list(Path(tempfile.gettempdir()).glob("deixis-*/clip"))


def test_frames_with_too_many_pixels_are_refused_before_they_are_decoded(clip: bytes) -> None:
    served = serve(megapixels=0.001)
    assert ask(served, clip, "red").status_code == 413
    assert not served.model.encoded


def test_a_clip_that_takes_too_long_to_read_is_refused(served: Served, clip: bytes, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(clip)
    late = clips._TimedClip(tmp_path / "clip.mp4", 0.0)
    with late.frames() as frames, pytest.raises(clips.TimeLimit, match="takes too long"):
        next(frames)
