"""Small videos whose frames show their numbers, for tests."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def numbered(number: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A frame with its number as eight blocks at the bottom left, the lowest bit first."""
    pixels = np.full((height, width, 3), (60, 90, 120), np.uint8)
    pixels[: height // 4, : width // 2] = (220, 40, 40)  # shows which way is up
    for bit in range(8):
        pixels[-4:, 4 * bit : 4 * bit + 4] = 255 * (number >> bit & 1)
    return pixels


def number_of(pixels: np.ndarray) -> int:
    """The number that a frame shows."""
    return sum(int(pixels[-3:-1, 4 * bit + 1 : 4 * bit + 3].mean() > 128) << bit for bit in range(8))


def write_video(
    path: Path, count: int = 12, *, rotation: int = 0, times: list[int] | None = None, codec: str = "libx264"
) -> Path:
    """Frames numbered from 0, at 10 a second, or at `times` in milliseconds; with B-frames and a key frame in 10."""
    with av.open(str(path), "w", options={"movflags": "faststart"} if path.suffix == ".mp4" else {}) as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 64, 48, "yuv420p", 10
        if codec == "mjpeg":
            stream.pix_fmt = "yuvj420p"
        if rotation:
            stream.set_display_rotation(rotation)
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(numbered(index), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[index], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
