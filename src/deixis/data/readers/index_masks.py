"""Masks of several objects in one image: 0 is the background, 1 and up are objects, 255 is void in DAVIS."""

from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import UInt8

from ... import masks
from ...errors import InputError
from ...masks import RLE
from ..images import opened, reading

VOID = 255


def read_indices(path: Path, size: tuple[int, int], where: str) -> UInt8[np.ndarray, "h w"]:
    """The indices of a palette image, or the values of a grey one.

    Raises InputError where the file is missing, is not of its frame's size, or is in colours: its indices are lost.
    """
    if not path.is_file():
        raise InputError(f"{where} has no mask: {path} is missing; put the file there.")
    name = f"{path}"
    with reading(name), opened(path, name) as image:
        if image.mode not in ("P", "L", "1"):
            raise InputError(
                f"{path} has mode {image.mode}, but masks of objects are palette images (mode P); an editor has saved "
                "it anew: get the original."
            )
        indices = np.array(image, dtype=np.uint8)
    if indices.shape != size:
        raise InputError(
            f"{path} is {indices.shape[0]}x{indices.shape[1]} pixels (height x width), but its frame is {size[0]}x"
            f"{size[1]}; get the original of both."
        )
    return indices


def index_mask(indices: UInt8[np.ndarray, "h w"], index: int) -> RLE:
    """The pixels of one object; empty where it is absent."""
    return cast(RLE, masks.encode(indices == index))
