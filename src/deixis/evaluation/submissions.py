"""Masks of clips as the benchmarks take them: one PNG a frame, in a folder or a zip.

| data set | path of a frame | pixels |
|---|---|---|
| Refer-YouTube-VOS | `Annotations/<video>/<expression>/<frame>.png` | 0 and 255 |
| MeViS | `<video>/<expression>/<frame>.png` | 0 and 255 |
| Ref-DAVIS17 | `anno_<annotator>/<video>/<frame>.png` | the number of the object, 0 for none |
"""

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from ..errors import InputError
from ..files import replaced
from ..records import Reader, Sample

TOPS = {"refer-youtube-vos": "Annotations/", "mevis": "", "ref-davis": ""}
NUM_ANNOTATORS = 4  # of Ref-DAVIS17; an expression's number is 4 · (object - 1) + annotator


def frame_file(sample: Sample, dataset: str) -> str:
    """The path of the sample's mask in a submission of `dataset`; raises InputError where it is not about a clip."""
    if dataset not in TOPS or not {"video", "expression", "frame_name"} <= sample.traits.keys():
        raise InputError(
            f"{dataset} has no submission format; masks of clips are files in the data sets {', '.join(TOPS)}."
        )
    video, frame = sample.traits["video"], sample.traits["frame_name"]
    if dataset == "ref-davis":
        return f"anno_{int(sample.traits['expression']) % NUM_ANNOTATORS}/{video}/{frame}.png"
    return f"{TOPS[dataset]}{video}/{sample.traits['expression']}/{frame}.png"


@dataclass(frozen=True)
class MaskFiles:
    """A folder or a zip of masks, by their paths below the top folder."""

    path: Path
    names: dict[str, str]  # from the path below `Annotations/`, if there is such a folder, to the whole one
    archive: zipfile.ZipFile | None = None  # stays open: a zip's list of files is long, and read once

    @classmethod
    def open(cls, path: Path) -> "MaskFiles":
        """Raises InputError where there is no PNG."""
        archive = None
        if path.is_dir():
            names = [each.relative_to(path).as_posix() for each in sorted(path.rglob("*.png"))]
        else:
            try:
                archive = zipfile.ZipFile(path)
            except (OSError, zipfile.BadZipFile) as error:
                raise InputError(f"{path} cannot be read ({error}); give a folder or a zip of PNG masks.") from None
            names = [name for name in archive.namelist() if name.endswith(".png")]
        below = {str(PurePosixPath(*PurePosixPath(name).parts[-3:])): name for name in names if name.count("/") >= 2}
        if not below:
            raise InputError(f"{path} has no masks; expected files such as VIDEO/EXPRESSION/FRAME.png.")
        if len(below) < sum(name.count("/") >= 2 for name in names):
            raise InputError(f"{path} has two masks for one frame, in different folders; give one of these folders.")
        return cls(path, below, archive)

    def __contains__(self, name: str) -> bool:
        return _below(name) in self.names

    def read(self, name: str) -> UInt8[np.ndarray, "h w"]:
        """The values of a grey or palette image; raises InputError for anything else."""
        stored = self.names[_below(name)]
        try:
            with Image.open(self._stream(stored), formats=["PNG"]) as image:
                if image.mode not in ("L", "P", "1"):
                    raise InputError(f"{self.path}: {stored} is {image.mode}; expected a grey or a palette image.")
                return np.asarray(image.convert("L") if image.mode == "1" else image, dtype=np.uint8)
        except (OSError, ValueError, zipfile.BadZipFile, Image.DecompressionBombError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{self.path}: {stored} cannot be read: {error}.") from None

    def _stream(self, stored: str) -> io.BytesIO:
        return io.BytesIO((self.path / stored).read_bytes() if self.archive is None else self.archive.read(stored))


def is_mask_files(path: Path) -> bool:
    return path.is_dir() or path.suffix.lower() == ".zip"


class SubmissionWriter:
    """Adds frames to a zip; equal masks give equal bytes."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self.num_files = 0

    def add(self, name: str, values: UInt8[np.ndarray, "h w"]) -> None:
        buffer = io.BytesIO()
        Image.fromarray(values).save(buffer, format="PNG")
        entry = zipfile.ZipInfo(name, date_time=(2020, 1, 1, 0, 0, 0))
        entry.compress_type = zipfile.ZIP_STORED  # PNG is compressed
        self._archive.writestr(entry, buffer.getvalue())
        self.num_files += 1

    def add_mask(self, name: str, mask: Bool[np.ndarray, "h w"]) -> None:
        self.add(name, np.where(mask, 255, 0).astype(np.uint8))


@contextmanager
def submission(path: Path) -> Iterator[SubmissionWriter]:
    """A zip that appears when all of it is written; raises InputError if it exists or its name does not end in .zip."""
    if path.suffix.lower() != ".zip":
        raise InputError(f"The submission {path} is a zip; give --submission a name that ends in .zip.")
    if path.exists():
        raise InputError(f"{path} exists; remove it, or give --submission another name.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as beside, zipfile.ZipFile(beside, "w") as archive:
        yield SubmissionWriter(archive)


def clip_dataset(reader: Reader) -> str:
    """The name of the reader's data set; raises InputError where no server takes submissions for it."""
    sample = reader[0]
    frame_file(sample, sample.dataset)
    return sample.dataset


def _below(name: str) -> str:
    return str(PurePosixPath(*PurePosixPath(name).parts[-3:]))
