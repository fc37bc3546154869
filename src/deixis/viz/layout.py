"""Sheets that pictures are put together on: strips, stacks, bars and lines of text, in Pillow's built-in font."""

from bisect import bisect_right
from collections.abc import Sequence
from math import ceil

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from ..errors import InputError

Colour = tuple[int, int, int]
Pixels = UInt8[np.ndarray, "h w 3"]

INK, GREY, PAPER, ACCENT = (34, 34, 40), (120, 120, 130), (255, 255, 255), (255, 64, 64)
PALETTE: tuple[Colour, ...] = (
    (230, 57, 70),
    (120, 144, 156),
    (29, 108, 194),
    (247, 160, 30),
    (43, 147, 72),
    (131, 56, 200),
)
# In pixels: a panel's long side, between panels, margin, line of text.
PANEL, GAP, MARGIN, LINE = 168, 10, 20, 22
COLUMNS = 6
STRIP = COLUMNS * (PANEL + GAP) - GAP  # pixels: six panels beside each other


def strip(panels: Sequence[tuple[Pixels, str]], columns: int = COLUMNS) -> Image.Image:
    """Pictures of one size beside each other with captions below, in rows of `columns`."""
    if not panels:
        raise InputError("The strip has no panels; give one or more.")
    height, width = panels[0][0].shape[:2]
    cell = max(width, 84), height + LINE
    lines = -(-len(panels) // columns)
    across = min(columns, len(panels))
    sheet = Image.new("RGB", (across * (cell[0] + GAP) - GAP, lines * (cell[1] + GAP) - GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for position, (picture, caption) in enumerate(panels):
        left, top = position % columns * (cell[0] + GAP), position // columns * (cell[1] + GAP)
        sheet.paste(Image.fromarray(picture), (left + (cell[0] - width) // 2, top))
        middle = (left + cell[0] // 2, top + height + LINE // 2)
        draw.text(middle, fit(caption, cell[0], 14), fill=INK, font=ImageFont.load_default(14), anchor="mm")
    return sheet


def stack(rows: Sequence[Image.Image]) -> Image.Image:
    """Pictures of any size below each other on one sheet with a margin."""
    width, height = max(row.width for row in rows), sum(row.height + GAP for row in rows) - GAP
    sheet = Image.new("RGB", (width + 2 * MARGIN, height + 2 * MARGIN), PAPER)
    top = MARGIN
    for row in rows:
        sheet.paste(row, (MARGIN, top))
        top += row.height + GAP
    return sheet


def bars(title: str, fractions: Float[np.ndarray, " k"], names: Sequence[str] = ()) -> Image.Image:
    """Numbers between 0 and 1 as bars on one scale."""
    sheet = Image.new("RGB", (2 * PANEL + GAP, LINE * (len(fractions) + 1)), PAPER)
    draw = ImageDraw.Draw(sheet)
    font, left, long = ImageFont.load_default(14), 96, 2 * PANEL + GAP - 96 - 48
    draw.text((0, LINE // 2), fit(title, sheet.width, 14), fill=GREY, font=font, anchor="lm")
    for position, fraction in enumerate(fractions.tolist()):
        top = LINE * (position + 1)
        name = names[position] if names else f"stage {position + 1}"
        draw.text((0, top + LINE // 2), fit(name, left - 8, 14), fill=INK, font=font, anchor="lm")
        draw.rectangle((left, top + 4, left + long, top + LINE - 4), fill=(236, 236, 240))
        draw.rectangle((left, top + 4, left + round(long * min(max(fraction, 0), 1)), top + LINE - 4), fill=PALETTE[2])
        draw.text((left + long + 8, top + LINE // 2), f"{fraction:.2f}", fill=INK, font=font, anchor="lm")
    return sheet


def title_line(line: str, size: int = 20) -> Image.Image:
    """A line of text as a picture as wide as a strip, or half as wide for a short line."""
    sheet = Image.new("RGB", (3 * PANEL + 2 * GAP if len(line) < 40 else STRIP, size + 8), PAPER)
    font = ImageFont.load_default(size)
    ImageDraw.Draw(sheet).text((0, sheet.height // 2), fit(line, sheet.width, size), INK, font, anchor="lm")
    return sheet


def paragraph(text: str, size: int = 14) -> Image.Image:
    """Grey text, wrapped to the width of a strip."""
    font = ImageFont.load_default(size)
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        lines = [*lines[:-1], longer] if font.getlength(longer) <= STRIP else [*lines, word]
    sheet = Image.new("RGB", (STRIP, LINE * len(lines)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, line in enumerate(lines):
        draw.text((0, LINE * number + LINE // 2), fit(line, STRIP, size), GREY, font, anchor="lm")
    return sheet


def fit(line: str, width: int, size: int) -> str:
    """The line, shortened with an ellipsis to the width."""
    font = ImageFont.load_default(size)
    if font.getlength(line) <= width:
        return line
    kept = bisect_right(range(1, len(line)), width, key=lambda count: ceil(font.getlength(line[:count] + "…")))
    return line[:kept] + "…"


def plain_name(name: str) -> str:
    return name.replace("_", " ")
