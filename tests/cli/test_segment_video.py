"""`deixis segment` on clips: what is written, resuming, and errors."""

import json
import os
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from deixis import masks
from deixis.checkpoints import native
from deixis.checkpoints.configs import to_dict
from deixis.cli import main
from deixis.cli.clip_answers import ClipAnswers, Sightings
from deixis.data.clips import open_clip
from deixis.data.transforms import Preprocess
from deixis.predict import video
from deixis.viz.strips import clip_colours
from tests.cli.test_segment import CONFIG, VOCABULARY
from tests.data.video_writing import write_video

RED, BLUE = "the red cup", "the blue cup"


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    torch.manual_seed(0)
    weights = CONFIG.build().state_dict()
    weights["mask.bias"] += 1.0  # so that something is found
    preprocess = Preprocess(image_size=32, max_tokens=8)
    native.save(folder, weights, native.Card(system="vega", config=to_dict(CONFIG), preprocess=preprocess), VOCABULARY)
    return str(folder)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "clip.mp4", 8)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], model: str, *arguments: str) -> tuple[int, list[str], str]:
    """Exit code, lines of stdout, stderr."""
    code = main(["segment", *arguments, "--model", model])
    captured = capsys.readouterr()
    return code, captured.out.splitlines(), captured.err


def folder_of(out: str = "deixis-out") -> Path:
    (folder,) = (path for path in Path(out).iterdir() if path.is_dir())
    return folder


def records(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "masks.jsonl").read_text().splitlines()]


def test_a_clip_gives_masks_an_overlay_and_when_each_sentence_was_found(
    capsys: pytest.CaptureFixture[str], model: str
) -> None:
    code, lines, _ = run(capsys, model, "clip.mp4", RED, BLUE, "--every", "3", "--masks", "png", "--explain")
    assert code == 0
    folder = folder_of()
    assert [line.split("  ")[:2] for line in lines] == [["clip.mp4", repr(RED)], ["clip.mp4", repr(BLUE)]]
    assert all(line.endswith(f"-> {folder}") for line in lines)
    found = records(folder)
    assert [(each["frame"], each["expression"]) for each in found] == [(f, e) for f in (0, 3, 6) for e in (RED, BLUE)]
    assert [each["time"] for each in found[::2]] == pytest.approx([0.0, 0.3, 0.6])
    for each, number in zip(found, (1, 2) * 3, strict=True):
        picture = np.asarray(Image.open(folder / "masks" / f"{each['frame']:06d}-{number}.png"))
        assert (masks.decode(each["rle"]) == (picture == 255)).all()
        assert picture.shape == (48, 64)
    summary = json.loads((folder / "found.json").read_text())
    assert summary["frames"] == 3
    assert [each["expression"] for each in summary["expressions"]] == [RED, BLUE]
    frames = sum(each["found"] for each in found[::2])
    assert frames > 0
    assert summary["expressions"][0]["found_in_frames"] == frames
    assert len(list(folder.glob("evidence-*.png"))) == 2
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_the_overlay_keeps_the_times_and_has_a_colour_for_each_sentence(
    capsys: pytest.CaptureFixture[str], model: str
) -> None:
    times = [0, 100, 200, 500, 600, 1200]
    write_video(Path("uneven.mkv"), len(times), times=times)
    assert run(capsys, model, "uneven.mkv", RED, BLUE)[0] == 0
    clip = open_clip(folder_of() / "overlay.mp4")
    with clip.frames() as frames:
        shown = [(frame.time, frame.pixels) for frame in frames]
    assert [time for time, _ in shown] == pytest.approx([time / 1000 for time in times], abs=0.001)
    height, width = shown[0][1].shape[:2]
    assert (height, width) == (84, 64)  # the frame's 48 rows and two lines of 18
    for number, colour in enumerate(clip_colours(2)):
        square = shown[0][1][48 + 18 * number + 7 : 48 + 18 * number + 12, 7:11]
        assert np.abs(square.mean((0, 1)) - colour).max() < 70


@pytest.mark.parametrize("options", [(), ("--smooth", "0.1")])
def test_a_killed_run_continues_at_the_next_frame(
    capsys: pytest.CaptureFixture[str], model: str, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    run(capsys, model, "clip.mp4", RED, BLUE, "--out", "whole", *options)
    run(capsys, model, "clip.mp4", RED, BLUE, "--out", "killed", *options)
    folder = folder_of("killed")
    lines = (folder / "masks.jsonl").read_bytes().splitlines(keepends=True)
    for name in ("found.json", "overlay.mp4"):
        (folder / name).unlink()
    (folder / "masks.jsonl").write_bytes(b"".join(lines[:11]) + lines[11][:40])  # five frames, one line, half a line
    counted = []
    ask = video.ask_clip
    monkeypatch.setattr(video, "ask_clip", lambda *args, skip: counted.append(skip) or ask(*args, skip=skip))
    code, _, complaints = run(capsys, model, "clip.mp4", RED, BLUE, "--out", "killed", *options)
    assert code == 0
    assert counted == [5]
    assert "5 frames are in" in complaints
    for name in ("masks.jsonl", "overlay.mp4"):
        assert (folder / name).read_bytes() == (folder_of("whole") / name).read_bytes()
    code, lines_again, _ = run(capsys, model, "clip.mp4", RED, BLUE, "--out", "killed", *options)
    assert (code, counted, len(lines_again)) == (0, [5], 2)  # complete: nothing is asked again


def test_another_setting_does_not_continue_a_run(capsys: pytest.CaptureFixture[str], model: str) -> None:
    assert run(capsys, model, "clip.mp4", RED, "--every", "4")[0] == 0
    code, _, complaints = run(capsys, model, "clip.mp4", RED, "--every", "2")
    assert code == 2
    assert "was computed with another every; give another --out, or --overwrite" in complaints
    assert run(capsys, model, "clip.mp4", RED, "--every", "2", "--overwrite")[0] == 0
    assert len(records(folder_of())) == 4


def test_a_run_that_computed_nothing_leaves_nothing_to_remove(capsys: pytest.CaptureFixture[str], model: str) -> None:
    sound_only(Path("sound.mp4"))
    assert run(capsys, model, "sound.mp4", RED)[0] == 2
    assert not Path("deixis-out").exists()
    assert run(capsys, model, "clip.mp4", RED, "--start", "5")[0] == 2
    code, _, complaints = run(capsys, model, "clip.mp4", RED, "--every", "4")
    assert code == 0, complaints
    assert len(records(folder_of())) == 2


def test_json_prints_a_line_for_each_frame_and_writes_nothing(capsys: pytest.CaptureFixture[str], model: str) -> None:
    code, lines, _ = run(capsys, model, "clip.mp4", RED, "--json", "--start", "0.6")
    assert code == 0
    assert [json.loads(line)["frame"] for line in lines] == [6, 7]
    assert not Path("deixis-out").exists()


def test_a_folder_is_a_clip_only_on_request(capsys: pytest.CaptureFixture[str], model: str) -> None:
    Path("frames").mkdir()
    for number in range(3):
        Image.new("RGB", (64, 48), (90, 9, 9 * number)).save(f"frames/{number:05d}.png")
    code, lines, _ = run(capsys, model, "frames", RED, "--json")
    assert (code, ["image" in json.loads(line) for line in lines]) == (0, [True] * 3)
    code, lines, _ = run(capsys, model, "frames", RED, "--json", "--clip", "--rate", "5")
    assert [json.loads(line)["time"] for line in lines] == [0.0, 0.2, 0.4]
    code, lines, _ = run(capsys, model, "frames", RED, "--clip")
    assert code == 0
    assert "found in 3 frames: frames 0-2" in lines[0]
    Path("frames/00001.png").unlink()
    Image.new("RGB", (64, 48)).save("frames/00003.png")
    code, _, complaints = run(capsys, model, "frames", RED, "--clip")
    assert code == 2
    assert "has a gap: after 00000.png comes 00002.png" in complaints


def sound_only(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("clip.mp4", "--every", "0"), "every is 0; expected 1"),
        (("clip.mp4", "--fps", "0"), "fps is 0.0; expected a positive"),
        (("clip.mp4", "--start", "5"), "start is 5 s, but the last frame of clip.mp4 is at 0.70 s"),
        (("clip.mp4", "--start", "2", "--end", "1"), "expected a start before the end"),
        (("clip.mp4", "--smooth", "1"), "smooth is 1.0; expected a number between 0 and 1"),
        (("clip.mp4", "--masks", "gif"), "--masks is 'gif'"),
        (("sound.mp4",), "has sound only, no video stream"),
        (("empty.mp4",), "is an empty file"),
        (("text.mp4",), "is not a video"),
        (("missing.mp4",), "There is nothing at missing.mp4"),
        (("photo.png", "--fps", "3"), "--fps is for clips, and there is none"),
        (("sizes", "--clip"), "all must have one size"),
        (("nothing", "--clip"), "nothing holds no images"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], model: str, arguments: tuple[str, ...], complaint: str
) -> None:
    sound_only(Path("sound.mp4"))
    Path("empty.mp4").touch()
    Path("text.mp4").write_text("no video")
    for folder in ("sizes", "nothing"):
        Path(folder).mkdir()
    for name, size in (("photo.png", (64, 48)), ("sizes/1.png", (64, 48)), ("sizes/2.png", (64, 50))):
        Image.new("RGB", size).save(name)
    code, _, complaints = run(capsys, model, *arguments, "--text", RED)
    assert code == 2
    assert complaint in complaints
    assert len([line for line in complaints.splitlines() if line.startswith("deixis: ")]) == 1


def test_sightings_are_the_runs_of_frames_in_which_it_was_found() -> None:
    one = Sightings("the dog")
    for frame, score in enumerate((0.0, 0.5, 0.7, 0.0, 0.9)):
        one.add({"frame": 2 * frame, "time": frame / 5, "found": score > 0, "score": score})
    assert one.to_json() == {
        "expression": "the dog",
        "found_in_frames": 3,
        "best": {"frame": 8, "time": 0.8, "score": 0.9},
        "intervals": [
            {"start": {"frame": 2, "time": 0.2}, "end": {"frame": 4, "time": 0.4}, "frames": 2, "score": 0.6},
            {"start": {"frame": 8, "time": 0.8}, "end": {"frame": 8, "time": 0.8}, "frames": 1, "score": 0.9},
        ],
    }
    assert one.line == "found in 3 frames: 0.20-0.40 s, 0.80-0.80 s"


def test_a_changed_clip_is_computed_anew(tmp_path: Path) -> None:
    before = ClipAnswers(tmp_path / "out", (RED,), (1, 2, 3), {"every": 1})
    before.begin(overwrite=False)
    before.records.write_text('{"frame": 0}\n')
    assert before.begin(overwrite=False) == 1
    after = ClipAnswers(tmp_path / "out", (RED,), (1, 2, 4), {"every": 1})
    assert after.begin(overwrite=False) == 0
    assert not os.path.exists(after.records)
