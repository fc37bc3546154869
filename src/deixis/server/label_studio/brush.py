"""Label Studio's run lengths of a brush: a bit stream over the RGBA values of a mask's pixels, as a list of bytes."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool

WORD = 8  # bits of a value
WIDTHS = (3, 4, 8, 16)  # bits of a run's length minus one
LONGEST = 2**16
CHANNELS = 4


def encode(mask: Bool[np.ndarray, "h w"]) -> list[int]:
    """The bytes for a mask whose pixels are 255 in all four channels, and 0 outside."""
    flat = mask.ravel()
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]) + 1, flat.size) if flat.size else np.empty(0, int)
    lengths = np.diff(ends, prepend=0) * CHANNELS
    bits = [_header(flat.size * CHANNELS)]
    is_set = bool(flat[0]) if flat.size else False
    for length in lengths.tolist():
        value = "11111111" if is_set else "00000000"
        bits += [_run(piece, width, value) for piece, width in _pieces(length)]
        is_set = not is_set
    stream = "".join(bits)
    stream += "0" * (8 - len(stream) % 8)  # a whole byte more where it is whole already
    return np.packbits(np.frombuffer(stream.encode(), np.uint8) - ord("0")).tolist()


def decode(rle: list[int], height: int, width: int) -> Bool[np.ndarray, "h w"]:
    """The pixels whose alpha is above 0, as a brush's soft edges need it; reads literal values, too."""
    bits = "".join(f"{byte:08b}" for byte in rle)
    position = 0

    def take(count: int) -> int:
        nonlocal position
        position += count
        return int(bits[position - count : position], 2)

    total, word = take(32), take(5) + 1
    widths = [take(4) + 1 for _ in WIDTHS]
    values: list[int] = []
    while len(values) < total:
        is_run = take(1)
        length = take(widths[take(2)]) + 1
        values += [take(word)] * length if is_run else [take(word) for _ in range(length)]
    return np.reshape(values, (height, width, CHANNELS))[..., 3] > 0


def _header(count: int) -> str:
    return f"{count:032b}{WORD - 1:05b}" + "".join(f"{width - 1:04b}" for width in WIDTHS)


def _pieces(length: int) -> Iterator[tuple[int, int]]:
    """A run cut into lengths that fit, each with the number of its width; a cut run keeps the widest."""
    widest = len(WIDTHS) - 1
    if length <= LONGEST:
        yield length, next(number for number, width in enumerate(WIDTHS) if length <= 2**width)
        return
    while length > 0:
        yield min(length, LONGEST), widest
        length -= LONGEST


def _run(length: int, width: int, value: str) -> str:
    return f"1{width:02b}{length - 1:0{WIDTHS[width]}b}{value}"
