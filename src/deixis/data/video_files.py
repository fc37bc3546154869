"""Video files, decoded by PyAV in presentation order; nothing is sought by time or taken from a header on trust."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from ..errors import InputError
from ..files import LFS_START
from .frame_streams import Frame, FrameStream, Pixels
from .images import MAX_PIXELS

VIDEO_SUFFIXES = frozenset(
    (
        *(".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".m2v", ".ts", ".mts"),
        *(".m2ts", ".vob", ".ogv", ".flv", ".wmv", ".asf", ".mxf"),
    )
)
# Containers only: a playlist (HLS, DASH, concat) would open other files, or the network.
_CONTAINERS = (
    *("mov", "matroska", "webm", "avi", "mpegts", "mpeg", "mpegvideo", "ogg", "flv", "asf", "mxf", "gif", "h264"),
    *("hevc", "ivf", "obu", "m4v", "mjpeg", "dv", "nut", "yuv4mpegpipe", "mp3", "wav", "aac", "flac"),
)
_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": ",".join(_CONTAINERS)}
_EARLY = 0.5  # seconds that a header's duration may exceed the last packet's end
_REMEMBERED = 8192  # clips whose number of frames is kept


@dataclass(frozen=True, slots=True)
class VideoFile:
    """A video on disk; frames are turned as its metadata says, pixels that are not square are left as stored.

    `num_frames` decodes the whole file once and remembers the number. A cut-off file has the frames up to its end.
    """

    path: str | Path

    @property
    def size(self) -> tuple[int, int]:
        height, width = _size(*_identity(self.path))
        return height, width

    @property
    def stored_size(self) -> tuple[int, int]:
        """Height and width by the header, before they are turned; nothing is decoded."""
        with _opened(self.path) as (_, stream):
            return stream.codec_context.height, stream.codec_context.width

    @property
    def num_frames(self) -> int:
        return _count(*_identity(self.path))

    @property
    def rate(self) -> float | None:
        with _opened(self.path) as (_, stream):
            return None if stream.average_rate is None else float(stream.average_rate)

    @property
    def expected_frames(self) -> int | None:
        """By the header, or from its duration and rate."""
        with _opened(self.path) as (container, stream):
            if stream.frames:
                return int(stream.frames)
            if container.duration is None or stream.average_rate is None:
                return None
            return max(1, round(container.duration / 1_000_000 * stream.average_rate))

    def read(self, frames: Sequence[int] | None = None) -> UInt8[np.ndarray, "t h w 3"]:
        """Decodes from the first frame to the last one that is asked for."""
        if frames is None:
            return np.stack([frame.pixels for frame in self.frames()])
        if min(frames, default=0) < 0:
            raise InputError(f"Frame {min(frames)} of {self.path} was requested; positions count from 0.")
        wanted, found, passed = set(frames), dict[int, Pixels](), 0
        with self.frames() as stream:
            for frame in stream:
                passed = frame.index + 1
                if frame.index in wanted:
                    found[frame.index] = frame.pixels
                if len(found) == len(wanted):
                    break
        if missing := wanted - found.keys():
            raise InputError(
                f"{self.path} has {passed} frames; frame {min(missing) + 1} was requested.{_sentence(stream.note)}"
            )
        return np.stack([found[position] for position in frames])

    def frames(self) -> FrameStream:
        return FrameStream(_decode(self.path))


def _decode(path: str | Path) -> Generator[Frame, None, str]:
    """The frames; returns a note about what is missing. Raises InputError where there is not one frame."""
    with _opened(path) as (container, stream):
        import av

        packets, lost, index, time, size, first = 0, 0, 0, 0.0, (0, 0), None
        end = _End()
        step = float(1 / stream.average_rate) if stream.average_rate else 0.0
        stream.thread_type = "AUTO"
        for packet in _packets(container):
            end.see(packet)
            if packet.stream is not stream:
                continue
            packets += packet.size > 0 or packet.dts is not None
            try:
                decoded = packet.decode()  # the last packet is empty and flushes the decoder
            except av.error.FFmpegError:
                lost += 1
                continue
            for frame in decoded:
                if frame.pts is not None and frame.time_base is not None:
                    seconds = float(frame.pts * frame.time_base)
                    first = seconds - index * step if first is None else first
                    time = seconds - first
                size = size if index else (frame.height, frame.width)
                yield Frame(index, time, partial(_pixels, frame, size))
                index, time = index + 1, time + step
        if not index:
            raise InputError(f"{path} has no frame that can be decoded; get a complete copy of it.")
        return _note(path, index, time - step, stream.frames - packets, lost, end.is_early(container))


def _packets(container: Any) -> Iterator[Any]:
    """Up to the end, or to the first error of the container, after which nothing follows."""
    import av

    with suppress(av.error.FFmpegError):
        yield from container.demux()


class _End:
    """The end of the last packet of all streams, in seconds."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def see(self, packet: Any) -> None:
        if packet.pts is not None and packet.time_base is not None:
            self.seconds = max(self.seconds, float((packet.pts + (packet.duration or 0)) * packet.time_base))

    def is_early(self, container: Any) -> bool:
        """Whether the header's duration is longer."""
        if container.duration is None:
            return False
        start = (container.start_time or 0) / 1_000_000
        return bool(container.duration / 1_000_000 - (self.seconds - start) > _EARLY)


def _note(path: str | Path, count: int, last: float, missing: int, lost: int, is_early: bool) -> str:
    where = f"{count:,} {'frame' if count == 1 else 'frames'}, the last one at {last:.2f} s"
    if missing > 0:
        return f"{path} is cut off or its header is wrong: it has {where}, and {missing:,} fewer than its header says"
    if is_early:
        return f"{path} is cut off: it has {where}, and its header says that it is longer"
    if lost:
        return f"{path} is damaged: {lost:,} of its packets cannot be decoded, so later frames move up; it has {where}"
    return ""


def _sentence(note: str) -> str:
    return f" {note}." if note else ""


def _pixels(frame: Any, size: tuple[int, int]) -> Pixels:
    """Upright RGB of the first frame's size, also where a stream changes its resolution."""
    pixels = frame.to_ndarray(format="rgb24", height=size[0], width=size[1])
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))


@contextmanager
def _opened(path: str | Path) -> Iterator[tuple[Any, Any]]:
    """PyAV's container and its video stream; what PyAV raises about the file becomes an InputError."""
    try:
        import av
    except ImportError:
        raise InputError(f"{path} is a video; install PyAV to read it: `pip install deixis[video]`.") from None
    try:
        container = av.open(f"file:{path}", options=_OPTIONS, metadata_errors="replace")
    except FileNotFoundError:
        raise InputError(f"There is no file {path}; give the path of a video.") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; give the path of a video.") from None
    except PermissionError:
        raise InputError(f"{path} cannot be read; check its permissions.") from None
    except (av.error.FFmpegError, OSError):
        raise InputError(f"{path} {_what_it_is(Path(path))}.") from None
    with container:
        yield container, _video_stream(container, path)


def _what_it_is(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(len(LFS_START))
    if not start:
        return "is an empty file; get a complete copy of it"
    if start == LFS_START:
        return "is a Git LFS pointer, not the video itself; run `git lfs pull`"
    return "is not a video that PyAV can read, or its index is cut off; get a complete copy, or convert it to MP4"


def _video_stream(container: Any, path: str | Path) -> Any:
    import av

    # The cover of an audio file counts as a stream of pictures.
    streams = [each for each in container.streams.video if not each.disposition & av.stream.Disposition.attached_pic]
    if not streams and container.streams.audio:
        raise InputError(f"{path} has sound only, no video stream; give a video.")
    if not streams:
        raise InputError(f"{path} has no video stream; it may be cut off before its index: get a complete copy of it.")
    stream = streams[0]
    if stream.codec_context is None:
        raise InputError(
            f"{path} is compressed by a codec that PyAV does not have; convert it to H.264, for example with "
            "`ffmpeg -i IN -c:v libx264 OUT.mp4`."
        )
    if stream.codec_context.width * stream.codec_context.height > MAX_PIXELS:
        raise InputError(
            f"The frames of {path} have {stream.codec_context.width}x{stream.codec_context.height} pixels (width x "
            f"height); at most {MAX_PIXELS // 1_000_000} megapixels are read: make it smaller first."
        )
    return stream


def _identity(path: str | Path) -> tuple[str, int, int]:
    """The path, and what changes when the file does."""
    try:
        facts = Path(path).stat()
    except OSError:
        return str(path), 0, 0
    return str(path), facts.st_mtime_ns, facts.st_size


@lru_cache(_REMEMBERED)
def _count(path: str, *_: int) -> int:
    return sum(1 for _ in VideoFile(path).frames())


@lru_cache(_REMEMBERED)
def _size(path: str, *_: int) -> tuple[int, int]:
    with VideoFile(path).frames() as frames:
        height, width = next(frames).pixels.shape[:2]
    return height, width
