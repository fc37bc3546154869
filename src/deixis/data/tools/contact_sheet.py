"""A contact sheet: images in rows, their masks marked, a caption below each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw, ImageFont

from ... import masks
from ...errors import DeixisError, InputError
from ...records import Reader, Sample
from ..validation import Issues

CELL = 240  # pixels: the square that an image is fitted into
REFERENT = (255, 48, 96)
PAPER, INK = (250, 249, 246), (36, 34, 40)
GAP, LINES = 8, 3
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Panel:
    """An image, its caption, and its mask, painted or `outlined`: paint hides colours that a caption may mention."""

    pixels: UInt8[np.ndarray, "h w 3"]
    caption: str
    mask: Bool[np.ndarray, "h w"] | None = None
    outlined: bool = False


def contact_sheet(panels: Sequence[Panel], columns: int = 4, side: int = CELL) -> Image.Image:
    """The panels in rows of `columns`, each in a square of `side` pixels, with captions of at most three lines."""
    if columns < 1 or side < 32:
        raise InputError(
            f"A contact sheet of {columns} columns of {side} pixels was requested; expected at least one column and 32 "
            "pixels."
        )
    points = max(10, side // 18)
    font = ImageFont.load_default(points)
    line_height = points * 5 // 4
    columns = max(1, min(columns, len(panels)))
    rows = max(1, -(-len(panels) // columns))
    cell = (side + GAP, side + LINES * line_height + 2 * GAP)
    sheet = Image.new("RGB", (columns * cell[0] + GAP, rows * cell[1] + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, panel in enumerate(panels):
        left, top = GAP + number % columns * cell[0], GAP + number // columns * cell[1]
        image = Image.fromarray(_marked(panel, side))
        sheet.paste(image, (left + (side - image.width) // 2, top + side - image.height))
        for line, text in enumerate(wrapped(panel.caption, font, side)):
            draw.text((left, top + side + GAP // 2 + line * line_height), text, fill=INK, font=font)
    return sheet


def panel_of(sample: Sample) -> Panel:
    """The sample with its mask painted; of a clip, the frame that the mask belongs to."""
    mask = None if sample.mask is None else masks.decode(sample.mask)
    return Panel(sample.visual.read([sample.frame])[0], sample.expression or "(no expression)", mask)


def examples(reader: Reader, count: int, issues: Issues) -> list[Sample]:
    """Samples spread evenly over the reader; broken ones are added to the issues."""
    found = []
    for position in np.linspace(0, len(reader) - 1, min(count, len(reader))).round().astype(int).tolist():
        try:
            sample = reader[position]
            sample.visual.read([sample.frame])
            found.append(sample)
        except DeixisError as error:
            issues.add(str(error))
    return found


def wrapped(text: str, font: Font, width: int, lines: int = LINES) -> list[str]:
    """The text in lines of at most `width` pixels; text that does not fit is replaced by an ellipsis."""
    done: list[str] = []
    for word in text.split():
        if done and font.getlength(f"{done[-1]} {word}") <= width:
            done[-1] += f" {word}"
        else:
            done.append(word)
    done = done[:lines] if len(done) <= lines else [*done[: lines - 1], f"{done[lines - 1]} …"]
    return [_clipped(line, font, width) for line in done]


def _clipped(line: str, font: Font, width: int) -> str:
    if font.getlength(line) <= width:
        return line
    line = line.removesuffix(" …")
    while line and font.getlength(f"{line} …") > width:
        line = line[:-1].rstrip()
    return f"{line} …"


def _marked(panel: Panel, side: int) -> UInt8[np.ndarray, "height width 3"]:
    """The image fitted into the square, then marked: outlines are equally thick whatever the size of the image."""
    height, width = panel.pixels.shape[:2]
    scale = side / max(height, width)
    fitted = (max(1, round(width * scale)), max(1, round(height * scale)))
    pixels = np.array(Image.fromarray(panel.pixels).resize(fitted, Image.Resampling.LANCZOS))
    if panel.mask is None:
        return pixels
    mask = masks.resize(panel.mask, fitted[1], fitted[0])
    if not panel.outlined:
        return masks.paint(pixels, mask)
    pixels[masks.outline(mask, max(1, side // 128))] = REFERENT
    return pixels
