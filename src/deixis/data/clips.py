"""Clips from a path: a video file, or a folder of frames.

A clip is a Visual whose frames can also be streamed with the memory of a few frames:

    clip = open_clip("dog.mp4")
    with clip.frames() as frames:
        for frame in frames:
            use(frame.index, frame.time, frame.pixels)
    print(frames.note)  # where a cut-off file ended, or nothing
"""

from pathlib import Path

from ..errors import InputError
from .frame_folders import FrameFolder as FrameFolder
from .frame_folders import frame_folder
from .frame_streams import Frame as Frame
from .frame_streams import FrameStream as FrameStream
from .frame_streams import each_frame as each_frame
from .image_folders import is_image_name
from .video_files import VIDEO_SUFFIXES as VIDEO_SUFFIXES
from .video_files import VideoFile as VideoFile

Clip = VideoFile | FrameFolder


def open_clip(path: str | Path, rate: float | None = None) -> Clip:
    """The clip at the path; `rate` gives times to the frames of a folder. Nothing is decoded yet.

    Raises InputError where there is nothing, an image, or a folder without frames in a certain order. What is wrong
    with a video is raised when its frames are read.
    """
    path = Path(path)
    if path.is_dir():
        return frame_folder(path, rate)
    if not path.exists():
        raise InputError(f"There is nothing at {path}; give a video file, or a folder of frames.")
    if is_image_name(path.name) and path.suffix.lower() != ".gif":
        raise InputError(f"{path} is an image; give a video file, or a folder of frames.")
    return VideoFile(path)


def is_video_name(name: str) -> bool:
    """Whether the name ends as a video's does, and is not hidden."""
    path = Path(name)
    return path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".")
