"""A contact sheet: images with an expression below each and its referent outlined."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw, ImageFont

from ... import masks
from ...errors import InputError

REFERENT = (255, 48, 96)
PAPER, INK = (250, 249, 246), (36, 34, 40)
GAP, LINES = 8, 3
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Panel:
    """An image, its caption, and the mask to outline, or None."""

    pixels: UInt8[np.ndarray, "h w 3"]
    caption: str
    mask: Bool[np.ndarray, "h w"] | None = None


def contact_sheet(panels: Sequence[Panel], columns: int = 4, side: int = 256) -> Image.Image:
    """The panels in rows of `columns`, each `side` pixels wide, with captions of at most three lines."""
    if not panels or columns < 1 or side < 32:
        raise InputError(
            f"A contact sheet of {len(panels)} panels in {columns} columns of {side} pixels was requested; expected at "
            "least one panel, one column and 32 pixels."
        )
    points = max(10, side // 18)
    font = ImageFont.load_default(points)
    line_height = points * 5 // 4
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    cell = (side + GAP, side + LINES * line_height + 2 * GAP)
    sheet = Image.new("RGB", (columns * cell[0] + GAP, rows * cell[1] + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, panel in enumerate(panels):
        left, top = GAP + number % columns * cell[0], GAP + number // columns * cell[1]
        sheet.paste(_outlined(panel).resize((side, side), Image.Resampling.LANCZOS), (left, top))
        for line, text in enumerate(wrapped(panel.caption, font, side)):
            draw.text((left, top + side + GAP // 2 + line * line_height), text, fill=INK, font=font)
    return sheet


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


def _outlined(panel: Panel) -> Image.Image:
    if panel.mask is None:
        return Image.fromarray(panel.pixels)
    # An outline, because a tint would change the colours that the caption may mention.
    marked = panel.pixels.copy()
    marked[masks.outline(panel.mask, max(1, len(marked) // 128))] = REFERENT
    return Image.fromarray(marked)
