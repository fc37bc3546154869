"""Video files written by PyAV: frames with their own times, by the first encoder that is there."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8

from ..errors import InputError
from ..files import replaced

Codec = Literal["vp9", "av1", "mpeg4", "h264"]
TICKS = 60_000  # a second: 24, 25, 30 and 29.97 frames a second and milliseconds are whole; MPEG-4 allows 65,535
_ENCODERS: dict[str, tuple[str, dict[str, str]]] = {
    "vp9": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "crf": "30", "b": "0"}),
    "av1": ("libsvtav1", {"preset": "12", "crf": "35"}),
    "mpeg4": ("mpeg4", {"q:v": "4"}),
    "h264": ("libx264", {"preset": "veryfast", "crf": "23"}),
}
_BY_DEFAULT = ("vp9", "av1", "mpeg4")  # libx264 is under the GPL, so it is used on request only


class VideoWriter:
    """Frames of one size in presentation order; an odd side is padded by one pixel where the encoder needs it."""

    def __init__(self, container: Any, codec: str) -> None:
        self._container, self._codec, self._stream, self._last = container, codec, None, -1

    def add(self, pixels: UInt8[np.ndarray, "h w 3"], seconds: float) -> None:
        """The next frame; its time must be later than the last one's, and is moved by one tick where it is not."""
        import av

        if self._codec == "h264":
            pixels = np.pad(pixels, [(0, side % 2) for side in pixels.shape[:2]] + [(0, 0)], mode="edge")
        stream = self._stream = self._stream or self._started(*pixels.shape[:2])
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        self._last = max(round(seconds * TICKS), self._last + 1)
        frame.pts, frame.time_base = self._last, Fraction(1, TICKS)
        self._container.mux(stream.encode(frame))

    def finish(self) -> None:
        if self._stream is not None:
            self._container.mux(self._stream.encode())

    def _started(self, height: int, width: int) -> Any:
        name, options = _ENCODERS[self._codec]
        stream = self._container.add_stream(name, rate=30, options=options)  # the frames have their own times
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS)
        return stream


@contextmanager
def video_writer(path: Path, codec: Codec | None = None) -> Iterator[VideoWriter]:
    """A writer of an MP4, which appears whole at the end or not at all.

    Without a codec it is VP9, or where that encoder is missing AV1, or MPEG-4. Raises InputError where the encoder, or
    PyAV, is missing.
    """
    chosen = available_codec(codec)
    import av

    options = {"movflags": "faststart"}
    with replaced(path) as beside, av.open(str(beside), "w", format="mp4", options=options) as container:
        writer = VideoWriter(container, chosen)
        yield writer
        writer.finish()


def available_codec(codec: Codec | None = None) -> str:
    """The codec, or the first one of the default ones that this PyAV can write."""
    try:
        import av
    except ImportError:
        raise InputError("Videos are written by PyAV; install it: `pip install deixis[video]`.") from None
    wanted = _BY_DEFAULT if codec is None else (codec,)
    for name in wanted:
        try:
            av.codec.Codec(_ENCODERS[name][0], "w")
        except (av.codec.codec.UnknownCodecError, ValueError):
            continue
        return name
    have = [name for name in _ENCODERS if name not in wanted]
    raise InputError(
        f"This PyAV cannot write {' or '.join(wanted)}; "
        + (f"choose another codec, such as {have[0]}." if have else "install the wheel: `pip install av`.")
    )
