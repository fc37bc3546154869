"""A contact sheet: examples with their masks painted on and their expressions below."""

import textwrap
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from ... import masks
from ...errors import DeixisError
from ...records import Reader, Sample
from ..validation import Issues

CELL = 240  # pixels: the square that a picture is fitted into
CAPTION = 46
GAP = 8


def contact_sheet(samples: Sequence[Sample], columns: int = 4) -> UInt8[np.ndarray, "h w 3"]:
    """The samples row by row; the frame that a clip's mask belongs to stands for the clip."""
    rows = max(1, -(-len(samples) // columns))
    width = columns * (CELL + GAP) + GAP
    height = rows * (CELL + CAPTION + GAP) + GAP
    sheet = Image.new("RGB", (width, height), (250, 250, 248))
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(13)
    for number, sample in enumerate(samples):
        left = GAP + number % columns * (CELL + GAP)
        top = GAP + number // columns * (CELL + CAPTION + GAP)
        picture = _painted(sample)
        sheet.paste(picture, (left + (CELL - picture.width) // 2, top + CELL - picture.height))
        lines = textwrap.wrap(sample.expression, 34) or ["(no words)"]
        if len(lines) > 2:
            lines = [lines[0], lines[1][:31] + " …"]
        pen.multiline_text((left, top + CELL + 3), "\n".join(lines), fill=(30, 30, 30), font=font, spacing=3)
    return np.asarray(sheet)


def examples(reader: Reader, count: int, issues: Issues) -> list[Sample]:
    """Samples spread evenly over the reader; broken ones are refused through the issues."""
    found = []
    for position in np.linspace(0, len(reader) - 1, min(count, len(reader))).round().astype(int).tolist():
        try:
            sample = reader[position]
            sample.visual.read()
            found.append(sample)
        except DeixisError as error:
            issues.add(str(error))
    return found


def _painted(sample: Sample) -> Image.Image:
    frames = sample.visual.read()
    pixels = frames[len(frames) // 2]
    height, width = pixels.shape[:2]
    scale = CELL / max(height, width)
    fitted = (max(1, round(width * scale)), max(1, round(height * scale)))
    # Painted after scaling, so that the outline is as thick in a large photo as in a small one.
    small = np.array(Image.fromarray(pixels).resize(fitted, Image.Resampling.LANCZOS))
    if sample.mask is not None:
        mask = masks.resize(masks.decode(sample.mask), fitted[1], fitted[0])
        small = masks.paint(small, mask)
    return Image.fromarray(small)
