"""Pictures as they come: files of every mode, bytes, Pillow images and arrays, read as plain RGB pixels."""

import io
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from ..errors import DeixisError, InputError
from ..records import still

MAX_PIXELS = 200_000_000  # a 20,000x10,000 scan opens; a file that unfolds to more is taken for an attack
# Whatever a file is called, Pillow goes by its content, and would have another program run what an EPS says.
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF", "HEIF")
# What Pillow raises on broken files, and on a TIFF whose pixels it thinks too many as late as when they are read.
BROKEN = (
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
_bomb_check = threading.Lock()


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image on disk: its size comes from the header, its pixels when they are asked for."""

    path: str | Path

    @property
    def size(self) -> tuple[int, int]:
        with _reading(f"{self.path}"), _header(Path(self.path)) as image:
            width, height = image.size
            if isinstance(image, TiffImageFile):  # whose sides some Pillows have exchanged already
                width, height = image.tag_v2[256], image.tag_v2[257]
            turned = _orientation(image) >= 5
        return (width, height) if turned else (height, width)

    @property
    def num_frames(self) -> int:
        return 1

    def read(self, frames: Sequence[int] | None = None) -> UInt8[np.ndarray, "t h w 3"]:
        return still(open_image(self.path), frames)


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


def open_image(source: Source) -> UInt8[np.ndarray, "h w 3"]:
    """RGB pixels as a person sees them: turned upright by EXIF, transparent parts on white, 16 bits cut to 8.

    Raises DeixisError where there is no image, or one that is broken or larger than `MAX_PIXELS`.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        with _reading("The image"):
            return _to_rgb(source)
    if not isinstance(source, str | Path | bytes):
        raise InputError(
            f"An image is {type(source).__name__}; a path, bytes, a Pillow image or an array of pixels is wanted."
        )
    name = "The image given as bytes" if isinstance(source, bytes) else f"{source}"
    with _reading(name), opened(io.BytesIO(source) if isinstance(source, bytes) else Path(source), name) as image:
        return _to_rgb(image)


@contextmanager
def opened(file: Path | io.BytesIO, name: str) -> Iterator[Image.Image]:
    """Pillow's image, its pixels not read yet; raises DeixisError, which calls it `name`, above `MAX_PIXELS`.

    Where there is no image, or a broken one, it raises what Pillow raises.
    """
    with _header(file) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise InputError(
                f"{name} would unfold to {width}x{height} pixels, more than the {MAX_PIXELS // 1_000_000} megapixels "
                "that are read; make it smaller first."
            )
        yield image


@contextmanager
def _header(file: Path | io.BytesIO) -> Iterator[Image.Image]:
    """Pillow's lazily read image, without Pillow's own, lower limit on pixels; ours is checked by who reads them."""
    with _bomb_check:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            Image.init()  # or formats would be known only once a file of theirs was met
            image = Image.open(file, formats=[name for name in FORMATS if name in Image.OPEN])
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    with image:
        yield image


@contextmanager
def _reading(name: str) -> Iterator[None]:
    try:
        yield
    except DeixisError:
        raise
    except FileNotFoundError:
        raise InputError(f"There is no file {name}; give the path of an image.") from None
    except IsADirectoryError:
        raise InputError(f"{name} is a folder; give the path of an image.") from None
    except PermissionError:
        raise InputError(f"{name} may not be read; check its permissions.") from None
    except UnidentifiedImageError:
        raise InputError(f"{name} is not an image that Pillow can read; convert it to PNG or JPEG.") from None
    except BROKEN as error:
        reason = str(error).rstrip(".") or type(error).__name__
        raise InputError(f"{name} is a broken or truncated image ({reason}); get a whole copy of it.") from error


def _to_rgb(image: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
    image.load()  # EXIF may come after the pixels
    turn = _TURNS.get(_orientation(image))
    upright = image if turn is None else image.transpose(turn)
    if upright.mode.startswith("I") or upright.mode == "F":
        return _from_array(np.asarray(_eight_bits(np.asarray(upright))))
    if upright.mode in _WITH_ALPHA or "transparency" in upright.info:
        coloured = upright.convert("RGBA")
        white = Image.new("RGBA", coloured.size, "white")
        upright = Image.alpha_composite(white, coloured)
    return np.array(upright.convert("RGB"))


def _orientation(image: Image.Image) -> int:
    """How EXIF says the photo was held, 1 to 8; 1 for upright, and where that cannot be told."""
    try:
        # The plain method: PNG's own looks behind the pixels too, and would decode them all.
        orientation = Image.Image.getexif(image).get(_ORIENTATION)
    except Exception:  # a broken block fails in every way there is
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
        raise InputError(f"An image array has shape {array.shape}; [height, width] or [height, width, 3] is wanted.")
    if grey.dtype == bool or grey.dtype.kind not in "uif":
        raise InputError(f"An image array has type {array.dtype}; uint8 from 0 to 255 is wanted.")
    pixels = grey if grey.dtype == np.uint8 else _eight_bits(grey.reshape(grey.shape[0], -1)).reshape(grey.shape)
    if pixels.ndim == 2:
        return np.repeat(pixels[..., None], 3, axis=2)
    return pixels if pixels.shape[2] == 3 else _to_rgb(Image.fromarray(np.ascontiguousarray(pixels)))
