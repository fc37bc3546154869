"""What a clip costs in memory and time: `python -m benchmarks.video`.

A 720p clip of ten minutes and one of half a minute are made (MPEG-4, 30 frames a second: ten seconds of a square that
moves over noise, repeated). Each is read in fresh processes: by the decoder alone, every frame as RGB, and by the
bundled model, `--fps` frames a second with one expression. The peak memory of the long clip may exceed the short
one's by a tenth. `--minutes` and `--short` shorten them, also to fractions of a minute. Exit code 1 where the memory
grows by more.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .measure import called, fresh, peak_megabytes, write

HEIGHT, WIDTH, RATE = 720, 1280, 30
LOOP = 10 * RATE  # frames until the clip repeats
LIMIT = 1.1  # of the short clip's peak memory
KINDS = ("decoding", "bundled model")


def make(path: Path, minutes: float) -> None:
    """A clip of which one loop is compressed; the others are copies of its packets."""
    import av

    loop = path.with_suffix(".loop.mp4")
    _make_loop(loop)
    with av.open(str(loop)) as read, av.open(str(path), "w") as written:
        stream = read.streams.video[0]
        packets = [(each, each.pts or 0, each.dts or 0) for each in read.demux(stream) if each.size]
        assert stream.time_base is not None
        copy, tick = written.add_stream_from_template(stream), stream.time_base
        length = round(LOOP / RATE / tick)
        for number in range(max(1, round(minutes * 60 * RATE))):
            packet, pts, dts = packets[number % LOOP]
            shift = number // LOOP * length
            packet.stream, packet.time_base = copy, tick
            packet.pts, packet.dts = pts + shift, dts + shift
            written.mux(packet)


def _make_loop(path: Path) -> None:
    """Frames that all differ."""
    import numpy as np

    from deixis.data.video_writer import video_writer

    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    background = noise.repeat(8, axis=0).repeat(8, axis=1) // 2
    with video_writer(path, "mpeg4") as video:
        for number in range(LOOP):
            frame = background.copy()
            left, top = 7 * number % (WIDTH - 160), 5 * number % (HEIGHT - 160)
            frame[top : top + 160, left : left + 160] = (220, 40, 40)
            video.add(frame, number / RATE)


def cell(kind: str, path: Path, fps: float) -> dict[str, Any]:
    """Frames a second and peak memory of this process for one clip."""
    from deixis.data.clips import open_clip

    clip, count, began = open_clip(path), 0, 0.0
    if kind == "decoding":
        began = time.perf_counter()
        with clip.frames() as frames:
            for frame in frames:
                count += frame.pixels.ndim == 3
    else:
        import deixis

        segmenter = deixis.load("bundled")
        segmenter(next(iter(clip.frames())).pixels, "the red square")  # a warm-up
        began = time.perf_counter()
        for prediction in segmenter.video(clip, "the red square", fps=fps):
            count += prediction.frame is not None
    seconds = time.perf_counter() - began
    return {"frames": count, "frames_per_second": count / seconds, "seconds": seconds, "peak_rss_mb": peak_megabytes()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cell", choices=KINDS)
    parser.add_argument("--clip", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0, help="of the long clip")
    parser.add_argument("--short", type=float, default=0.5, help="minutes of the short clip")
    parser.add_argument("--fps", type=float, default=0.5, help="frames a second that the model is asked about")
    arguments = parser.parse_args()
    if arguments.cell:
        print(json.dumps(cell(arguments.cell, arguments.clip, arguments.fps)))
        return 0
    if not 0 < arguments.short < arguments.minutes:
        parser.error("--short must be positive and below --minutes")
    rows = []
    with TemporaryDirectory() as folder:
        for minutes in (arguments.short, arguments.minutes):
            path = Path(folder) / f"{minutes}.mp4"
            make(path, minutes)
            for kind in KINDS:
                options = ("--cell", kind, "--clip", str(path), "--fps", str(arguments.fps))
                found = fresh("benchmarks.video", *options, limit=4 * 3600)
                rows.append({"what": kind, "minutes": minutes, **found})
    growth = {kind: _growth([row for row in rows if row["what"] == kind]) for kind in KINDS}
    shape = {"size": [HEIGHT, WIDTH], "rate": RATE, "fps": arguments.fps, "load_average": os.getloadavg()[1]}
    is_constant = all(each is not None and each <= LIMIT for each in growth.values())
    facts = {"peak_of_long_by_short": growth, "limit": LIMIT, "within_limit": is_constant}
    write("video", {"command": called("benchmarks.video"), **shape, **facts, "rows": rows})
    print(json.dumps({**facts, "rows": rows}, indent=1))
    return 0 if is_constant else 1


def _growth(rows: list[dict[str, Any]]) -> float | None:
    short, long = (row.get("peak_rss_mb") for row in rows)
    return long / short if short and long else None


if __name__ == "__main__":
    sys.exit(main())
