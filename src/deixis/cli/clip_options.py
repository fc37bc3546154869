"""The options of `deixis segment` that concern clips."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from ..errors import InputError
from .model_options import ModelOptions

if TYPE_CHECKING:
    from ..predict.video import FrameChoice


@dataclass(frozen=True, kw_only=True)
class ClipOptions(ModelOptions):
    """How clips are read and answered."""

    clip: bool = False
    """Every folder is a clip, its images are the frames; by default a folder stands for single photos."""
    rate: Annotated[float | None, tyro.conf.arg(metavar="F")] = None
    """Frames a second of a folder of frames; without it its frames have no times."""
    every: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    """Of a clip, ask every n-th frame."""
    fps: Annotated[float | None, tyro.conf.arg(metavar="F")] = None
    """Of a clip, ask so many frames a second."""
    start: Annotated[float | None, tyro.conf.arg(metavar="S")] = None
    """The second of a clip from which frames are asked."""
    end: Annotated[float | None, tyro.conf.arg(metavar="S")] = None
    """The second of a clip up to which frames are asked."""
    smooth: Annotated[float | None, tyro.conf.arg(metavar="W")] = None
    """The weight, between 0 and 1, of earlier frames in an average of the probability maps; by default none."""
    masks: Literal["rle", "png"] = "rle"
    """How a clip's masks are written: in masks.jsonl only, or as pictures too."""
    codec: Literal["vp9", "av1", "mpeg4", "h264"] | None = None
    """The codec of a clip's overlay; by default VP9, or where that is missing AV1 or MPEG-4."""

    @property
    def choice(self) -> "FrameChoice":
        """Raises `InputError` for impossible values."""
        from ..predict.video import FrameChoice, Smoother

        if self.rate is not None and not 0 < self.rate < float("inf"):
            raise InputError(f"The rate is {self.rate}; expected a positive number of frames a second.")
        Smoother(self.smooth)
        return FrameChoice(every=self.every, fps=self.fps, start=self.start, end=self.end)

    @property
    def of_clips(self) -> dict[str, Any]:
        """The options that answers about clips depend on."""
        names = ("rate", "every", "fps", "start", "end", "smooth", "masks")
        return {name: getattr(self, name) for name in names}

    def check_photos(self) -> None:
        """Raises `InputError` where an option for clips is given and there are only photos."""
        plain = ClipOptions()
        for name in (*self.of_clips, "codec"):
            if getattr(self, name) != getattr(plain, name):
                raise InputError(f"--{name} is for clips, and there is none; a folder of frames is one with --clip.")
