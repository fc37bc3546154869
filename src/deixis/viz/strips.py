"""Frames of a clip as pictures: painted frames with a legend, and strips of frames with masks and evidence."""

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Shaped, UInt8
from PIL import Image, ImageDraw, ImageFont

from .. import masks
from ..errors import InputError
from .entities import entities_in, is_of_entities
from .layout import GAP, GREY, INK, LINE, PANEL, PAPER, Colour, Pixels, fit, plain_name, stack, title_line
from .maps import colour_ends, heat, highlight
from .sheet import is_choice, spell

LABEL = 120  # pixels of the column that names the rows
_BAND = (24, 24, 28)


@dataclass(frozen=True, kw_only=True, eq=False)
class Painted:
    """One expression in one frame: its mask, its colour, and its line in the legend."""

    mask: Bool[np.ndarray, "h w"]
    colour: Colour
    label: str


def clip_colours(count: int) -> Sequence[Colour]:
    """As many bright colours, evenly spaced in hue from red on."""
    spread = [colorsys.hsv_to_rgb(each / count, 0.75, 1.0) for each in range(count)]
    return [(round(255 * red), round(255 * green), round(255 * blue)) for red, green, blue in spread]


def painted_frame(image: Pixels, painted: Sequence[Painted]) -> UInt8[np.ndarray, "height w 3"]:
    """The frame with each mask in its colour, and below it a legend that covers nothing; the height stays even."""
    for each in painted:
        image = masks.paint(image, each.mask, each.colour)
    return np.concatenate([image, _legend(image.shape[0], image.shape[1], painted)])


def _legend(height: int, width: int, painted: Sequence[Painted]) -> Pixels:
    size = max(10, min(28, height // 28))
    line = size + 8
    rows = line * len(painted)
    band = Image.new("RGB", (width, rows + (height + rows) % 2), _BAND)
    draw = ImageDraw.Draw(band)
    for number, each in enumerate(painted):
        top, is_found = number * line, bool(each.mask.any())
        draw.rectangle((5, top + 5, 3 + size, top + line - 4), each.colour if is_found else None, each.colour)
        text = fit(each.label, max(1, width - size - 14), size)
        font = ImageFont.load_default(size)
        draw.text((size + 10, top + line // 2), text, PAPER if is_found else GREY, font, anchor="lm")
    return np.asarray(band)


@dataclass(frozen=True, kw_only=True, eq=False)
class StripFrame:
    """A frame of a strip with the prediction for one expression; reduced to the size of a panel by `small`."""

    caption: str
    image: Pixels
    mask: Bool[np.ndarray, "h w"]
    probability: Float[np.ndarray, "h w"]
    tokens: Sequence[str] = ()
    evidence: Mapping[str, Shaped[np.ndarray, "..."]] = field(default_factory=dict)

    def small(self) -> "StripFrame":
        height, width = (max(1, round(side * PANEL / max(self.mask.shape))) for side in self.mask.shape)
        likely = Image.fromarray(self.probability.astype(np.float32)).resize((width, height))
        return StripFrame(
            caption=self.caption,
            image=np.asarray(Image.fromarray(self.image).resize((width, height), reducing_gap=3.0)),
            mask=masks.resize(self.mask, height, width),
            probability=np.asarray(likely),
            tokens=self.tokens,
            evidence=self.evidence,
        )


def evidence_strip(expression: str, frames: Sequence[StripFrame], colour: Colour = (255, 64, 64)) -> Image.Image:
    """Frames side by side; below each its mask, its probability, and its evidence, one row for each word.

    `[y x]` is a heat map, `[l y x]` a row for each token, highlighted where all values are 0 or 1; of entities the
    most relevant one is shown. All frames of a
    row, and all rows of one map, share the ends of the colours, which are the first and the 99th percentile.
    """
    if not frames:
        raise InputError("The strip has no frames; give one or more.")
    frames = [frame.small() for frame in frames]
    rows = [
        _row("frame", [frame.image for frame in frames], [frame.caption for frame in frames]),
        _row("mask", [masks.paint(frame.image, frame.mask, colour) for frame in frames]),
        _row("probability", [heat(frame.image, frame.probability) for frame in frames]),
    ]
    entities = [entities_in(frame.evidence) for frame in frames]
    found = [(frame, one) for frame, one in zip(frames, entities, strict=True) if one is not None]
    if len(found) == len(frames):
        high = max(float(one.maps.max(initial=0.0)) for _, one in found)
        rows.append(
            _row("most relevant entity", [heat(frame.image, one.maps[one.order[0]], 0.0, high) for frame, one in found])
        )
    for name, values in frames[0].evidence.items():
        if not is_of_entities(name):
            rows += _rows_of(name, [frame.evidence[name] for frame in frames], frames, values.ndim)
    return stack([title_line(f"“{expression}”"), *rows])


def _rows_of(
    name: str, maps: Sequence[Shaped[np.ndarray, "..."]], frames: Sequence[StripFrame], axes: int
) -> list[Image.Image]:
    """The rows of one kind of evidence; none where it is not a map."""
    if axes == 2 and min(maps[0].shape) > 1:
        ends = colour_ends(np.stack(maps).astype(np.float32))
        panels = [heat(frame.image, values, *ends) for frame, values in zip(frames, maps, strict=True)]
        return [_row(plain_name(name), panels)]
    tokens = frames[0].tokens
    if axes != 3 or len(maps[0]) != len(tokens):
        return []
    spoken = [number for number, token in enumerate(tokens) if token not in {"[PAD]", "[SEP]"}]
    if not spoken:
        return []
    shown = np.stack([values[spoken] for values in maps])  # frames, tokens, y, x
    if is_choice(shown):
        drawn = [[highlight(frame.image, cells > 0.5) for cells in of] for frame, of in zip(frames, shown, strict=True)]
    else:
        ends = colour_ends(shown)
        drawn = [[heat(frame.image, cells, *ends) for cells in of] for frame, of in zip(frames, shown, strict=True)]
    names = [f"{plain_name(name)}: {spell(tokens[number])}" for number in spoken]
    return [_row(label, row) for label, row in zip(names, zip(*drawn, strict=True), strict=True)]


def _row(label: str, panels: Sequence[Pixels], captions: Sequence[str] = ()) -> Image.Image:
    """A label, and pictures of one size beside each other, under their captions where they have some."""
    height, width = panels[0].shape[:2]
    above = LINE if captions else 0
    cell = max(width, 84) + GAP
    sheet = Image.new("RGB", (LABEL + cell * len(panels) - GAP, above + height), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for number, line in enumerate(_lines(label)):
        draw.text((0, above + height // 2 + (LINE - 4) * number), fit(line, LABEL - 8, 14), INK, font, anchor="lm")
    for number, panel in enumerate(panels):
        sheet.paste(Image.fromarray(panel), (LABEL + cell * number, above))
    for number, caption in enumerate(captions):
        draw.text((LABEL + cell * number, LINE // 2), fit(caption, cell - GAP, 14), GREY, font, anchor="lm")
    return sheet


def _lines(label: str) -> list[str]:
    name, colon, token = label.partition(": ")
    return [name, f"“{token}”"] if colon else [name]
