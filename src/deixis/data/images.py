"""Images as RGB pixels: from files of every mode, bytes, Pillow images and arrays."""

import io
import re
import struct
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from ..errors import DeixisError, InputError
from ..files import LFS_START
from ..records import still

if TYPE_CHECKING:
    from torch import Tensor

MAX_PIXELS = 200_000_000  # a 20,000x10,000 scan opens; a file with more is refused as an attack
# Pillow goes by a file's content, whatever its name is, and would start another program for an EPS.
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF", "HEIF")
# What Pillow raises on broken files, and on a large TIFF only when its pixels are read.
_BROKEN = (
    *(OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError, RuntimeError, struct.error),
    Image.DecompressionBombError,
)

HIGHEST, LOWEST = 1.1, -0.01  # what resampling and rounding leave in floats from 0 to 1
if TYPE_CHECKING:
    Source = str | Path | bytes | BinaryIO | Image.Image | np.ndarray | Tensor
else:
    Source = str | Path | bytes | BinaryIO | Image.Image | np.ndarray | Any

_ORIENTATION = 0x0112  # the EXIF tag; values from 5 on exchange height and width
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_WITH_ALPHA = {"RGBA", "RGBa", "LA", "La", "PA"}
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # of the network; Path makes one slash of two
_HEIF = re.compile(rb"....ftyp(?:hei|hev|mif1|msf1)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image on disk: its size is read from the header, its pixels on request; upright unless `ignore_exif`."""

    path: str | Path
    ignore_exif: bool = False

    @property
    def size(self) -> tuple[int, int]:
        with reading(f"{self.path}"), _header(Path(self.path)) as image:
            width, height = image.size
            if isinstance(image, TiffImageFile):  # whose sides some Pillows have exchanged already
                width, height = image.tag_v2[256], image.tag_v2[257]
            turned = _orientation(image) >= 5 and not self.ignore_exif
        return (width, height) if turned else (height, width)

    @property
    def is_turned(self) -> bool:
        """Whether EXIF exchanges the height and the width of the stored pixels."""
        with reading(f"{self.path}"), _header(Path(self.path)) as image:
            return _orientation(image) >= 5

    @property
    def num_frames(self) -> int:
        return 1

    def read(self, frames: Sequence[int] | None = None) -> UInt8[np.ndarray, "t h w 3"]:
        return still(open_image(self.path, self.ignore_exif), frames)


@dataclass(frozen=True, slots=True, eq=False)
class ImageArray:
    """An image that is already in memory."""

    array: UInt8[np.ndarray, "h w 3"]

    @property
    def size(self) -> tuple[int, int]:
        return self.array.shape[0], self.array.shape[1]

    @property
    def num_frames(self) -> int:
        return 1

    def read(self, frames: Sequence[int] | None = None) -> UInt8[np.ndarray, "t h w 3"]:
        return still(self.array, frames)


def open_image(source: Source, ignore_exif: bool = False) -> UInt8[np.ndarray, "h w 3"]:
    """RGB pixels as a person sees them: turned upright by EXIF, transparent parts on white, 16 bits reduced to 8.

    Arrays are [h w], [h w 3] or [h w 4]; tensors [3 h w], too. Both are uint8, or floats from 0 to 1. Open files are
    read from their beginning. `ignore_exif` leaves photos as stored. Raises InputError where there is no image, one
    that is broken or larger than `MAX_PIXELS`, or an array whose axes or range are not certain.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if _is_tensor(source):
        return _from_array(_array_of(source))
    if isinstance(source, Image.Image):
        with reading("The image"):
            return _to_rgb(source, ignore_exif)
    if hasattr(source, "read") and not isinstance(source, Path):
        source = _content(source)
    if not isinstance(source, str | Path | bytes):
        raise InputError(
            f"An image is of type {type(source).__name__}; expected a path, bytes, an open file, a Pillow image, an "
            "array or a tensor."
        )
    name = "The image given as bytes" if isinstance(source, bytes) else f"{source}"
    with reading(name), opened(io.BytesIO(source) if isinstance(source, bytes) else Path(source), name) as image:
        return _to_rgb(image, ignore_exif)


@contextmanager
def opened(file: Path | io.BytesIO, name: str) -> Iterator[Image.Image]:
    """Pillow's image before its pixels are read; raises InputError, which calls it `name`, above `MAX_PIXELS`.

    Where there is no image, or a broken one, it raises what Pillow raises.
    """
    with _header(file) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise InputError(
                f"{name} has {width}x{height} pixels (width x height); at most {MAX_PIXELS // 1_000_000} megapixels "
                "are read: make it smaller first."
            )
        yield image


@contextmanager
def _header(file: Path | io.BytesIO) -> Iterator[Image.Image]:
    """Pillow's lazily read image, of the formats above.

    Pillow's own `open` has a lower limit of pixels, which is global to all threads; ours is checked by the callers.
    """
    with file.open("rb") if isinstance(file, Path) else file as stream:
        start = stream.read(16)
        for name in _formats():
            opener, accepts = Image.OPEN[name]
            if accepts is None or accepts(start) is True:
                stream.seek(0)
                try:
                    image = opener(stream, str(file) if isinstance(file, Path) else "")
                except (SyntaxError, IndexError, TypeError, struct.error):  # another format that begins alike
                    continue
                with image:
                    yield image
                return
        raise UnidentifiedImageError(_what_it_is(start))


@cache
def _formats() -> tuple[str, ...]:
    try:
        import pillow_heif

        pillow_heif.register_heif_opener()
    except ImportError:  # HEIF needs the extra
        pass
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _what_it_is(start: bytes) -> str:
    """What a file that is not an image is instead, and what to do."""
    if start.startswith(LFS_START[:16]):
        return "is a Git LFS pointer, not the image itself; run `git lfs pull`"
    if _HEIF.match(start):
        return "is HEIF; install it with `pip install deixis[heif]`, or convert it to JPEG"
    return "is not an image that Pillow can read; convert it to PNG or JPEG"


@contextmanager
def reading(name: str) -> Iterator[None]:
    """What Pillow raises inside becomes an InputError that begins with `name`."""
    try:
        yield
    except DeixisError:
        raise
    except FileNotFoundError:
        if _ADDRESS.match(name):
            raise InputError(f"{name} is an address; download the image and give the path of the copy.") from None
        raise InputError(f"There is no file {name}; give the path of an image.") from None
    except IsADirectoryError:
        raise InputError(f"{name} is a folder; give the path of an image.") from None
    except PermissionError:
        raise InputError(f"{name} cannot be read; check its permissions.") from None
    except UnidentifiedImageError as error:
        raise InputError(f"{name} {error}.") from None
    except _BROKEN as error:
        reason = str(error).rstrip(".") or type(error).__name__
        raise InputError(f"{name} is a broken or truncated image ({reason}); get a complete copy of it.") from error


def upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF says."""
    image.load()  # EXIF may follow the pixels
    turn = _TURNS.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image, ignore_exif: bool = False) -> UInt8[np.ndarray, "h w 3"]:
    seen = image if ignore_exif else upright(image)
    if seen.mode.startswith("I") or seen.mode == "F":
        return _from_array(np.asarray(_eight_bits(np.asarray(seen))))
    if seen.mode in _WITH_ALPHA or "transparency" in seen.info:
        coloured = seen.convert("RGBA")
        white = Image.new("RGBA", coloured.size, "white")
        seen = Image.alpha_composite(white, coloured)
    return np.array(seen.convert("RGB"))


def _orientation(image: Image.Image) -> int:
    """How EXIF says the photo was held, 1 to 8; 1 for upright, and where EXIF is missing or broken."""
    try:
        # The base class's method: PNG's own also looks behind the pixels, and would decode them all.
        orientation = Image.Image.getexif(image).get(_ORIENTATION)
    except Exception:  # a broken block can raise anything
        return 1
    return orientation if orientation in _TURNS else 1


def _eight_bits(deep: np.ndarray) -> UInt8[np.ndarray, "h w"]:
    """Sixteen-bit integers by their upper byte; a file's floats from 0 to 1, or beyond that from 0 to 255."""
    if deep.dtype.kind == "f":
        finite = np.nan_to_num(deep, nan=0.0, posinf=0.0, neginf=0.0)
        return np.clip(finite * (255.0 if finite.max(initial=0.0) <= HIGHEST else 1.0), 0, 255).round().astype(np.uint8)
    if deep.dtype == np.uint16 or deep.max(initial=0) > 255:
        return (np.clip(deep, 0, 65535) // 257).astype(np.uint8)
    return np.clip(deep, 0, 255).astype(np.uint8)


def _is_tensor(source: Any) -> bool:
    torch = sys.modules.get("torch")  # a program with tensors has imported it
    return torch is not None and isinstance(source, torch.Tensor)


def _array_of(tensor: Any) -> np.ndarray:
    """A tensor's values with the channels last."""
    shape = tuple(tensor.shape)
    first, last = (len(shape) == 3 and shape[end] in (1, 3, 4) for end in (0, -1))
    if first and last and shape[0] != 1:
        raise InputError(
            f"A tensor has shape {shape}, whose channels can be the first or the last axis; give it as a NumPy array "
            "[height, width, 3]."
        )
    values = tensor.detach().cpu()
    values = (values.float() if values.is_floating_point() else values).numpy()
    return values.transpose(1, 2, 0) if first and not last else values


def _content(file: Any) -> bytes:
    """What an open file holds, from its beginning where it can be rewound."""
    try:
        if file.seekable():
            file.seek(0)
        content = file.read()
    except (OSError, ValueError) as error:
        raise InputError(f"The open file cannot be read ({error}); open it with mode 'rb'.") from error
    if not isinstance(content, bytes):
        raise InputError("The open file was opened as text; open it with mode 'rb'.")
    return content


def _from_array(array: np.ndarray) -> UInt8[np.ndarray, "h w 3"]:
    grey = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if grey.ndim == 3 and grey.shape[0] in (1, 3, 4) and grey.shape[2] not in (3, 4) and 0 not in grey.shape:
        raise InputError(
            f"An image array has shape {array.shape} with the channels first; expected [height, width, 3]: use "
            "array.transpose(1, 2, 0)."
        )
    if grey.ndim == 4:
        raise InputError(f"An image array has shape {array.shape}; give one image, or a list of images.")
    if grey.ndim not in (2, 3) or (grey.ndim == 3 and grey.shape[2] not in (3, 4)) or 0 in grey.shape:
        raise InputError(f"An image array has shape {array.shape}; expected [height, width] or [height, width, 3].")
    if grey.dtype == bool or grey.dtype.kind not in "uif":
        raise InputError(f"An image array has type {array.dtype}; expected uint8 from 0 to 255.")
    if grey.dtype != np.uint8:
        _check_range(grey)
    pixels = grey if grey.dtype == np.uint8 else _eight_bits(grey.reshape(grey.shape[0], -1)).reshape(grey.shape)
    if pixels.ndim == 2:
        return np.repeat(pixels[..., None], 3, axis=2)
    return pixels if pixels.shape[2] == 3 else _to_rgb(Image.fromarray(np.ascontiguousarray(pixels)))


def _check_range(array: np.ndarray) -> None:
    """Raises InputError for values whose meaning is not certain: read wrongly, a photo is all black or all white."""
    low, high = array.min(), array.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        count = int((~np.isfinite(array)).sum())
        raise InputError(
            f"An image array has {count} values that are not finite numbers; replace them, for example with "
            "np.nan_to_num(array, posinf=1, neginf=0)."
        )
    found = f"An image array of type {array.dtype} has values from {low:.6g} to {high:.6g}; expected"
    if low < (LOWEST if array.dtype.kind == "f" else 0):
        raise InputError(f"{found} none below 0: undo the normalisation, or give uint8 from 0 to 255.")
    if array.dtype.kind == "f" and high > HIGHEST:
        raise InputError(f"{found} floats from 0 to 1: divide the array by its full scale, such as 255 for 8 bits.")
    if array.dtype == np.uint16 and 1 < high <= 255:
        raise InputError(f"{found} values up to 65535: use array.astype(np.uint8) if they are of 8 bits.")
    if array.dtype.kind in "ui" and array.dtype != np.uint16 and high > 255:
        raise InputError(f"{found} integers from 0 to 255: use uint8, or uint16 for 16 bits.")
