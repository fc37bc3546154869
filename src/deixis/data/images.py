"""Images as RGB pixels: from files of every mode, bytes, Pillow images and arrays."""

import io
import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from ..errors import DeixisError, InputError
from ..files import LFS_START
from ..records import still

MAX_PIXELS = 200_000_000  # a 20,000x10,000 scan opens; a file with more is refused as an attack
# Pillow goes by a file's content, whatever its name is, and would start another program for an EPS.
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF", "HEIF")
# What Pillow raises on broken files, and on a large TIFF only when its pixels are read.
_BROKEN = (
    *(OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError, RuntimeError, struct.error),
    Image.DecompressionBombError,
)

Source = str | Path | bytes | Image.Image | np.ndarray

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

    `ignore_exif` leaves them as stored. Raises InputError where there is no image, or one that is broken or larger
    than `MAX_PIXELS`.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        with reading("The image"):
            return _to_rgb(source, ignore_exif)
    if not isinstance(source, str | Path | bytes):
        raise InputError(
            f"An image is of type {type(source).__name__}; expected a path, bytes, a Pillow image or an array."
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
    """Sixteen-bit integers by their upper byte; floats from 0 to 1 as brightness, beyond that as 0 to 255."""
    if deep.dtype.kind == "f":
        finite = np.nan_to_num(deep, nan=0.0)
        return np.clip(finite * (255.0 if finite.max(initial=0.0) <= 1.0 else 1.0), 0, 255).round().astype(np.uint8)
    if deep.dtype == np.uint16 or deep.max(initial=0) > 255:
        return (np.clip(deep, 0, 65535) // 257).astype(np.uint8)
    return np.clip(deep, 0, 255).astype(np.uint8)


def _from_array(array: np.ndarray) -> UInt8[np.ndarray, "h w 3"]:
    grey = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if grey.ndim not in (2, 3) or (grey.ndim == 3 and grey.shape[2] not in (3, 4)) or 0 in grey.shape:
        raise InputError(f"An image array has shape {array.shape}; expected [height, width] or [height, width, 3].")
    if grey.dtype == bool or grey.dtype.kind not in "uif":
        raise InputError(f"An image array has type {array.dtype}; expected uint8 from 0 to 255.")
    pixels = grey if grey.dtype == np.uint8 else _eight_bits(grey.reshape(grey.shape[0], -1)).reshape(grey.shape)
    if pixels.ndim == 2:
        return np.repeat(pixels[..., None], 3, axis=2)
    return pixels if pixels.shape[2] == 3 else _to_rgb(Image.fromarray(np.ascontiguousarray(pixels)))
