"""Clips as files: MP4 with H.264, and GIF."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from ...errors import InputError

RATE = 10  # frames a second


def write_mp4(path: Path, frames: UInt8[np.ndarray, "t h w 3"], rate: int = RATE) -> None:
    """Write a video whose frames have these pixels, nearly. Raises InputError for odd sides, and without PyAV."""
    try:
        import av
    except ImportError:
        raise InputError(f"{path} needs PyAV to be written: `pip install deixis[video]`.") from None
    _, height, width, _ = frames.shape
    if height % 2 or width % 2:
        raise InputError(f"{path} cannot have {height}x{width} pixels: expected even sides.")
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "12", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for pixels in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_gif(path: Path, frames: Sequence[Image.Image], rate: int = RATE) -> None:
    """Write an animation that repeats."""
    first, *others = frames
    first.save(path, format="GIF", save_all=True, append_images=others, duration=1000 // rate, loop=0)
