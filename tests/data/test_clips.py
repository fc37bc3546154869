"""Clips: every frame once and in order, whatever the container says, and one sentence for what is not a clip."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deixis.data import frame_folders
from deixis.data.clips import each_frame, is_video_name, open_clip
from deixis.errors import InputError

av = pytest.importorskip("av", reason="videos need `pip install deixis[video]`")

from tests.data.video_writing import number_of, numbered, write_video  # noqa: E402


def write_frames(folder: Path, names: list[str]) -> Path:
    folder.mkdir()
    for number, name in enumerate(names):
        Image.fromarray(numbered(number)).save(folder / name)
    return folder


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.avi"])
def test_every_frame_is_read_in_presentation_order(tmp_path: Path, name: str) -> None:
    clip = open_clip(write_video(tmp_path / name, 23, codec="mpeg4" if name.endswith("avi") else "libx264"))
    with clip.frames() as frames:
        found = [(frame.index, number_of(frame.pixels)) for frame in frames]
    assert found == [(index, index) for index in range(23)]  # the last ones come from flushing the decoder
    assert frames.note == ""
    assert (clip.num_frames, clip.expected_frames, clip.rate, clip.size) == (23, 23, 10.0, (48, 64))


def test_frames_are_read_at_positions_with_repetition(tmp_path: Path) -> None:
    clip = open_clip(write_video(tmp_path / "clip.mp4", 12))
    assert [number_of(frame) for frame in clip.read([3, 0, 0, 11])] == [3, 0, 0, 11]
    assert [number_of(frame) for frame in clip.read()] == list(range(12))
    with pytest.raises(InputError, match=r"clip\.mp4 has 12 frames; frame 13 was requested"):
        clip.read([12])


def test_a_variable_rate_neither_doubles_nor_drops_frames(tmp_path: Path) -> None:
    times = [0, 40, 80, 500, 520, 1500, 1600, 1700]
    clip = open_clip(write_video(tmp_path / "clip.mkv", len(times), times=times))
    with clip.frames() as frames:
        found = [(number_of(frame.pixels), frame.time) for frame in frames]
    assert [number for number, _ in found] == list(range(8))
    np.testing.assert_allclose([time for _, time in found], np.array(times) / 1000, atol=0.06)  # encoded at 10 a second


@pytest.mark.parametrize(("rotation", "corner"), [(-90, (0, -1)), (90, (-1, 0)), (180, (-1, -1))])
def test_frames_are_turned_as_the_metadata_says(tmp_path: Path, rotation: int, corner: tuple[int, int]) -> None:
    clip = open_clip(write_video(tmp_path / "clip.mp4", 2, rotation=rotation))
    assert clip.size == ((64, 48) if rotation % 180 else (48, 64))
    frame = clip.read([0])[0]
    assert frame.shape[:2] == clip.size
    assert frame[corner][0] > 180  # the red corner, which is at the top left before
    assert frame[0, 0][0] < 120


def test_a_cut_off_file_gives_its_frames_and_says_where_it_ended(tmp_path: Path) -> None:
    for name in ("clip.mkv", "clip.mp4"):
        whole = write_video(tmp_path / name, 90).read_bytes()
        (tmp_path / name).write_bytes(whole[: int(len(whole) * 0.7)])
        clip = open_clip(tmp_path / name)
        with clip.frames() as frames:
            found = [number_of(frame.pixels) for frame in frames]
        assert found[:-3] == list(range(len(found) - 3))  # of the last ones some are lost with the frames they need
        assert found == sorted(set(found))
        assert 10 < len(found) < 90
        assert f"it has {len(found)} frames, the last one at {found[-1] / 10:.2f} s" in frames.note
        assert clip.num_frames == len(found)
        with pytest.raises(InputError, match=rf"frame 90 was requested.*{name} is cut off"):
            clip.read([89])


def test_a_damaged_middle_costs_frames_and_is_told(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.avi", 60, codec="mjpeg")
    data = bytearray(path.read_bytes())
    at = data.find(b"\xff\xd8", len(data) // 2)
    data[at : at + 600] = bytes(600)
    path.write_bytes(data)
    with open_clip(path).frames() as frames:
        count = sum(1 for _ in frames)
    assert 50 < count < 60
    assert "clip.avi is damaged" in frames.note


def write_sound(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_what_is_no_video_is_named_in_one_sentence(tmp_path: Path) -> None:
    write_sound(tmp_path / "talk.wav")
    video = write_video(tmp_path / "good.mp4").read_bytes()
    (tmp_path / "codec.mp4").write_bytes(video.replace(b"avc1", b"zzzz"))
    moving = write_video(tmp_path / "good.mov").read_bytes()  # its index is at the end
    (tmp_path / "index.mov").write_bytes(moving[: moving.find(b"moov") - 8])
    (tmp_path / "zero.mp4").write_bytes(video[: video.find(b"mdat") + 4])
    (tmp_path / "text.mp4").write_bytes(b"hello " * 100)
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "pointer.mp4").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    expected = {
        "talk.wav": "has sound only, no video stream",
        "codec.mp4": "compressed by a codec that PyAV does not have",
        "index.mov": "its index is cut off",
        "zero.mp4": "has no frame that can be decoded",
        "text.mp4": "is not a video that PyAV can read",
        "empty.mp4": "is an empty file",
        "pointer.mp4": "run `git lfs pull`",
    }
    for name, words in expected.items():
        with pytest.raises(InputError, match=words) as caught:
            open_clip(tmp_path / name).read()
        assert str(tmp_path / name) in str(caught.value)
        assert str(caught.value).count(". ") == 0


def test_a_playlist_opens_no_other_file(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.ts")
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nclip.ts\n#EXT-X-ENDLIST\n")
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile clip.ts\n")
    for name in ("list.m3u8", "list.mp4"):
        with pytest.raises(InputError, match="is not a video that PyAV can read"):
            open_clip(tmp_path / name).read()


def test_without_pyav_one_sentence_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "clip.mp4")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r"clip\.mp4 is a video; .*`pip install deixis\[video\]`"):
        open_clip(tmp_path / "clip.mp4").read()


def test_a_folder_of_frames_is_a_clip(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "clip", ["00005.png", "00010.png", "00015.png"])
    for junk in (".DS_Store", "._00005.png", "Thumbs.db", "notes.txt"):
        (folder / junk).write_bytes(b"")
    clip = open_clip(folder, rate=5.0)
    assert (clip.num_frames, clip.size) == (3, (48, 64))
    with clip.frames() as frames:
        assert [(frame.index, frame.time, number_of(frame.pixels)) for frame in frames] == [
            (0, 0.0, 0),
            (1, 0.2, 1),
            (2, 0.4, 2),
        ]
    assert [number_of(frame) for frame in clip.read([2, 2, 0])] == [2, 2, 0]
    assert len(list(each_frame(clip))) == 3
    with pytest.raises(InputError, match="has 3 frames; frame 4 was requested"):
        clip.read([3])


def test_numbers_without_zeros_are_in_natural_order(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "clip", [f"frame{number}.png" for number in range(1, 12)])
    assert frame_folders.numbered_frames(folder)[:3] == ("frame1.png", "frame2.png", "frame3.png")
    assert frame_folders.numbered_frames(folder)[-1] == "frame11.png"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["1.png", "2.png", "5.png"], "has a gap: after 2.png comes 5.png, where other numbers are 1 apart"),
        (["01.png", "2.png"], "mixes padded and plain numbers"),
        (["1.png", "1.jpg"], "two images of one number"),
        (["a1.png", "b2.png"], "mixes names of the kinds"),
        (["a.png"], "which has no number"),
        ([], "holds no images"),
    ],
)
def test_a_folder_whose_order_is_not_certain_is_refused(tmp_path: Path, names: list[str], words: str) -> None:
    folder = write_frames(tmp_path / "clip", names)
    with pytest.raises(InputError, match=words):
        open_clip(folder)


def test_frames_of_two_sizes_are_refused(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "clip", ["1.png", "2.png"])
    Image.new("RGB", (10, 12)).save(folder / "2.png")
    with pytest.raises(InputError, match=r"2\.png is 12x10 pixels .* the first frame of its clip, 1\.png, is 48x64"):
        open_clip(folder).read()


def test_paths_that_are_no_clip(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "photo.png")
    with pytest.raises(InputError, match="is an image"):
        open_clip(tmp_path / "photo.png")
    with pytest.raises(InputError, match="There is nothing at"):
        open_clip(tmp_path / "absent.mp4")
    assert is_video_name("a/CLIP.MOV")
    assert not is_video_name("photo.png")
